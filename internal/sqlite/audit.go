package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
)

var _ audit.Store = (*Store)(nil)

const auditTree = `SELECT size, tree FROM audit_log WHERE project = ?`

// AppendAudit implements audit.Store. The committer makes one append after the other.
func (s *Store) AppendAudit(ctx context.Context, project stead.ProjectID, records []audit.Record) error {
	return s.do(ctx, &op{write: func(g *group) error {
		ctx := context.Background()
		size, edge, err := scanTree(g.c.conn.QueryRowContext(ctx, auditTree, string(project)))
		if err != nil {
			return failed(err, "read audit log")
		}
		tree, err := audit.TreeOf(size, edge)
		if err != nil {
			return err // a log that is damaged fails alone, not with the writes that share its commit
		}
		rows, tree, err := audit.Extend(tree, project, records)
		if err != nil || len(rows) == 0 {
			return err
		}
		lines := make([]string, len(rows))
		for i, r := range rows {
			lines[i] = string(r.Data)
		}
		list, err := json.Marshal(lines)
		if err != nil {
			return stead.Wrap(stead.KindInternal, err, "audit records can't be written")
		}
		if err := g.execText(ctx, "store audit records", `INSERT INTO audit_record (project, seq, data)
			SELECT ?, ? + key, CAST(value AS BLOB) FROM json_each(?)`, string(project), rows[0].Seq, string(list)); err != nil {
			return err
		}
		return g.execText(ctx, "store audit log", `INSERT INTO audit_log (project, size, tree) VALUES (?, ?, ?)
			ON CONFLICT (project) DO UPDATE SET size = excluded.size, tree = excluded.tree`, string(project), tree.Size, tree.Bytes())
	}})
}

// scanTree reads what audit.TreeOf takes; nothing where there is no log.
func scanTree(row *sql.Row) (size int64, tree []byte, err error) {
	if err = row.Scan(&size, &tree); errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return size, tree, err
}

// AuditTree implements audit.Store.
func (s *Store) AuditTree(ctx context.Context, project stead.ProjectID) (audit.Tree, error) {
	size, tree, err := scanTree(s.readers.QueryRowContext(ctx, auditTree, string(project)))
	if err != nil {
		return audit.Tree{}, translate(err, "read audit log")
	}
	return audit.TreeOf(size, tree)
}

// AuditRows implements audit.Store.
func (s *Store) AuditRows(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	text := `SELECT seq, data FROM audit_record WHERE project = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3`
	if q.Desc {
		text = `SELECT seq, data FROM audit_record WHERE project = ?1 AND (?2 = 0 OR seq < ?2) ORDER BY seq DESC LIMIT ?3`
	}
	return auditQuery(ctx, s, "read audit records", func(rows *sql.Rows, r *audit.Row) error { return rows.Scan(&r.Seq, &r.Data) },
		text, string(q.Project), q.After, q.PageLimit())
}

// AddAuditNote implements audit.Store.
func (s *Store) AddAuditNote(ctx context.Context, project stead.ProjectID, n audit.Note) error {
	return s.do(ctx, &op{write: func(g *group) error {
		ctx := context.Background()
		if err := g.execText(ctx, "store checkpoint", `INSERT OR IGNORE INTO audit_note (project, size, note) VALUES (?, ?, ?)`, string(project), n.Size, n.Text); err != nil {
			return err
		}
		return g.execText(ctx, "store checkpoint", `UPDATE audit_log SET signed = max(signed, ?) WHERE project = ?`, n.Size, string(project))
	}})
}

// AuditNotes implements audit.Store.
func (s *Store) AuditNotes(ctx context.Context, project stead.ProjectID, after int64, limit int) ([]audit.Note, error) {
	return auditQuery(ctx, s, "read checkpoints", func(rows *sql.Rows, n *audit.Note) error { return rows.Scan(&n.Size, &n.Text) },
		`SELECT size, note FROM audit_note WHERE project = ? AND size > ? ORDER BY size LIMIT ?`, string(project), after, limit)
}

// UnsignedAudit implements audit.Store.
func (s *Store) UnsignedAudit(ctx context.Context, limit int) ([]stead.ProjectID, error) {
	return auditQuery(ctx, s, "read audit logs", func(rows *sql.Rows, p *stead.ProjectID) error { return rows.Scan(p) },
		`SELECT project FROM audit_log WHERE size > signed ORDER BY project LIMIT ?`, limit)
}

// AuditLogs implements audit.Store.
func (s *Store) AuditLogs(ctx context.Context, after stead.ProjectID, limit int) ([]audit.LogSize, error) {
	return auditQuery(ctx, s, "read audit logs", func(rows *sql.Rows, l *audit.LogSize) error { return rows.Scan(&l.Project, &l.Size) },
		`SELECT project, size FROM audit_log WHERE project > ? AND size > 0 ORDER BY project LIMIT ?`, string(after), limit)
}

func auditQuery[T any](ctx context.Context, s *Store, what string, scan func(*sql.Rows, *T) error, text string, args ...any) ([]T, error) {
	rows, err := s.readers.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, translate(err, what)
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var x T
		if err := scan(rows, &x); err != nil {
			return nil, translate(err, what)
		}
		out = append(out, x)
	}
	return out, translate(rows.Err(), what)
}
