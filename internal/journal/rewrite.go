package journal

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/stead-dev/stead"
)

// Redactor changes what is written, which nothing else does: a person's right to be forgotten outweighs an append-only log. What it
// changes, and what it was, is on record elsewhere, as digests.
type Redactor interface {
	// Rewrite replaces the data of events, all of them or none: their Seq, At and Kind stay. An event whose data is neither Old nor
	// New is KindConflict, and one that is New already is left, so that it is safe to repeat. The snapshot goes, also without
	// changes, and none is taken from then on that is not newer than the session's tail. KindNotFound.
	Rewrite(ctx context.Context, key stead.SessionKey, changes []Change) error
}

// Change is new data for an event. At most stead.MaxEventBytes.
type Change struct {
	Seq      stead.Seq
	Old, New []byte
}

// Rewriting makes changes in the rows of a log, each of which holds a run of events.
type Rewriting struct {
	changes []Change
	met     int
}

// NewRewriting begins; KindTooLarge.
func NewRewriting(changes []Change) (*Rewriting, error) {
	for _, c := range changes {
		if n := len(c.New); n > stead.MaxEventBytes {
			return nil, stead.Errorf(stead.KindTooLarge, "event %d of %d bytes is larger than the limit of %d bytes", c.Seq, n, stead.MaxEventBytes)
		}
	}
	return &Rewriting{changes: changes}, nil
}

// Span is from the first event to be changed to the last; zeros where there is none.
func (r *Rewriting) Span() (first, last stead.Seq) {
	for i, c := range r.changes {
		if first = min(first, c.Seq); i == 0 {
			first = c.Seq
		}
		last = max(last, c.Seq)
	}
	return first, last
}

// Bytes is the size of what is written.
func (r *Rewriting) Bytes() (n int) {
	for _, c := range r.changes {
		n += len(c.New)
	}
	return n
}

// In changes those of the events, which are in order of Seq, that are to be changed, and reports whether any differs. KindConflict
// as of Redactor.
func (r *Rewriting) In(events []stead.Event) (differs bool, err error) {
	for _, c := range r.changes {
		at, ok := slices.BinarySearchFunc(events, c.Seq, func(e stead.Event, seq stead.Seq) int { return cmp.Compare(e.Seq, seq) })
		if !ok {
			continue
		}
		r.met++
		switch e := &events[at]; {
		case bytes.Equal(e.Data, c.New):
		case bytes.Equal(e.Data, c.Old):
			e.Data, differs = c.New, true
		default:
			return false, stead.Errorf(stead.KindConflict, "event %d is not what it was to be replaced in", c.Seq)
		}
	}
	return differs, nil
}

// Done is KindConflict where events that were to be changed are not there.
func (r *Rewriting) Done() error {
	if r.met == len(r.changes) {
		return nil
	}
	return stead.Errorf(stead.KindConflict, "%d of %d events that were to be changed are not there", len(r.changes)-r.met, len(r.changes))
}
