// Package document is the contract of a store of named JSON documents, for what is configured and
// not journaled: templates, files, skills.
//
// Shape: (project, kind, id) → Document {version, times, tag, data}
//
//	CreateDocument   version 1, once an idempotency key
//	UpdateDocument   version n+1, only over version n
//	ListDocuments    in the order of ids, which NewID makes the order of creation
//
// Units and limits: times are Unix milliseconds. Data is at most MaxBytes: what is larger is a blob
// that the document names.
//
// Delivery: what was answered without an error is on stable storage. An idempotency key lives as
// long as its document: the same key with the same digest gives the document as it is now and
// stores nothing. Two updates over one version: one wins.
//
// Errors: KindNotFound; KindConflict for an id that is taken, another version than the expected
// one, or a key that was used for something else; KindTooLarge; KindUnavailable.
package document

import (
	"context"
	"encoding/hex"

	"github.com/google/uuid"

	"github.com/stead-dev/stead"
)

// MaxBytes is the largest Data.
const MaxBytes = 2 << 20

// Kind is a noun: what the documents of one list are.
type Kind string

// Key names a document.
type Key struct {
	Project stead.ProjectID
	Kind    Kind
	ID      string
}

// Document is one document in one version.
type Document struct {
	Key
	Version   int64 // from 1
	CreatedAt int64 // Unix milliseconds, of version 1
	UpdatedAt int64 // Unix milliseconds, of this version
	ExpiresAt int64 // Unix milliseconds; 0: never. Nothing happens by itself: see Query.Now and ExpiredDocuments
	Tag       string
	Data      []byte // JSON
}

// Query selects documents of one project and kind.
type Query struct {
	Project stead.ProjectID
	Kind    Kind
	After   string // id to go on after, which need not be there any more; "": from the beginning
	Desc    bool   // newest first
	Limit   int    // 1 … stead.MaxPageSize+1
	Tag     string // only documents with this tag; "": all
	Now     int64  // documents that expired by then are left out; 0: none are
}

// Store keeps documents. It is safe for concurrent use.
type Store interface {
	// CreateDocument stores version 1, unless the key made a document before: then it returns that
	// one, and the caller sees by its id that it is not its own. key "" is no key.
	CreateDocument(ctx context.Context, d Document, key, digest string) (Document, error)
	// GetDocument returns a document, expired or not.
	GetDocument(ctx context.Context, k Key) (Document, error)
	// UpdateDocument stores d, whose Version must be the stored one plus one. CreatedAt stays.
	UpdateDocument(ctx context.Context, d Document) (Document, error)
	// DeleteDocument removes a document and its idempotency key, if it is at that version; 0 is any.
	DeleteDocument(ctx context.Context, k Key, version int64) error
	// ListDocuments returns a page.
	ListDocuments(ctx context.Context, q Query) ([]Document, error)
	// ExpiredDocuments returns documents of all projects that expired by now, at most limit.
	ExpiredDocuments(ctx context.Context, kind Kind, now int64, limit int) ([]Document, error)
	// DocumentProjects returns the projects that have documents of a kind, in their order: for what the operator does with all of them.
	DocumentProjects(ctx context.Context, kind Kind) ([]stead.ProjectID, error)
}

// Each calls do for every document of a kind in all projects, or only for those with a tag.
func Each(ctx context.Context, s Store, kind Kind, tag string, do func(Document) error) error {
	projects, err := s.DocumentProjects(ctx, kind)
	if err != nil {
		return err
	}
	for _, p := range projects {
		q := Query{Project: p, Kind: kind, Tag: tag, Limit: stead.MaxPageSize}
		for more := true; more; {
			docs, err := s.ListDocuments(ctx, q)
			if err != nil {
				return err
			}
			for _, d := range docs {
				if err := do(d); err != nil {
					return err
				}
				q.After = d.ID
			}
			more = len(docs) == q.Limit
		}
	}
	return nil
}

// NewID makes an id that sorts behind those made before it: the prefix and a UUIDv7 in hex.
func NewID(prefix string) string {
	u := uuid.Must(uuid.NewV7())
	return prefix + hex.EncodeToString(u[:])
}

// Check refuses what no store takes: adapters call it first.
func (d Document) Check(key string) error {
	if len(d.Data) > MaxBytes {
		return stead.Errorf(stead.KindTooLarge, "%s %.80q has %d bytes, the limit is %d", d.Kind, d.ID, len(d.Data), MaxBytes)
	}
	if len(key) > stead.MaxIdempotencyKeyBytes {
		return stead.Errorf(stead.KindTooLarge, "an idempotency key of %d bytes: at most %d", len(key), stead.MaxIdempotencyKeyBytes)
	}
	return nil
}

// NotFound is the error for a document that is not there.
func (k Key) NotFound() error { return stead.NotFound(string(k.Kind), k.ID) }

// Stale is the error for a change over another version than the stored one.
func (k Key) Stale(stored, expected int64) error {
	e := stead.Errorf(stead.KindConflict, "%s %.80q is at version %d, not %d", k.Kind, k.ID, stored, expected)
	e.Hint = "Somebody else changed it meanwhile: read it and try again."
	return e
}

// Taken is the error for an id that is there already.
func (k Key) Taken() error {
	return stead.Errorf(stead.KindConflict, "there is a %s with id %.80q already", k.Kind, k.ID)
}

// KeyUsed is the error for an idempotency key that made something else.
func KeyUsed() error {
	return stead.Errorf(stead.KindConflict, "the idempotency key was used for another request")
}

// PageLimit is the limit that counts, of the one that was asked for.
func PageLimit(n int) int {
	if n <= 0 || n > stead.MaxPageSize+1 {
		return stead.MaxPageSize + 1
	}
	return n
}
