package runner

import (
	"context"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// Response implements session.Responses.
func (r *Runner) Response(ctx context.Context, p stead.Principal, id string) (session.Response, error) {
	s, seq, ok := session.ParseResponseID(id)
	if !ok {
		return session.Response{}, stead.NotFound("response", id)
	}
	key := keyOf(p, s)
	if err := r.allow(ctx, p, policy.SessionRead, key, ""); err != nil {
		return session.Response{}, err
	}
	out, err := r.response(ctx, key, seq)
	if stead.KindOf(err) == stead.KindNotFound {
		return out, stead.NotFound("response", id)
	}
	return out, err
}

func (r *Runner) response(ctx context.Context, key stead.SessionKey, seq stead.Seq) (session.Response, error) {
	v, err := r.view(ctx, key)
	if err != nil {
		return session.Response{}, err
	}
	return session.FindResponse(v, r.reader(ctx, key), seq)
}

// ResponseInput implements session.Responses.
func (r *Runner) ResponseInput(ctx context.Context, p stead.Principal, res session.Response) ([]session.Item, error) {
	v, err := r.readable(ctx, p, res.Session)
	if err != nil {
		return nil, err
	}
	return session.ResponseInput(v.Key, r.reader(ctx, v.Key), res.Seq, v.Gone(), r.texts(ctx, v.Key))
}

// ResponseOutput implements session.Responses.
func (r *Runner) ResponseOutput(ctx context.Context, p stead.Principal, res session.Response) ([]session.Item, error) {
	v, err := r.readable(ctx, p, res.Session)
	if err != nil {
		return nil, err
	}
	return session.ResponseOutput(v.Key, r.reader(ctx, v.Key), res.Seq, v.Gone(), r.texts(ctx, v.Key))
}

// Item implements session.Responses.
func (r *Runner) Item(ctx context.Context, p stead.Principal, id stead.SessionID, item string) (session.Item, error) {
	v, err := r.readable(ctx, p, id)
	if err != nil {
		return nil, err
	}
	return session.FindItem(v.Key, r.reader(ctx, v.Key), item, v.Gone(), r.texts(ctx, v.Key))
}

// Labels implements session.Responses.
func (r *Runner) Labels(ctx context.Context, p stead.Principal, id stead.SessionID) (stead.Labels, error) {
	v, err := r.readable(ctx, p, id)
	if err != nil {
		return nil, err
	}
	return v.Labels(), nil
}

// DeleteItem implements session.Responses.
func (r *Runner) DeleteItem(ctx context.Context, p stead.Principal, id stead.SessionID, item string) error {
	if err := r.allow(ctx, p, policy.SessionWrite, keyOf(p, id), ""); err != nil {
		return err // also of an item that is not there
	}
	found, err := r.Item(ctx, p, id, item)
	if err != nil {
		return err
	}
	gone, ok := session.DeletionOf(id, found, p)
	if !ok {
		return stead.NotFound("item", item)
	}
	_, err = r.amend(ctx, p, id, func(v *session.View) (string, any, error) {
		switch {
		case v.Gone()[item]:
			return "", nil, stead.NotFound("item", item) // somebody else was first
		case v.Turn != nil:
			return "", nil, locked("")
		}
		return session.KindItemDeleted, gone, nil
	})
	if err != nil || r.cfg.Memory == nil {
		return err
	}
	_, err = r.cfg.Memory.Forget(ctx, p, keyOf(p, id), item)
	return err
}

// DeleteResponse implements session.Responses.
func (r *Runner) DeleteResponse(ctx context.Context, p stead.Principal, id string) error {
	if s, _, ok := session.ParseResponseID(id); ok {
		if err := r.allowDelete(ctx, p, keyOf(p, s), "", false); err != nil {
			if stead.KindOf(err) == stead.KindNotFound {
				err = stead.NotFound("response", id)
			}
			return err
		}
	}
	res, err := r.Response(ctx, p, id)
	if err != nil {
		return err
	}
	if res.Turn.CompletedAt == nil {
		e := stead.Errorf(stead.KindConflict, "response %s is still %s", id, res.Turn.Status)
		e.Hint = "cancel it first"
		return e
	}
	_, err = r.amend(ctx, p, res.Session, func(v *session.View) (string, any, error) {
		if slices.Contains(v.Deleted, res.Seq) {
			return "", nil, nil
		}
		return session.KindResponseDeleted, session.ResponseDeleted{Seq: res.Seq, By: p}, nil
	})
	if err != nil || res.Conversation {
		return err
	}
	return r.deleteEmpty(ctx, p, res.Session)
}

// deleteEmpty deletes a session of which no response is left.
func (r *Runner) deleteEmpty(ctx context.Context, p stead.Principal, id stead.SessionID) error {
	key := keyOf(p, id)
	v, err := r.view(ctx, key)
	if err != nil {
		return err
	}
	if v.Turn != nil {
		return nil
	}
	q := session.PageQuery{Limit: stead.MaxPageSize}
	for {
		page, err := session.ListTurns(v, r.reader(ctx, key), q)
		if err != nil {
			return err
		}
		for _, t := range page.Data {
			_, seq, _, _ := stead.ParseDerivedID(id, t.ID)
			if !slices.Contains(v.Deleted, seq) {
				return nil
			}
			q.After = t.ID
		}
		if !page.HasMore {
			return r.Delete(ctx, p, id)
		}
	}
}

// CreateConversation implements session.Responses.
func (r *Runner) CreateConversation(ctx context.Context, p stead.Principal, req session.ConversationRequest) (session.Session, error) {
	if err := checkLabels(nil, req.Labels, req.Metadata); err != nil {
		return session.Session{}, err
	}
	key, first, drafts, err := r.conceive(ctx, p, agent.Defaults(), req.Metadata, req.Labels.And(stead.LabelsOf(req.Metadata)), true, len(req.Items) > 0)
	if err != nil {
		return session.Session{}, err
	}
	if req, err = r.screenItems(ctx, p, stead.SessionKey{}, req); err != nil {
		return session.Session{}, err
	}
	events := []stead.Event{first}
	if len(req.Items) > 0 {
		e, err := r.itemsEvent(ctx, key, p, req)
		if err != nil {
			r.discard(ctx, key)
			return session.Session{}, err
		}
		events = append(events, e)
	}
	key, err = r.bear(ctx, key, events, journal.Listing{Status: session.StatusIdle, Metadata: req.Metadata, LastActive: first.At}, req.Key, req.Digest, drafts)
	if err != nil {
		return session.Session{}, err
	}
	v, err := r.view(ctx, key)
	if err != nil {
		return session.Session{}, err
	}
	return v.Session(), nil
}

func (r *Runner) itemsEvent(ctx context.Context, key stead.SessionKey, p stead.Principal, req session.ConversationRequest) (stead.Event, error) {
	items, err := r.spillItems(ctx, key, req.Items)
	if err != nil {
		return stead.Event{}, err
	}
	return session.NewEvent(r.now(), session.KindInputItems, session.ItemsInput{Items: items, Labels: req.Labels, By: p, Guardrails: req.Guarded.Findings})
}

// AddItems implements session.Responses.
func (r *Runner) AddItems(ctx context.Context, p stead.Principal, id stead.SessionID, req session.ConversationRequest) ([]session.Item, error) {
	key := keyOf(p, id)
	drafts, err := r.allowWrite(ctx, p, key)
	if err != nil {
		return nil, err
	}
	req, err = r.screenItems(ctx, p, key, req)
	if err != nil {
		return nil, err
	}
	receipt, err := r.atRest(ctx, key, "", req.Key, req.Digest, drafts, func(v *session.View) (stead.Event, error) {
		if err := checkLabels(v.Labels(), req.Labels, nil); err != nil {
			return stead.Event{}, err
		}
		return r.itemsEvent(ctx, key, p, req)
	})
	if err != nil {
		return nil, err
	}
	events, err := r.reader(ctx, key)(receipt.First-1, 1, false)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return session.AddedItems(key, events[0], r.texts(ctx, key))
}
