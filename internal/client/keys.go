package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// Key is an API key.
type Key struct {
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Project    string          `json:"project"`
	Principal  Principal       `json:"principal"`
	Role       string          `json:"role"`
	LastUsedAt *int64          `json:"last_used_at"` // Unix seconds
	Secret     string          `json:"secret"`       // once, when it was made
	Raw        json.RawMessage `json:"-"`
}

// Principal is whom a key stands for.
type Principal struct {
	Kind string `json:"kind"` // "user" or "service"
	ID   string `json:"id"`
}

// KeyParams is a key to be made.
type KeyParams struct {
	Name         string     `json:"name,omitempty"`
	Role         string     `json:"role"`
	Project      string     `json:"project,omitempty"`
	Principal    *Principal `json:"principal,omitempty"`
	Bound        bool       `json:"bound,omitempty"`
	ExpiresAfter int64      `json:"expires_after_seconds,omitempty"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (k *Key) UnmarshalJSON(b []byte) error {
	type bare Key
	return keep(b, (*bare)(k), &k.Raw)
}

const keysPath = "/v1/api_keys"

// CreateKey makes a key.
func (c *Client) CreateKey(ctx context.Context, p KeyParams) (Key, error) {
	var k Key
	return k, c.call(ctx, http.MethodPost, keysPath, nil, p, &k)
}

// Keys lists the keys of the project, the newest first.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	return list(ctx, c, keysPath, nil, 0, func(k Key) string { return k.ID })
}

// RotateKey gives a key a new secret; the old one is valid for grace seconds.
func (c *Client) RotateKey(ctx context.Context, id string, grace int64) (Key, error) {
	var k Key
	return k, c.call(ctx, http.MethodPost, keysPath+"/"+url.PathEscape(id)+"/rotate", nil, map[string]int64{"grace_seconds": grace}, &k)
}

// RevokeKey revokes a key.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, keysPath+"/"+url.PathEscape(id), nil, nil, nil)
}
