package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
)

// MemoryStore is what a person is shown of a memory store.
type MemoryStore struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`
	Description string          `json:"description"`
	CreatedAt   int64           `json:"created_at"` // Unix seconds
	Raw         json.RawMessage `json:"-"`
}

// UnmarshalJSON keeps the whole answer in Raw.
func (s *MemoryStore) UnmarshalJSON(b []byte) error {
	type plain MemoryStore
	if err := json.Unmarshal(b, (*plain)(s)); err != nil {
		return err
	}
	s.Raw = append(json.RawMessage(nil), b...)
	return nil
}

// Memory is what a person is shown of a memory. Times are Unix seconds; 0: none.
type Memory struct {
	ID           string            `json:"id"`
	Version      int64             `json:"version"`
	CreatedAt    int64             `json:"created_at"`
	UpdatedAt    int64             `json:"updated_at"`
	ExpiresAt    int64             `json:"expires_at"`
	Kind         string            `json:"kind"`
	Content      string            `json:"content"`
	Caption      string            `json:"caption"`
	Scope        MemoryScope       `json:"scope"`
	Source       MemorySource      `json:"source"`
	Sources      []MemorySource    `json:"sources"`
	Confidence   float64           `json:"confidence"`
	Importance   float64           `json:"importance"`
	ValidFrom    int64             `json:"valid_from"`
	ValidUntil   int64             `json:"valid_until"`
	Supersedes   string            `json:"supersedes"`
	SupersededBy string            `json:"superseded_by"`
	Labels       []string          `json:"labels"`
	Metadata     map[string]string `json:"metadata"`
	Redacted     bool              `json:"redacted"`
	WrittenBy    string            `json:"written_by"`
	Raw          json.RawMessage   `json:"-"`
}

// MemoryScope is whom a memory is about, or for.
type MemoryScope struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// MemorySource is where a memory comes from.
type MemorySource struct {
	Session string `json:"session_id"`
	Item    string `json:"item_id"`
	Author  string `json:"author"`
	At      int64  `json:"at"` // Unix seconds
}

// UnmarshalJSON keeps the whole answer in Raw.
func (m *Memory) UnmarshalJSON(b []byte) error {
	type plain Memory
	return keep(b, (*plain)(m), &m.Raw)
}

// MemoryHit is a memory that was found.
type MemoryHit struct {
	Memory  Memory             `json:"memory"`
	Score   float64            `json:"score"`
	Excerpt bool               `json:"excerpt,omitempty"` // the part around the query's words: all of it had no room
	Context []MemoryNeighbour  `json:"context,omitempty"` // what stands around it, in the order of the conversation
	Explain *MemoryExplanation `json:"explain,omitempty"`
}

// MemoryNeighbour is a memory that stands near a hit in its conversation.
type MemoryNeighbour struct {
	Memory    Memory `json:"memory"`
	ContextOf string `json:"context_of"` // the hit
	Place     int    `json:"place"`      // -1 right before the hit, 1 right after it
	Excerpt   bool   `json:"excerpt,omitempty"`
}

// MemoryFound is what a search found, and how.
type MemoryFound struct {
	Method  string      `json:"method"`        // "lexical" or "hybrid"
	Why     *string     `json:"method_reason"` // why it is not hybrid, where it was to be
	Hits    []MemoryHit `json:"data"`
	LeftOut int         `json:"left_out"` // that had no room in token_budget
}

// MemoryExplanation says why: see MemoryHits in the server's OpenAPI document.
type MemoryExplanation struct {
	Words      float64            `json:"words"`
	Terms      map[string]float64 `json:"terms"`
	Neighbours float64            `json:"neighbours"`
	Session    float64            `json:"session"`
	Near       float64            `json:"near,omitempty"`
	Similarity float64            `json:"similarity,omitempty"`
	Tells      float64            `json:"tells"`
	Author     float64            `json:"author"`
	Time       float64            `json:"time"`
	Importance float64            `json:"importance"`
	Recency    float64            `json:"recency"`
	Alike      string             `json:"alike,omitempty"`
}

const memoryStores = "/v1/memory_stores"

func memoryPath(store, rest string) string { return memoryStores + "/" + url.PathEscape(store) + rest }

// CreateMemoryStore makes a store; body is the wire's request.
func (c *Client) CreateMemoryStore(ctx context.Context, body any) (MemoryStore, error) {
	var s MemoryStore
	err := c.call(ctx, http.MethodPost, memoryStores, nil, body, &s)
	return s, err
}

// MemoryStores lists the stores, the newest first.
func (c *Client) MemoryStores(ctx context.Context, limit int) ([]MemoryStore, error) {
	return list(ctx, c, memoryStores, nil, limit, func(s MemoryStore) string { return s.ID })
}

// UpdateMemoryStore changes what is said of a store; body is the wire's request.
func (c *Client) UpdateMemoryStore(ctx context.Context, id string, body any) (s MemoryStore, err error) {
	err = c.call(ctx, http.MethodPost, memoryPath(id, ""), nil, body, &s)
	return s, err
}

// DeleteMemoryStore forgets a store with everything in it.
func (c *Client) DeleteMemoryStore(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, memoryPath(id, ""), nil, nil, nil)
}

// AddMemory adds one; body is the wire's request.
func (c *Client) AddMemory(ctx context.Context, store string, body any) (Memory, error) {
	var m Memory
	err := c.call(ctx, http.MethodPost, memoryPath(store, "/memories"), nil, body, &m)
	return m, err
}

// Memories lists what a store holds, the newest first; query has the wire's filters.
func (c *Client) Memories(ctx context.Context, store string, query url.Values, limit int) ([]Memory, error) {
	return list(ctx, c, memoryPath(store, "/memories"), query, limit, func(m Memory) string { return m.ID })
}

func onePath(store, id, rest string) string {
	return memoryPath(store, "/memories/"+url.PathEscape(id)+rest)
}

// Memory reads one.
func (c *Client) Memory(ctx context.Context, store, id string) (m Memory, err error) {
	err = c.call(ctx, http.MethodGet, onePath(store, id, ""), nil, nil, &m)
	return m, err
}

// MemoryVersions are those that are kept of one, the newest first.
func (c *Client) MemoryVersions(ctx context.Context, store, id string) ([]Memory, error) {
	var p page[Memory]
	err := c.call(ctx, http.MethodGet, onePath(store, id, "/versions"), nil, nil, &p)
	return p.Data, err
}

// UpdateMemory makes the next version of one; body is the wire's request.
func (c *Client) UpdateMemory(ctx context.Context, store, id string, body any) (m Memory, err error) {
	err = c.call(ctx, http.MethodPost, onePath(store, id, ""), nil, body, &m)
	return m, err
}

// RedactMemory takes away what all versions of one say, if version is the present one; 0: whichever that is.
func (c *Client) RedactMemory(ctx context.Context, store, id string, version int64) (m Memory, err error) {
	err = c.over(ctx, http.MethodPost, onePath(store, id, "/redact"), nil, version, &m)
	return m, err
}

// ForgetMemory deletes one with all of its versions; version as in RedactMemory. cited: and the messages that it cites.
func (c *Client) ForgetMemory(ctx context.Context, store, id string, version int64, cited bool) error {
	query := url.Values{}
	if cited {
		query.Set("cited", "true")
	}
	return c.over(ctx, http.MethodDelete, onePath(store, id, ""), query, version, nil)
}

// over is a call that is made of one version; 0: of whichever.
func (c *Client) over(ctx context.Context, method, path string, query url.Values, version int64, out any) error {
	header := http.Header{}
	if version != 0 {
		header.Set("If-Match", strconv.Quote(strconv.FormatInt(version, 10)))
	}
	return c.callWith(ctx, method, path, query, nil, header, out)
}

// MemoryForgotten says what was forgotten, or would be.
type MemoryForgotten struct {
	Forgotten int             `json:"forgotten"`
	Stores    int             `json:"memory_stores"`
	DryRun    bool            `json:"dry_run"`
	Raw       json.RawMessage `json:"-"`
}

// UnmarshalJSON keeps the whole answer in Raw.
func (f *MemoryForgotten) UnmarshalJSON(b []byte) error {
	type plain MemoryForgotten
	return keep(b, (*plain)(f), &f.Raw)
}

// ForgetMemories forgets what the filters of body, the wire's request, select: in a store, or ("") in all of them.
func (c *Client) ForgetMemories(ctx context.Context, store string, body any) (f MemoryForgotten, err error) {
	path := memoryStores + "/forget"
	if store != "" {
		path = memoryPath(store, "/forget")
	}
	err = c.call(ctx, http.MethodPost, path, nil, body, &f)
	return f, err
}

// IngestSession makes each message of a session a memory, and says how many were new; body is the wire's request.
func (c *Client) IngestSession(ctx context.Context, store string, body any) (added int, err error) {
	var done struct {
		Added int `json:"added"`
	}
	err = c.call(ctx, http.MethodPost, memoryPath(store, "/ingest"), nil, body, &done)
	return done.Added, err
}

// SearchMemory finds memories, best first; body is the wire's request.
func (c *Client) SearchMemory(ctx context.Context, store string, body any) (MemoryFound, error) {
	var found MemoryFound
	err := c.call(ctx, http.MethodPost, memoryPath(store, "/search"), nil, body, &found)
	return found, err
}
