// Package stateless keeps the usage records of calls that have no journal: those of the stateless
// doors. They are written behind the calls, in groups, so that no call waits for a disk.
//
// Shape:
//
//	call ended ── Add ──▶ queue (at most MaxQueued) ── every FlushEvery, or MaxGroup at once ──▶ journal.Usage
//
// Delivery: at most once, and at least once while the process lives: what was queued is tried again
// until the store takes it, and a repetition stores nothing twice. Close writes what is left. A process
// that is killed loses the records of the calls that ended in its last FlushEvery, plus the time that
// the flush took, and of all that are under way: what these hold in budgets is then counted (package budget, Orphans). When the store is away for so long that the queue is
// full, Add drops the record, counts it and says so in the log: a model's answer is not held back for
// its bill. Accounts that must not lose a call use sessions, whose records are in the transaction of
// their events.
//
// Concurrency: all is safe for concurrent use. Add does not block; CatchUp waits for a write.
package stateless

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/usage"
)

// Bounds of the queue.
const (
	// FlushEvery is how long a record waits to be written: what a kill can lose.
	FlushEvery = time.Second
	// MaxQueued is the most records that wait: some 100 MB of them, at worst.
	MaxQueued = 1 << 18
	// MaxGroup is the most records of one write, and how many of them make it begin at once.
	MaxGroup = journal.MaxUsageRows
	// maxSpare is the most room for records that is kept for the next ones: a minute without the store is no reason for more.
	maxSpare = 4 * MaxGroup
	// retryEvery paces tries while the store is away.
	retryEvery = time.Second
)

// Config is what a Recorder needs.
type Config struct {
	Store journal.Usage
	Log   *slog.Logger
	// Settle ends the holds that written records name; nil: there are none.
	Settle func(ctx context.Context, project stead.ProjectID, all []usage.Settlement) error
}

// Recorder writes records behind the calls that they are of.
type Recorder struct {
	cfg  Config
	full chan struct{}      // a group is there
	ask  chan chan struct{} // of CatchUp; what comes back is closed when all is written that could be
	stop chan struct{}
	done chan struct{}

	mu      sync.Mutex
	queue   []usage.Record
	spare   []usage.Record // empty: what the queue is moved into, so that a busy node does not grow one every FlushEvery
	dropped int64          // since the last flush
	closed  bool
}

// New starts a recorder. Close ends it.
func New(c Config) *Recorder {
	r := &Recorder{cfg: c, full: make(chan struct{}, 1), ask: make(chan chan struct{}), stop: make(chan struct{}), done: make(chan struct{})}
	go r.run()
	return r
}

// Add queues the record of a call that has ended; it gets its id and time here, of which request is
// part, if it is the id of one (usage.NewCallID): a request has one such record. beside are more records
// of the call: those of one hold are settled together. It reports false when the records are dropped: the
// queue is full, or the recorder closed.
func (r *Recorder) Add(record usage.Record, request string, beside ...usage.Record) bool {
	record.ID, record.At = usage.NewCallID(request)
	for i := range beside {
		beside[i].ID, beside[i].At = usage.NewCallID("")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || len(r.queue) >= MaxQueued {
		r.dropped++
		return false
	}
	r.queue = append(append(r.queue, record), beside...)
	if len(r.queue) >= MaxGroup {
		select {
		case r.full <- struct{}{}:
		default:
		}
	}
	return true
}

func (r *Recorder) run() {
	defer close(r.done)
	tick := time.NewTicker(FlushEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
		case <-r.full:
		case written := <-r.ask:
			r.flushAll()
			close(written)
			continue
		}
		r.flushAll()
	}
}

// flushAll writes group after group, until nothing is left, the store fails or the recorder is closed.
func (r *Recorder) flushAll() {
	for r.flush(context.Background()) {
		select {
		case <-r.stop:
			return
		default:
		}
	}
}

// Pending reports whether records wait to be written, and so what their calls held to be given back.
func (r *Recorder) Pending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.queue) > 0
}

// CatchUp writes what is pending now, and not at the next tick: for whoever finds no room that calls hold which
// have ended. It waits for it until ctx ends, or the recorder is closed.
func (r *Recorder) CatchUp(ctx context.Context) {
	written := make(chan struct{})
	select {
	case r.ask <- written:
	case <-r.done:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-written:
	case <-ctx.Done():
	}
}

// flush writes one group, and reports whether there is another that may be written at once.
func (r *Recorder) flush(ctx context.Context) bool {
	r.mu.Lock()
	n := min(len(r.queue), MaxGroup)
	for 1 < n && n < len(r.queue) && r.queue[n].Hold != "" && r.queue[n].Hold == r.queue[n-1].Hold {
		n-- // the records of a hold are settled together
	}
	group := r.queue[:n]
	dropped := r.dropped
	r.dropped = 0
	r.mu.Unlock()
	if dropped > 0 {
		r.cfg.Log.Error("usage records of stateless calls are lost: the store does not take them as fast as calls end", "records", dropped)
	}
	if len(group) == 0 {
		return false
	}
	if err := r.write(ctx, group); err != nil {
		r.cfg.Log.Warn("usage records of stateless calls wait for the store", "records", len(group), "err", err)
		return false // the next tick tries again
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	written := r.queue
	r.queue, r.spare = append(r.spare, written[len(group):]...), nil
	if clear(written); cap(written) <= maxSpare {
		r.spare = written[:0]
	}
	return len(r.queue) > 0
}

// write stores a group, a project at a time, and settles what its calls held.
func (r *Recorder) write(ctx context.Context, group []usage.Record) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	rows := map[stead.ProjectID][]journal.UsageRow{}
	holds := map[stead.ProjectID][]usage.Settlement{}
	for i := range group {
		row, err := group[i].Row()
		if err != nil {
			return err
		}
		p := group[i].Project
		rows[p] = append(rows[p], row)
		h, used := group[i].Hold, usage.AmountOf(&group[i])
		switch {
		case h == "":
		case i > 0 && group[i-1].Hold == h:
			last := &holds[p][len(holds[p])-1]
			last.Used = last.Used.Plus(used)
		default:
			holds[p] = append(holds[p], usage.Settlement{Hold: h, Used: used})
		}
	}
	for p, list := range rows {
		if err := r.cfg.Store.AddUsage(ctx, p, list); err != nil {
			return err
		}
	}
	if r.cfg.Settle == nil {
		return nil
	}
	for p, list := range holds {
		if err := r.cfg.Settle(ctx, p, list); err != nil {
			return err // again with the records, which are stored but once
		}
	}
	return nil
}

// writeTimeout bounds one write.
const writeTimeout = 15 * time.Second

// Close writes what is queued, until ctx ends. What Add gets later is dropped.
func (r *Recorder) Close(ctx context.Context) error {
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	r.mu.Unlock()
	if first {
		close(r.stop)
	}
	<-r.done
	for {
		more := r.flush(ctx)
		r.mu.Lock()
		left := len(r.queue)
		r.mu.Unlock()
		switch {
		case left == 0:
			return nil
		case more:
			continue
		}
		select {
		case <-ctx.Done():
			return stead.Errorf(stead.KindUnavailable, "%d usage records of stateless calls were not written before the time was over", left)
		case <-time.After(retryEvery):
		}
	}
}
