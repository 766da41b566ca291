package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
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

// Memory is what a person is shown of a memory.
type Memory struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Content string `json:"content"`
	Source  struct {
		Author string `json:"author"`
		At     int64  `json:"at"` // Unix seconds
	} `json:"source"`
	Labels    []string        `json:"labels"`
	CreatedAt int64           `json:"created_at"`
	Version   int64           `json:"version"`
	Raw       json.RawMessage `json:"-"`
}

// UnmarshalJSON keeps the whole answer in Raw.
func (m *Memory) UnmarshalJSON(b []byte) error {
	type plain Memory
	if err := json.Unmarshal(b, (*plain)(m)); err != nil {
		return err
	}
	m.Raw = append(json.RawMessage(nil), b...)
	return nil
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

// Memories lists what a store holds, the newest first.
func (c *Client) Memories(ctx context.Context, store string, limit int) ([]Memory, error) {
	return list(ctx, c, memoryPath(store, "/memories"), nil, limit, func(m Memory) string { return m.ID })
}

// ForgetMemory deletes one with all of its versions.
func (c *Client) ForgetMemory(ctx context.Context, store, id string) error {
	return c.call(ctx, http.MethodDelete, memoryPath(store, "/memories/"+url.PathEscape(id)), nil, nil, nil)
}

// IngestSession makes each message of a session a memory, and says how many were new.
func (c *Client) IngestSession(ctx context.Context, store, session string) (added int, err error) {
	var done struct {
		Added int `json:"added"`
	}
	err = c.call(ctx, http.MethodPost, memoryPath(store, "/ingest"), nil, map[string]string{"session_id": session}, &done)
	return done.Added, err
}

// SearchMemory finds memories, best first; body is the wire's request.
func (c *Client) SearchMemory(ctx context.Context, store string, body any) (MemoryFound, error) {
	var found MemoryFound
	err := c.call(ctx, http.MethodPost, memoryPath(store, "/search"), nil, body, &found)
	return found, err
}
