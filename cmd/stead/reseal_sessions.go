package main

import (
	"context"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/environment/wrap"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
)

// adoptedKind is of the one document that says that what seals the environments of sessions from before was looked for.
const adoptedKind = document.Kind("environment seals adopted")

// adoptOnce looks for it at the first start alone. Sessions that a node from before makes beside this one are found when the keys change.
func adoptOnce(ctx context.Context, documents document.Store, adopt func(context.Context) error) error {
	done := document.Document{Key: document.Key{Project: stead.DefaultProject, Kind: adoptedKind, ID: "once"}, Version: 1, Data: []byte(`{}`)}
	if _, err := documents.GetDocument(ctx, done.Key); stead.KindOf(err) != stead.KindNotFound {
		return err
	}
	if err := adopt(ctx); err != nil {
		return err
	}
	_, err := documents.CreateDocument(ctx, done, "", "")
	if stead.KindOf(err) == stead.KindConflict { // another node was as quick
		return nil
	}
	return err
}

// sealedOf finds what a session's environment has sealed: its journal says it at its very beginning.
func sealedOf(store database) func(context.Context, stead.SessionKey) (wrap.Session, error) {
	return func(ctx context.Context, key stead.SessionKey) (wrap.Session, error) {
		if !strings.HasPrefix(string(key.Session), stead.SessionPrefix) {
			return wrap.Session{}, nil // bytes of a document
		}
		head, err := store.Head(ctx, key)
		if err != nil || head.Listing.Environment == "" {
			return wrap.Session{}, err
		}
		events, err := store.Read(ctx, key, journal.ReadOptions{Limit: 1})
		if err != nil || len(events) == 0 {
			return wrap.Session{}, err
		}
		made, err := session.SetupOf(events[0])
		if err != nil || made == nil {
			return wrap.Session{}, err
		}
		return wrap.Session{Sealed: made.Sealed, Owner: made.Owner}, nil
	}
}
