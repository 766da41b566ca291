package origin_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// bare is an environment that is none: commands are bare processes. It is for tests that are about
// what lies before an environment. What it does not need is not there.
type bare struct {
	environment.Environment
	t    *testing.T
	dir  string
	life context.Context
	end  context.CancelFunc
	work sync.WaitGroup

	mu       sync.Mutex
	commands int // that were started
}

func openBare(t *testing.T) *bare {
	b := &bare{t: t, dir: t.TempDir()}
	b.life, b.end = context.WithCancel(context.Background())
	t.Cleanup(func() { b.Close(context.Background()) })
	return b
}

func (b *bare) started() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.commands
}

func (b *bare) Done() <-chan struct{} { return b.life.Done() }

func (b *bare) Close(context.Context) error {
	b.end()
	b.work.Wait()
	return nil
}

// Exec runs the command in a process group of its own.
func (b *bare) Exec(ctx context.Context, c environment.Command, out func(environment.Chunk)) (environment.Exit, error) {
	if b.life.Err() != nil {
		return environment.Exit{}, &environment.NotStartedError{Err: stead.Errorf(stead.KindUnavailable, "the environment is closed")}
	}
	b.work.Add(1)
	defer b.work.Done()
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Dir = b.dir
	cmd.Env = os.Environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var serial sync.Mutex
	cmd.Stdout, cmd.Stderr = &sink{&serial, environment.Stdout, out}, &sink{&serial, environment.Stderr, out}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return environment.Exit{}, err
	}
	if err := cmd.Start(); err != nil {
		return environment.Exit{}, &environment.NotStartedError{Err: err}
	}
	b.mu.Lock()
	b.commands++
	b.mu.Unlock()
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := c.Stdin.Read(buf)
			if _, werr := stdin.Write(buf[:n]); err != nil || werr != nil {
				stdin.Close()
				return
			}
		}
	}()
	kill := func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	defer context.AfterFunc(ctx, kill)()
	defer context.AfterFunc(b.life, kill)()
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if ctx.Err() != nil || b.life.Err() != nil {
			return environment.Exit{Code: -1, Reason: environment.ReasonCancelled}, nil
		}
		return environment.Exit{Code: exit.ExitCode()}, nil
	}
	return environment.Exit{}, err
}

type sink struct {
	mu     *sync.Mutex
	stream environment.Stream
	out    func(environment.Chunk)
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out(environment.Chunk{Stream: s.stream, Data: p})
	return len(p), nil
}

// networked is an environment that dials by itself.
type networked struct {
	*bare
	dialled chan string
}

func (n networked) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.dialled <- address
	return (&net.Dialer{}).DialContext(ctx, network, address)
}
