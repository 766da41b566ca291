package executor

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// cutNoteBytes is room for what an executor writes where it cut a command's output.
const cutNoteBytes = 256

// Exec implements environment.Environment.
func (b *box) Exec(ctx context.Context, c environment.Command, out func(environment.Chunk)) (environment.Exit, error) {
	if err := c.Check(b.spec.Env); err != nil {
		return environment.Exit{}, err
	}
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return environment.Exit{}, &environment.NotStartedError{Err: ctx.Err()}
	case <-b.life.Done():
		return environment.Exit{}, &environment.NotStartedError{Err: stead.Errorf(stead.KindUnavailable, "the environment has ended")}
	}
	if c.Timeout == 0 {
		c.Timeout = b.limits.CommandTime
	}
	if c.OutputBytes == 0 {
		c.OutputBytes = b.limits.OutputBytes
	}
	r := request{Op: opExec, Dir: []byte(c.Dir), Env: variables(c.Env), Stdin: c.Stdin != nil, Timeout: c.Timeout, OutputBytes: c.OutputBytes}
	for _, a := range c.Args {
		r.Args = append(r.Args, []byte(a))
	}
	s, err := b.begin(ctx, r)
	if err != nil {
		return environment.Exit{}, &environment.NotStartedError{Err: lost(err)}
	}
	defer s.forget()
	if c.Stdin != nil {
		go s.feed(c.Stdin)
	}
	exit, err := b.run(ctx, s, c, out)
	if closer, ok := c.Stdin.(io.Closer); ok {
		closer.Close() // a reader that blocks is abandoned
	}
	return exit, err
}

// feed sends a command's stdin.
func (s *stream) feed(from io.Reader) {
	buf := make([]byte, MaxDataBytes)
	for {
		n, err := from.Read(buf)
		if s.write(s.ctx, channelIn, buf[:n]) != nil {
			return
		}
		if err != nil {
			s.finish()
			return
		}
	}
}

// run passes the output of a started command on, and waits for its outcome.
func (b *box) run(ctx context.Context, s *stream, c environment.Command, out func(environment.Chunk)) (environment.Exit, error) {
	wait, cancel := b.kills(ctx, s, c.Timeout)
	defer cancel()
	limit := c.OutputBytes
	if limit >= 0 {
		limit += cutNoteBytes // the executor has cut it
	}
	output := environment.NewOutput(limit, out)
	began := time.Now()
	for {
		var piece chunk
		var err error
		if piece, err = s.take(wait); err != nil {
			break // at its end, or for a reason that the outcome has too
		}
		if piece.channel == channelStderr {
			output.Write(environment.Stderr, piece.data)
		} else {
			output.Write(environment.Stdout, piece.data)
		}
		s.use(len(piece.data))
	}
	o, err := s.await(wait)
	b.count(1, output.Close(), o.Usage)
	switch {
	case errors.Is(err, errUnheard):
		return environment.Exit{}, &environment.NotStartedError{Err: lost(err)}
	case err != nil:
		return environment.Exit{}, unknown(err)
	case o.NotStarted && o.Error != nil:
		return environment.Exit{}, &environment.NotStartedError{Err: o.err()}
	case o.Exit == nil || o.Error != nil:
		return environment.Exit{}, unknown(o.err())
	}
	exit := o.exitOf()
	if exit.Duration == 0 {
		exit.Duration = time.Since(began)
	}
	return exit, nil
}

// kills returns a context that ends when the outcome is waited for no longer: KillGrace after the
// executor was asked to kill the command, because ctx or the environment ended, or because the
// executor, whose task that is, did not mind the timeout.
func (b *box) kills(ctx context.Context, s *stream, timeout time.Duration) (context.Context, context.CancelFunc) {
	grace := b.provider.hub.timing.KillGrace
	ctx, cancelTimeout := context.WithTimeout(ctx, timeout+grace)
	wait, giveUp := context.WithCancel(context.Background())
	kill := func() {
		s.stop()
		t := time.AfterFunc(grace, giveUp)
		context.AfterFunc(wait, func() { t.Stop() })
	}
	stopCtx := context.AfterFunc(ctx, kill)
	stopLife := context.AfterFunc(b.life, kill)
	return wait, func() {
		stopCtx()
		stopLife()
		giveUp()
		cancelTimeout()
	}
}

// unknown is the error of a command whose outcome is missing.
func unknown(err error) error {
	return &stead.Error{
		Kind: stead.KindUnavailable, Code: codeDisconnect, Err: err,
		Message: "the environment's executor was lost while the command ran: whether and how far it ran is unknown",
	}
}
