package server

import (
	"context"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/responses"
	"github.com/stead-dev/stead/internal/session"
)

// following puts what a request follows (previous_response_id, conversation) in front of its input, for doors that
// keep nothing themselves: all items that a next response would come after, and their labels. Items that a long
// session's turns have only the summary of are there themselves.
func (s *server) following(ctx context.Context, p stead.Principal, req request) (request, error) {
	previous, _, err := req.String("previous_response_id")
	if err != nil {
		return req, err
	}
	conversation, err := responses.ConversationOf(req.Object)
	if err != nil || previous == "" && conversation == "" {
		return req, err
	}
	if previous != "" && conversation != "" {
		return req, stead.Invalid("conversation", "conversation and previous_response_id exclude each other")
	}
	if s.Responses == nil {
		return req, stead.Errorf(stead.KindNotImplemented, "this server keeps no responses")
	}
	var id stead.SessionID
	var items []session.Item
	if previous != "" {
		id, items, err = s.throughResponse(ctx, p, previous)
	} else {
		id, items, err = s.ofWholeConversation(ctx, p, conversation)
	}
	if err != nil {
		return req, err
	}
	list := make([]json.RawMessage, 0, len(items))
	for _, it := range items {
		if shown := responseItem(it, included{results: true, encrypted: true}); shown != nil {
			list = append(list, mustJSON(shown))
		}
	}
	if raw, has := req.Raw("input"); has && raw[0] == '"' {
		list = append(list, mustJSON(map[string]any{"type": "message", "role": stead.RoleUser, "content": raw}))
	} else if has && string(raw) != "null" {
		more, _, err := req.List("input")
		if err != nil {
			return req, err
		}
		list = append(list, more...)
	}
	req.Object = req.With("input", mustJSON(list))
	req.raw = req.JSON()
	return s.labelledAs(ctx, p, req, id)
}

func (s *server) throughResponse(ctx context.Context, p stead.Principal, id string) (stead.SessionID, []session.Item, error) {
	found, err := s.Responses.Response(ctx, p, id)
	if stead.KindOf(err) == stead.KindNotFound {
		missing := stead.Invalid("previous_response_id", "Previous response with id '%.80s' not found.", id)
		missing.Code = "previous_response_not_found"
		return "", nil, missing
	}
	if err != nil {
		return "", nil, err
	}
	if found.Turn.CompletedAt == nil {
		return "", nil, stead.Errorf(stead.KindConflict, "the previous response %s is still %s", id, found.Turn.Status)
	}
	items, err := s.Responses.ResponseInput(ctx, p, found)
	if err != nil {
		return "", nil, err
	}
	said, err := s.Responses.ResponseOutput(ctx, p, found)
	return found.Session, append(items, said...), err
}

func (s *server) ofWholeConversation(ctx context.Context, p stead.Principal, name string) (stead.SessionID, []session.Item, error) {
	id, err := conversationSession("conversation", name)
	if err != nil {
		return "", nil, err
	}
	found, err := s.Sessions.Get(ctx, p, id)
	if stead.KindOf(err) == stead.KindNotFound || err == nil && !found.Conversation {
		missing := stead.NotFound("conversation", name)
		missing.Param = "conversation"
		return "", nil, missing
	}
	if err != nil {
		return "", nil, err
	}
	var items []session.Item
	q := session.PageQuery{Limit: stead.MaxPageSize}
	for {
		part, err := s.Sessions.Items(ctx, p, id, session.ItemQuery{PageQuery: q})
		if err != nil {
			return "", nil, err
		}
		if items = append(items, part.Data...); !part.HasMore || len(part.Data) == 0 || len(items) > responses.MaxItems {
			return id, items, nil
		}
		q.After = part.Data[len(part.Data)-1].ItemID()
	}
}
