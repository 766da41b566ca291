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
	Status string `json:"status"` // "running" or "completed"
	Erased struct {
		Sessions int64 `json:"sessions"`
		Events   int64 `json:"events"`
		Blobs    int64 `json:"blobs"`
		Memories int64 `json:"memories"`
		Files    int64 `json:"files"`
		Items    int64 `json:"items"` // of which the contents were redacted

		Credentials int64 `json:"credentials"`
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

// Erase begins an erasure, of a session, of what an item of it says, or of a user.
func (c *Client) Erase(ctx context.Context, session, item, user string, forks bool) (e Erasure, err error) {
	body := map[string]any{}
	if item != "" {
		body["item_id"] = item
	}
	if session != "" {
		body["session_id"] = session
	}
	if user != "" {
		body["user"] = user
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
