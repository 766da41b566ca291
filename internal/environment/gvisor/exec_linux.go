package gvisor

import (
	"context"
	"encoding/base64"
	"errors"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// maxDirBytes is the longest path that the kernel takes, inside as well.
const maxDirBytes = 4095

// running is a command that runs.
type running struct {
	cut  context.CancelCauseFunc // ends it, for a reason
	over chan struct{}           // closed when it has ended
}

// cutFor is why a command was ended before its end.
type cutFor environment.Reason

func (c cutFor) Error() string { return "ended for the reason " + string(c) }

// Exec implements environment.Environment.
func (b *box) Exec(ctx context.Context, c environment.Command, out func(environment.Chunk)) (environment.Exit, error) {
	if err := c.Check(b.env); err != nil {
		return environment.Exit{}, err
	}
	if len(c.Dir) > maxDirBytes {
		return environment.Exit{}, environment.NotStarted(stead.Invalid("dir", "a directory's path has at most %d bytes", maxDirBytes))
	}
	select {
	case b.slots <- struct{}{}:
		defer func() { <-b.slots }()
	case <-ctx.Done():
		return environment.Exit{}, environment.NotStarted(stead.Wrap(stead.KindUnavailable, ctx.Err(), "as many commands as may run at once are running"))
	case <-b.process.dead:
	}
	if ctx.Err() != nil {
		return environment.Exit{}, environment.NotStarted(stead.Wrap(stead.KindUnavailable, ctx.Err(), "the call has ended"))
	}
	select {
	case <-b.process.dead:
		return environment.Exit{}, environment.NotStarted(stead.Errorf(stead.KindUnavailable, "the environment has ended"))
	default:
	}
	s, err := environment.OpenStreams(c.Stdin != nil)
	if err != nil {
		return environment.Exit{}, environment.NotStarted(err)
	}
	defer s.Close() // a process in the background meets a closed pipe
	return b.exec(ctx, c, s, out)
}

func (b *box) exec(ctx context.Context, c environment.Command, s *environment.Streams, out func(environment.Chunk)) (environment.Exit, error) {
	begin := time.Now()
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	defer time.AfterFunc(c.TimeLimit(b.spec.Limits), func() { cut(cutFor(environment.ReasonTimeout)) }).Stop()

	var id uint64
	cleared, err := b.room.Start(ctx, func() (err error) {
		if err = b.crowded(); err != nil {
			return err
		}
		if id, err = b.process.send(wire.Request{Exec: command(c, b.env)}, s.Theirs()...); err != nil {
			return environment.NotStarted(stead.Wrap(stead.KindUnavailable, err, "the environment has ended"))
		}
		return nil
	})
	s.CloseTheirs()
	if err != nil {
		return environment.Exit{}, err
	}
	defer b.process.forget(id)
	over := make(chan struct{})
	b.enter(id, &running{cut, over})
	output := c.Output(b.spec.Limits, out)
	if cleared != "" {
		note := b.room.Cleared(cleared)
		output.Write(note.Stream, note.Data)
	}
	if err := s.Start(c.Stdin, output); err != nil {
		_ = b.end() // the command runs, and nobody would hear it
		return environment.Exit{}, err
	}
	status, err := b.await(ctx, id)
	var killed error // why it was ended
	if err == errKilled {
		killed, err = context.Cause(ctx), nil
	}
	s.Finish(c.Stdin)
	total := output.Close()
	b.leave(id, total, err)
	close(over)
	return b.exit(status, killed, time.Since(begin), err)
}

// errKilled says that a command was killed because its context had ended.
var errKilled = errors.New("killed")

// await waits for the end of a command, and kills it when ctx ends.
func (b *box) await(ctx context.Context, id uint64) (wire.Exited, error) {
	started := false
	for {
		r, err := b.process.wait(ctx, id)
		switch {
		case err == nil && r.Exited != nil:
			return *r.Exited, nil
		case err == nil:
			started = true
			continue
		case ctx.Err() != nil && !isRefusal(err):
			b.killCommand(id)
			return wire.Exited{}, errKilled
		case !started && isRefusal(err):
			return wire.Exited{}, environment.NotStarted(stead.Wrap(stead.KindInvalid, err, "the program or its directory is not there, or can't be run"))
		case isRefusal(err):
			b.giveUp("its kernel did not know any more how a command goes") // it is dying
		}
		return wire.Exited{}, unavailable(err, "wait for a command")
	}
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[refusal](err)
	return ok
}

// killCommand kills a command's process group, again until its end is there: it may fork meanwhile,
// or not have started yet. A sandbox that can't do it is killed as a whole.
func (b *box) killCommand(id uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), killTime)
	defer cancel()
	var refused error
	for wait := time.Millisecond; ; wait *= 2 {
		if _, refused = b.process.call(ctx, wire.Request{Kill: &wire.Kill{Exec: id}}); refused != nil {
			break
		}
		soon, stop := context.WithTimeout(ctx, wait)
		r, err := b.process.wait(soon, id)
		if err == nil && r.Exited == nil { // it has just started
			r, err = b.process.wait(soon, id)
		}
		stop()
		if err == nil && r.Exited != nil || isRefusal(err) { // a refusal: it did not start
			return
		}
		if ctx.Err() != nil || b.ended() {
			break
		}
	}
	b.unkilled(ctx, refused, "a command", killTime)
}

func (b *box) ended() bool {
	select {
	case <-b.process.dead:
		return true
	default:
		return false
	}
}

// exit puts together how a command ended.
func (b *box) exit(status wire.Exited, killed error, took time.Duration, err error) (environment.Exit, error) {
	e := environment.Exit{Duration: took, Code: -1}
	if killed != nil {
		e.Reason = environment.ReasonCancelled
		if why, ok := errors.AsType[cutFor](killed); ok {
			e.Reason = environment.Reason(why)
		}
		return e, nil
	}
	if err != nil {
		if b.ended() {
			e.Reason = b.whyEnded()
		}
		if e.Reason != "" {
			return e, nil
		}
		return environment.Exit{}, err
	}
	w := syscall.WaitStatus(status.Status)
	switch {
	case w.Exited():
		e.Code = w.ExitStatus()
	case w.Signaled():
		e.Code = 128 + int(w.Signal())
	}
	return e, nil
}

// whyEnded is why the environment ended under a command: it was told to, or memory was used up.
func (b *box) whyEnded() environment.Reason {
	_ = b.end() // to its end: only then it is known
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reason == "" && b.process.memory {
		return environment.ReasonMemory
	}
	return b.reason
}

func (b *box) enter(id uint64, r *running) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.commands[id] = r
}

func (b *box) leave(id uint64, output int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.commands, id)
	if _, ok := errors.AsType[*environment.NotStartedError](err); !ok {
		b.usage.Commands++
	}
	b.usage.OutputBytes += output
}

// command is c as it is sent. gVisor takes text alone: what is no text goes through a program of ours
// inside, which starts the command with the bytes that were meant.
func command(c environment.Command, env map[string]string) *wire.Exec {
	e := &wire.Exec{Args: c.Args, Env: c.Environ(env), Dir: c.Dir}
	if e.Dir == "" {
		e.Dir = environment.WorkspaceDir
	}
	if text(e.Args) && text(e.Env) {
		return e
	}
	args := []string{wire.InsideProgram, wire.ExecArg}
	for _, list := range [][]string{e.Args, e.Env} {
		for _, s := range list {
			args = append(args, base64.StdEncoding.EncodeToString([]byte(s)))
		}
		args = append(args, wire.ExecEnd)
	}
	e.Args, e.Env = args, nil
	return e
}

func text(list []string) bool {
	for _, s := range list {
		if !utf8.ValidString(s) {
			return false
		}
	}
	return true
}
