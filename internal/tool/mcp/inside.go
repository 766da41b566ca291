package mcp

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead/internal/tool"
)

// inside is the stdio transport of a server that a request declares: one process a link, inside the
// session's environment and never on this host.
type inside struct {
	command tool.Command
	origin  tool.Origin
	label   string
	log     *slog.Logger
	life    context.Context // its end kills
	work    *sync.WaitGroup
}

// Connect implements the SDK's Transport: it starts the process, and the environment if need be.
func (p *inside) Connect(ctx context.Context) (sdk.Connection, error) {
	log := p.log.With("server", p.label)
	fromStderr, stderr := io.Pipe()
	stream, err := p.origin.Start(ctx, p.command, stderr)
	if err != nil {
		stderr.Close()
		return nil, err
	}
	g := &guest{stream: stream, stderr: stderr}
	l := newLines(g, log)
	p.work.Go(l.readMessages)
	p.work.Go(func() { readLog(log, fromStderr) })
	context.AfterFunc(p.life, g.end)
	return l, nil
}

// guest is a process inside an environment. It implements peer.
type guest struct {
	stream io.ReadWriteCloser
	stderr *io.PipeWriter
	once   sync.Once
}

// Read implements peer.
func (g *guest) Read(p []byte) (int, error) { return g.stream.Read(p) }

// send writes beside its caller: the stream knows no deadlines. A server that does not read is of no
// further use, so a write that is called off ends it.
func (g *guest) send(ctx context.Context, message []byte) error {
	done := make(chan error, 1)
	go func() {
		_, err := g.stream.Write(message)
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done: // it had the message, and may have answered it, before this goroutine heard of it
		return err
	case <-time.After(calledOffGrace):
		go g.end()
		return ctx.Err()
	}
}

// calledOffGrace is how long a write that is called off may still turn out to have been read.
const calledOffGrace = 200 * time.Millisecond

func (g *guest) end() {
	g.once.Do(func() {
		_ = g.stream.Close() // nobody can do anything about it
		g.stderr.Close()
	})
}
