package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

// ClaimVectors implements memory.Vectors.
func (s *Store) ClaimVectors(ctx context.Context, space string, now, until int64) (memory.Owing, bool, error) {
	o := memory.Owing{Space: space}
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error { // most nodes most of the time: no write
		return c.QueryRow(ctx, `SELECT h.project_id, h.store_id FROM memory_heads h LEFT JOIN memory_vector_heads v
			ON v.project_id = h.project_id AND v.store_id = h.store_id AND v.space = $1
			WHERE h.revision > coalesce(v.revision, 0) AND coalesce(v.due, 0) <= $2 ORDER BY coalesce(v.due, 0) LIMIT 1`, space, now).Scan(&o.Project, &o.Store)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return o, false, nil
	}
	if err != nil {
		return o, false, err
	}
	err = s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `INSERT INTO memory_vector_heads AS v (project_id, store_id, space, revision, epoch, due, failures)
			SELECT project_id, store_id, $3, 0, 1, $5, 0 FROM memory_heads WHERE project_id = $1 AND store_id = $2
			ON CONFLICT (project_id, store_id, space) DO UPDATE SET epoch = v.epoch + 1, due = excluded.due WHERE v.due <= $4
			RETURNING revision, epoch, failures`, string(o.Project), o.Store, space, now, until).Scan(&o.Revision, &o.Epoch, &o.Failures)
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return o, false, nil // another one was quicker, or the store is gone
	}
	return o, err == nil, err
}

// StoreVectors implements memory.Vectors.
func (s *Store) StoreVectors(ctx context.Context, o memory.Owing, vectors []memory.Vector, due int64) error {
	if err := memory.CheckVectors(o, vectors); err != nil {
		return err
	}
	return s.transaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		// Writers hold the store's row: what they forget is gone before this looks, or waits for it.
		var revision int64
		err := tx.QueryRow(ctx, `SELECT revision FROM memory_heads WHERE project_id = $1 AND store_id = $2 FOR UPDATE`, string(o.Project), o.Store).Scan(&revision)
		if errors.Is(err, pgx.ErrNoRows) {
			return memory.ClaimLost()
		}
		if err != nil {
			return err
		}
		done, err := tx.Exec(ctx, `UPDATE memory_vector_heads SET revision = $5, failures = $6, due = $7
			WHERE project_id = $1 AND store_id = $2 AND space = $3 AND epoch = $4`, string(o.Project), o.Store, o.Space, o.Epoch, o.Revision, o.Failures, due)
		if err != nil {
			return err
		}
		if done.RowsAffected() == 0 {
			return memory.ClaimLost()
		}
		queue := &pgx.Batch{}
		for _, v := range vectors {
			queue.Queue(`INSERT INTO memory_vectors (project_id, store_id, id, space, revision, digest, data)
				SELECT project_id, store_id, id, $4, revision, $6, $7 FROM memories
				WHERE project_id = $1 AND store_id = $2 AND id = $3 AND revision = $5 AND data IS NOT NULL
				ON CONFLICT (project_id, store_id, id, space) DO UPDATE SET revision = excluded.revision, digest = excluded.digest, data = excluded.data`,
				string(o.Project), o.Store, v.ID, o.Space, v.Revision, v.Digest, v.Data)
		}
		return tx.SendBatch(ctx, queue).Close()
	})
}

const vectorsByID = `SELECT v.* FROM (SELECT DISTINCT unnest($4::text[])) AS asked (id) CROSS JOIN LATERAL (
	SELECT id, revision, digest, data FROM memory_vectors WHERE project_id = $1 AND store_id = $2 AND space = $3 AND id = asked.id LIMIT 1) AS v`

// ReadVectors implements memory.Vectors.
func (s *Store) ReadVectors(ctx context.Context, p memory.Place, space string, ids []string) ([]memory.Vector, error) {
	return s.vectors(ctx, p, vectorsByID, space, ids)
}

// VectorChanges implements memory.Vectors.
func (s *Store) VectorChanges(ctx context.Context, p memory.Place, space string, after, upTo int64, limit int) ([]memory.Vector, error) {
	return s.vectors(ctx, p, `SELECT v.id, v.revision, v.digest, v.data FROM memory_vectors v
		JOIN memories m ON m.project_id = v.project_id AND m.store_id = v.store_id AND m.id = v.id AND m.revision = v.revision
		WHERE v.project_id = $1 AND v.store_id = $2 AND v.space = $3 AND v.revision > 0 AND v.revision > $4 AND v.revision <= $5 ORDER BY v.revision LIMIT $6`,
		space, after, upTo, memory.Bounded(limit))
}

func (s *Store) vectors(ctx context.Context, p memory.Place, text string, args ...any) ([]memory.Vector, error) {
	if !storablePlace(p) {
		return nil, nil
	}
	var all []memory.Vector
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, text, append([]any{string(p.Project), p.Store}, args...)...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (v memory.Vector, err error) {
			return v, row.Scan(&v.ID, &v.Revision, &v.Digest, &v.Data)
		})
		return err
	})
	return all, err
}

// DropVectors implements memory.Vectors.
func (s *Store) DropVectors(ctx context.Context, keep string, before int64) (bool, error) {
	dropped := false
	err := s.transaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var project stead.ProjectID
		var store, space string
		err := tx.QueryRow(ctx, `DELETE FROM memory_vector_heads WHERE (project_id, store_id, space) IN (
			SELECT project_id, store_id, space FROM memory_vector_heads WHERE space <> $1 AND due < $2 LIMIT 1 FOR UPDATE SKIP LOCKED)
			RETURNING project_id, store_id, space`, keep, before).Scan(&project, &store, &space)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		dropped = true
		_, err = tx.Exec(ctx, `DELETE FROM memory_vectors WHERE project_id = $1 AND store_id = $2 AND space = $3`, string(project), store, space)
		return err
	})
	return dropped && err == nil, err
}
