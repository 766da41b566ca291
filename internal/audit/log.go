package audit

import (
	"context"
	"sync"
	"time"

	"github.com/stead-dev/stead"
)

const (
	// MaxBatch is the most records of one commit.
	MaxBatch = 1000
	// MaxWaiting is the most records of one project that wait for a commit; more are refused.
	MaxWaiting = 20_000
	// storeTimeout bounds one commit.
	storeTimeout = 20 * time.Second
	// busyRetryAfter is what callers are told when too many wait.
	busyRetryAfter = time.Second
)

// Log appends records. Those of one project that arrive while a commit is in flight share the next.
// No goroutine is there while nothing is appended. It is safe for concurrent use.
type Log struct {
	store Store

	mu     sync.Mutex
	queues map[stead.ProjectID]*queue // of projects with a commit in flight
	work   sync.WaitGroup
}

type queue struct{ waiting []*pending }

type pending struct {
	record Record
	done   chan error // takes one
}

// NewLog makes a log over a store.
func NewLog(store Store) *Log { return &Log{store: store, queues: map[stead.ProjectID]*queue{}} }

// Append returns once the record is on stable storage. When ctx ends before, it fails, and the
// record may be stored all the same.
func (l *Log) Append(ctx context.Context, r Record) error {
	p := &pending{record: r, done: make(chan error, 1)}
	if err := l.enqueue(r.Project, p); err != nil {
		return err
	}
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		return stead.Wrap(stead.KindUnavailable, ctx.Err(), "the audit record was not stored in time")
	}
}

func (l *Log) enqueue(project stead.ProjectID, p *pending) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	q, busy := l.queues[project]
	if !busy {
		q = &queue{}
		l.queues[project] = q
		l.work.Go(func() { l.commit(project, q) })
	}
	if len(q.waiting) >= MaxWaiting {
		e := stead.Errorf(stead.KindUnavailable, "more than %d audit records wait to be stored", MaxWaiting)
		e.RetryAfter = busyRetryAfter
		return e
	}
	q.waiting = append(q.waiting, p)
	return nil
}

// commit stores what waits, batch by batch, until nothing does.
func (l *Log) commit(project stead.ProjectID, q *queue) {
	for {
		l.mu.Lock()
		batch := q.waiting[:min(len(q.waiting), MaxBatch)]
		q.waiting = q.waiting[len(batch):]
		if len(batch) == 0 {
			delete(l.queues, project)
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		records := make([]Record, len(batch))
		for i, p := range batch {
			records[i] = p.record
		}
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		err := l.store.AppendAudit(ctx, project, records)
		cancel()
		if err != nil {
			err = stead.Wrap(stead.KindUnavailable, err, "the audit record could not be stored, so nothing was done")
		}
		for _, p := range batch {
			p.done <- err
		}
	}
}

// Close waits for what was appended.
func (l *Log) Close(context.Context) error {
	l.work.Wait()
	return nil
}
