package journaltest

import (
	"cmp"
	"context"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
)

// show is the head as callers see it.
func (m *Memory) show(s *memSession) journal.Head {
	h := s.head
	h.Listing = cloneListing(h.Listing)
	if !m.heldLive(s) {
		h.Holder = ""
	}
	return h
}

// Head implements journal.Directory.
func (m *Memory) Head(ctx context.Context, key stead.SessionKey) (journal.Head, error) {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return journal.Head{}, err
	}
	s := m.sessions[key]
	if s == nil {
		return journal.Head{}, stead.NotFound("session", string(key.Session))
	}
	return m.show(s), nil
}

// Heads implements journal.Directory.
func (m *Memory) Heads(ctx context.Context, project stead.ProjectID, q journal.Query) ([]journal.Head, error) {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	var out []journal.Head
	for key, s := range m.sessions {
		if key.Project == project && matches(s.head, q) {
			out = append(out, m.show(s))
		}
	}
	slices.SortFunc(out, func(a, b journal.Head) int {
		return inOrder(a.Key.Session, b.Key.Session, q.Desc)
	})
	if q.Limit > 0 {
		out = out[:min(len(out), q.Limit)]
	}
	return out, nil
}

func inOrder[T cmp.Ordered](a, b T, desc bool) int {
	if desc {
		return cmp.Compare(b, a)
	}
	return cmp.Compare(a, b)
}

func matches(h journal.Head, q journal.Query) bool {
	if q.After != "" && inOrder(h.Key.Session, q.After, q.Desc) <= 0 {
		return false
	}
	for k, v := range q.Metadata {
		if got, ok := h.Listing.Metadata[k]; !ok || got != v {
			return false
		}
	}
	if q.Environment != "" && q.Environment != h.Listing.Environment || q.Environment == "" && h.Agent == "" {
		return false
	}
	return (q.Agent == "" || q.Agent == h.Agent) && (q.Status == "" || q.Status == h.Listing.Status)
}

// Delete implements journal.Directory.
func (m *Memory) Delete(ctx context.Context, key stead.SessionKey) error {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return err
	}
	s := m.sessions[key]
	if s == nil {
		return stead.NotFound("session", string(key.Session))
	}
	delete(m.sessions, key)
	for scope, r := range m.receipts {
		if scope.project == key.Project && r.receipt.Session == key.Session {
			delete(m.receipts, scope)
		}
	}
	s.changed()
	return nil
}

// LoadSnapshot implements journal.Snapshots.
func (m *Memory) LoadSnapshot(ctx context.Context, key stead.SessionKey) (stead.Seq, []byte, error) {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return 0, nil, err
	}
	s := m.sessions[key]
	if s == nil || len(s.snapshot) == 0 {
		return 0, nil, nil
	}
	return s.snapshotSeq, slices.Clone(s.snapshot), nil
}

// SaveSnapshot implements journal.Snapshots.
func (m *Memory) SaveSnapshot(ctx context.Context, key stead.SessionKey, seq stead.Seq, data []byte) error {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return err
	}
	s := m.sessions[key]
	if s == nil {
		return stead.NotFound("session", string(key.Session))
	}
	if seq > s.snapshotSeq {
		s.snapshotSeq, s.snapshot = seq, slices.Clone(data)
	}
	return nil
}

type memAgent struct {
	project stead.ProjectID
	id      stead.AgentID
}

type memMade struct {
	digest string
	id     stead.AgentID
}

// PutAgent implements agent.Store.
func (m *Memory) PutAgent(ctx context.Context, project stead.ProjectID, a agent.Agent, key, digest string) (agent.Agent, error) {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return agent.Agent{}, err
	}
	scope := memScope{project: project, key: key}
	if had, ok := m.made[scope]; ok && key != "" {
		if had.digest != digest {
			return agent.Agent{}, stead.Errorf(stead.KindConflict, "the idempotency key was used for another request")
		}
		return m.agents[memAgent{project, had.id}][0], nil
	}
	id := memAgent{project, a.ID}
	if newest := len(m.agents[id]); a.Version != newest+1 {
		return agent.Agent{}, stead.Errorf(stead.KindConflict, "agent %s is at version %d, so version %d can't be stored", a.ID, newest, a.Version)
	}
	m.agents[id] = append(m.agents[id], a)
	if key != "" {
		m.made[scope] = memMade{digest, a.ID}
	}
	return a, nil
}

// GetAgent implements agent.Store.
func (m *Memory) GetAgent(ctx context.Context, project stead.ProjectID, id stead.AgentID, version int) (agent.Agent, error) {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return agent.Agent{}, err
	}
	all := m.agents[memAgent{project, id}]
	if version == 0 {
		version = len(all)
	}
	if version < 1 || version > len(all) {
		return agent.Agent{}, stead.NotFound("agent", string(id))
	}
	return all[version-1], nil
}

// ListAgents implements agent.Store.
func (m *Memory) ListAgents(ctx context.Context, project stead.ProjectID, after stead.AgentID, desc bool, limit int) ([]agent.Agent, error) {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	var out []agent.Agent
	for id, all := range m.agents {
		if id.project == project && (after == "" || inOrder(id.id, after, desc) > 0) {
			out = append(out, all[len(all)-1])
		}
	}
	slices.SortFunc(out, func(a, b agent.Agent) int { return inOrder(a.ID, b.ID, desc) })
	if limit > 0 {
		out = out[:min(len(out), limit)]
	}
	return out, nil
}

// DeleteAgent implements agent.Store.
func (m *Memory) DeleteAgent(ctx context.Context, project stead.ProjectID, id stead.AgentID) error {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return err
	}
	if len(m.agents[memAgent{project, id}]) == 0 {
		return stead.NotFound("agent", string(id))
	}
	delete(m.agents, memAgent{project, id})
	for scope, made := range m.made {
		if scope.project == project && made.id == id {
			delete(m.made, scope)
		}
	}
	return nil
}
