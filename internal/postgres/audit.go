package postgres

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/audit"
)

var _ audit.Store = (*Store)(nil)

// auditPruned is behind which record a log begins: records that are being removed are seen by nobody.
const auditPruned = `coalesce((SELECT pruned FROM audit_logs WHERE project_id = $1), 0)`

// AppendAudit implements audit.Store. Of nodes that append to one log, one after the other has its row.
func (s *Store) AppendAudit(ctx context.Context, project stead.ProjectID, records []audit.Record) error {
	if !storable(string(project)) {
		return stead.Invalid("project", "the name of the project is not text")
	}
	return s.again(ctx, func(ctx context.Context, tx pgx.Tx) error {
		tree, err := lockTree(ctx, tx, project)
		if err != nil {
			return err
		}
		rows, tree, err := audit.Extend(tree, project, records)
		if err != nil || len(rows) == 0 {
			return err
		}
		queue := &pgx.Batch{}
		queueRecords(queue, project, rows, tree)
		return tx.SendBatch(ctx, queue).Close()
	})
}

func queueRecords(queue *pgx.Batch, project stead.ProjectID, rows []audit.Row, tree audit.Tree) {
	data := make([][]byte, len(rows))
	var texts []audit.Text
	for i, r := range rows {
		data[i], texts = audit.Pack(r.Data), append(texts, r.Texts...)
	}
	queueTexts(queue, project, texts)
	queue.Queue(`INSERT INTO audit_records (project_id, seq, data)
		SELECT $1, $2 + x.i - 1, x.data FROM unnest($3::bytea[]) WITH ORDINALITY AS x (data, i)`, string(project), rows[0].Seq, data)
	queue.Queue(`UPDATE audit_logs SET size = $2, tree = $3 WHERE project_id = $1`, string(project), tree.Size, tree.Bytes())
}

const (
	// chainLock is taken by whoever gives places to drafts, so that those of a session keep their order. The number is
	// this package's own.
	chainLock = 0x6368_6169_6e
	// maxChained is the most drafts that get their places in one transaction.
	maxChained = 4096
)

// ChainAudit implements audit.Store. A draft with a smaller id may be committed later than one with a larger: not of the
// same session, whose appends come one after the other.
func (s *Store) ChainAudit(ctx context.Context) error {
	for {
		n := 0
		err := s.again(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			n, err = chain(ctx, tx)
			return err
		})
		if err != nil || n < maxChained {
			return err
		}
	}
}

func chain(ctx context.Context, tx pgx.Tx) (int, error) {
	var there bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM audit_inbox ORDER BY id LIMIT 1)`).Scan(&there); err != nil || !there {
		return 0, err
	}
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(chainLock)); err != nil {
		return 0, err
	}
	found, err := tx.Query(ctx, `SELECT id, project_id, draft FROM audit_inbox ORDER BY id LIMIT $1`, maxChained)
	if err != nil {
		return 0, err
	}
	var ids []int64
	drafts := map[stead.ProjectID][][]byte{}
	var id int64
	var project stead.ProjectID
	var draft []byte
	_, err = pgx.ForEachRow(found, []any{&id, &project, &draft}, func() error {
		whole, err := audit.Unpack(slices.Clone(draft))
		ids, drafts[project] = append(ids, id), append(drafts[project], whole)
		return err
	})
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	queue := &pgx.Batch{}
	for _, project := range slices.Sorted(maps.Keys(drafts)) { // the order in which logs are locked
		tree, err := lockTree(ctx, tx, project)
		if err != nil {
			return 0, err
		}
		rows, tree := audit.ExtendDrafts(tree, drafts[project])
		queueRecords(queue, project, rows, tree)
	}
	queue.Queue(`DELETE FROM audit_inbox WHERE id = ANY ($1)`, ids)
	return len(ids), tx.SendBatch(ctx, queue).Close()
}

// lockTree reads a log's tree and keeps others from it until the transaction ends.
func lockTree(ctx context.Context, tx pgx.Tx, project stead.ProjectID) (audit.Tree, error) {
	const lock = `SELECT size, tree FROM audit_logs WHERE project_id = $1 FOR UPDATE`
	tree, err := scanTree(tx.QueryRow(ctx, lock, string(project)))
	if !errors.Is(err, pgx.ErrNoRows) {
		return tree, err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO audit_logs (project_id) VALUES ($1) ON CONFLICT DO NOTHING`, string(project)); err != nil {
		return tree, err
	}
	return scanTree(tx.QueryRow(ctx, lock, string(project)))
}

func scanTree(row pgx.Row) (audit.Tree, error) {
	var size int64
	var tree []byte
	if err := row.Scan(&size, &tree); err != nil {
		return audit.Tree{}, err
	}
	return audit.TreeOf(size, tree)
}

// AuditTree implements audit.Store.
func (s *Store) AuditTree(ctx context.Context, project stead.ProjectID) (audit.Tree, error) {
	var t audit.Tree
	if !storable(string(project)) {
		return t, nil
	}
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		t, err = scanTree(c.QueryRow(ctx, `SELECT size, tree FROM audit_logs WHERE project_id = $1`, string(project)))
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return t, err
}

// AuditBase implements audit.Store.
func (s *Store) AuditBase(ctx context.Context, project stead.ProjectID) (audit.Tree, error) {
	var t audit.Tree
	if !storable(string(project)) {
		return t, nil
	}
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		t, err = scanTree(c.QueryRow(ctx, `SELECT pruned, base FROM audit_logs WHERE project_id = $1`, string(project)))
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	return t, err
}

// prunedAtOnce is how many records go in one transaction.
const prunedAtOnce = 2000

// PruneAudit implements audit.Store. The base comes first: records that a crash leaves behind it go with the next pruning.
func (s *Store) PruneAudit(ctx context.Context, project stead.ProjectID, base audit.Tree) error {
	err := s.again(ctx, func(ctx context.Context, tx pgx.Tx) error {
		queue := &pgx.Batch{}
		queue.Queue(`UPDATE audit_logs SET pruned = $2, base = $3 WHERE project_id = $1 AND pruned < $2`, string(project), base.Size, base.Bytes())
		queue.Queue(`DELETE FROM audit_notes WHERE project_id = $1 AND size < $2`, string(project), base.Size)
		return tx.SendBatch(ctx, queue).Close()
	})
	for err == nil {
		var gone int
		err = s.again(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			gone, err = prune(ctx, tx, project, base.Size)
			return err
		})
		if gone == 0 {
			return err
		}
	}
	return err
}

// prune removes some of the records up to a place, with their texts, and says how many.
func prune(ctx context.Context, tx pgx.Tx, project stead.ProjectID, upto int64) (int, error) {
	found, err := tx.Query(ctx, `SELECT seq, data FROM audit_records WHERE project_id = $1 AND seq <= $2 ORDER BY seq LIMIT $3`, string(project), upto, prunedAtOnce)
	if err != nil {
		return 0, err
	}
	rows, err := pgx.CollectRows(found, scanRow)
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	var digests []string
	for _, r := range rows {
		digests = append(digests, audit.Digests(r.Data)...)
	}
	if _, err := forgetTexts(ctx, tx, project, digests); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, `DELETE FROM audit_records WHERE project_id = $1 AND seq <= $2`, string(project), rows[len(rows)-1].Seq)
	return len(rows), err
}

func scanRow(row pgx.CollectableRow) (r audit.Row, err error) {
	if err = row.Scan(&r.Seq, &r.Data); err == nil {
		r.Data, err = audit.Unpack(r.Data)
	}
	return r, err
}

// AuditRows implements audit.Store.
func (s *Store) AuditRows(ctx context.Context, q audit.Query) ([]audit.Row, error) {
	if !storable(string(q.Project)) {
		return nil, nil
	}
	text := `SELECT seq, data FROM audit_records WHERE project_id = $1 AND seq > greatest($2, ` + auditPruned + `) ORDER BY seq LIMIT $3`
	if q.Desc {
		text = `SELECT seq, data FROM audit_records WHERE project_id = $1 AND ($2::bigint = 0 OR seq < $2) AND seq > ` + auditPruned + ` ORDER BY seq DESC LIMIT $3`
	}
	return auditQuery(ctx, s, scanRow, text, string(q.Project), q.After, q.PageLimit())
}

// AddAuditNote implements audit.Store.
func (s *Store) AddAuditNote(ctx context.Context, project stead.ProjectID, n audit.Note) error {
	return s.again(ctx, func(ctx context.Context, tx pgx.Tx) error {
		queue := &pgx.Batch{}
		queue.Queue(`INSERT INTO audit_notes (project_id, size, note) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, string(project), n.Size, n.Text)
		queue.Queue(`UPDATE audit_logs SET signed = greatest(signed, $2) WHERE project_id = $1`, string(project), n.Size)
		return tx.SendBatch(ctx, queue).Close()
	})
}

// AuditNotes implements audit.Store.
func (s *Store) AuditNotes(ctx context.Context, project stead.ProjectID, after int64, limit int) ([]audit.Note, error) {
	if !storable(string(project)) {
		return nil, nil
	}
	return auditQuery(ctx, s, func(row pgx.CollectableRow) (n audit.Note, err error) {
		err = row.Scan(&n.Size, &n.Text)
		return n, err
	}, `SELECT size, note FROM audit_notes WHERE project_id = $1 AND size > $2 ORDER BY size LIMIT $3`, string(project), after, limit)
}

// UnsignedAudit implements audit.Store. There is a row a project, so that reading them all is cheap.
func (s *Store) UnsignedAudit(ctx context.Context, limit int) ([]stead.ProjectID, error) {
	return auditQuery(ctx, s, pgx.RowTo[stead.ProjectID], `SELECT project_id FROM audit_logs WHERE size > signed ORDER BY project_id LIMIT $1`, limit)
}

// AuditLogs implements audit.Store.
func (s *Store) AuditLogs(ctx context.Context, after stead.ProjectID, limit int) ([]audit.LogSize, error) {
	return auditQuery(ctx, s, func(row pgx.CollectableRow) (l audit.LogSize, err error) {
		err = row.Scan(&l.Project, &l.Size, &l.Signed)
		return l, err
	}, `SELECT project_id, size, signed FROM audit_logs WHERE project_id > $1 AND size > 0 ORDER BY project_id LIMIT $2`, string(after), limit)
}

func auditQuery[T any](ctx context.Context, s *Store, scan pgx.RowToFunc[T], text string, args ...any) ([]T, error) {
	var out []T
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, text, args...)
		if err == nil {
			out, err = pgx.CollectRows(rows, scan)
		}
		return err
	})
	return out, err
}
