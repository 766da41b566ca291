package audittest

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
)

// Memory is an audit.Store in memory. The zero Memory is empty.
type Memory struct {
	mu    sync.Mutex
	logs  map[stead.ProjectID]*log
	fault error // what AppendAudit fails with
}

type log struct {
	tree  audit.Tree
	base  audit.Tree
	rows  []audit.Row
	notes []audit.Note
	texts map[string]audit.Text // by their digests
}

// Fail makes AppendAudit fail from now on; nil: not any more.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = err
}

func (m *Memory) of(project stead.ProjectID) *log {
	if m.logs == nil {
		m.logs = map[stead.ProjectID]*log{}
	}
	if m.logs[project] == nil {
		m.logs[project] = &log{texts: map[string]audit.Text{}}
	}
	return m.logs[project]
}

// AppendAudit implements audit.Store.
func (m *Memory) AppendAudit(_ context.Context, project stead.ProjectID, records []audit.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		return m.fault
	}
	l := m.of(project)
	rows, tree, err := audit.Extend(l.tree, project, records)
	if err != nil {
		return err
	}
	for i := range rows {
		for _, t := range rows[i].Texts {
			l.texts[t.Digest] = t
		}
		rows[i].Texts = nil
	}
	l.rows, l.tree = append(l.rows, rows...), tree
	return nil
}

// AuditTexts implements audit.Store.
func (m *Memory) AuditTexts(_ context.Context, project stead.ProjectID, q audit.TextQuery) (out []audit.Text, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	texts := m.of(project).texts
	for _, d := range slices.Sorted(maps.Keys(texts)) {
		if q.Takes(texts[d]) && len(out) < audit.MaxTexts {
			out = append(out, texts[d])
		}
	}
	return out, nil
}

// ForgetAuditTexts implements audit.Store.
func (m *Memory) ForgetAuditTexts(_ context.Context, project stead.ProjectID, digests []string) (n int, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	texts := m.of(project).texts
	for _, d := range digests {
		if _, there := texts[d]; there {
			delete(texts, d)
			n++
		}
	}
	return n, nil
}

// ChainAudit implements audit.Store: no appends bring drafts.
func (m *Memory) ChainAudit(context.Context) error { return nil }

// AuditTree implements audit.Store.
func (m *Memory) AuditTree(_ context.Context, project stead.ProjectID) (audit.Tree, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of(project).tree, nil
}

// AuditLogs implements audit.Store.
func (m *Memory) AuditLogs(_ context.Context, after stead.ProjectID, limit int) ([]audit.LogSize, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []audit.LogSize
	for _, p := range slices.Sorted(maps.Keys(m.logs)) {
		if size := m.logs[p].tree.Size; p > after && size > 0 && len(out) < limit {
			l := audit.LogSize{Project: p, Size: size}
			if notes := m.logs[p].notes; len(notes) > 0 {
				l.Signed = notes[len(notes)-1].Size
			}
			out = append(out, l)
		}
	}
	return out, nil
}

// AuditRows implements audit.Store.
func (m *Memory) AuditRows(_ context.Context, q audit.Query) ([]audit.Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rows := slices.Clone(m.of(q.Project).rows)
	if q.Desc {
		slices.Reverse(rows)
	}
	rows = slices.DeleteFunc(rows, func(r audit.Row) bool {
		return q.After > 0 && (q.Desc && r.Seq >= q.After || !q.Desc && r.Seq <= q.After)
	})
	return rows[:min(len(rows), q.PageLimit())], nil
}

// AuditBase implements audit.Store.
func (m *Memory) AuditBase(_ context.Context, project stead.ProjectID) (audit.Tree, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of(project).base, nil
}

// PruneAudit implements audit.Store.
func (m *Memory) PruneAudit(_ context.Context, project stead.ProjectID, base audit.Tree) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.of(project)
	if base.Size <= l.base.Size {
		return nil
	}
	l.base = base
	for _, r := range l.rows {
		for _, d := range audit.Digests(r.Data) {
			if r.Seq <= base.Size {
				delete(l.texts, d)
			}
		}
	}
	l.rows = slices.DeleteFunc(l.rows, func(r audit.Row) bool { return r.Seq <= base.Size })
	l.notes = slices.DeleteFunc(l.notes, func(n audit.Note) bool { return n.Size < base.Size })
	return nil
}

// AddAuditNote implements audit.Store.
func (m *Memory) AddAuditNote(_ context.Context, project stead.ProjectID, n audit.Note) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.of(project)
	i, there := slices.BinarySearchFunc(l.notes, n.Size, func(a audit.Note, size int64) int { return int(a.Size - size) })
	if !there {
		l.notes = slices.Insert(l.notes, i, n)
	}
	return nil
}

// AuditNotes implements audit.Store.
func (m *Memory) AuditNotes(_ context.Context, project stead.ProjectID, after int64, limit int) ([]audit.Note, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	notes := slices.DeleteFunc(slices.Clone(m.of(project).notes), func(n audit.Note) bool { return n.Size <= after })
	return notes[:min(len(notes), limit)], nil
}

// UnsignedAudit implements audit.Store.
func (m *Memory) UnsignedAudit(_ context.Context, limit int) ([]stead.ProjectID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []stead.ProjectID
	for p, l := range m.logs {
		if l.tree.Size > 0 && (len(l.notes) == 0 || l.notes[len(l.notes)-1].Size < l.tree.Size) && len(out) < limit {
			out = append(out, p)
		}
	}
	return out, nil
}
