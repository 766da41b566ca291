package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// A hedged call begins on a second route when the first has not said a word by then; the first word
// wins, and the other attempt is given up.
//
//	1st ──silence── Hedge ──────▶ 2nd begins ── whoever speaks first ──▶ winner;  the other is cancelled
//
// At most two attempts run at once, and a call hedges once. Failures move on as ever: while the other
// attempt runs, it goes on alone.

// lostGrace is how long the end of a call waits for what the attempt that was given up has used.
const lostGrace = 100 * time.Millisecond

// errOutrun ends an attempt that was not the first to speak.
var errOutrun = errors.New("another route was faster")

// hedge is when a call begins on its second route; 0: never.
func (a *Alias) hedge(planned []Considered) time.Duration {
	if len(planned) < 2 || planned[1].Place == 0 {
		return 0
	}
	if own := planned[0].Route.Hedge; own > 0 {
		return own
	}
	return a.Hedge
}

// runner is one attempt of a race.
type runner[T any] struct {
	route  Route
	where  *model.Route
	probe  bool
	cancel context.CancelCauseFunc
	tally  *model.Tally

	value T // what open gave
	err   error
}

// race is a hedged call until its first word.
type race[T any] struct {
	a       *Alias
	ctx     context.Context
	planned []Considered
	after   time.Duration
	open    func(context.Context, Route) (T, error) // returns with the first word
	drop    func(T) *stead.Usage                    // of an attempt that was given up: what it used, nil when nobody says

	heard   chan *runner[T] // with room for all: nobody waits
	silent  chan *runner[T] // likewise: those that have said nothing for after, not counting what they waited in queues
	running []*runner[T]
	next    int // of planned
	hedged  bool
	tried   []string // before this race as well
	tier    string   // that the caller asks for
	before  int      // how many of them were
	lost    []*model.Hedged
}

// won is the attempt that spoke first.
type won[T any] struct {
	*runner[T]
	lost  chan *model.Hedged // gets one when another attempt was given up; nil when none was
	given *model.Hedged      // what is known of it before it has ended
}

// run makes the call up to its first word. The error is what Alias says of a call that failed.
func (c *race[T]) run() (*won[T], error) {
	if len(c.tried) == 0 {
		c.a.State.called(c.a.Name)
	}
	c.tried, c.before = slices.Clone(c.tried), len(c.tried)
	c.heard, c.silent = make(chan *runner[T], MaxAttempts), make(chan *runner[T], MaxAttempts)
	c.start("")
	for {
		select {
		case r := <-c.silent:
			if !c.hedged && len(c.running) == 1 && c.running[0] == r && c.more() && c.a.State.again(c.a.Name) {
				c.hedged = true
				c.start(fmt.Sprintf("; hedged: %s said nothing for %s", c.running[0].route.Name(), c.after))
			}
		case r := <-c.heard:
			c.left(r)
			if r.err == nil {
				return c.end(r), nil
			}
			c.a.told(c.ctx, r.route, r.probe, r.err)
			r.cancel(nil)
			r.where.Lost = slices.Clone(c.lost)
			failed, again := c.a.failure(r.err, r.where, c.planned)
			if !again || c.ctx.Err() != nil || len(c.running) == 0 && (!c.more() || !own(failed) && !c.a.State.again(c.a.Name)) {
				if len(c.running) == 0 {
					return nil, failed
				}
				c.lost = withLost(c.lost, r.where, r.tally)
				continue // the other one may do better
			}
			c.tried = append(c.tried, r.route.Name()+": "+codeOf(failed))
			c.lost = withLost(c.lost, r.where, r.tally)
			if len(c.running) == 0 {
				c.start("")
			}
		}
	}
}

// begin is run for a call whose answer is whole with its first word, or is somebody else's from then on.
func (c *race[T]) begin() (*won[T], error) {
	w, err := c.run()
	if err == nil {
		c.a.told(c.ctx, w.route, w.probe, nil)
	}
	return w, err
}

// more reports whether there is another route to try.
func (c *race[T]) more() bool {
	return c.next < len(c.planned) && c.next+c.before < MaxAttempts && c.planned[c.next].Place > 0
}

// start begins the attempt on the next route.
func (c *race[T]) start(why string) {
	p := c.planned[c.next]
	c.next++
	r := &runner[T]{route: p.Route, where: where(c.planned, p, c.tried, c.tier), probe: c.a.State.begin(p.Route)}
	r.where.Why += why
	within, tally := model.Attempt(c.ctx)
	ctx, cancel := context.WithCancelCause(within)
	ctx, silence := model.WithSilence(ctx, c.after, func() { c.silent <- r })
	r.cancel, r.tally = cancel, tally
	c.running = append(c.running, r)
	go func() {
		defer func() {
			if v := recover(); v != nil { // here nobody else would catch it
				r.err = &model.Error{Code: model.CodeServer, Message: "the model call broke off", Err: fmt.Errorf("panic: %v", v)}
			}
			silence.Stop()
			c.heard <- r
		}()
		if r.err = ctx.Err(); r.err == nil { // else the other one has spoken meanwhile
			r.value, r.err = c.open(ctx, p.Route)
		}
	}()
}

func (c *race[T]) left(r *runner[T]) {
	for i, other := range c.running {
		if other == r {
			c.running = append(c.running[:i:i], c.running[i+1:]...)
			return
		}
	}
}

// end gives the other attempt up.
func (c *race[T]) end(r *runner[T]) *won[T] {
	w := &won[T]{runner: r}
	r.where.Tried, r.where.Lost = slices.Clone(c.tried), slices.Clone(c.lost)
	model.TallyOf(c.ctx).Follow(r.tally)
	if len(c.running) == 0 {
		return w
	}
	w.lost = make(chan *model.Hedged, 1)
	loser, heard := c.running[0], c.heard
	loser.cancel(errOutrun)
	given := func(l *runner[T]) *model.Hedged {
		return &model.Hedged{Provider: l.route.Provider, Model: l.route.Upstream, Region: l.route.Region, Tier: l.where.Tier, AfterMS: c.after.Milliseconds(), Price: l.route.Price, Unknown: true}
	}
	w.given = given(loser)
	go func() {
		l := <-heard
		h := given(l)
		if l.err == nil {
			func() {
				defer func() { _ = recover() }() // it lost: whatever it does, the call goes on
				h.Usage = c.drop(l.value)
			}()
		}
		if told, _ := l.tally.Used(); h.Usage == nil {
			h.Usage = told
		}
		h.Unknown = h.Usage == nil && statusOf(l.err) == 0
		c.a.State.given(l.route, l.probe)
		w.lost <- h
	}()
	return w
}

// early is the winner's route as it is known with its first word: nil when no other attempt was given up.
func (w *won[T]) early() *model.Route {
	route := *w.where
	if w.lost == nil {
		return &route
	}
	given := *w.given
	route.Hedged = &given
	return &route
}

// settle notes at the winner's route what became of the other attempt. It waits for it for a moment:
// an adapter ends as soon as its context does.
func (w *won[T]) settle() {
	if w.lost == nil {
		return
	}
	grace := time.NewTimer(lostGrace)
	defer grace.Stop()
	select {
	case w.where.Hedged = <-w.lost:
	case <-grace.C:
		w.where.Hedged = w.given
	}
	w.lost = nil
}

// statusOf is the status with which an upstream refused a call; 0: it did not.
func statusOf(err error) int {
	if e, ok := errors.AsType[*model.Error](err); ok {
		return e.Status
	}
	return 0
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*model.Error](err); ok {
		return e.Code
	}
	return ""
}
