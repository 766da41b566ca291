// Package blob is the contract for bytes by digest, for what is too large to stand in the journal.
//
// Shape: (project, session, SHA-256 as 64 hex digits) → bytes. Blobs belong to one session, so that
// deleting the session deletes them without counting references; a fork copies what it needs.
//
// Delivery: when Put returns nil the bytes are on stable storage, so that an event may name them.
// Get verifies the digest. Put of what is there already is cheap and harmless.
//
// Sweeping. A blob has the time of its last Put or Copy. Sweep removes what nobody keeps and what is
// older than a given moment; it may run beside all other methods, in any process. Whoever sweeps
//
//  1. takes the moment: now − Grace at most,
//  2. then reads the journal, and keeps every blob that an event names, directly or through a
//     checkpoint,
//  3. then sweeps.
//
// Why that loses nothing, even when it is done by a node that has lost its lease and does not know
// yet, however slow it is: an event that was in the journal at 2 has its blobs kept. An event that came
// later names blobs that were kept already, because an earlier event names them, or blobs that its
// writer has put: whether their bytes were there or not, Put gave them the time of that. The writer
// appends within less than Grace of that Put, or does not append; so at 1 the blob was younger than
// Grace, or not there. Clocks of the nodes differ by less than what Grace has to spare. A writer
// must therefore put, or copy, whatever its event names and no event before it did.
//
// A session's first blobs come before its first event. Sessions and Prune are for those whose events never came.
//
// Errors: KindNotFound; KindUnavailable (disk full, store away); KindInternal for bytes that do not
// match their digest.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"time"

	"github.com/stead-dev/stead"
)

// Grace is the least age of what a sweep removes: longer than any time between a Put and the append of
// the event that names it, and the difference of the nodes' clocks, together.
const Grace = time.Hour

// Store keeps blobs. Implementations: Dir.
type Store interface {
	// Put stores data and returns its digest.
	Put(ctx context.Context, key stead.SessionKey, data []byte) (digest string, err error)
	// Get returns the whole blob.
	Get(ctx context.Context, key stead.SessionKey, digest string) ([]byte, error)
	// Open reads a blob without having it in memory, for whoever takes it slowly. The reader fails at
	// the end, with KindInternal, where the bytes do not match the digest: what came before is not to be
	// relied on until io.EOF. The caller closes it.
	Open(ctx context.Context, key stead.SessionKey, digest string) (io.ReadCloser, error)
	// DeleteAll removes every blob of a session; none is no error.
	DeleteAll(ctx context.Context, key stead.SessionKey) error
	// Copy gives a session blobs of another one, as durable as by Put, without moving their bytes where
	// the store can. KindNotFound when one is missing; others may have been copied then.
	Copy(ctx context.Context, from, to stead.SessionKey, digests []string) error
	// Sweep removes the blobs of a session that keep does not want and that were put or copied last
	// before olderThan: see the package comment for what that must be. keep is called serially.
	Sweep(ctx context.Context, key stead.SessionKey, keep func(digest string) bool, olderThan time.Time) (Swept, error)
	// Sessions calls each with everything that has blobs, in no order: sessions, and what else keeps its bytes here
	// under a name of its own. It ends with each's first error.
	Sessions(ctx context.Context, each func(stead.SessionKey) error) error
	// Prune is Sweep for a session that there is not: nothing is kept that is older than olderThan, nor what it was
	// in. olderThan lies further back than any making of a session takes.
	Prune(ctx context.Context, key stead.SessionKey, olderThan time.Time) (Swept, error)
}

// Swept is what a sweep did.
type Swept struct {
	Removed      int
	RemovedBytes int64
	Kept         int // blobs that are still there
}

// Of binds a store to one session.
func Of(s Store, key stead.SessionKey) Session { return Session{s, key} }

// Session is the blobs of one session.
type Session struct {
	store Store
	key   stead.SessionKey
}

// Put is Store.Put.
func (s Session) Put(ctx context.Context, data []byte) (string, error) {
	return s.store.Put(ctx, s.key, data)
}

// Get is Store.Get.
func (s Session) Get(ctx context.Context, digest string) ([]byte, error) {
	return s.store.Get(ctx, s.key, digest)
}

// Digest is the name of data: its SHA-256 in lower-case hex.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
