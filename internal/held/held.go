// Package held bounds the memory that requests hold while they are worked on, over all of them: a limit of
// one request is none of a hundred.
//
// Shape:
//
//	Budget (of the process) ── Lease (of one request) ── Take, Take, … ── Release
//
// Units: bytes, as they are counted by whoever takes them; what a process really uses is a small multiple.
//
// Delivery: nobody waits. Whoever waited would hold what he has, for as long as his client is slow, and
// those who have all of it may wait for each other. All methods may be called from many goroutines; a Lease
// belongs to one.
//
// Errors: KindLimited, with a time to come again.
package held

import (
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
)

// retryAfter is when whoever is refused may come again.
const retryAfter = 5 * time.Second

// Budget is what all leases have together.
type Budget struct {
	what string
	size int64
	used atomic.Int64
}

// New makes a budget; what names for people what is held: "files that are uploaded".
func New(what string, bytes int64) *Budget { return &Budget{what: what, size: bytes} }

// Lease begins to count for a request.
func (b *Budget) Lease() *Lease { return &Lease{budget: b} }

// Used is how much is held now.
func (b *Budget) Used() int64 { return b.used.Load() }

// Lease is what one request holds.
type Lease struct {
	budget *Budget
	bytes  int64
}

// Take counts more bytes, before they are there; KindLimited when others have too many.
func (l *Lease) Take(bytes int) error {
	b := l.budget
	if b.used.Add(int64(bytes)) > b.size {
		b.used.Add(-int64(bytes))
		e := stead.Errorf(stead.KindLimited, "%s hold %d bytes of this server's memory together, which is the limit", b.what, b.size)
		e.RetryAfter = retryAfter
		e.Hint = "Try again when others are done."
		return e
	}
	l.bytes += int64(bytes)
	return nil
}

// Release gives all of it back. The lease may be used again.
func (l *Lease) Release() {
	l.budget.used.Add(-l.bytes)
	l.bytes = 0
}
