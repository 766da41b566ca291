package journaltest

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

func (m *Memory) addUsage(project stead.ProjectID, r journal.UsageRow) {
	all := m.usage[project]
	if all == nil {
		all = map[journal.UsageName]journal.UsageRow{}
		m.usage[project] = all
	}
	if _, there := all[r.UsageName]; !there {
		r.Data = slices.Clone(r.Data)
		all[r.UsageName] = r
	}
}

// AddUsage implements journal.Usage.
func (m *Memory) AddUsage(ctx context.Context, project stead.ProjectID, rows []journal.UsageRow) error {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return err
	}
	if err := journal.CheckUsage(rows); err != nil {
		return err
	}
	for _, r := range rows {
		m.addUsage(project, r)
	}
	return nil
}

// UsageProjects implements journal.Usage.
func (m *Memory) UsageProjects(ctx context.Context) ([]stead.ProjectID, error) {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(m.usage)), nil
}

// UsageRows implements journal.Usage.
func (m *Memory) UsageRows(ctx context.Context, project stead.ProjectID, q journal.UsageQuery) ([]journal.UsageRow, error) {
	defer m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	order := func(a, b journal.UsageRow) int {
		c := cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Session, b.Session), cmp.Compare(a.Place(), b.Place()), bytes.Compare(a.Call[:], b.Call[:]))
		if q.Desc {
			return -c
		}
		return c
	}
	var out []journal.UsageRow
	for _, r := range m.usage[project] {
		in := (q.Session == "" || r.Session == q.Session) && r.At >= q.From && (q.To == 0 || r.At < q.To)
		if in && (q.After == journal.UsageName{} || order(r, journal.UsageRow{At: q.AfterAt, UsageName: q.After}) > 0) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, order)
	return out[:min(len(out), q.PageLimit())], nil
}
