package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

// ClaimVectors implements memory.Vectors.
func (s *Store) ClaimVectors(ctx context.Context, space string, now, until int64) (memory.Owing, bool, error) {
	const behind = `SELECT h.project, h.store FROM memory_head h
		LEFT JOIN memory_vector_head v ON v.project = h.project AND v.store = h.store AND v.space = ?1
		WHERE h.revision > ifnull(v.revision, 0) AND ifnull(v.due, 0) <= ?2 ORDER BY ifnull(v.due, 0) LIMIT 1`
	o := memory.Owing{Space: space}
	err := s.readers.QueryRowContext(ctx, behind, space, now).Scan(&o.Project, &o.Store) // most nodes most of the time: no write
	if errors.Is(err, sql.ErrNoRows) {
		return o, false, nil
	}
	if err != nil {
		return o, false, translate(err, "look for stores without vectors")
	}
	found := false
	err = s.do(ctx, &op{write: func(g *group) error {
		if err := g.begin(); err != nil {
			return err
		}
		err := g.c.conn.QueryRowContext(context.Background(), `INSERT INTO memory_vector_head (project, store, space, revision, epoch, due, failures)
			SELECT project, store, ?3, 0, 1, ?5, 0 FROM memory_head WHERE project = ?1 AND store = ?2
			ON CONFLICT (project, store, space) DO UPDATE SET epoch = epoch + 1, due = excluded.due WHERE due <= ?4
			RETURNING revision, epoch, failures`, string(o.Project), o.Store, space, now, until).Scan(&o.Revision, &o.Epoch, &o.Failures)
		if errors.Is(err, sql.ErrNoRows) {
			return nil // another one was quicker, or the store is gone
		}
		if err != nil {
			return failed(err, "claim a store's vectors")
		}
		found = true
		return nil
	}})
	if err != nil {
		return memory.Owing{}, false, err // whoever gave up may not look at what the writer is writing
	}
	return o, found, nil
}

// StoreVectors implements memory.Vectors.
func (s *Store) StoreVectors(ctx context.Context, o memory.Owing, vectors []memory.Vector, due int64) error {
	if err := memory.CheckVectors(o, vectors); err != nil {
		return err
	}
	bytes := 0
	for i := range vectors {
		bytes += len(vectors[i].Data)
	}
	return s.do(ctx, &op{bytes: bytes, write: func(g *group) error { return g.storeVectors(o, vectors, due) }})
}

func (g *group) storeVectors(o memory.Owing, vectors []memory.Vector, due int64) error {
	ctx := context.Background()
	var epoch int64
	err := g.c.conn.QueryRowContext(ctx, `SELECT epoch FROM memory_vector_head WHERE project = ? AND store = ? AND space = ?`,
		string(o.Project), o.Store, o.Space).Scan(&epoch)
	switch {
	case errors.Is(err, sql.ErrNoRows) || err == nil && epoch != o.Epoch:
		return memory.ClaimLost()
	case err != nil:
		return failed(err, "read who has a store's vectors")
	}
	for _, v := range vectors {
		if err := g.execText(ctx, "store a vector", `INSERT INTO memory_vector (project, store, id, space, revision, digest, data)
			SELECT project, store, id, ?4, revision, ?6, ?7 FROM memory WHERE project = ?1 AND store = ?2 AND id = ?3 AND revision = ?5 AND data IS NOT NULL
			ON CONFLICT (project, store, id, space) DO UPDATE SET revision = excluded.revision, digest = excluded.digest, data = excluded.data`,
			string(o.Project), o.Store, v.ID, o.Space, v.Revision, v.Digest, v.Data); err != nil {
			return err
		}
	}
	return g.execText(ctx, "store how far a store's vectors are", `UPDATE memory_vector_head SET revision = ?4, failures = ?5, due = ?6
		WHERE project = ?1 AND store = ?2 AND space = ?3`, string(o.Project), o.Store, o.Space, o.Revision, o.Failures, due)
}

// forgetVectors removes those of a record. It is in the transaction that forgets what they were made of.
func (g *group) forgetVectors(ctx context.Context, r memory.Record) error {
	return g.execText(ctx, "forget vectors of a memory", `DELETE FROM memory_vector WHERE project = ? AND store = ? AND id = ?`, string(r.Project), r.Store, r.ID)
}

// ReadVectors implements memory.Vectors.
func (s *Store) ReadVectors(ctx context.Context, p memory.Place, space string, ids []string) ([]memory.Vector, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "encode ids")
	}
	return s.vectors(ctx, `SELECT id, revision, digest, data FROM memory_vector
		WHERE project = ? AND store = ? AND space = ? AND id IN (SELECT value FROM json_each(?))`, string(p.Project), p.Store, space, string(list))
}

// VectorChanges implements memory.Vectors.
func (s *Store) VectorChanges(ctx context.Context, p memory.Place, space string, after, upTo int64, limit int) ([]memory.Vector, error) {
	return s.vectors(ctx, `SELECT v.id, v.revision, v.digest, v.data FROM memory_vector v
		JOIN memory m ON m.project = v.project AND m.store = v.store AND m.id = v.id AND m.revision = v.revision
		WHERE v.project = ? AND v.store = ? AND v.space = ? AND v.revision > ? AND v.revision <= ? ORDER BY v.revision LIMIT ?`,
		string(p.Project), p.Store, space, after, upTo, memory.Bounded(limit))
}

func (s *Store) vectors(ctx context.Context, text string, args ...any) ([]memory.Vector, error) {
	rows, err := s.readers.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, translate(err, "read vectors of memories")
	}
	defer rows.Close()
	var out []memory.Vector
	for rows.Next() {
		var v memory.Vector
		if err := rows.Scan(&v.ID, &v.Revision, &v.Digest, &v.Data); err != nil {
			return nil, translate(err, "read vectors of memories")
		}
		out = append(out, v)
	}
	return out, translate(rows.Err(), "read vectors of memories")
}

// DropVectors implements memory.Vectors.
func (s *Store) DropVectors(ctx context.Context, keep string, before int64) (bool, error) {
	var project, store, space string
	err := s.readers.QueryRowContext(ctx, `SELECT project, store, space FROM memory_vector_head WHERE space <> ? AND due < ? LIMIT 1`, keep, before).
		Scan(&project, &store, &space)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, translate(err, "look for vectors of another model")
	}
	return true, s.do(ctx, &op{write: func(g *group) error {
		for _, table := range []string{"memory_vector", "memory_vector_head"} {
			if err := g.execText(context.Background(), "drop vectors of another model",
				`DELETE FROM `+table+` WHERE project = ? AND store = ? AND space = ?`, project, store, space); err != nil {
				return err
			}
		}
		return nil
	}})
}
