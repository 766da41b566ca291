package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/proof/rig"
)

// Goals of targets.
const (
	interruptedSessions = 10_000
	goalServing         = time.Second
	goalResumed         = 10 * time.Second
	// goalIdleBytes is 50 MB for a million idle sessions.
	goalIdleBytes = 50.0
	childTimeout  = 5 * time.Minute
)

// measureRecover kills a process that holds sessions in the middle of a model call, and takes the
// time until another one serves, and until it has brought all of them to their end.
func (b *bench) measureRecover() error {
	n := interruptedSessions
	if b.quick {
		n /= 10
	}
	dir := filepath.Join(b.dir, "recover")
	child, err := b.child("interrupt", dir, n)
	if err != nil {
		return err
	}
	child.Close() // SIGKILL

	m := newInstant(1)
	start := time.Now()
	c, err := openCore(dir, "", m)
	if err != nil {
		return err
	}
	serving := time.Since(start)
	err = rig.Poll(childTimeout, "all interrupted sessions to be brought to their end", func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, done := range m.done {
			select {
			case <-done:
			default:
				return errors.New("one has no answer yet")
			}
		}
		if len(m.done) < n {
			return fmt.Errorf("%d of %d have their answer", len(m.done), n)
		}
		return nil
	})
	resumed := time.Since(start)
	name := fmt.Sprintf("SQLite, %d interrupted sessions", n)
	b.table.within(name+": from start to serving", "", serving, goalServing, "", "≤ "+ms(goalServing))
	b.table.within(name+": all resumed and done", "", resumed, goalResumed, "", "≤ "+ms(goalResumed))
	return errors.Join(err, c.close())
}

// measureMemory asks a process of its own what idle and waiting sessions cost it.
func (b *bench) measureMemory() error {
	n := 50_000
	if b.quick {
		n /= 10
	}
	child, err := b.child("memory", filepath.Join(b.dir, "memory"), n)
	if err != nil {
		return err
	}
	defer child.Close()
	var m memory
	if err := json.Unmarshal([]byte(child.Line), &m); err != nil {
		return fmt.Errorf("%w in %s", err, child.Line)
	}
	for _, r := range []struct {
		name   string
		change int64
	}{
		{"idle", m.Idle}, {"waiting", m.Waiting},
	} {
		each := float64(r.change) / float64(n)
		b.table.add(row{
			name: fmt.Sprintf("SQLite, memory per %s session (RSS of %d)", r.name, n), baseline: fmt.Sprintf("RSS %d MB", m.Base>>20),
			ours: fmt.Sprintf("%.1f B (%+.1f MB)", each, float64(r.change)/(1<<20)), goal: fmt.Sprintf("≤ %.0f B", goalIdleBytes),
			verdict: reached(each <= goalIdleBytes),
		})
	}
	return nil
}

// child runs this program again, in a role, until it says its first line.
func (b *bench) child(role, dir string, n int) (*rig.Server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return rig.StartServer(self, "-child", fmt.Sprintf("%s:%d:%s", role, n, dir))
}

// runChild is the other side of child: it says one line and then waits to be killed.
func runChild(what string) error {
	parts := strings.SplitN(what, ":", 3)
	if len(parts) != 3 {
		return fmt.Errorf("-child %s: want ROLE:N:DIR", what)
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil {
		return err
	}
	switch parts[0] {
	case "interrupt":
		err = interrupt(parts[2], n)
	case "memory":
		err = remember(parts[2], n)
	case "streams":
		err = serveStreams(parts[2])
	default:
		err = fmt.Errorf("no role %s", parts[0])
	}
	if err != nil {
		return err
	}
	select {}
}

// interrupt brings n sessions into a model call that does not end; those above what a node moves at
// once wait for their turn, with input that nobody has read.
func interrupt(dir string, n int) error {
	m := newInstant(1)
	m.hang = true
	c, err := openCore(dir, "", m)
	if err != nil {
		return err
	}
	if err := c.beginMany(n); err != nil {
		return err
	}
	err = rig.Poll(childTimeout, "the sessions to call the model", func() error {
		if got, want := m.begun(), min(n, runner.MaxActive); got < want {
			return fmt.Errorf("%d of %d", got, want)
		}
		return nil
	})
	if err == nil {
		fmt.Println("interrupted")
	}
	return err
}

// beginMany makes n sessions that start at once.
func (c *core) beginMany(n int) error {
	return inParallel(n, func(ctx context.Context) error {
		_, err := c.begin(ctx, stepTool())
		return err
	})
}

// parallel is how many sessions are made at once.
const parallel = 256

func inParallel(n int, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), childTimeout)
	defer cancel()
	work, errs := make(chan struct{}), make(chan error, parallel)
	for range parallel {
		go func() {
			var err error
			for range work {
				if err == nil {
					err = do(ctx)
				}
			}
			errs <- err
		}()
	}
	for range n {
		work <- struct{}{}
	}
	close(work)
	var err error
	for range parallel {
		err = errors.Join(err, <-errs)
	}
	return err
}

// memory is RSS in bytes, and its change by sessions.
type memory struct{ Base, Idle, Waiting int64 }

// remember makes n sessions that had a turn and are idle, n more of them, and then n that wait for a
// function's result, and prints what the second and the third lot added to the process.
func remember(dir string, n int) error {
	m := newInstant(0) // answers without a step
	c, err := openCore(dir, "", m)
	if err != nil {
		return err
	}
	idle := func(n int) error { return c.lot(n, func(ctx context.Context) error { return c.whole(ctx) }) }
	if err := idle(n); err != nil { // caches and pools reach their size
		return err
	}
	var out memory
	if out.Base, err = rss(); err != nil {
		return err
	}
	if err := idle(n); err != nil {
		return err
	}
	after, err := rss()
	if err != nil {
		return err
	}
	out.Idle = after - out.Base
	m.steps = 1 // from here on a function is called, which nobody answers
	err = c.lot(n, func(ctx context.Context) error {
		_, err := c.begin(ctx, askTool())
		return err
	})
	if err != nil {
		return err
	}
	last, err := rss()
	if err != nil {
		return err
	}
	out.Waiting = last - after
	return json.NewEncoder(os.Stdout).Encode(out)
}

// lot makes n sessions and returns when all of them are at rest and the bench has forgotten them.
func (c *core) lot(n int, make func(ctx context.Context) error) error {
	before := c.model.begun()
	if err := inParallel(n, make); err != nil {
		return err
	}
	err := rig.Poll(childTimeout, "the sessions to be at rest", func() error {
		if got := c.model.begun() - before; got < n || c.runner.Holding() > 0 {
			return fmt.Errorf("%d of %d called the model, %d are held", got, n, c.runner.Holding())
		}
		return nil
	})
	c.model.forget()
	return err
}

// rss is this process's resident memory after what is free was given back.
func rss() (int64, error) {
	debug.FreeOSMemory()
	return rssOf("self")
}
