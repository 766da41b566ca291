// Package journal is the contract of the durable store: one append-only log a session.
//
// Shape:
//
//	session key → head {Tail, Epoch, holder, wake time, what lists show}
//	            → events 1 … Tail
//	            → idempotency keys → the receipts they gave
//	            → at most one snapshot (a cache; may be gone at any time)
//	project → usage records, in order of time (usage.go)
//
// Delivery: when Send or Append returns nil, every event of it is on stable storage (fsync,
// synchronous_commit). All events of one call are stored, or none. Events of one session are
// totally ordered by Seq, without gaps. A reader sees an event only after it is durable. When an
// error of KindUnavailable comes back, the caller does not know whether the events were stored:
// Send is safe to repeat with the same key, and a repeated Append answers KindTail if it was stored.
//
// Leases: one node at a time may Append to a session. A lease is (session, epoch, node). Acquire
// raises the epoch; an Append with a smaller epoch or another holder is refused with KindFenced in
// the same transaction that would have stored it, whatever the writer's clock says. A node keeps
// its leases by Heartbeat alone: there is no write a session while nothing happens. A node that is
// silent past its time loses its sessions to whoever acquires them next.
//
// Due work: a session is due when it has input that no holder has consumed, when its wake time has
// passed, or when its holder is dead. Acquire finds due sessions through an index over them alone:
// idle sessions cost nothing.
//
// Concurrency: every method may be called from many goroutines. Stores group the appends of all
// sessions that arrive while a commit is in flight into the next one.
//
// Errors: KindNotFound, KindFenced, KindTail, KindConflict (an idempotency key used for another
// request, a session that exists), KindTooLarge, KindUnavailable (disk full, database away).
package journal

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
)

// Store is the log. Its implementations are packages sqlite and postgres, and journaltest's memory
// store; journaltest.Suite is what all of them pass.
type Store interface {
	// Send appends input to a session without a lease, and makes the session due. With Create set
	// it first makes the session, in the same transaction. See Input for idempotency.
	Send(ctx context.Context, key stead.SessionKey, in Input) (Receipt, error)

	// Append stores the events of the lease's holder at b.After+1 and on. It fails with KindFenced
	// when the lease is lost, and with KindTail when the session's tail is no longer b.After (input
	// arrived): the holder reads on, applies, and decides again.
	Append(ctx context.Context, lease Lease, b Batch) error

	// Read returns events in order of Seq, after opts.After; descending with opts.Desc.
	// At most stead.MaxReadEvents; fewer than asked for means that there are no more.
	Read(ctx context.Context, key stead.SessionKey, opts ReadOptions) ([]stead.Event, error)

	// Wait returns the session's tail as soon as it is greater than after, or ctx's error.
	// It returns KindNotFound when the session is deleted meanwhile.
	Wait(ctx context.Context, key stead.SessionKey, after stead.Seq) (stead.Seq, error)

	// Acquire leases up to limit due sessions to a node, the longest due first. next is when the
	// earliest session that is not due yet becomes so (zero: none known); callers also
	// listen to Work.
	Acquire(ctx context.Context, node stead.NodeID, limit int) (leases []Lease, next time.Time, err error)

	// Heartbeat keeps the node's leases for ttl from now. A node that never beat holds nothing; its
	// first beat comes before its first Acquire. Releasing a node (ttl <= 0) makes its sessions due
	// at once.
	Heartbeat(ctx context.Context, node stead.NodeID, ttl time.Duration) error

	// Lives reports whether a node's leases are kept by a heartbeat.
	Lives(ctx context.Context, node stead.NodeID) (bool, error)

	// Work returns a channel that receives a value soon after a session became due on any node
	// (coalesced, best effort: Acquire is the truth). The channel is never closed.
	Work() <-chan struct{}
}

// Directory answers questions about sessions as a whole. Reads see every write that was
// acknowledged before them.
type Directory interface {
	// Head returns one session's head; KindNotFound.
	Head(ctx context.Context, key stead.SessionKey) (Head, error)
	// Heads lists a project's sessions in order of id.
	Heads(ctx context.Context, project stead.ProjectID, q Query) ([]Head, error)
	// Delete removes the session, its events, keys and snapshot. Deleting what is not there is
	// KindNotFound. The holder of a lease on it is fenced from then on.
	Delete(ctx context.Context, key stead.SessionKey) error
}

// Snapshots caches folded states. A lost or stale snapshot costs time, never truth.
type Snapshots interface {
	// LoadSnapshot returns the newest snapshot, or Seq 0 when there is none.
	LoadSnapshot(ctx context.Context, key stead.SessionKey) (stead.Seq, []byte, error)
	// SaveSnapshot replaces the snapshot if seq is newer. It need not be durable.
	SaveSnapshot(ctx context.Context, key stead.SessionKey, seq stead.Seq, data []byte) error
}

// Full is what a node needs of one database.
type Full interface {
	Store
	Directory
	Snapshots
	Redactor
	Usage
	// Close waits for writes in flight and stops. Appends after it fail with KindUnavailable.
	Close() error
}

// Input is what a door sends.
type Input struct {
	// Create makes the session first; KindConflict when it exists already (and the key does not
	// say that this very request made it).
	Create *Creation

	// Events are appended in order; their Seq is ignored. May be empty only with Create.
	Events []stead.Event

	// If is the tail that the session must have, -1 for any. A mismatch is KindTail.
	If stead.Seq

	// Key makes the call idempotent within (project, scope): the scope is the session, or, with
	// Create, the project's creations. A second call with the same Key and Digest stores nothing and
	// gets the first one's receipt, Replayed. The same Key with another Digest is KindConflict.
	Key    string
	Digest string // of the request, as the door computes it

	// Update changes what lists show; nil leaves it.
	Update *Listing

	// Audit are drafts of audit records, stored with the events or not at all: see Batch. A receipt that is replayed stores none.
	Audit [][]byte

	// Quiet stores the input without making the session due (an import, a fork).
	Quiet bool
}

// Creation makes a session.
type Creation struct {
	Agent     stead.AgentID
	CreatedAt int64 // Unix milliseconds
}

// Listing is what lists show and filter by, kept beside the log so that a list reads no events.
// It is derived from the events by the writer, in the same transaction.
type Listing struct {
	Status     string            `json:"status"`
	Metadata   map[string]string `json:"metadata,omitempty"`
	LastActive int64             `json:"last_active"` // Unix milliseconds
	// Agent and Environment stay what they are where an update leaves them empty. A log without an
	// agent is an environment that waits for its session.
	Agent       stead.AgentID `json:"agent,omitempty"`
	Environment string        `json:"environment,omitempty"` // the type of the session's environment
}

// Receipt says where the input stands.
type Receipt struct {
	Session     stead.SessionID // with a replayed creation: the session made then
	First, Last stead.Seq       // First > Last when no events were sent
	Replayed    bool
}

// Lease is the right to append to a session.
type Lease struct {
	Key   stead.SessionKey
	Epoch stead.Epoch
	Node  stead.NodeID
	Tail  stead.Seq // the session's tail when it was acquired
}

// Batch is one append of a lease's holder.
type Batch struct {
	After  stead.Seq     // the tail that the writer has seen
	Events []stead.Event // their Seq must be After+1, After+2, …; may be empty (to release only)
	// Release gives the lease back in the same transaction.
	Release bool
	// Wake, with Release, makes the session due at that time (Unix milliseconds); 0 means never by
	// itself. Without Release it is ignored: the holder keeps its own timers.
	Wake int64
	// Update changes what lists show; nil leaves it.
	Update *Listing
	// Usage are the records that follow from Events: see Usage. At most MaxUsageRows.
	Usage []UsageRow
	// Audit are drafts of audit records about what was decided on the way to Events, at most MaxAuditDrafts. They are stored in
	// the transaction of the events, and outlive the session. What they say is package audit's business.
	Audit [][]byte
}

// MaxAuditDrafts is the most drafts of one call, and MaxAuditBytes the size of one.
const (
	MaxAuditDrafts = 4096
	MaxAuditBytes  = 512 << 10
)

// CheckAudit checks the drafts of one call.
func CheckAudit(drafts [][]byte) error {
	if len(drafts) > MaxAuditDrafts {
		return stead.Errorf(stead.KindTooLarge, "%d audit records at once are more than the limit of %d", len(drafts), MaxAuditDrafts)
	}
	for _, d := range drafts {
		if len(d) > MaxAuditBytes {
			return stead.Errorf(stead.KindTooLarge, "an audit record of %d bytes is larger than the limit of %d", len(d), MaxAuditBytes)
		}
	}
	return nil
}

// ReadOptions selects events.
type ReadOptions struct {
	After stead.Seq // exclusive; with Desc, events below it (0: from the tail)
	Limit int       // 1 … stead.MaxReadEvents; 0 means that
	Desc  bool
}

// Head is a session as a whole.
type Head struct {
	Key       stead.SessionKey
	Agent     stead.AgentID // "": an environment that waits for its session
	CreatedAt int64         // Unix milliseconds
	Tail      stead.Seq
	Epoch     stead.Epoch
	Holder    stead.NodeID // "" when nobody holds it
	Listing   Listing
}

// Query selects heads. Zero fields select all sessions.
type Query struct {
	// Environment selects those with an environment of a type, also the ones that wait for a session.
	Environment string
	Agent       stead.AgentID
	Status      string
	Metadata    map[string]string // every pair must match exactly
	After       stead.SessionID   // exclusive, in the chosen order
	Desc        bool
	Limit       int // 1 … stead.MaxPageSize+1
}
