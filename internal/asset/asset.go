// Package asset keeps the bytes that documents own: blobs under a name of their own, which come and
// go with their document, whatever crashes in between.
//
// Shape:
//
//	Reserve(claim) ─▶ Put bytes under claim.Owner ─▶ the caller stores its document ─▶ Settle(claim)
//	Release(claim) ─▶ the caller deletes or changes its document ─▶ Settle(claim)
//
// A claim that is reserved or released is a document itself, with a time at which Sweep looks at it:
// if the document is there and names the owner, the bytes stay; if not, they go. So neither a
// crash nor an error leaves bytes that nobody knows of, and none takes bytes away that somebody has.
//
// Units and limits: ReserveTime bounds how long an upload may take; SweepInterval is how often Run
// looks.
//
// Errors: those of the stores.
package asset

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/document"
)

const (
	// ReserveTime is how long bytes may be there before the document that owns them.
	ReserveTime = 24 * time.Hour
	// SweepInterval is the time between two sweeps of a node.
	SweepInterval = 10 * time.Minute
	// releaseTime is how long a deletion may take before Sweep finishes it.
	releaseTime = time.Minute
	// sweepLimit is the most claims of one sweep.
	sweepLimit = 200
)

const kindClaim document.Kind = "claim"

// Claim says which document owns which bytes.
type Claim struct {
	Document document.Key
	// Owner is the name under which the blobs are: a plain name, as package blob has it. The ids of
	// documents are plain names.
	Owner string
}

// owned reports whether a document owns the bytes: it has the owner's name, or its data holds the
// name as a text.
func (c Claim) owned(d document.Document) bool {
	return d.ID == c.Owner || bytes.Contains(d.Data, []byte(`"`+c.Owner+`"`))
}

// Store keeps bytes. It is safe for concurrent use.
type Store struct {
	documents document.Store
	blobs     blob.Store
	now       func() time.Time
}

// New makes a Store; now is the clock.
func New(documents document.Store, blobs blob.Store, now func() time.Time) *Store {
	return &Store{documents, blobs, now}
}

func (c Claim) session() stead.SessionKey {
	return stead.SessionKey{Project: c.Document.Project, Session: stead.SessionID(c.Owner)}
}

func (c Claim) key() document.Key {
	return document.Key{Project: c.Document.Project, Kind: kindClaim, ID: c.Owner}
}

// Put stores bytes under a reserved claim and returns their digest.
func (s *Store) Put(ctx context.Context, c Claim, data []byte) (string, error) {
	return s.blobs.Put(ctx, c.session(), data)
}

// Get returns bytes.
func (s *Store) Get(ctx context.Context, c Claim, digest string) ([]byte, error) {
	return s.blobs.Get(ctx, c.session(), digest)
}

// Open reads bytes without having them in memory: see blob.Store.
func (s *Store) Open(ctx context.Context, c Claim, digest string) (io.ReadCloser, error) {
	return s.blobs.Open(ctx, c.session(), digest)
}

// Reserve comes before the first Put. The owner must be new.
func (s *Store) Reserve(ctx context.Context, c Claim) error { return s.claim(ctx, c, ReserveTime) }

// Release comes before the document is deleted, or changed so that it owns other bytes.
func (s *Store) Release(ctx context.Context, c Claim) error {
	err := s.claim(ctx, c, releaseTime)
	if stead.KindOf(err) == stead.KindConflict { // somebody else is about it, or a crash left it
		return nil
	}
	return err
}

// Settle comes after the document was stored, changed or deleted, with the error of that. It keeps
// the bytes if the document owns them now, and deletes them if not. A store that was away may yet do
// what it was asked for: then everything stays until Sweep can tell. What fails here, Sweep does.
func (s *Store) Settle(ctx context.Context, c Claim, err error) {
	if stead.KindOf(err) != stead.KindUnavailable {
		_ = s.settle(context.WithoutCancel(ctx), c)
	}
}

func (s *Store) claim(ctx context.Context, c Claim, life time.Duration) error {
	data, err := json.Marshal(c)
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "encode a claim")
	}
	now := s.now()
	_, err = s.documents.CreateDocument(ctx, document.Document{
		Key: c.key(), CreatedAt: now.UnixMilli(), UpdatedAt: now.UnixMilli(), ExpiresAt: now.Add(life).UnixMilli(), Data: data,
	}, "", "")
	return err
}

// settle decides what becomes of the bytes, and then forgets the claim.
func (s *Store) settle(ctx context.Context, c Claim) error {
	d, err := s.documents.GetDocument(ctx, c.Document)
	switch {
	case stead.KindOf(err) == stead.KindNotFound, err == nil && !c.owned(d):
		if err := s.blobs.DeleteAll(ctx, c.session()); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	err = s.documents.DeleteDocument(ctx, c.key(), 0)
	if stead.KindOf(err) == stead.KindNotFound {
		return nil
	}
	return err
}

// Sweep settles the claims whose time is over, and says how many.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	due, err := s.documents.ExpiredDocuments(ctx, kindClaim, s.now().UnixMilli(), sweepLimit)
	if err != nil {
		return 0, err
	}
	for i, d := range due {
		var c Claim
		if err := json.Unmarshal(d.Data, &c); err != nil {
			return i, stead.Wrap(stead.KindInternal, err, "read claim %.80q", d.ID)
		}
		if err := s.settle(ctx, c); err != nil {
			return i, err
		}
	}
	return len(due), nil
}

// Run calls the sweeps one after the other, now and every SweepInterval, until ctx ends. Each says
// how much it did; errors are logged, and the next round tries again.
func Run(ctx context.Context, log *slog.Logger, sweeps ...func(context.Context) (int, error)) {
	tick := time.NewTicker(SweepInterval)
	defer tick.Stop()
	for {
		for _, sweep := range sweeps {
			if n, err := sweep(ctx); err != nil && ctx.Err() == nil {
				log.Warn("sweep", "done", n, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
