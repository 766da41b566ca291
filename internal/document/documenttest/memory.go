package documenttest

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
)

// Memory is a store in memory, for the tests of what stands on the contract.
type Memory struct {
	mu   sync.Mutex
	docs map[document.Key]document.Document
	keys map[document.Key]receipt // ID is the idempotency key
}

type receipt struct{ digest, id string }

var _ document.Store = (*Memory)(nil)

// NewMemory makes an empty store.
func NewMemory() *Memory {
	return &Memory{docs: map[document.Key]document.Document{}, keys: map[document.Key]receipt{}}
}

// CreateDocument implements document.Store.
func (m *Memory) CreateDocument(_ context.Context, d document.Document, key, digest string) (document.Document, error) {
	if err := d.Check(key); err != nil {
		return document.Document{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	used := document.Key{Project: d.Project, Kind: d.Kind, ID: key}
	if r, ok := m.keys[used]; ok && key != "" {
		if r.digest != digest {
			return document.Document{}, document.KeyUsed()
		}
		return copied(m.docs[document.Key{Project: d.Project, Kind: d.Kind, ID: r.id}]), nil
	}
	if _, ok := m.docs[d.Key]; ok {
		return document.Document{}, d.Taken()
	}
	d.Version = 1
	m.docs[d.Key] = copied(d)
	if key != "" {
		m.keys[used] = receipt{digest, d.ID}
	}
	return d, nil
}

// GetDocument implements document.Store.
func (m *Memory) GetDocument(_ context.Context, k document.Key) (document.Document, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.docs[k]
	if !ok {
		return document.Document{}, k.NotFound()
	}
	return copied(d), nil
}

// UpdateDocument implements document.Store.
func (m *Memory) UpdateDocument(_ context.Context, d document.Document) (document.Document, error) {
	if err := d.Check(""); err != nil {
		return document.Document{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.docs[d.Key]
	if !ok {
		return document.Document{}, d.NotFound()
	}
	if d.Version != old.Version+1 {
		return document.Document{}, d.Stale(old.Version, d.Version-1)
	}
	d.CreatedAt = old.CreatedAt
	m.docs[d.Key] = copied(d)
	return d, nil
}

// DeleteDocument implements document.Store.
func (m *Memory) DeleteDocument(_ context.Context, k document.Key, version int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.docs[k]
	if !ok {
		return k.NotFound()
	}
	if version != 0 && version != d.Version {
		return k.Stale(d.Version, version)
	}
	delete(m.docs, k)
	for key, r := range m.keys {
		if key.Project == k.Project && key.Kind == k.Kind && r.id == k.ID {
			delete(m.keys, key)
		}
	}
	return nil
}

// ListDocuments implements document.Store.
func (m *Memory) ListDocuments(_ context.Context, q document.Query) ([]document.Document, error) {
	return m.list(document.PageLimit(q.Limit), q.Desc, func(d document.Document) bool {
		before := d.ID <= q.After
		if q.Desc {
			before = d.ID >= q.After
		}
		return d.Project == q.Project && d.Kind == q.Kind && (q.After == "" || !before) && (q.Tag == "" || d.Tag == q.Tag) &&
			(q.Now == 0 || d.ExpiresAt == 0 || d.ExpiresAt > q.Now)
	}), nil
}

// ExpiredDocuments implements document.Store.
func (m *Memory) ExpiredDocuments(_ context.Context, kind document.Kind, now int64, limit int) ([]document.Document, error) {
	return m.list(limit, false, func(d document.Document) bool { return d.Kind == kind && d.ExpiresAt != 0 && d.ExpiresAt <= now }), nil
}

// DocumentProjects implements document.Store.
func (m *Memory) DocumentProjects(_ context.Context, kind document.Kind) ([]stead.ProjectID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []stead.ProjectID
	for k := range m.docs {
		if k.Kind == kind && !slices.Contains(out, k.Project) {
			out = append(out, k.Project)
		}
	}
	slices.Sort(out)
	return out, nil
}

func (m *Memory) list(limit int, desc bool, wanted func(document.Document) bool) []document.Document {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []document.Document
	for _, d := range m.docs {
		if wanted(d) {
			out = append(out, copied(d))
		}
	}
	slices.SortFunc(out, func(a, b document.Document) int { return strings.Compare(a.ID, b.ID) })
	if desc {
		slices.Reverse(out)
	}
	return out[:min(len(out), limit)]
}

func copied(d document.Document) document.Document {
	d.Data = bytes.Clone(d.Data)
	return d
}

// Count is the number of documents, for tests that look for what is left over.
func (m *Memory) Count(project stead.ProjectID, kind document.Kind) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for k := range m.docs {
		if k.Project == project && k.Kind == kind {
			n++
		}
	}
	return n
}
