// Package origin lets tool servers run inside an environment, and be reached from it: it is
// tool.Origin over environment.Environment.
//
// Shape:
//
//	tool server's stdin  ──▶ pipe ──▶ Command.Stdin ┐
//	                 stdout ◀── pipe ◀── Chunk Stdout ├ Exec, for as long as the environment is resident
//	                 stderr ◀── Writer ◀ Chunk Stderr ┘
//
// Delivery: bytes in order, as the environment gives them. A reader that does not read holds the
// command's output up, and nothing else: no byte is buffered here. The process is killed when its
// stream is closed and has not left within CloseGrace, when the environment ends, and after
// environment.MaxCommandTime.
//
// Errors: those of Open and Dial as they are. How a process ended is the error of its stream's Read.
//
// Source: the Agents API's mcp tool, connection_origin and the stdio transport (npm openai 7.57.0,
// resources/beta/agents).
package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/tool"
)

// CloseGrace is how long a process may take to leave once its stdin is closed.
const CloseGrace = 500 * time.Millisecond

// Dialer is an environment that can connect from where it is, by rules of its own.
type Dialer interface {
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// Config says what an origin stands for. Only Key and Open are required.
type Config struct {
	// Key names the session whose environment it is: see tool.Origin.
	Key string
	// Open returns the session's environment, and starts or resumes it when it is not resident.
	Open func(ctx context.Context) (environment.Environment, error)
	// Dial connects by the environment's egress rules. nil: environments that are a Dialer do it
	// themselves, and others can't.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Origin implements tool.Origin.
type Origin struct{ config Config }

var _ tool.Origin = (*Origin)(nil)

// New returns an origin. It opens the environment when something is to be done there, not before.
func New(c Config) *Origin { return &Origin{config: c} }

// Key implements tool.Origin.
func (o *Origin) Key() string { return o.config.Key }

// Dial implements tool.Origin.
func (o *Origin) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if o.config.Dial != nil {
		return o.config.Dial(ctx, network, address)
	}
	env, err := o.config.Open(ctx)
	if err != nil {
		return nil, err
	}
	if d, ok := env.(Dialer); ok {
		return d.Dial(ctx, network, address)
	}
	e := stead.Errorf(stead.KindNotImplemented, "connections can't be made from this environment")
	e.Hint = `Send connection_origin "service", or run the server in the environment with a stdio transport.`
	return nil, e
}

// Start implements tool.Origin.
func (o *Origin) Start(ctx context.Context, c tool.Command, stderr io.Writer) (io.ReadWriteCloser, error) {
	env, err := o.config.Open(ctx)
	if err != nil {
		return nil, err
	}
	s := &stream{done: make(chan struct{})}
	fromStdin, stdin := io.Pipe()
	stdout, toStdout := io.Pipe()
	s.stdin, s.stdout = stdin, stdout
	life, kill := context.WithCancel(context.WithoutCancel(ctx)) // ctx is of the start alone
	s.kill = kill
	go func() {
		defer close(s.done)
		defer kill()
		exit, err := env.Exec(life, environment.Command{
			Args: c.Args, Dir: c.Dir, Stdin: fromStdin, Timeout: environment.MaxCommandTime, OutputBytes: environment.Unbounded,
		}, func(chunk environment.Chunk) {
			to := io.Writer(toStdout)
			if chunk.Stream == environment.Stderr {
				to = stderr
			}
			_, _ = to.Write(chunk.Data) // fails once nobody reads any more
		})
		fromStdin.CloseWithError(io.ErrClosedPipe)
		toStdout.CloseWithError(ended(exit, err))
	}()
	return s, nil
}

// ended says how a process ended, io.EOF for well.
func ended(exit environment.Exit, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("the tool server's command in the environment: %w", err)
	case exit.Reason != "":
		return fmt.Errorf("the tool server's command in the environment was ended: %s", exit.Reason)
	case exit.Code == notFoundCode:
		return errors.New("the tool server's command was not found in the environment (exit code 127)")
	case exit.Code != 0:
		return fmt.Errorf("the tool server's command in the environment ended with exit code %d", exit.Code)
	}
	return io.EOF
}

// notFoundCode is the exit code by which shells, and drivers after their example, say that there is
// no such program.
const notFoundCode = 127

// stream is a process's stdin and stdout.
type stream struct {
	stdin  *io.PipeWriter
	stdout *io.PipeReader
	kill   context.CancelFunc
	done   chan struct{} // closed when Exec has returned
}

// Read is the process's stdout.
func (s *stream) Read(p []byte) (int, error) { return s.stdout.Read(p) }

// Write is the process's stdin.
func (s *stream) Write(p []byte) (int, error) { return s.stdin.Write(p) }

// Close ends the process: it may leave by itself within CloseGrace.
func (s *stream) Close() error {
	s.stdin.Close()
	s.stdout.CloseWithError(io.ErrClosedPipe) // what it still says is not heard, and holds nothing up
	grace := time.AfterFunc(CloseGrace, s.kill)
	defer grace.Stop()
	<-s.done
	return nil
}
