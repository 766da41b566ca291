// Package wrap keeps what wraps the data keys of environments' confidential texts beside the blobs that hold these texts, so that it can be
// wrapped anew: blobs, and the events that name them, never change.
//
// Shape: a session's sealed text ─▶ blob: the text without its head, or, of a session from before, the whole text
//
//	└─▶ document (project, session) {sealed: the head (see seal.Part), owner: the session that it is sealed for}
//
// The document goes with the session's blobs, whoever deletes these, and a copy of the session has one of its own: see Blobs. Sessions from
// before documents were made have theirs by Adopt, which copies the head that stands in their blob.
//
// Delivery: the blob comes first, then the document, then the event that names the blob. A crash in between leaves what is removed with
// the blobs of sessions that never were, or by Adopt.
//
// Errors: those of documents and blobs. KindInternal: the text can't be read.
package wrap

import (
	"context"
	"encoding/json"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/seal"
	"github.com/stead-dev/stead/internal/seal/reseal"
)

const kind = document.Kind("environment seal")

// StrayAge is the least age of a document without a session that Adopt removes: no making of a session takes that long.
const StrayAge = 24 * time.Hour

// head is what a document holds.
type head struct {
	Sealed []byte          `json:"sealed"`
	Owner  stead.SessionID `json:"owner"`
}

// Heads keeps them. It is safe for concurrent use, by several nodes too.
type Heads struct {
	documents document.Store
	now       func() time.Time
}

// New makes Heads.
func New(documents document.Store, now func() time.Time) *Heads { return &Heads{documents, now} }

// Label says what the confidential part of an environment is sealed for: the session that asked for it, also where a copy of that session has it.
func Label(project stead.ProjectID, owner stead.SessionID) seal.Label {
	return seal.Label{Project: project, Kind: "environment", ID: string(owner)}
}

// Sealed says where heads are.
func Sealed() reseal.Place {
	return reseal.Place{Kind: kind, What: reseal.Environments, Label: func(d document.Document) seal.Label {
		var h head
		_ = json.Unmarshal(d.Data, &h) // of what is damaged nothing opens
		return Label(d.Project, h.Owner)
	}}
}

// Part takes what was sealed for a session apart: what is to be stored as a blob, and, once it is, what keeps the head.
func (h *Heads) Part(key stead.SessionKey, sealed []byte) (rest []byte, keep func(context.Context) error) {
	at, rest := seal.Part(sealed)
	return rest, func(ctx context.Context) error { return h.put(ctx, key, head{at, key.Session}) }
}

// put stores a head; one that is there stays.
func (h *Heads) put(ctx context.Context, key stead.SessionKey, of head) error {
	data, err := json.Marshal(of)
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "what seals the environment of session %s can't be written", key.Session)
	}
	now := h.now().UnixMilli()
	_, err = h.documents.CreateDocument(ctx, document.Document{Key: keyOf(key), Version: 1, CreatedAt: now, UpdatedAt: now, Data: data}, "", "")
	if stead.KindOf(err) == stead.KindConflict {
		return nil
	}
	return err
}

func keyOf(k stead.SessionKey) document.Key {
	return document.Key{Project: k.Project, Kind: kind, ID: string(k.Session)}
}

// get returns a session's head; ok: it has one.
func (h *Heads) get(ctx context.Context, key stead.SessionKey) (of head, ok bool, err error) {
	d, err := h.documents.GetDocument(ctx, keyOf(key))
	if stead.KindOf(err) == stead.KindNotFound {
		return of, false, nil
	}
	if err == nil && json.Unmarshal(d.Data, &of) != nil { // its cause could quote it
		err = stead.Errorf(stead.KindInternal, "what seals the environment of session %s can't be read", key.Session)
	}
	return of, err == nil, err
}

// Whole puts together what a session's blob and its head hold.
func (h *Heads) Whole(ctx context.Context, key stead.SessionKey, stored []byte) ([]byte, error) {
	of, ok, err := h.get(ctx, key)
	if err != nil || !ok {
		return stored, err
	}
	return seal.Join(of.Sealed, stored), nil
}

// Blobs is a store whose sessions keep their heads with their blobs.
func (h *Heads) Blobs(s blob.Store) blob.Store { return &blobs{s, h} }

type blobs struct {
	blob.Store
	heads *Heads
}

// Copy implements blob.Store: a copy of a session has its head.
func (b *blobs) Copy(ctx context.Context, from, to stead.SessionKey, digests []string) error {
	if err := b.Store.Copy(ctx, from, to, digests); err != nil {
		return err
	}
	of, ok, err := b.heads.get(ctx, from)
	if err != nil || !ok {
		return err
	}
	return b.heads.put(ctx, to, of)
}

// DeleteAll implements blob.Store. The head goes first: what is left then opens for nobody, and is found again.
func (b *blobs) DeleteAll(ctx context.Context, key stead.SessionKey) error {
	if err := b.heads.delete(ctx, key, 0); err != nil {
		return err
	}
	return b.Store.DeleteAll(ctx, key)
}

// Prune implements blob.Store.
func (b *blobs) Prune(ctx context.Context, key stead.SessionKey, olderThan time.Time) (blob.Swept, error) {
	if err := b.heads.delete(ctx, key, olderThan.UnixMilli()); err != nil {
		return blob.Swept{}, err
	}
	return b.Store.Prune(ctx, key, olderThan)
}

// delete removes a head; of a session that may be about to be made (before is set) only one that is older than before.
func (h *Heads) delete(ctx context.Context, key stead.SessionKey, before int64) error {
	d, err := h.documents.GetDocument(ctx, keyOf(key)) // a look costs no write, and few sessions have one
	if err == nil && (before == 0 || d.CreatedAt < before) {
		err = h.documents.DeleteDocument(ctx, d.Key, 0)
	}
	if stead.KindOf(err) == stead.KindNotFound {
		return nil
	}
	return err
}

// Session is what Adopt has to know of one.
type Session struct {
	Sealed *stead.Text // nil: it has nothing sealed
	Owner  stead.SessionID
}

// Adopt gives each session that has something sealed its head, where it has none: of a server from before there were any. find says KindNotFound
// of a session that there is not. What is left of sessions that never were, or are gone, is removed. It may be cut off, and run again, and beside itself.
func (h *Heads) Adopt(ctx context.Context, from blob.Store, find func(context.Context, stead.SessionKey) (Session, error)) error {
	has := map[stead.SessionKey]bool{}
	if err := document.Each(ctx, h.documents, kind, "", func(d document.Document) error {
		key := stead.SessionKey{Project: d.Project, Session: stead.SessionID(d.ID)}
		has[key] = true
		if h.now().Sub(time.UnixMilli(d.CreatedAt)) < StrayAge {
			return nil
		}
		_, err := find(ctx, key)
		if stead.KindOf(err) == stead.KindNotFound {
			return h.delete(ctx, key, 0)
		}
		return err
	}); err != nil {
		return err
	}
	return from.Sessions(ctx, func(key stead.SessionKey) error {
		if has[key] {
			return nil
		}
		return h.adopt(ctx, from, key, find)
	})
}

// adopt does so for one session. One that is deleted meanwhile has none in the end.
func (h *Heads) adopt(ctx context.Context, from blob.Store, key stead.SessionKey, find func(context.Context, stead.SessionKey) (Session, error)) error {
	s, err := find(ctx, key)
	if err != nil || s.Sealed == nil {
		return unlessGone(err)
	}
	stored, err := from.Get(ctx, key, s.Sealed.Digest)
	if err != nil {
		return unlessGone(err)
	}
	at, rest := seal.Part(stored)
	if len(rest) == 0 && len(at) > 0 && !seal.Direct(at) {
		of, ok, err := h.get(ctx, stead.SessionKey{Project: key.Project, Session: s.Owner}) // a node that knows no heads copied it: it is the owner's
		if err != nil || !ok {
			return err
		}
		at = of.Sealed
	}
	if err := h.put(ctx, key, head{at, s.Owner}); err != nil {
		return err
	}
	if _, err = find(ctx, key); stead.KindOf(err) == stead.KindNotFound {
		return h.delete(ctx, key, 0)
	}
	return err
}

func unlessGone(err error) error {
	if stead.KindOf(err) == stead.KindNotFound {
		return nil
	}
	return err
}
