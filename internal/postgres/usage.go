package postgres

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// AddUsage implements journal.Usage.
func (s *Store) AddUsage(ctx context.Context, project stead.ProjectID, rows []journal.UsageRow) error {
	if err := journal.CheckUsage(rows); err != nil {
		return err
	}
	var at []int64
	var id, session []string
	var data [][]byte
	for _, r := range rows {
		if !storable(string(r.Session)) {
			return stead.Invalid("session", "the session of a usage record is not text")
		}
		at, id, session, data = append(at, r.At), append(id, r.ID), append(session, string(r.Session)), append(data, r.Data)
	}
	if len(rows) == 0 {
		return nil
	}
	return s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error { // it may run twice: the second finds what the first stored
		_, err := c.Exec(ctx, `INSERT INTO usage_records (project_id, at, id, session_id, data)
			SELECT $1, u.* FROM unnest($2::bigint[], $3::text[], $4::text[], $5::bytea[]) AS u ON CONFLICT DO NOTHING`,
			string(project), at, id, session, data)
		return err
	})
}

// UsageRows implements journal.Usage.
func (s *Store) UsageRows(ctx context.Context, project stead.ProjectID, q journal.UsageQuery) ([]journal.UsageRow, error) {
	if !storable(string(project)) || !storable(string(q.Session)) || !storable(q.AfterID) {
		return nil, nil
	}
	text, args := usageQuery(project, q)
	var out []journal.UsageRow
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, text, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r journal.UsageRow, err error) {
			err = row.Scan(&r.At, &r.ID, &r.Session, &r.Data)
			return r, err
		})
		return err
	})
	return out, err
}

func usageQuery(project stead.ProjectID, q journal.UsageQuery) (string, []any) {
	text := `SELECT at, id, session_id, data FROM usage_records WHERE project_id = $1`
	args := []any{string(project)}
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	if q.Session != "" {
		text += ` AND session_id <> '' AND session_id = ` + arg(string(q.Session))
	}
	if q.From != 0 {
		text += ` AND at >= ` + arg(q.From)
	}
	if q.To != 0 {
		text += ` AND at < ` + arg(q.To)
	}
	order, beyond := `at, id`, `>`
	if q.Desc {
		order, beyond = `at DESC, id DESC`, `<`
	}
	if q.AfterID != "" {
		text += ` AND (at, id) ` + beyond + ` (` + arg(q.AfterAt) + `, ` + arg(q.AfterID) + `)`
	}
	text += ` ORDER BY ` + order + ` LIMIT ` + arg(q.PageLimit())
	return text, args
}
