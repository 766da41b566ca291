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
	Bound      bool            `json:"bound"`
	ExpiresAt  *int64          `json:"expires_at"`   // Unix seconds; nil: never
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

// WorkloadKey is a key that tokens of agents are signed with, or were, or will be.
type WorkloadKey struct {
	ID        string `json:"id"`
	Algorithm string `json:"algorithm"`
	Status    string `json:"status"`
	From      int64  `json:"signs_from"` // Unix seconds
	Until     int64  `json:"signs_until"`
	Published int64  `json:"published_until"`
	Raw       json.RawMessage
}

// UnmarshalJSON keeps the whole beside the fields that are known.
func (k *WorkloadKey) UnmarshalJSON(data []byte) error {
	type plain WorkloadKey
	if err := json.Unmarshal(data, (*plain)(k)); err != nil {
		return err
	}
	k.Raw = append(json.RawMessage(nil), data...)
	return nil
}

const workloadKeysPath = "/v1/workload_keys"

// WorkloadKeys lists those that are published.
func (c *Client) WorkloadKeys(ctx context.Context) ([]WorkloadKey, error) {
	var page struct{ Data []WorkloadKey }
	return page.Data, c.call(ctx, http.MethodGet, workloadKeysPath, nil, nil, &page)
}

// RotateWorkloadKey has another one sign before its time.
func (c *Client) RotateWorkloadKey(ctx context.Context) (k WorkloadKey, err error) {
	return k, c.call(ctx, http.MethodPost, workloadKeysPath+"/rotate", nil, nil, &k)
}
