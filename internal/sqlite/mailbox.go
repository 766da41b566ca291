package sqlite

import (
	"context"
	"sync"

	"github.com/stead-dev/stead"
)

// Bounds of the committer's queue and of one transaction.
const (
	// maxQueuedOps is the most operations that wait for the committer; more are told to try again.
	maxQueuedOps = 1 << 16
	// maxGroupOps is the most operations of one transaction.
	maxGroupOps = 4096
	// maxGroupBytes is where a transaction takes no further operation. One alone may be larger.
	maxGroupBytes = 32 << 20
)

// op is one operation that waits for the committer. Exactly one of write and after is set.
type op struct {
	ctx   context.Context
	bytes int
	// write runs inside the group's transaction. It checks everything before it changes anything,
	// so that a refusal leaves nothing behind.
	write func(g *group) error
	// after runs between two transactions, on committed state.
	after func(c *committer) error

	err  error
	done chan struct{} // closed when err is final
}

// mailbox is the committer's queue.
type mailbox struct {
	mu     sync.Mutex
	queue  []*op
	closed bool
	ready  chan struct{} // holds a value when the queue may have something
}

func (b *mailbox) init() { b.ready = make(chan struct{}, 1) }

func (b *mailbox) put(o *op) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errClosed()
	}
	if len(b.queue) >= maxQueuedOps {
		return stead.Errorf(stead.KindUnavailable, "%d writes wait for the disk already", maxQueuedOps)
	}
	b.queue = append(b.queue, o)
	b.signal()
	return nil
}

func (b *mailbox) signal() {
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

// take waits for operations and returns those of the next group, in order of arrival. It returns
// nothing when the mailbox is closed and empty.
func (b *mailbox) take() []*op {
	for {
		b.mu.Lock()
		n, bytes := 0, 0
		for n < len(b.queue) && n < maxGroupOps && (n == 0 || bytes+b.queue[n].bytes <= maxGroupBytes) {
			bytes += b.queue[n].bytes
			n++
		}
		if n > 0 {
			ops := b.queue[:n:n]
			b.queue = b.queue[n:]
			if len(b.queue) == 0 {
				b.queue = nil
			} else {
				b.signal()
			}
			b.mu.Unlock()
			return ops
		}
		closed := b.closed
		b.mu.Unlock()
		if closed {
			return nil
		}
		<-b.ready
	}
}

// close lets nothing more in; it reports false when it was closed already.
func (b *mailbox) close() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.closed = true
	b.signal()
	return true
}

// do hands an operation to the committer and waits for its end. A caller whose ctx ends first does
// not know what became of it.
func (s *Store) do(ctx context.Context, o *op) error {
	if err := ctx.Err(); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "the request has ended")
	}
	o.ctx, o.done = ctx, make(chan struct{})
	if err := s.box.put(o); err != nil {
		return err
	}
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		return stead.Wrap(stead.KindUnavailable, ctx.Err(), "the request ended before its write was known to be durable")
	}
}
