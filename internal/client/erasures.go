package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// Erasure is the removal of all that there is of a session or of a user.
type Erasure struct {
	ID     string `json:"id"`
	Status string `json:"status"` // "running", "held" or "completed"
	Erased struct {
		Sessions int64 `json:"sessions"`
		Events   int64 `json:"events"`
		Blobs    int64 `json:"blobs"`
		Memories int64 `json:"memories"`
		Files    int64 `json:"files"`
		Items    int64 `json:"items"` // of which the contents were redacted

		Credentials int64 `json:"credentials"`
		Texts       int64 `json:"audit_texts"`
		Entries     int64 `json:"entries"` // memories that the certificate names
		// ShownSessions were shown what went, which was taken out of ShownItems of theirs.
		ShownSessions int64 `json:"shown_sessions"`
		ShownItems    int64 `json:"shown_items"`
		ShownFiles    int64 `json:"shown_files"`
	} `json:"erased"`
	Problem     string `json:"problem"`
	Certificate string `json:"certificate"`
	Verifier    string `json:"verifier"`
	Raw         json.RawMessage
}

// UnmarshalJSON keeps the whole beside the fields that are known.
func (e *Erasure) UnmarshalJSON(data []byte) error {
	type plain Erasure
	if err := json.Unmarshal(data, (*plain)(e)); err != nil {
		return err
	}
	e.Raw = append(json.RawMessage(nil), data...)
	return nil
}

const erasuresPath = "/v1/erasures"

// Erasing is what is erased: a session, what an item of it says, a user, a memory of a store, or a scope of memories, in a store or all.
type Erasing struct {
	Session, Item, User, Store, Memory, ScopeType, ScopeID string

	Answers bool // with what agents said in sessions since they were shown it
}

// Erase begins an erasure.
func (c *Client) Erase(ctx context.Context, of Erasing, forks bool) (e Erasure, err error) {
	body, session, item, user := map[string]any{}, of.Session, of.Item, of.User
	if of.Store != "" {
		body["memory_store_id"] = of.Store
	}
	if of.Memory != "" {
		body["memory_id"] = of.Memory
	}
	if of.ScopeType != "" {
		scope := map[string]any{"type": of.ScopeType}
		if of.ScopeID != "" {
			scope["id"] = of.ScopeID
		}
		body["scope"] = scope
	}
	if item != "" {
		body["item_id"] = item
	}
	if session != "" {
		body["session_id"] = session
	}
	if user != "" {
		body["user"] = user
	}
	if of.Answers {
		body["answers"] = true
	}
	if forks {
		body["forks"] = true
	}
	return e, c.call(ctx, http.MethodPost, erasuresPath, nil, body, &e)
}

// Erasure returns one.
func (c *Client) Erasure(ctx context.Context, id string) (e Erasure, err error) {
	return e, c.call(ctx, http.MethodGet, erasuresPath+"/"+url.PathEscape(id), nil, nil, &e)
}
