package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// Rewrite implements journal.Redactor. The head's lock waits for batches in flight, and holds up those that come.
func (s *Store) Rewrite(ctx context.Context, key stead.SessionKey, changes []journal.Change) error {
	if err := checkSession(key); err != nil {
		return err
	}
	if _, err := journal.NewRewriting(changes); err != nil {
		return err
	}
	return s.transaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var tail stead.Seq
		err := tx.QueryRow(ctx, tailSQL+` FOR UPDATE`, string(key.Project), string(key.Session)).Scan(&tail)
		if errors.Is(err, pgx.ErrNoRows) {
			return stead.NotFound("session", string(key.Session))
		}
		if err != nil {
			return err
		}
		queue := &pgx.Batch{}
		// In place of the snapshot comes one that can't be read, which no older one replaces.
		queue.Queue(`INSERT INTO snapshots AS old (project_id, session_id, seq, data) VALUES ($1, $2, $3, '')
			ON CONFLICT (project_id, session_id) DO UPDATE SET seq = greatest(old.seq, excluded.seq), data = ''`,
			string(key.Project), string(key.Session), int64(tail))
		if err := rewriteRows(ctx, tx, queue, key, changes); err != nil {
			return err
		}
		return tx.SendBatch(ctx, queue).Close()
	})
}

// rewriteRows queues the new form of the rows that hold events to be replaced.
func rewriteRows(ctx context.Context, tx pgx.Tx, queue *pgx.Batch, key stead.SessionKey, changes []journal.Change) error {
	rw, err := journal.NewRewriting(changes)
	if err != nil || len(changes) == 0 {
		return err
	}
	from, to := rw.Span()
	rows, err := tx.Query(ctx, `SELECT last, first, events FROM log WHERE project_id = $1 AND session_id = $2
		AND last >= $3 AND last < $4::bigint + $5 AND first <= $4 ORDER BY last`,
		string(key.Project), string(key.Session), int64(from), int64(to), int64(maxRowEvents))
	if err != nil {
		return err
	}
	var last, first stead.Seq
	var row []byte
	_, err = pgx.ForEachRow(rows, []any{&last, &first, &row}, func() error {
		events, err := decodeRow(nil, first, row)
		if err != nil {
			return err
		}
		differs, err := rw.In(events)
		if err == nil && differs {
			queue.Queue(`UPDATE log SET events = $4 WHERE project_id = $1 AND session_id = $2 AND last = $3`,
				string(key.Project), string(key.Session), int64(last), appendFrames(nil, events))
		}
		return err
	})
	if err != nil {
		return err
	}
	return rw.Done()
}
