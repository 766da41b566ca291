package usagetest

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/usage"
)

// Memory is a usage.Ledger in memory, for simulations. Several nodes may share one.
type Memory struct {
	mu       sync.Mutex
	counters map[key]usage.Counter
	holds    map[key]*hold
}

// key is a counter or a hold of a project.
type key struct {
	project stead.ProjectID
	name    string
}

type hold struct {
	usage.Held
	amount   usage.Amount
	counters []string
}

// NewMemory makes an empty ledger.
func NewMemory() *Memory {
	return &Memory{counters: map[key]usage.Counter{}, holds: map[key]*hold{}}
}

var _ usage.Ledger = (*Memory)(nil)

// Reserve implements usage.Ledger.
func (m *Memory) Reserve(_ context.Context, project stead.ProjectID, r usage.Reservation) (usage.Verdict, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holds[key{project, r.Hold}] != nil {
		return usage.Verdict{}, nil
	}
	have := map[string]usage.Counter{}
	for _, c := range r.Claims {
		if n, ok := m.counters[key{project, c.Counter}]; ok {
			have[c.Counter] = n
		}
	}
	v := usage.Judge(r, have)
	if !v.Reserved() {
		return v, nil
	}
	h := &hold{Held: usage.Held{Project: project, Hold: r.Hold, Session: r.Session, At: r.At, Amount: r.Amount}, amount: r.Amount}
	for _, c := range r.Claims {
		n := m.counters[key{project, c.Counter}]
		n.Held = n.Held.Plus(r.Amount)
		m.counters[key{project, c.Counter}] = n
		h.counters = append(h.counters, c.Counter)
	}
	m.holds[key{project, r.Hold}] = h
	return v, nil
}

// Settle implements usage.Ledger.
func (m *Memory) Settle(_ context.Context, project stead.ProjectID, all []usage.Settlement) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range all {
		h := m.holds[key{project, s.Hold}]
		if h == nil {
			continue
		}
		delete(m.holds, key{project, s.Hold})
		for _, c := range h.counters {
			n := m.counters[key{project, c}]
			n.Held, n.Spent = n.Held.Minus(h.amount), n.Spent.Plus(s.Used)
			m.counters[key{project, c}] = n
		}
	}
	return nil
}

// Open implements usage.Ledger.
func (m *Memory) Open(_ context.Context, project stead.ProjectID, counter string, spent usage.Amount) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.counters[key{project, counter}]; !ok {
		m.counters[key{project, counter}] = usage.Counter{Spent: spent}
	}
	return nil
}

// Counters implements usage.Ledger.
func (m *Memory) Counters(_ context.Context, project stead.ProjectID, names []string) (map[string]usage.Counter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]usage.Counter{}
	for _, n := range names {
		if c, ok := m.counters[key{project, n}]; ok {
			out[n] = c
		}
	}
	return out, nil
}

// Holds implements usage.Ledger.
func (m *Memory) Holds(_ context.Context, before int64, limit int) ([]usage.Held, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []usage.Held
	for _, h := range m.holds {
		if h.At < before {
			out = append(out, h.Held)
		}
	}
	slices.SortFunc(out, func(a, b usage.Held) int { return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Hold, b.Hold)) })
	return out[:min(len(out), limit)], nil
}
