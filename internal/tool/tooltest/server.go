// Package tooltest has a real MCP server with tools whose effects are counted, and the suite that
// every tool.Source passes.
//
// Shape:
//
//	Start(Options) ─▶ Server ─ URL, Journal (a Record a call), Release, Cut, Stop, Restart, AddTool
//	Run(t, open)   ─▶ the suite, each case with a server of its own
//
// The server runs in the test's process or, for tests that kill, in one of its own: a small main
// calls Start with a journal file, prints URL and waits; ReadJournal reads that file from outside.
//
// Units: a Record is one line of JSON, on disk before the tool answers.
//
// Source: Model Context Protocol 2025-11-25; the server is that of the Go SDK, over streamable HTTP
// on loopback.
package tooltest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// Options of a test server. The zero value listens on a free port and counts in memory.
type Options struct {
	Address string // host:port; empty: 127.0.0.1:0
	Journal string // file of effects; empty: in memory
	Dedupe  bool   // honour the idempotency key: a second call with it has no effect
	JSON    bool   // answer with application/json in place of a stream of events
	// Lines makes it speak as a stdio server does, in lines, over TCP at Address: Relay in a process of
	// its own makes a stdio server of it, whose effects and crashes the test still sees.
	Lines bool
	// Wrap, if set, stands before the MCP handler.
	Wrap func(http.Handler) http.Handler
}

// Server is a running test server. Safe for concurrent use.
type Server struct {
	Journal *Journal

	options   Options
	dedupe    bool
	address   string
	started   chan struct{} // one signal for each slow call that began
	cancelled chan struct{} // one signal for each slow call that was cancelled
	release   chan struct{}

	mu    sync.Mutex
	mcp   *sdk.Server
	http  *http.Server
	lines net.Listener // with Options.Lines
	conns map[net.Conn]struct{}
	done  chan struct{} // closed when http has ended
}

const maxSignals = 1024

// New returns a server that does not listen: RunStdio serves it, or Restart makes it listen.
func New(o Options) (*Server, error) {
	journal, err := OpenJournal(o.Journal)
	if err != nil {
		return nil, err
	}
	return &Server{
		Journal: journal, options: o, dedupe: o.Dedupe, address: o.Address, conns: map[net.Conn]struct{}{},
		started: make(chan struct{}, maxSignals), cancelled: make(chan struct{}, maxSignals), release: make(chan struct{}, maxSignals),
	}, nil
}

// Start returns a server that listens.
func Start(o Options) (*Server, error) {
	s, err := New(o)
	if err != nil {
		return nil, err
	}
	if s.address == "" {
		s.address = "127.0.0.1:0"
	}
	return s, s.Restart()
}

// RunStdio serves stdin and stdout until they close or ctx ends.
func (s *Server) RunStdio(ctx context.Context) error {
	server := s.newMCP()
	return server.Run(ctx, &sdk.StdioTransport{})
}

func (s *Server) newMCP() *sdk.Server {
	server := sdk.NewServer(&sdk.Implementation{Name: "stead-tooltest", Version: "1"}, &sdk.ServerOptions{PageSize: 4})
	s.addTools(server)
	return server
}

// Restart listens again at the same address, as a process that knows none of its old sessions.
func (s *Server) Restart() error {
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.address = listener.Addr().String()
	s.mcp = s.newMCP()
	current := s.mcp
	s.done = make(chan struct{})
	if s.options.Lines {
		s.lines = listener
		go s.serveLines(listener, current, s.done)
		return nil
	}
	var handler http.Handler = sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return current },
		&sdk.StreamableHTTPOptions{JSONResponse: s.options.JSON})
	if s.options.Wrap != nil {
		handler = s.options.Wrap(handler)
	}
	s.http = &http.Server{Handler: handler, ConnState: s.track}
	server, done := s.http, s.done
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			panic(fmt.Sprintf("test server: %v", err))
		}
	}()
	return nil
}

func (s *Server) track(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.conns[c] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(s.conns, c)
	}
}

// Address is where the server listens, as host:port.
func (s *Server) Address() string { return s.address }

// URL is where MCP is spoken.
func (s *Server) URL() string { return "http://" + s.address + "/mcp" }

// Cut resets every TCP connection.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			tcp.SetLinger(0) // a reset, not a farewell
		}
		c.Close()
	}
}

// Stop ends the server as a crash would: no farewells, nobody listens.
func (s *Server) Stop() {
	s.mu.Lock()
	server, lines, mcp, done := s.http, s.lines, s.mcp, s.done
	s.http, s.lines = nil, nil
	s.mu.Unlock()
	switch {
	case server != nil:
		s.Cut()
		server.Close()
	case lines != nil:
		lines.Close()
		s.Cut()
	default:
		return
	}
	for session := range mcp.Sessions() {
		go session.Close() // may wait for a tool that runs
	}
	<-done
}

// Close stops the server for good.
func (s *Server) Close() error {
	close(s.release)
	s.Stop()
	return s.Journal.Close()
}

// Release lets one slow call finish.
func (s *Server) Release() { s.release <- struct{}{} }

// Started receives a value for each slow call that has begun.
func (s *Server) Started() <-chan struct{} { return s.started }

// Cancelled receives a value for each slow call that was cancelled.
func (s *Server) Cancelled() <-chan struct{} { return s.cancelled }

func (s *Server) signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // more signals than any test reads
	}
}

// AddTool adds a tool that counts; connected clients are told that the list changed.
func (s *Server) AddTool(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(s.mcp, name, nil, s.count)
}
