package mcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// Limits of a stdio server.
const (
	// maxNoiseLines is how many lines that are no JSON-RPC a server may write to stdout, where many
	// write a greeting, before it is given up.
	maxNoiseLines = 1000
	// maxLogLine is the longest line of stderr that is logged; the rest of it is dropped.
	maxLogLine = 4 << 10
	// maxLogLines is how many lines of stderr are logged in each logWindow.
	maxLogLines = 200
	logWindow   = time.Minute
)

// peer is a stdio server that runs: a child of ours (process.go), or one inside a session's
// environment (inside.go).
type peer interface {
	io.Reader // its stdout
	// send writes a message to its stdin, whole. When ctx ends first, it returns soon; a message of
	// which only a part was written ends the server's stdin.
	send(ctx context.Context, message []byte) error
	// end asks it to leave, then makes it, and returns when it is gone.
	end()
}

// lines is the connection to a peer: JSON-RPC messages in lines. It implements the SDK's Connection.
type lines struct {
	peer     peer
	log      *slog.Logger
	write    chan struct{} // holds one token while somebody writes
	incoming chan incoming
	closed   chan struct{} // closed by Close
	once     sync.Once
}

type incoming struct {
	message jsonrpc.Message
	err     error
}

func newLines(p peer, log *slog.Logger) *lines {
	return &lines{peer: p, log: log, write: make(chan struct{}, 1), incoming: make(chan incoming), closed: make(chan struct{})}
}

// SessionID implements the SDK's Connection.
func (c *lines) SessionID() string { return "" }

// Read implements the SDK's Connection.
func (c *lines) Read(ctx context.Context) (jsonrpc.Message, error) {
	select {
	case in, ok := <-c.incoming:
		if !ok {
			return nil, io.EOF
		}
		return in.message, in.err
	case <-c.closed:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Write implements the SDK's Connection. It can be called off at any time; when that leaves half a
// message in the pipe, the connection is broken.
func (c *lines) Write(ctx context.Context, message jsonrpc.Message) error {
	data, err := jsonrpc.EncodeMessage(message)
	if err != nil {
		return err
	}
	select {
	case c.write <- struct{}{}:
		defer func() { <-c.write }()
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closed:
		return io.ErrClosedPipe
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if f, ok := ctx.Value(flightKey{}).(*flight); ok {
		f.sent.Store(true)
	}
	return c.peer.send(ctx, append(data, '\n'))
}

// Close implements the SDK's Connection.
func (c *lines) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.peer.end()
	})
	return nil
}

func (c *lines) readMessages() {
	defer close(c.incoming)
	r := bufio.NewReaderSize(c.peer, 64<<10)
	noise := 0
	for {
		line, err := readLine(r, MaxMessageBytes)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				c.deliver(incoming{err: err})
			}
			return
		}
		messages, err := decode(line)
		if err != nil {
			if noise++; noise > maxNoiseLines {
				c.deliver(incoming{err: errors.New("the server writes other things than messages to stdout")})
				return
			}
			c.log.Debug("tool server stdout", "line", clip(string(line), maxLogLine))
			continue
		}
		for _, m := range messages {
			if !c.deliver(incoming{message: m}) {
				return
			}
		}
	}
}

func (c *lines) deliver(in incoming) bool {
	select {
	case c.incoming <- in:
		return true
	case <-c.closed:
		return false
	}
}

// decode reads one message, or the batch of the revision 2025-03-26.
func decode(line []byte) ([]jsonrpc.Message, error) {
	raw := []json.RawMessage{line}
	if line = bytes.TrimSpace(line); len(line) > 0 && line[0] == '[' {
		raw = nil
		if err := json.Unmarshal(line, &raw); err != nil {
			return nil, err
		}
	}
	var messages []jsonrpc.Message
	for _, one := range raw {
		m, err := jsonrpc.DecodeMessage(one)
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, nil
}

// readLine reads up to and without the next newline.
func readLine(r *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > most {
			return nil, fmt.Errorf("the server's message is larger than %d bytes", most)
		}
		line = append(line, part...)
		if err == nil {
			return bytes.TrimSuffix(line, []byte("\n")), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// readLog passes stderr on to our log, as much of it as is useful.
func readLog(log *slog.Logger, stderr io.Reader) {
	r := bufio.NewReaderSize(stderr, maxLogLine)
	since, count := time.Now(), 0
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			if time.Since(since) > logWindow {
				since, count = time.Now(), 0
			}
			if count++; count <= maxLogLines {
				log.Info("tool server stderr", "line", clip(string(bytes.TrimRight(line, "\r\n")), maxLogLine))
			}
			if count == maxLogLines {
				log.Warn("tool server writes too much to stderr; more of it is not logged for a while")
			}
		}
		for errors.Is(err, bufio.ErrBufferFull) { // drop the rest of a long line
			_, err = r.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}
