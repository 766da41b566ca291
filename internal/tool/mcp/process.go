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
	"os/exec"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
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

// process is the stdio transport: one process a link, JSON-RPC messages in lines.
//
// The SDK's own CommandTransport is not used: it ends only the process and not its children, its
// writes can't be called off, and a line on stdout that is no JSON breaks it.
type process struct {
	config Configured
	log    *slog.Logger
	life   context.Context // its end kills
	work   *sync.WaitGroup
}

// Connect implements the SDK's Transport: it starts the process.
func (p *process) Connect(ctx context.Context) (sdk.Connection, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cmd := exec.Command(p.config.Command, p.config.Args...)
	cmd.Dir = p.config.Dir
	cmd.Env = environment(p.config.Env)
	ownGroup(cmd)
	ours, theirs, err := pipes()
	if err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs[0], theirs[1], theirs[2]
	err = cmd.Start()
	closeAll(theirs)
	if err != nil {
		closeAll(ours)
		return nil, fmt.Errorf("start the tool server's command: %w", err)
	}
	c := &lines{
		cmd: cmd, stdin: ours[0], stdout: ours[1], stderr: ours[2], log: p.log.With("server", p.config.Label),
		write: make(chan struct{}, 1), incoming: make(chan incoming), exited: make(chan struct{}), closed: make(chan struct{}),
	}
	p.work.Go(c.await)
	p.work.Go(c.readMessages)
	p.work.Go(c.readLog)
	context.AfterFunc(p.life, c.kill)
	return c, nil
}

// environment is the little that a server needs of ours, and what the operator gives it.
func environment(more map[string]string) []string {
	env := []string{}
	for _, name := range []string{"PATH", "HOME", "LANG"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for name, value := range more {
		env = append(env, name+"="+value) // the last of equal names counts
	}
	return env
}

// pipes makes stdin, stdout and stderr: our ends and the process's.
func pipes() (ours, theirs []*os.File, err error) {
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(ours)
			closeAll(theirs)
			return nil, nil, err
		}
		if i == 0 {
			r, w = w, r
		}
		ours, theirs = append(ours, r), append(theirs, w)
	}
	return ours, theirs, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// lines is the connection to a process. It implements the SDK's Connection.
type lines struct {
	cmd                   *exec.Cmd
	stdin, stdout, stderr *os.File
	log                   *slog.Logger
	write                 chan struct{} // holds one token while somebody writes
	incoming              chan incoming
	exited                chan struct{} // closed when the process and its group are gone
	closed                chan struct{} // closed by Close
	once                  sync.Once
}

type incoming struct {
	message jsonrpc.Message
	err     error
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
	calledOff := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.stdin.SetWriteDeadline(time.Unix(1, 0))
		close(calledOff)
	})
	n, err := c.stdin.Write(append(data, '\n'))
	if !stop() {
		<-calledOff
		c.stdin.SetWriteDeadline(time.Time{})
	}
	if err != nil && n > 0 {
		c.stdin.Close() // the server would take the next message for the rest of this one
	}
	return err
}

// Close implements the SDK's Connection. As the protocol asks: close stdin, then signal, then kill.
func (c *lines) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.stdin.Close()
		if !c.exitsWithin(CloseGrace / 4) {
			terminateGroup(c.cmd)
			if !c.exitsWithin(CloseGrace / 4) {
				killGroup(c.cmd)
				<-c.exited
			}
		}
		c.stdout.Close()
		c.stderr.Close()
	})
	return nil
}

func (c *lines) exitsWithin(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c.exited:
		return true
	case <-t.C:
		return false
	}
}

func (c *lines) kill() {
	select {
	case <-c.exited: // the number may belong to somebody else by now
	default:
		killGroup(c.cmd)
	}
}

// await reaps the process, and ends what it left behind in its group: a grandchild that holds
// stdout would keep the connection open for ever.
func (c *lines) await() {
	err := c.cmd.Wait()
	killGroup(c.cmd)
	close(c.exited)
	c.log.Debug("tool server process ended", "status", c.cmd.ProcessState.String(), "err", err)
}

func (c *lines) readMessages() {
	defer close(c.incoming)
	r := bufio.NewReaderSize(c.stdout, 64<<10)
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
func (c *lines) readLog() {
	r := bufio.NewReaderSize(c.stderr, maxLogLine)
	since, count := time.Now(), 0
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			if time.Since(since) > logWindow {
				since, count = time.Now(), 0
			}
			if count++; count <= maxLogLines {
				c.log.Info("tool server stderr", "line", clip(string(bytes.TrimRight(line, "\r\n")), maxLogLine))
			}
			if count == maxLogLines {
				c.log.Warn("tool server writes too much to stderr; more of it is not logged for a while")
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
