package executor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// box is one resident environment of an executor, as the server sees it. It implements
// environment.Environment, and connects from there by Dial.
type box struct {
	provider  *Provider
	c         *conversation
	info      Info
	spec      environment.Spec
	limits    environment.Limits
	residence *stream       // lasts as long as the environment
	slots     chan struct{} // one token for each command that runs
	done      chan struct{}
	life      context.Context // ends with done or Close
	end       context.CancelFunc

	mu    sync.Mutex
	usage environment.Usage
	said  int64 // bytes of output, as the executor counts them: with those that it cut
}

var _ environment.Environment = (*box)(nil)

func newBox(p *Provider, c *conversation, info Info, spec environment.Spec, limits environment.Limits, residence *stream) *box {
	b := &box{
		provider: p, c: c, info: info, spec: spec, limits: limits, residence: residence,
		slots: make(chan struct{}, environment.MaxParallelCommands), done: make(chan struct{}),
	}
	b.life, b.end = context.WithCancel(context.Background())
	go func() { // ends with the environment, or with the conversation
		o, _ := residence.await(context.Background())
		b.count(0, 0, o.Usage)
		p.forget(b)
		b.end()
		close(b.done)
	}()
	return b
}

// Info is what the executor says of itself.
func (b *box) Info() Info { return b.info }

// Done implements environment.Environment.
func (b *box) Done() <-chan struct{} { return b.done }

// Usage implements environment.Environment: commands and output as they were seen here, the rest as
// the executor says.
func (b *box) Usage() environment.Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	u := b.usage
	u.OutputBytes = max(u.OutputBytes, b.said)
	return u
}

func (b *box) count(commands, output int64, said *environment.Usage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.usage = usageOf(b.usage, said)
	if said != nil {
		b.said = max(b.said, min(said.OutputBytes, maxUsage))
	}
	b.usage.Commands += commands
	b.usage.OutputBytes += output
}

// Close implements environment.Environment. While the executor is away it can't be done: the error is
// KindUnavailable then, and the executor does it when it is back or has been away for too long.
func (b *box) Close(ctx context.Context) error {
	b.residence.stop()
	ctx, cancel := context.WithTimeout(ctx, b.provider.hub.timing.KillGrace)
	defer cancel()
	_, err := b.residence.await(ctx)
	b.end()
	if err != nil && b.c.cause() == nil {
		return stead.Wrap(stead.KindUnavailable, err, "the environment's executor did not say that everything has ended there")
	}
	<-b.done
	return nil
}

// begin starts an operation, or says why it surely was not started.
func (b *box) begin(ctx context.Context, r request) (*stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if b.life.Err() != nil {
		return nil, stead.Errorf(stead.KindUnavailable, "the environment has ended")
	}
	if c, _, err := b.provider.hub.conversation(b.spec.ID); err != nil {
		return nil, err
	} else if c != b.c {
		return nil, stead.Errorf(stead.KindUnavailable, "the environment has ended: its executor has begun anew")
	}
	r.In = b.residence.id
	return b.c.open(r)
}

// finish waits for the outcome of an operation that has none but success.
func (b *box) finish(ctx context.Context, s *stream) error {
	o, err := s.await(ctx)
	if err == nil {
		err = o.err()
	}
	return lost(err)
}

// collect reads the data of an operation, at most so many bytes, and its outcome.
func (b *box) collect(ctx context.Context, s *stream, most int64) ([]byte, error) {
	var data bytes.Buffer
	if err := b.pass(ctx, s, most, &data); err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

// pass writes the data of an operation to w as it comes, at most so many bytes, and waits for its outcome.
func (b *box) pass(ctx context.Context, s *stream, most int64, w io.Writer) error {
	for left := most; ; {
		c, err := s.take(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return lost(err)
		}
		if left -= int64(len(c.data)); left < 0 {
			return stead.Errorf(stead.KindTooLarge, "the executor sent more than the %d bytes that were asked for", most)
		}
		if _, err := w.Write(c.data); err != nil {
			return err
		}
		s.use(len(c.data))
	}
	return b.finish(ctx, s)
}

// ReadFile implements environment.Environment.
func (b *box) ReadFile(ctx context.Context, path string, most int64) ([]byte, error) {
	most = min(most, environment.MaxFileBytes)
	s, err := b.begin(ctx, request{Op: opRead, Path: []byte(path), Size: most})
	if err != nil {
		return nil, lost(err)
	}
	defer s.forget()
	return b.collect(ctx, s, most)
}

// CopyFile implements environment.Environment.
func (b *box) CopyFile(ctx context.Context, path string, most int64, w io.Writer) error {
	most = min(most, environment.MaxFileBytes)
	s, err := b.begin(ctx, request{Op: opRead, Path: []byte(path), Size: most})
	if err != nil {
		return lost(err)
	}
	defer s.forget()
	return b.pass(ctx, s, most, w)
}

// WriteFile implements environment.Environment.
func (b *box) WriteFile(ctx context.Context, path string, data []byte, executable bool) error {
	if len(data) > environment.MaxFileBytes {
		return stead.Errorf(stead.KindTooLarge, "a file has at most %d bytes, and this one %d", environment.MaxFileBytes, len(data))
	}
	s, err := b.begin(ctx, request{Op: opWrite, Path: []byte(path), Size: int64(len(data)), Executable: executable})
	if err != nil {
		return lost(err)
	}
	defer s.forget()
	if err := s.write(ctx, channelIn, data); err != nil && !errors.Is(err, errStreamOver) { // refused early: the outcome says why
		return lost(err)
	}
	s.finish()
	return b.finish(ctx, s)
}

// List implements environment.Environment.
func (b *box) List(ctx context.Context, q environment.ListQuery) (environment.FilePage, error) {
	s, err := b.begin(ctx, request{Op: opList, Dir: []byte(q.Dir), After: []byte(q.After), Desc: q.Desc, Limit: q.Limit})
	if err != nil {
		return environment.FilePage{}, lost(err)
	}
	defer s.forget()
	data, err := b.collect(ctx, s, MaxListBytes)
	if err != nil {
		return environment.FilePage{}, err
	}
	var p page
	if err := json.Unmarshal(data, &p); err != nil || len(p.Files) > q.Limit {
		return environment.FilePage{}, stead.Errorf(stead.KindUnavailable, "the executor's list of files can't be read")
	}
	found := environment.FilePage{Files: make([]environment.File, 0, len(p.Files)), More: p.More && len(p.Files) > 0}
	for _, f := range p.Files {
		if len(f.Path) > environment.MaxPathBytes || f.Size < 0 {
			return environment.FilePage{}, stead.Errorf(stead.KindUnavailable, "the executor's list of files has an impossible file")
		}
		found.Files = append(found.Files, environment.File{Path: string(f.Path), Size: f.Size})
	}
	return found, nil
}

// Checkpoint implements environment.Environment: the workspace is its user's, and stays where it is.
func (b *box) Checkpoint(context.Context, environment.Blobs, string) (environment.Checkpoint, error) {
	return environment.Checkpoint{}, stead.Errorf(stead.KindNotImplemented, "the workspace of a self-hosted environment stays on its machine: it has no checkpoints here")
}

// Dial connects from the executor's network, where its user allowed that: KindForbidden else.
func (b *box) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	s, err := b.begin(ctx, request{Op: opDial, Network: network, Address: address})
	if err == nil {
		if err = s.isReady(ctx); err != nil {
			s.forget()
		}
	}
	if err != nil {
		return nil, lost(err)
	}
	ours, theirs := net.Pipe()
	go func() {
		buf := make([]byte, MaxDataBytes)
		for {
			n, err := theirs.Read(buf)
			if s.write(s.ctx, channelIn, buf[:n]) != nil || err != nil {
				break
			}
		}
		s.stop() // nobody here wants the connection any more
	}()
	go func() {
		_, _ = io.Copy(theirs, &reader{s: s, ctx: b.life})
		s.forget()
		theirs.Close()
	}()
	return ours, nil
}
