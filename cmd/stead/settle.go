package main

import (
	"context"
	"errors"

	"github.com/stead-dev/stead/internal/client"
)

// errSettled ends a stream whose session has nothing to do.
var errSettled = errors.New("the session has settled")

// settling finds the event after which a session has nothing to do for now. What a stream says may
// be a replay of long ago, so it is compared with what the session says now.
type settling struct {
	client  *client.Client
	session string

	then  *client.Session // as the last event that settled it said; nil while it runs
	shown map[string]bool // ids of the items that went by
}

// event returns errSettled after the last event.
func (s *settling) event(ctx context.Context, e client.Event) error {
	switch {
	case e.Type == client.EventIdle || e.Type == client.EventRequiresAction || e.Type == client.EventFailed:
		s.then = e.Session
	case e.Type == client.EventInProgress:
		s.then = nil
	case e.Item != nil:
		s.shown[e.Item.ID] = true
	default:
		return nil
	}
	if s.then == nil {
		return nil
	}
	now, err := s.client.Session(ctx, s.session)
	if err != nil || !sameState(now, *s.then) {
		return err
	}
	// A message to a session that waits comes after it, and changes no status.
	newest, err := s.client.NewestItem(ctx, s.session)
	if err == nil && (newest == "" || s.shown[newest]) {
		return errSettled
	}
	return err
}

// sameState reports whether two views of a session say that it does, waits for and has used the same.
func sameState(a, b client.Session) bool {
	if a.Status != b.Status || len(a.RequiredActions) != len(b.RequiredActions) {
		return false
	}
	for i, x := range a.RequiredActions {
		if y := b.RequiredActions[i]; x.RequestID != y.RequestID || x.CallID != y.CallID {
			return false
		}
	}
	return a.Usage == nil || b.Usage == nil || *a.Usage == *b.Usage
}
