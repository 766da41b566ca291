package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

const (
	// maxInFlight is how many batches of a node commit at once: while one is flushed, the next is
	// stored. More of them only make each smaller.
	maxInFlight = 2
	// maxBatchOps, maxBatchBytes: where a batch is full. An operation that is larger goes alone.
	maxBatchOps   = 4096
	maxBatchBytes = 16 << 20
	// maxQueueOps, maxQueueBytes bound what waits for a batch; past them calls fail at once.
	maxQueueOps   = 1 << 16
	maxQueueBytes = 512 << 20
	// maxTries is how often an operation is tried that collides with those of other nodes.
	maxTries = 8
	// rowOverhead is what an event takes beside its kind and data, in bytes, roughly.
	rowOverhead = 96
	// bytesPerSecond, pessimistic, gives large batches more time than callTimeout.
	bytesPerSecond = 2 << 20
	// busyRetryAfter is what callers are told when the queue is full.
	busyRetryAfter = time.Second
)

// committer groups operations into batches. It keeps the operations of one lane in their order and
// never has two of them in a batch, nor in two batches at once.
//
//	lanes: session or creation key → the operations behind the lane's first, which is ready or in flight
//	ready: at most one operation a lane
type committer struct {
	pool  *pgxpool.Pool
	watch *watch
	usage *usageNames

	mu      sync.Mutex
	filled  sync.Cond // ready has operations, or closed is set
	lanes   map[lane][]*op
	ready   []*op
	ops     int // queued or in flight
	bytes   int
	closed  bool
	workers sync.WaitGroup
}

// lane is what serialises operations: a session, or for a creation with a key, that key.
type lane struct {
	project  stead.ProjectID
	name     string
	creation bool
}

func (o *op) lane() lane {
	if o.create != nil && o.idem != nil {
		return lane{o.key.Project, string(o.idem), true}
	}
	return lane{o.key.Project, string(o.key.Session), false}
}

func newCommitter(pool *pgxpool.Pool, w *watch, usage *usageNames) *committer {
	c := &committer{pool: pool, watch: w, usage: usage, lanes: map[lane][]*op{}}
	c.filled.L = &c.mu
	for range maxInFlight {
		c.workers.Go(c.work)
	}
	return c
}

// do puts an operation through a batch. A caller who stops waiting does not know what became of it.
func (c *committer) do(ctx context.Context, o *op) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	if err := c.enqueue(o); err != nil {
		return err
	}
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
}

func (c *committer) enqueue(o *op) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return stead.Errorf(stead.KindUnavailable, "the store is closed")
	}
	if c.ops >= maxQueueOps || (c.bytes > 0 && c.bytes+o.bytes > maxQueueBytes) {
		e := stead.Errorf(stead.KindUnavailable, "too many writes wait for the database")
		e.RetryAfter = busyRetryAfter
		return e
	}
	c.ops++
	c.bytes += o.bytes
	l := o.lane()
	if behind, busy := c.lanes[l]; busy {
		c.lanes[l] = append(behind, o)
		return nil
	}
	c.lanes[l] = nil
	c.ready = append(c.ready, o)
	c.filled.Signal()
	return nil
}

func (c *committer) work() {
	for {
		batch := c.take()
		if batch == nil {
			return
		}
		c.run(batch)
		c.release(batch)
	}
}

// take waits for operations and returns a batch of them, in their order; nil when closed and empty.
func (c *committer) take() []*op {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.ready) == 0 {
		if c.closed && c.ops == 0 {
			return nil
		}
		c.filled.Wait()
	}
	n, bytes := 0, 0
	for n < len(c.ready) && n < maxBatchOps {
		bytes += c.ready[n].bytes
		if n > 0 && bytes > maxBatchBytes {
			break
		}
		n++
	}
	batch := make([]*op, n)
	copy(batch, c.ready)
	c.ready = append(c.ready[:0], c.ready[n:]...)
	if len(c.ready) > 0 {
		c.filled.Signal()
	}
	return batch
}

// release makes the next operation of each lane ready.
func (c *committer) release(batch []*op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range batch {
		c.ops--
		c.bytes -= o.bytes
		l := o.lane()
		behind := c.lanes[l]
		if len(behind) == 0 {
			delete(c.lanes, l)
			continue
		}
		c.ready = append(c.ready, behind[0])
		behind[0] = nil
		c.lanes[l] = behind[1:]
	}
	c.filled.Broadcast()
}

// run sees every operation of the batch to its end. What other transactions got in the way of is
// tried again: together first, then each alone, so that one cannot hold up the rest.
func (c *committer) run(ops []*op) {
	for try := 0; len(ops) > 0; try++ {
		if try == maxTries {
			finishAll(ops, stead.Errorf(stead.KindUnavailable, "the session is too busy with writes of other nodes"))
			return
		}
		again, err := c.try(ops)
		switch code := sqlState(err); {
		case err == nil:
			ops = again
		case len(ops) == 1 && !retryable(code):
			finishAll(ops, translate(err))
			return
		case !retryable(code) && (code == "" || hasClass(code, unavailableClasses) || code == codeReadOnly):
			finishAll(ops, translate(err))
			return
		case (try > 0 || code == codeLockTimeout) && len(ops) > 1:
			for _, o := range ops {
				c.run([]*op{o})
			}
			return
		}
	}
}

func finishAll(ops []*op, err error) {
	for _, o := range ops {
		o.finish(journal.Receipt{}, err)
	}
}

// try runs one transaction, announces what it stored, and finishes the operations whose fate is
// known. It returns those that must be tried again; with an error, none was stored or finished.
func (c *committer) try(ops []*op) (again []*op, err error) {
	b := newBatch(ops)
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout+time.Duration(b.bytes/bytesPerSecond)*time.Second)
	defer cancel()
	commit := func(conn *pgxpool.Conn) error {
		if err := b.meter(ctx, conn.Conn(), c.usage); err != nil {
			return err
		}
		return b.commit(ctx, conn.Conn())
	}
	err = c.pool.AcquireFunc(ctx, commit)
	if connectionLost(ctx, err) {
		c.pool.Reset() // its other connections are as old
		if pgconn.SafeToRetry(err) {
			err = c.pool.AcquireFunc(ctx, commit)
		}
	}
	if err != nil {
		return nil, err
	}
	c.watch.committed(b.stored)
	failed := b.settle()
	if len(failed) == 0 {
		return nil, nil
	}
	if again, err = c.explain(ctx, failed); err != nil {
		finishAll(failed, translate(err))
	}
	return again, nil
}

// close stops new operations, waits for those queued and closes the pool.
func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.filled.Broadcast()
	c.mu.Unlock()
	c.workers.Wait()
	c.pool.Close()
}
