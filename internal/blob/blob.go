// Package blob is the contract for bytes by digest, for what is too large to stand in the journal.
//
// Shape: (project, session, SHA-256 as 64 hex digits) → bytes. Blobs belong to one session, so that
// deleting the session deletes them without counting references; a fork copies what it needs.
//
// Delivery: when Put returns nil the bytes are on stable storage, so that an event may name them.
// Get verifies the digest. Put of what is there already is cheap and harmless.
//
// Errors: KindNotFound; KindUnavailable (disk full, store away); KindInternal for bytes that do not
// match their digest.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/stead-dev/stead"
)

// Store keeps blobs. Implementations: Dir.
type Store interface {
	// Put stores data and returns its digest.
	Put(ctx context.Context, key stead.SessionKey, data []byte) (digest string, err error)
	// Get returns the whole blob.
	Get(ctx context.Context, key stead.SessionKey, digest string) ([]byte, error)
	// DeleteAll removes every blob of a session; none is no error.
	DeleteAll(ctx context.Context, key stead.SessionKey) error
}

// Digest is the name of data: its SHA-256 in lower-case hex.
func Digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
