package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// SessionToken lets its bearer into one session for a while.
type SessionToken struct {
	ID        string          `json:"id"`
	Scope     []string        `json:"scope"`
	Principal Principal       `json:"principal"`
	MadeWith  string          `json:"made_with"`
	ExpiresAt int64           `json:"expires_at"` // Unix seconds
	Secret    string          `json:"secret"`     // once, when it was made
	Raw       json.RawMessage `json:"-"`
}

// SessionTokenParams is a token to be made.
type SessionTokenParams struct {
	Scope        []string `json:"scope"`
	ExpiresAfter int64    `json:"expires_after_seconds,omitempty"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (t *SessionToken) UnmarshalJSON(b []byte) error {
	type bare SessionToken
	return keep(b, (*bare)(t), &t.Raw)
}

func tokensPath(session string) string {
	return "/v1/agents/sessions/" + url.PathEscape(session) + "/tokens"
}

// CreateSessionToken makes a token of a session.
func (c *Client) CreateSessionToken(ctx context.Context, session string, p SessionTokenParams) (SessionToken, error) {
	var t SessionToken
	return t, c.call(ctx, http.MethodPost, tokensPath(session), nil, p, &t)
}

// SessionTokens lists a session's valid tokens, the newest first.
func (c *Client) SessionTokens(ctx context.Context, session string) ([]SessionToken, error) {
	return list(ctx, c, tokensPath(session), nil, 0, func(t SessionToken) string { return t.ID })
}

// RevokeSessionToken revokes one.
func (c *Client) RevokeSessionToken(ctx context.Context, session, id string) error {
	return c.call(ctx, http.MethodDelete, tokensPath(session)+"/"+url.PathEscape(id), nil, nil, nil)
}
