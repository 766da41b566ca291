package server

import (
	"context"
	"net/http"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/responses"
	"github.com/stead-dev/stead/internal/session"
)

// MaxConversationItems is the most items that one call adds to a conversation (Conversations API).
const MaxConversationItems = 20

// conversation is the wire's object.
type conversation struct {
	ID        string            `json:"id"`
	Object    string            `json:"object"` // "conversation"
	CreatedAt int64             `json:"created_at"`
	Metadata  map[string]string `json:"metadata"`
}

func wireConversation(s session.Session) conversation {
	return conversation{session.ConversationID(s.ID), "conversation", s.CreatedAt, s.Metadata}
}

// conversationPath is the session of the conversation that a path names.
func conversationPath(r *http.Request) (stead.SessionID, error) {
	id := r.PathValue("id")
	s, err := conversationSession("conversation_id", id)
	if err != nil {
		return "", stead.NotFound("conversation", id)
	}
	return s, nil
}

func (s *server) createConversation(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	c := session.ConversationRequest{Key: req.key, Digest: req.digest}
	if c.Metadata, err = agent.Metadata(req.Object); err != nil {
		return err
	}
	if c.Items, c.Labels, err = s.conversationItems(r.Context(), p, req); err != nil {
		return err
	}
	made, err := s.Responses.CreateConversation(r.Context(), p, c)
	if err != nil {
		return err
	}
	return s.write(w, wireConversation(made))
}

func (s *server) conversationItems(ctx context.Context, p stead.Principal, req request) ([]stead.Item, stead.Labels, error) {
	req, err := s.settled(ctx, p, req)
	if err == nil {
		req, err = s.referenced(ctx, p, req, "items", false)
	}
	if err != nil {
		return nil, nil, err
	}
	items, err := responses.Input(req.Object, "items")
	if err == nil && len(items) > MaxConversationItems {
		err = stead.Invalid("items", "items has %d entries, the limit is %d", len(items), MaxConversationItems)
	}
	if err == nil && slices.ContainsFunc(items, func(it stead.Item) bool { return it.Type == stead.ItemApprovalResponse }) {
		err = stead.Invalid("items", "an mcp_approval_response is input of a response, which then makes the call")
	}
	return items, req.labels, err
}

// ofConversation finds the conversation of a path.
func (s *server) ofConversation(r *http.Request, p stead.Principal) (session.Session, error) {
	id, err := conversationPath(r)
	if err != nil {
		return session.Session{}, err
	}
	found, err := s.Sessions.Get(r.Context(), p, id)
	if stead.KindOf(err) == stead.KindNotFound || err == nil && !found.Conversation {
		err = stead.NotFound("conversation", r.PathValue("id"))
	}
	return found, err
}

func (s *server) getConversation(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.ofConversation(r, p)
	if err != nil {
		return err
	}
	return s.write(w, wireConversation(found))
}

func (s *server) updateConversation(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	found, err := s.ofConversation(r, p)
	if err != nil {
		return err
	}
	m, err := agent.Metadata(req.Object)
	if err != nil {
		return err
	}
	changed, err := s.Sessions.Update(r.Context(), p, found.ID, session.Updated{Metadata: &m})
	if err != nil {
		return err
	}
	return s.write(w, wireConversation(changed))
}

func (s *server) deleteConversation(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.ofConversation(r, p)
	if err != nil {
		return err
	}
	if _, err := s.erase(w, r, p, found.ID); err != nil {
		return err
	}
	return s.write(w, deleted{session.ConversationID(found.ID), true, "conversation.deleted"})
}

func (s *server) addItems(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	found, err := s.ofConversation(r, p)
	if err != nil {
		return err
	}
	items, labels, err := s.conversationItems(r.Context(), p, req)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return stead.Invalid("items", "items must hold at least one item")
	}
	added, err := s.Responses.AddItems(r.Context(), p, found.ID, session.ConversationRequest{Items: items, Labels: labels, Key: req.key, Digest: req.digest})
	if err != nil {
		return err
	}
	return s.write(w, wireList(added, false, includedOf(r.URL.Query())))
}

func (s *server) listConversationItems(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	found, err := s.ofConversation(r, p)
	if err != nil {
		return err
	}
	items, err := s.Sessions.Items(r.Context(), p, found.ID, session.ItemQuery{PageQuery: q})
	if err != nil {
		return err
	}
	return s.write(w, wireList(items.Data, items.HasMore, includedOf(r.URL.Query())))
}

func (s *server) getConversationItem(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.ofConversation(r, p)
	if err != nil {
		return err
	}
	item, err := s.Responses.Item(r.Context(), p, found.ID, r.PathValue("item"))
	if err != nil {
		return err
	}
	if shown := responseItem(item, includedOf(r.URL.Query())); shown != nil {
		return s.write(w, shown)
	}
	return stead.NotFound("item", r.PathValue("item"))
}

func (s *server) deleteConversationItem(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.ofConversation(r, p)
	if err != nil {
		return err
	}
	if err := s.Responses.DeleteItem(r.Context(), p, found.ID, r.PathValue("item")); err != nil {
		return err
	}
	return s.write(w, wireConversation(found))
}
