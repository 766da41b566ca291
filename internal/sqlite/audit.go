package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
)

var _ audit.Store = (*Store)(nil)

// auditPruned is behind which record a log begins: records that are being removed are seen by nobody.
const auditPruned = `ifnull((SELECT pruned FROM audit_log WHERE project = ?1), 0)`

const auditTree = `SELECT size, tree FROM audit_log WHERE project = ?`

// AppendAudit implements audit.Store. The committer makes one append after the other.
func (s *Store) AppendAudit(ctx context.Context, project stead.ProjectID, records []audit.Record) error {
	drafts := make([][]byte, len(records))
	for i, r := range records {
		var err error
		if drafts[i], err = audit.DraftOf(project, r); err != nil {
			return err
		}
	}
	return s.do(ctx, &op{write: func(g *group) error {
		l, err := g.auditLog(project)
		if err == nil {
			l.extend(drafts)
		}
		return err
	}})
}

// ChainAudit implements audit.Store: each append chains its own.
func (s *Store) ChainAudit(context.Context) error { return nil }

// auditLog is what a group adds to a project's log.
type auditLog struct {
	tree audit.Tree
	rows []audit.Row // not yet inserted
}

func (l *auditLog) extend(drafts [][]byte) {
	rows, tree := audit.ExtendDrafts(l.tree, drafts)
	l.rows, l.tree = append(l.rows, rows...), tree
}

// auditLog returns a project's log. One that is damaged fails alone, not with the writes that share its commit.
func (g *group) auditLog(project stead.ProjectID) (*auditLog, error) {
	if l := g.audit[project]; l != nil {
		return l, nil
	}
	size, edge, err := scanTree(g.c.st.auditTree.QueryRow(string(project)))
	if err != nil {
		return nil, failed(err, "read audit log")
	}
	tree, err := audit.TreeOf(size, edge)
	if err != nil {
		return nil, err
	}
	if g.audit == nil {
		g.audit = map[stead.ProjectID]*auditLog{}
	}
	g.audit[project] = &auditLog{tree: tree}
	return g.audit[project], nil
}

// flushAudit inserts the group's records.
func (g *group) flushAudit() error {
	for project, l := range g.audit {
		if len(l.rows) == 0 {
			continue
		}
		values := make([]any, 0, len(l.rows)*auditColumns)
		for _, r := range l.rows {
			if err := g.storeTexts(project, r.Texts); err != nil {
				return err
			}
			values = append(values, string(project), r.Seq, audit.Pack(r.Data))
		}
		if err := g.insertMany("store audit records", values, auditColumns, g.c.st.insertAudits, g.c.st.insertAudit); err != nil {
			return err
		}
		if _, err := g.exec("store audit log", g.c.st.storeAuditLog, string(project), l.tree.Size, l.tree.Bytes()); err != nil {
			return err
		}
		l.rows = nil
	}
	return nil
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

// AuditBase implements audit.Store.
func (s *Store) AuditBase(ctx context.Context, project stead.ProjectID) (audit.Tree, error) {
	size, tree, err := scanTree(s.readers.QueryRowContext(ctx, `SELECT pruned, base FROM audit_log WHERE project = ?`, string(project)))
	if err != nil {
		return audit.Tree{}, translate(err, "read audit log")
	}
	return audit.TreeOf(size, tree)
}

// prunedAtOnce is how many records go in one commit, which others wait for.
const prunedAtOnce = 2000

// PruneAudit implements audit.Store. The base comes first: records that a crash leaves behind it go with the next pruning.
func (s *Store) PruneAudit(ctx context.Context, project stead.ProjectID, base audit.Tree) error {
	err := s.do(ctx, &op{write: func(g *group) error {
		if err := g.execText(context.Background(), "prune audit log", `UPDATE audit_log SET pruned = ?, base = ? WHERE project = ? AND pruned < ?`,
			base.Size, base.Bytes(), string(project), base.Size); err != nil {
			return err
		}
		return g.execText(context.Background(), "prune audit log", `DELETE FROM audit_note WHERE project = ? AND size < ?`, string(project), base.Size)
	}})
	for err == nil {
		var left bool
		var page []audit.Row // of those that go
		page, err = auditQuery(ctx, s, "prune audit log", scanAudit, `SELECT seq, data FROM audit_record WHERE project = ? AND seq <= ? ORDER BY seq LIMIT ?`,
			string(project), base.Size, int64(prunedAtOnce))
		if err != nil || len(page) == 0 {
			return err
		}
		if err = s.do(ctx, &op{write: func(g *group) error {
			if _, err := g.forgetTexts(project, digestsOf(page)); err != nil {
				return err
			}
			return g.execText(context.Background(), "prune audit log", `DELETE FROM audit_record WHERE project = ? AND seq <= ?`, string(project), page[len(page)-1].Seq)
		}}); err != nil {
			return err
		}
		if err = s.readers.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM audit_record WHERE project = ? AND seq <= ?)`, string(project), base.Size).Scan(&left); err != nil {
			return translate(err, "prune audit log")
		}
		if !left {
			return nil
		}
	}
	return err
}

// digestsOf are those of the records' texts.
func digestsOf(rows []audit.Row) (out []string) {
	for _, r := range rows {
		out = append(out, audit.Digests(r.Data)...)
	}
	return out
}

// AuditRows implements audit.Store.
func (s *Store) AuditRows(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	text := `SELECT seq, data FROM audit_record WHERE project = ?1 AND seq > max(?2, ` + auditPruned + `) ORDER BY seq LIMIT ?3`
	if q.Desc {
		text = `SELECT seq, data FROM audit_record WHERE project = ?1 AND (?2 = 0 OR seq < ?2) AND seq > ` + auditPruned + ` ORDER BY seq DESC LIMIT ?3`
	}
	return auditQuery(ctx, s, "read audit records", scanAudit,
		text, string(q.Project), q.After, q.PageLimit())
}

func scanAudit(rows *sql.Rows, r *audit.Row) error {
	err := rows.Scan(&r.Seq, &r.Data)
	if err == nil {
		r.Data, err = audit.Unpack(r.Data)
	}
	return err
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
	return auditQuery(ctx, s, "read audit logs", func(rows *sql.Rows, l *audit.LogSize) error { return rows.Scan(&l.Project, &l.Size, &l.Signed) },
		`SELECT project, size, signed FROM audit_log WHERE project > ? AND size > 0 ORDER BY project LIMIT ?`, string(after), limit)
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
