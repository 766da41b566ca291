package sqlite

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// queueUsage puts the records of an append into the group.
func (g *group) queueUsage(key stead.SessionKey, rows []journal.UsageRow) {
	for _, r := range rows {
		g.usage = append(g.usage, string(key.Project), r.At, r.ID, string(key.Session), r.Data)
	}
}

// AddUsage implements journal.Usage.
func (s *Store) AddUsage(ctx context.Context, project stead.ProjectID, rows []journal.UsageRow) error {
	if err := journal.CheckUsage(rows); err != nil {
		return err
	}
	bytes := 0
	for _, r := range rows {
		bytes += len(r.Data)
	}
	return s.do(ctx, &op{bytes: bytes, write: func(g *group) error {
		for _, r := range rows {
			g.queueUsage(stead.SessionKey{Project: project, Session: r.Session}, []journal.UsageRow{r})
		}
		return nil
	}})
}

// UsageRows implements journal.Usage.
func (s *Store) UsageRows(ctx context.Context, project stead.ProjectID, q journal.UsageQuery) ([]journal.UsageRow, error) {
	text, args := usageQuery(project, q)
	rows, err := s.readers.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, translate(err, "list usage records")
	}
	defer rows.Close()
	var out []journal.UsageRow
	for rows.Next() {
		var r journal.UsageRow
		if err := rows.Scan(&r.At, &r.ID, &r.Session, &r.Data); err != nil {
			return nil, translate(err, "list usage records")
		}
		out = append(out, r)
	}
	return out, translate(rows.Err(), "list usage records")
}

func usageQuery(project stead.ProjectID, q journal.UsageQuery) (string, []any) {
	text := `SELECT at, id, session, data FROM usage_record WHERE project = ?`
	args := []any{string(project)}
	and := func(condition string, values ...any) {
		text += " AND " + condition
		args = append(args, values...)
	}
	if q.Session != "" {
		and("session <> '' AND session = ?", string(q.Session))
	}
	if q.From != 0 {
		and("at >= ?", q.From)
	}
	if q.To != 0 {
		and("at < ?", q.To)
	}
	order, beyond := "at, id", ">"
	if q.Desc {
		order, beyond = "at DESC, id DESC", "<"
	}
	if q.AfterID != "" {
		and("(at, id) "+beyond+" (?, ?)", q.AfterAt, q.AfterID)
	}
	return text + " ORDER BY " + order + " LIMIT ?", append(args, q.PageLimit())
}
