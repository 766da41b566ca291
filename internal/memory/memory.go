// Package memory is what outlives a session: stores of entries that agents and people write, and that
// are found again by what they say, with no model at all.
//
// Shape: a memory store is a document of the project; its entries are records of the database.
//
//	project ── store ── record (id, version 1 … n, revision)      history: every version
//	                       └─ Data: an Entry as JSON {kind, content, scope, source, time, labels …}
//
//	write ──▶ database (the truth) ──changes since revision r──▶ recall.Index in memory ──▶ ids, scores
//
// Each write of a store takes the next numbers of its revision, in the order of the commits. A search
// first reads the changes that its index has not seen, so that it finds whatever was answered before
// it began, on every node; the index is a cache that may be dropped at any time.
//
// Units and limits: times are Unix milliseconds, confidence and importance are 0 … 1; the constants
// below have their units.
//
// Delivery: what was answered without an error is on stable storage. An idempotency key lives as
// long as its entry. Two changes over one version: one wins. What was forgotten leaves its id and its
// revision, so that every index learns of it, and nothing of what it said: no version, no key.
//
// Errors: KindNotFound; KindConflict for another version than the expected one, or a key that was
// used for something else; KindInvalid with the field; KindTooLarge; KindUnavailable.
package memory

import (
	"context"

	"github.com/stead-dev/stead"
)

const (
	// MaxRecordBytes is the largest Data of a record.
	MaxRecordBytes = 256 << 10
	// MaxChanges is the most changes of one write, which is one transaction.
	MaxChanges = 500
	// MaxRecords is the most records that one read returns.
	MaxRecords = 2000
	// MaxVersions is the most versions of an entry that are kept; older ones go first.
	MaxVersions = 100
)

// Place is the store that records belong to.
type Place struct {
	Project stead.ProjectID
	Store   string
}

// Record is an entry as a Store keeps it: it does not read Data.
type Record struct {
	Place
	ID        string
	Version   int64  // from 1
	Revision  int64  // of the store, from 1: larger than that of every write before
	CreatedAt int64  // Unix milliseconds, of version 1
	UpdatedAt int64  // Unix milliseconds, of this version
	ExpiresAt int64  // Unix milliseconds; 0: never. Nothing happens by itself: see ExpiredMemories
	Data      []byte // JSON; nil: forgotten
}

// Expectations of a Change besides a version's number.
const (
	AnyVersion int64 = -1
	NoVersion  int64 = 0 // the record must be new
)

// Change is one write of a record: Record.Version and Record.Revision are the store's to say.
type Change struct {
	Record
	Expected int64   // version that the record must be at
	Since    int64   // refused (KindConflict) when the store has this revision, or a later one, by now; 0: that does not matter
	Redact   bool    // versions before this one are dropped
	Drop     []int64 // versions before this one that are dropped, and the vector; not with Redact
	Spent    bool    // with Data nil: its time is over, and what was made of it stays
	Unsaid   bool    // what it said before is forgotten, if not the whole: as Redact, for Showings
	By       string  // the session whose agent forgets it: what that wrote down itself it knows, and its Showing says 1 for the time
	Once     bool    // nothing happens if there ever was a record of this id, one that was forgotten included; the zero Record says so
	Key      string
	Digest   string // of the request that the idempotency Key stands for
}

// Query selects records of a store, in the order of their ids.
type Query struct {
	Place
	After string // id to go on after
	Desc  bool
	Limit int // 1 … MaxRecords
	Now   int64
}

// Store keeps records. It is safe for concurrent use.
type Store interface {
	Vectors
	Showings
	// WriteMemories makes all of the changes or none, and returns the records as they are then. A change
	// whose Key made a record before changes nothing and gives that record. Data nil forgets: the
	// record's versions and keys are gone when this returns, and so is what it said in the eyes of Showings, unless it was
	// Spent: those of it are marked as forgotten at the change's UpdatedAt, for the erasure that ctx has (see Because), and due.
	// Redact marks them too. Changes are of one store, of different ids.
	WriteMemories(ctx context.Context, p Place, changes []Change) ([]Record, error)
	// ReadMemories returns those of the records that are there and not forgotten, in any order.
	ReadMemories(ctx context.Context, p Place, ids []string) ([]Record, error)
	// MemoryVersions returns the versions that are kept, newest first; KindNotFound when there is none.
	MemoryVersions(ctx context.Context, p Place, id string) ([]Record, error)
	// ListMemories returns a page; what is forgotten or expired by q.Now (0: nothing is) is left out.
	ListMemories(ctx context.Context, q Query) ([]Record, error)
	// MemoryChanges returns the records whose last revision is above after, in the order of their
	// revisions, forgotten ones included.
	MemoryChanges(ctx context.Context, p Place, after int64, limit int) ([]Record, error)
	// OriginMemories returns records of all stores of a project that come from a session (see Origins), in the order of
	// their stores and ids, after one; forgotten ones come from nowhere.
	OriginMemories(ctx context.Context, project stead.ProjectID, session, afterStore, afterID string, limit int) ([]Record, error)
	// DropMemories removes everything of a store, its revisions included; what sessions were shown of it is marked as forgotten.
	DropMemories(ctx context.Context, p Place) error
	// ExpiredMemories returns records of all projects that expired by now, at most limit.
	ExpiredMemories(ctx context.Context, now int64, limit int) ([]Record, error)
}

// CheckChanges refuses what no store takes: adapters call it first.
func CheckChanges(p Place, changes []Change) error {
	if len(changes) == 0 || len(changes) > MaxChanges {
		return stead.Errorf(stead.KindTooLarge, "a write of %d memories: from 1 to %d are possible", len(changes), MaxChanges)
	}
	seen := make(map[string]bool, len(changes))
	for i := range changes {
		c := &changes[i]
		switch {
		case c.Place != p:
			return stead.Errorf(stead.KindInternal, "a change of memory %.80q belongs to another store", c.ID)
		case seen[c.ID]:
			return stead.Invalid("memories", "memory %.80q is changed twice in one write", c.ID)
		case len(c.Data) > MaxRecordBytes:
			return stead.Errorf(stead.KindTooLarge, "memory %.80q has %d bytes, the limit is %d", c.ID, len(c.Data), MaxRecordBytes)
		case len(c.Key) > stead.MaxIdempotencyKeyBytes:
			return stead.Errorf(stead.KindTooLarge, "an idempotency key of %d bytes: at most %d", len(c.Key), stead.MaxIdempotencyKeyBytes)
		}
		seen[c.ID] = true
	}
	return nil
}

// Forgets reports whether what the record said is forgotten, for whoever was shown it.
func (c *Change) Forgets() bool { return c.Data == nil && !c.Spent || c.Redact || c.Unsaid }

// Fits checks what a change expects of the stored version, 0 when there is none, and forgets nothing
// that is not there.
func (c *Change) Fits(stored int64) error {
	switch {
	case c.Expected == NoVersion && stored != 0:
		return stead.Errorf(stead.KindConflict, "there is a memory with id %.80q already", c.ID)
	case c.Expected != NoVersion && stored == 0:
		return NotFound(c.ID)
	case c.Expected > 0 && c.Expected != stored:
		e := stead.Errorf(stead.KindConflict, "memory %.80q is at version %d, not %d", c.ID, stored, c.Expected)
		e.Hint = "Somebody else changed it meanwhile: read it and try again."
		return e
	}
	return nil
}

// CheckSince refuses changes that were made of a state that the store, at a revision, has left.
func CheckSince(changes []Change, revision int64) error {
	for i := range changes {
		if since := changes[i].Since; since > 0 && revision >= since {
			return stead.Errorf(stead.KindConflict, "the memory store was written meanwhile")
		}
	}
	return nil
}

// NotFound is the error for a memory that is not there.
func NotFound(id string) error { return stead.NotFound("memory", id) }

// KeyUsed is the error for an idempotency key that made something else.
func KeyUsed() error {
	return stead.Errorf(stead.KindConflict, "the idempotency key was used for another request")
}

// Bounded is the limit that counts, of the one that was asked for.
func Bounded(limit int) int {
	if limit <= 0 || limit > MaxRecords {
		return MaxRecords
	}
	return limit
}
