package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// Source is what a person is shown of a source of a vector store.
type Source struct {
	ID        string   `json:"id"`
	StoreID   string   `json:"vector_store_id"`
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Directory string   `json:"directory"`
	Repo      string   `json:"repository"`
	Branch    string   `json:"branch"`
	Server    string   `json:"server"`
	Database  string   `json:"database"`
	Site      string   `json:"site"`
	URLs      []string `json:"urls"`
	Path      string   `json:"path"`
	Interval  int64    `json:"interval_seconds"`
	Status    string   `json:"status"`
	Synced    *int64   `json:"synced_at"` // Unix seconds
	NextAt    *int64   `json:"next_sync_at"`
	Sync      *struct {
		Number    int64 `json:"number"`
		Documents struct {
			Added     int `json:"added"`
			Changed   int `json:"changed"`
			Removed   int `json:"removed"`
			Unchanged int `json:"unchanged"`
			Failed    int `json:"failed"`
		} `json:"documents"`
		Read struct {
			Documents int   `json:"documents"`
			Bytes     int64 `json:"bytes"`
		} `json:"read"`
		Failures []SourceFailure `json:"failures"`
	} `json:"last_sync"`
	Error *SourceFailure  `json:"last_error"`
	Raw   json.RawMessage `json:"-"`
}

// SourceFailure says what could not be taken in, and why.
type SourceFailure struct {
	Path    string `json:"path"` // "": the source as a whole
	Code    string `json:"code"`
	Message string `json:"message"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Source) UnmarshalJSON(b []byte) error {
	type bare Source
	return keep(b, (*bare)(s), &s.Raw)
}

// Passage is what a search of a vector store found.
type Passage struct {
	FileID   string  `json:"file_id"`
	Filename string  `json:"filename"`
	Score    float64 `json:"score"`
	Content  []struct {
		Text string `json:"text"`
	} `json:"content"`
	Source *struct {
		URI     string `json:"uri"`
		Version string `json:"version"`
	} `json:"source"`
	Passage *struct {
		Heading string `json:"heading"`
		Lines   []int  `json:"lines"`
		Page    int    `json:"page"`
	} `json:"passage"`
	Raw json.RawMessage `json:"-"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Passage) UnmarshalJSON(b []byte) error {
	type bare Passage
	return keep(b, (*bare)(p), &p.Raw)
}

const vectorStores = "/v1/vector_stores"

func vectorPath(store, rest string) string { return vectorStores + "/" + url.PathEscape(store) + rest }

func sourcePath(store, id string) string { return vectorPath(store, "/sources/"+url.PathEscape(id)) }

// CreateVectorStore makes an empty vector store, and returns its id.
func (c *Client) CreateVectorStore(ctx context.Context, name string) (string, error) {
	var made struct {
		ID string `json:"id"`
	}
	err := c.call(ctx, http.MethodPost, vectorStores, nil, map[string]string{"name": name}, &made)
	return made.ID, err
}

// SearchVectorStore finds passages, best first; body is the wire's request.
func (c *Client) SearchVectorStore(ctx context.Context, store string, body any) ([]Passage, error) {
	var found struct {
		Data []Passage `json:"data"`
	}
	err := c.call(ctx, http.MethodPost, vectorPath(store, "/search"), nil, body, &found)
	return found.Data, err
}

// CreateSource makes a source; body is the wire's request.
func (c *Client) CreateSource(ctx context.Context, store string, body any) (s Source, err error) {
	return s, c.call(ctx, http.MethodPost, vectorPath(store, "/sources"), nil, body, &s)
}

// Sources lists those of a vector store.
func (c *Client) Sources(ctx context.Context, store string) ([]Source, error) {
	return list(ctx, c, vectorPath(store, "/sources"), nil, 0, func(s Source) string { return s.ID })
}

// Source retrieves one.
func (c *Client) Source(ctx context.Context, store, id string) (s Source, err error) {
	return s, c.call(ctx, http.MethodGet, sourcePath(store, id), nil, nil, &s)
}

// UpdateSource gives one other rules of access; body is the wire's request.
func (c *Client) UpdateSource(ctx context.Context, store, id string, body any) (s Source, err error) {
	return s, c.call(ctx, http.MethodPost, sourcePath(store, id), nil, body, &s)
}

// SyncSource has one synchronised now.
func (c *Client) SyncSource(ctx context.Context, store, id string) (s Source, err error) {
	return s, c.call(ctx, http.MethodPost, sourcePath(store, id)+"/sync", nil, nil, &s)
}

// DeleteSource deletes one with its documents.
func (c *Client) DeleteSource(ctx context.Context, store, id string) error {
	return c.call(ctx, http.MethodDelete, sourcePath(store, id), nil, nil, nil)
}
