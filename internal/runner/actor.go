package runner

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
)

// actor moves one leased session until nothing is left to do. One goroutine runs it; effects run in
// goroutines of their own and report through outcomes.
type actor struct {
	r     *Runner
	key   stead.SessionKey
	lease journal.Lease
	log   *slog.Logger

	state    *session.State
	read     stead.Seq // the journal's tail before the first event of state was read: see session.Stale
	snapshot saved     // the last one known
	listed   string    // the status that lists show; "": not known
	live     *liveText // of the last model call
	decided  [][]byte  // audit records of what the plan in the making decided
	due      int64     // Unix milliseconds: the time for which the session was leased, which has come; 0: none

	outcomes chan outcome         // finished effects
	signal   chan struct{}        // text is due to be journaled
	input    chan struct{}        // the journal has something new
	flights  map[*flight]struct{} // work in flight
	pending  []pending            // what happened and is not journaled yet

	ctx      context.Context // ends with the runner, the lease, or abandon
	cancel   context.CancelFunc
	cutting  chan struct{} // closed when the drain's time is over
	wasCut   bool
	died     chan session.EnvironmentDisconnected // the environment that is resident here died
	opened   stead.Seq                            // the residence that this actor began; 0: none
	changed  chan struct{}                        // its workspace differs from the checkpoint, and no command did it
	notes    chan note                            // facts that somebody waits for
	acks     []chan struct{}                      // of the notes among pending
	asked    []*codeCall                          // calls of code that have not ended
	holds    int                                  // of budgets, made under this lease
	wake     int64                                // Unix milliseconds: when the core wants to be asked again; 0: not by time
	patience *time.Timer                          // until a goroutine watches for input
	watched  bool                                 // it does
	seen     chan stead.Seq
}

// flight is one effect under way.
type flight struct {
	cancel     context.CancelFunc
	live       *liveText  // a model call's stream
	call       *modelCall // nil: it is none
	background bool       // it outlives the turn: a summary being made
	learns     bool       // it remembers what was said: it outlives the turn as well
	action     bool       // of the environment: it outlives the turn as well
	thread     stead.Seq  // of which it is; 0: the root's, or the session's
}

// outcome is what an effect brings back. It is ignored when its flight was given up meanwhile.
type outcome struct {
	of     *flight
	events []pending
	more   bool // the effect goes on
}

// pending is an event to be: its payload is made when its place in the journal is known.
type pending struct {
	kind   string
	make   func(s *session.State) (any, error) // nil payload: nothing to write any more
	thread stead.Seq
}

// of are events that a flight brings, on its thread.
func (f *flight) of(events []pending) []pending {
	for i := range events {
		events[i].thread = f.thread
	}
	return events
}

func happened(kind string, payload any) pending {
	return pending{kind: kind, make: func(*session.State) (any, error) { return payload, nil }}
}

func newActor(r *Runner, l journal.Lease) *actor {
	ctx, cancel := context.WithCancel(r.ctx)
	patience := time.NewTimer(watchAfter)
	patience.Stop()
	return &actor{
		r: r, key: l.Key, lease: l, log: r.log.With("session", l.Key.Session),
		outcomes: make(chan outcome, 64), signal: make(chan struct{}, 1), input: make(chan struct{}, 1),
		flights: map[*flight]struct{}{}, ctx: ctx, cancel: cancel,
		notes:   make(chan note),
		died:    make(chan session.EnvironmentDisconnected, 1),
		changed: make(chan struct{}, 1),
		cutting: make(chan struct{}), seen: make(chan stead.Seq, 1), patience: patience,
	}
}

// abandon makes the actor drop everything: its lease is lost.
func (a *actor) abandon() { a.cancel() }

// cut tells the actor that the time to finish is over. Called under the runner's lock, again by a
// second Shutdown.
func (a *actor) cut() {
	select {
	case <-a.cutting:
	default:
		close(a.cutting)
	}
}

func (a *actor) nudge() { poke(a.signal) }

// poke leaves one value in a channel of capacity one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (a *actor) run() {
	defer a.r.retired(a)
	defer a.dropEnvironment()
	defer a.cancel()
	defer func() { a.r.live.drop(a.key, a.live) }()
	err := safely(a.move)
	switch {
	case err == nil:
		a.r.states.put(a.key, a.state, a.snapshot)
	case a.ctx.Err() != nil:
	case stead.KindOf(err) == stead.KindFenced, stead.KindOf(err) == stead.KindNotFound:
		a.log.Info("session lost", "epoch", a.lease.Epoch, "err", err)
	default:
		a.bury(err)
	}
}

// safely turns a panic into an error: whatever one session meets, the process and the others go on.
func safely(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return do()
}

// move runs the session until it is released (nil) or can't be moved on (an error).
func (a *actor) move() error {
	if err := a.load(); err != nil {
		return err
	}
	a.leaveExecutor()
	if a.state.InFlight() {
		a.pending = append(a.pending, a.recovered(a.lostCalls())...)
	}
	for {
		released, err := a.step()
		if err != nil || released {
			return err
		}
		if err := a.wait(); err != nil {
			return err
		}
	}
}

// watchAfter is how long work may be in flight before the actor watches for input that other nodes
// took; what this node takes nudges it at once. Quick work never pays for a watcher.
const watchAfter = 10 * time.Millisecond

// wait blocks until something happened: an outcome, input, a flush, the drain's end.
func (a *actor) wait() error {
	cutting := a.cutting
	if a.wasCut {
		cutting = nil
	}
	var patience, wake <-chan time.Time
	if !a.watched {
		a.patience.Reset(watchAfter)
		defer a.patience.Stop()
		patience = a.patience.C
	}
	if a.wake > 0 {
		wake = time.After(time.Duration(max(a.wake-a.r.now(), 0)) * time.Millisecond)
	}
	look := false // whether the journal may hold something new
	cut := false
	select {
	case <-a.ctx.Done():
		return a.ctx.Err()
	case o := <-a.outcomes:
		a.take(o)
	case n := <-a.notes:
		a.takeNote(n)
	case d := <-a.died:
		a.pending = append(a.pending, a.environmentDied(d))
	case <-a.changed:
		a.pending = append(a.pending, a.environmentChanged())
	case <-wake:
	case <-patience:
		a.watch()
		look = true
	case <-a.signal:
	case <-a.input:
		look = true
	case tail := <-a.seen:
		look = tail > a.state.Tail
	case <-cutting:
		cut = true
	}
	a.takeAll()
	if cut {
		a.cutOff() // of what has no outcome yet
	}
	if !look {
		return nil
	}
	return a.catchUp()
}

// takeAll accepts the outcomes that are there already.
func (a *actor) takeAll() {
	for {
		select {
		case o := <-a.outcomes:
			a.take(o)
		default:
			return
		}
	}
}

// take accepts an outcome, unless its flight was given up.
func (a *actor) take(o outcome) {
	if _, wanted := a.flights[o.of]; !wanted {
		return
	}
	if o.more {
		a.pending = append(a.pending, o.of.of(o.events)...)
		return
	}
	delete(a.flights, o.of)
	o.of.cancel()
	if len(o.events) > 0 && o.events[0].kind == session.KindModelFailed {
		a.pending = append(a.pending, o.of.flushed(true)) // what was shown is kept
	}
	a.pending = append(a.pending, o.of.of(o.events)...)
}

// cutOff ends what is in flight when the node must stop now: the session is left as after a crash,
// but at once and in order.
func (a *actor) cutOff() {
	a.wasCut = true
	if len(a.flights) == 0 && !a.resident() {
		return
	}
	for f := range a.flights {
		a.pending = append(a.pending, f.flushed(true))
	}
	spent := a.cutCalls()
	a.giveUp(everyThread)
	for f := range a.flights {
		f.cancel()
	}
	clear(a.flights)
	a.dropEnvironment()
	a.pending = append(a.pending, a.recovered(spent)...)
}

// giveUp ends the work in flight of turns that have ended; its outcomes are not wanted any more.
func (a *actor) giveUp(ended func(thread stead.Seq) bool) {
	for f := range a.flights {
		if a.outlives(f) || !ended(f.thread) {
			continue
		}
		f.cancel()
		delete(a.flights, f)
	}
}

func everyThread(stead.Seq) bool { return true }

// outlives reports whether a flight outlives its turn: a summary being made, something done with the environment, or remembered.
func (a *actor) outlives(f *flight) bool {
	if f.action || f.learns {
		return true
	}
	v := a.state.At(f.thread)
	return f.background && v != nil && v.Compact != nil
}

func (a *actor) draining() bool { return a.r.draining() }

func (r *Runner) draining() bool {
	select {
	case <-r.drain:
		return true
	default:
		return false
	}
}

// watch keeps one goroutine that tells of events which the actor did not write itself.
func (a *actor) watch() {
	if a.watched {
		return
	}
	a.watched = true
	tail := a.state.Tail
	a.r.acting.Go(func() {
		for {
			next, err := a.r.cfg.Store.Wait(a.ctx, a.key, tail)
			if err != nil {
				if a.ctx.Err() != nil || !a.pause(unavailableMax) {
					return
				}
				poke(a.input) // it may be gone: let the actor find out
				continue
			}
			tail = next
			select {
			case <-a.seen: // replace what was not read yet
			default:
			}
			a.seen <- tail
		}
	})
}

// pause sleeps unless the actor ends first.
func (a *actor) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-a.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// load brings the state to the session's tail: from the cache, else from the snapshot, else from
// the first event.
func (a *actor) load() error {
	waited := a.r.waits.take(a.key)
	a.state, a.snapshot = a.r.states.take(a.key, a.lease.Tail)
	read := a.catchUp
	if a.state == nil {
		read = a.reload
	} else {
		a.read = a.state.Tail
	}
	if err := read(); err != nil {
		return err
	}
	if a.state.Tail == waited.tail {
		a.due = waited.came(a.ctx, a.r.now())
	}
	return nil
}

// reload reads the state again, from the snapshot on: what was applied ran ahead of the journal.
func (a *actor) reload() error {
	state, size, err := a.r.loadState(a.ctx, a.key, a.patient)
	if err != nil {
		return err
	}
	a.state, a.snapshot, a.read = state, saved{state.Tail, size}, state.Tail
	return a.catchUp()
}

// refold reads the state again from the first event on: something that it may hold was redacted.
func (a *actor) refold() error {
	err := a.patient(func() error {
		head, err := a.r.cfg.Store.Head(a.ctx, a.key)
		a.read = head.Tail
		return err
	})
	if err != nil {
		return err
	}
	a.state, a.snapshot = session.NewState(a.key), saved{}
	return a.catchUp()
}

// catchUp applies events that the actor has not seen.
func (a *actor) catchUp() error {
	for {
		var events []stead.Event
		err := a.patient(func() (err error) {
			events, err = a.r.cfg.Store.Read(a.ctx, a.key, journal.ReadOptions{After: a.state.Tail})
			return err
		})
		if err != nil {
			return err
		}
		for _, e := range events {
			if session.Stale(e, a.read) {
				return a.refold()
			}
			if err := a.state.Apply(e); err != nil {
				return err
			}
			a.listed = "" // a door may have changed the listing
		}
		if len(events) < stead.MaxReadEvents {
			return nil
		}
	}
}

// patient repeats an operation while the store is away.
func (a *actor) patient(do func() error) error {
	delay := unavailableBase
	for {
		err := do()
		if stead.KindOf(err) != stead.KindUnavailable {
			return err
		}
		if a.ctx.Err() != nil {
			return a.ctx.Err()
		}
		a.log.Warn("the store is away; trying again", "err", err, "in", delay)
		if !a.pause(delay) {
			return a.ctx.Err()
		}
		delay = min(2*delay, unavailableMax)
	}
}

// loadState folds a session from its snapshot, of which it returns the size, or from the start, up to some tail.
func (r *Runner) loadState(ctx context.Context, key stead.SessionKey, patient func(func() error) error) (state *session.State, size int, err error) {
	state = session.NewState(key)
	err = patient(func() error {
		seq, data, err := r.cfg.Store.LoadSnapshot(ctx, key)
		if err != nil || seq == 0 {
			return err
		}
		loaded, err := session.LoadState(key, data)
		if err != nil || loaded.Tail != seq {
			r.log.Info("snapshot ignored", "session", key.Session, "err", err)
			return nil
		}
		state, size = loaded, len(data)
		return nil
	})
	return state, size, err
}
