package executor

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Limits of the executor's end.
const (
	// drainTime is how long the output of a killed command may take to leave.
	drainTime = 5 * time.Second
	// closeTime is how long an environment may take to end.
	closeTime = 30 * time.Second
	// maxFileOperations is how many files are held in memory at once.
	maxFileOperations = 4
	// dialTime bounds a connection attempt.
	dialTime = 30 * time.Second
)

// host serves the operations of one conversation on the user's machine.
type host struct {
	config Config
	files  chan struct{} // one token for each file operation
	turn   sync.Mutex    // held by the one open environment

	mu  sync.Mutex
	env environment.Environment // nil: none is open
	own *stream                 // that opened it
}

func newHost(c Config) *host { return &host{config: c, files: make(chan struct{}, maxFileOperations)} }

// serve runs one operation and says its outcome.
func (h *host) serve(s *stream, r request) {
	var o outcome
	switch r.Op {
	case opOpen:
		o = h.open(s, r)
	case opExec:
		o = h.exec(s, r)
	case opRead, opWrite, opList:
		o = h.file(s, r)
	case opDial:
		o = h.dial(s, r)
	default:
		o = failed(stead.Errorf(stead.KindNotImplemented, "this executor can't do that: it is older than the server"))
	}
	s.sayResult(o)
}

// open makes the environment resident until it ends, is cancelled or the conversation ends. One that
// is open already ends first: there is one workspace.
func (h *host) open(s *stream, r request) outcome {
	h.mu.Lock()
	if h.own != nil {
		h.own.cancel()
	}
	h.mu.Unlock()
	h.turn.Lock()
	defer h.turn.Unlock()
	spec := environment.Spec{ID: h.config.environment, Workspace: h.config.Workspace, Env: variableMap(r.Env)}
	if r.Limits != nil {
		spec.Limits = *r.Limits
	}
	env, err := h.config.Sandbox.Open(s.ctx, spec)
	if err != nil {
		return failed(err)
	}
	h.set(env, s)
	s.sayReady()
	select {
	case <-env.Done():
	case <-s.ctx.Done():
	}
	h.set(nil, nil)
	usage := env.Usage()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if err := env.Close(ctx); err != nil {
		h.config.Log.Warn("the environment did not end as it should", "err", err)
		return failed(err)
	}
	return outcome{Done: true, Usage: &usage}
}

func (h *host) set(env environment.Environment, own *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.env, h.own = env, own
}

// resident returns the environment that a stream opened.
func (h *host) resident(id uint64) (environment.Environment, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.env == nil || h.own.id != id {
		return nil, &environment.NotStartedError{Err: stead.Errorf(stead.KindUnavailable, "the environment has ended")}
	}
	return h.env, nil
}

func (h *host) exec(s *stream, r request) outcome {
	env, err := h.resident(r.In)
	if err != nil {
		return failed(err)
	}
	c := environment.Command{Dir: string(r.Dir), Env: variableMap(r.Env), Timeout: r.Timeout, OutputBytes: r.OutputBytes}
	for _, a := range r.Args {
		c.Args = append(c.Args, string(a))
	}
	if r.Stdin {
		c.Stdin = &reader{s: s, ctx: s.ctx}
	}
	write, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer context.AfterFunc(s.ctx, func() { // killed: its last output may still leave
		t := time.AfterFunc(drainTime, cancel)
		context.AfterFunc(write, func() { t.Stop() })
	})()
	x, err := env.Exec(s.ctx, c, func(piece environment.Chunk) {
		channel := channelStdout
		if piece.Stream == environment.Stderr {
			channel = channelStderr
		}
		_ = s.write(write, channel, piece.Data) // fails once nobody wants it
	})
	if h.config.Ran != nil {
		h.config.Ran(c.Args, x, err)
	}
	if err != nil {
		return failed(err)
	}
	usage := env.Usage()
	return outcome{Done: true, Usage: &usage, Exit: &exit{x.Code, string(x.Reason), x.Duration, x.CPU}}
}

func (h *host) file(s *stream, r request) outcome {
	select {
	case h.files <- struct{}{}:
		defer func() { <-h.files }()
	case <-s.ctx.Done():
		return failed(s.ctx.Err())
	}
	env, err := h.resident(r.In)
	if err == nil {
		switch r.Op {
		case opRead:
			err = h.read(env, s, r)
		case opWrite:
			err = h.write(env, s, r)
		default:
			err = h.list(env, s, r)
		}
	}
	if err != nil {
		return failed(err)
	}
	return outcome{Done: true}
}

func (h *host) read(env environment.Environment, s *stream, r request) error {
	return env.CopyFile(s.ctx, string(r.Path), min(max(r.Size, 0), environment.MaxFileBytes), sending{s})
}

// sending writes the data of a stream.
type sending struct{ s *stream }

func (w sending) Write(p []byte) (int, error) {
	if err := w.s.write(w.s.ctx, channelIn, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (h *host) write(env environment.Environment, s *stream, r request) error {
	if r.Size < 0 || r.Size > environment.MaxFileBytes {
		return stead.Errorf(stead.KindTooLarge, "a file has at most %d bytes", environment.MaxFileBytes)
	}
	data, err := io.ReadAll(io.LimitReader(&reader{s: s, ctx: s.ctx}, r.Size+1))
	if err != nil {
		return err
	}
	if int64(len(data)) != r.Size {
		return stead.Errorf(stead.KindInvalid, "the file has another size than was announced")
	}
	return env.WriteFile(s.ctx, string(r.Path), data, r.Executable)
}

func (h *host) list(env environment.Environment, s *stream, r request) error {
	found, err := env.List(s.ctx, environment.ListQuery{Dir: string(r.Dir), After: string(r.After), Desc: r.Desc, Limit: r.Limit})
	if err != nil {
		return err
	}
	p := page{Files: make([]pageFile, len(found.Files)), More: found.More}
	for i, f := range found.Files {
		p.Files[i] = pageFile{[]byte(f.Path), f.Size}
	}
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return s.write(s.ctx, channelIn, data)
}

// dial connects from this machine, where its user allowed that.
func (h *host) dial(s *stream, r request) outcome {
	if h.config.Dial == nil || r.Network != "tcp" {
		e := stead.Errorf(stead.KindForbidden, "the executor makes no network connections for the server")
		e.Hint = "Its user can allow them: stead executor --allow-dial HOST:PORT."
		return failed(e)
	}
	if _, err := h.resident(r.In); err != nil {
		return failed(err)
	}
	ctx, cancel := context.WithTimeout(s.ctx, dialTime)
	conn, err := h.config.Dial(ctx, r.Network, r.Address)
	cancel()
	if err != nil {
		return failed(stead.Wrap(stead.KindUnavailable, err, "the executor could not connect"))
	}
	defer context.AfterFunc(s.ctx, func() { conn.Close() })()
	defer conn.Close()
	s.sayReady()
	go func() { // ends with s.ctx at the latest
		_, _ = io.Copy(conn, &reader{s: s, ctx: s.ctx})
		closeWrite(conn)
	}()
	buf := make([]byte, MaxDataBytes)
	for {
		n, err := conn.Read(buf)
		if s.write(s.ctx, channelIn, buf[:n]) != nil || err != nil {
			return outcome{Done: true}
		}
	}
}

// closeWrite says to the other side of a connection that nothing more comes.
func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
