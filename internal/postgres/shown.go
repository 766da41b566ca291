package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

// ShowMemories implements memory.Store. It waits for those who write the stores, so that what is forgotten is forgotten before it or behind it, unless all
// of it is noted already: files of a store are shown again with each call.
func (s *Store) ShowMemories(ctx context.Context, project stead.ProjectID, session string, at, now int64, refs []memory.Ref) error {
	if !storable(string(project)) || !storable(session) {
		return nil // nobody has shown it anything
	}
	var stores, ids []string
	for _, r := range refs {
		if storable(r.Store) && storable(r.ID) {
			stores, ids = append(stores, r.Store), append(ids, r.ID)
		}
	}
	var fresh bool
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM unnest($3::text[], $4::text[]) AS r(store, id) WHERE NOT EXISTS (SELECT 1 FROM memory_shown m
			WHERE m.project_id = $1 AND m.store_id = r.store AND m.id = r.id AND m.session_id = $2))`, string(project), session, stores, ids).Scan(&fresh)
	})
	if err != nil || !fresh {
		return err
	}
	return s.transaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		queue := &pgx.Batch{}
		queue.Queue(`SELECT 1 FROM memory_heads WHERE project_id = $1 AND store_id = ANY($2::text[]) ORDER BY store_id FOR SHARE`, string(project), stores)
		queue.Queue(`INSERT INTO memory_shown (project_id, store_id, id, session_id, at, forgotten, due, unshow)
			SELECT DISTINCT $1::text, r.store, r.id, $2::text, $3::bigint, CASE WHEN m.id IS NULL THEN $4::bigint ELSE 0 END, CASE WHEN m.id IS NULL THEN 1 ELSE 0 END,
				CASE WHEN m.id IS NULL THEN 1 ELSE 0 END
			FROM unnest($5::text[], $6::text[]) AS r(store, id)
			LEFT JOIN memories m ON m.project_id = $1 AND m.store_id = r.store AND m.id = r.id AND m.data IS NOT NULL
			ORDER BY r.store, r.id ON CONFLICT DO NOTHING`, string(project), session, at, now, stores, ids)
		return tx.SendBatch(ctx, queue).Close()
	})
}

// queueUnshow marks what was shown of a record as forgotten.
func queueUnshow(queue *pgx.Batch, r memory.Record, by, cause string) {
	queue.Queue(`UPDATE memory_shown SET forgotten = CASE WHEN session_id = $5 THEN 1 ELSE greatest($4::bigint, 1) END, due = 1, unshow = 1,
		cause = CASE WHEN $6::text = '' THEN cause ELSE $6 END WHERE project_id = $1 AND store_id = $2 AND id = $3`,
		string(r.Project), r.Store, r.ID, r.UpdatedAt, by, cause)
}

// DueShowings implements memory.Store.
func (s *Store) DueShowings(ctx context.Context, project stead.ProjectID, now int64, limit int) ([]memory.Showing, error) {
	if !storable(string(project)) {
		return nil, nil
	}
	return s.showings(ctx, `WHERE due > 0 AND due <= $1 AND ($2::text = '' OR project_id = $2) ORDER BY due LIMIT $3`, now, string(project), memory.Bounded(limit))
}

// DueUnshowings implements memory.Store.
func (s *Store) DueUnshowings(ctx context.Context, now int64, limit int) ([]memory.Showing, error) {
	return s.showings(ctx, `WHERE unshow > 0 AND unshow <= $1 ORDER BY unshow LIMIT $2`, now, memory.Bounded(limit))
}

// CausedShowings implements memory.Store.
func (s *Store) CausedShowings(ctx context.Context, project stead.ProjectID, cause string, after memory.Showing, limit int) ([]memory.Showing, error) {
	if !storable(string(project)) || !storable(cause) {
		return nil, nil
	}
	return s.showings(ctx, `WHERE project_id = $1 AND cause = $2 AND cause <> '' AND (session_id, store_id, id) > ($3, $4, $5) ORDER BY session_id, store_id, id LIMIT $6`,
		string(project), cause, after.Session, after.Store, after.ID, memory.Bounded(limit))
}

func (s *Store) showings(ctx context.Context, which string, args ...any) ([]memory.Showing, error) {
	var out []memory.Showing
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `SELECT project_id, store_id, id, session_id, at, forgotten, due, unshow, cause FROM memory_shown `+which, args...)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (memory.Showing, error) {
			var o memory.Showing
			err := row.Scan(&o.Project, &o.Store, &o.ID, &o.Session, &o.At, &o.Forgotten, &o.Due, &o.Unshow, &o.Cause)
			return o, err
		})
		return err
	})
	return out, err
}

// FollowedShowing implements memory.Store.
func (s *Store) FollowedShowing(ctx context.Context, o memory.Showing, due int64) error {
	return s.shown(ctx, `UPDATE memory_shown SET due = $7 WHERE project_id = $1 AND session_id = $2 AND store_id = $3 AND id = $4 AND due = $5 AND forgotten = $6`,
		o.Project, o.Session, o.Store, o.ID, o.Due, o.Forgotten, due)
}

// Unshown implements memory.Store.
func (s *Store) Unshown(ctx context.Context, o memory.Showing, due int64) error {
	return s.shown(ctx, `UPDATE memory_shown SET unshow = $7 WHERE project_id = $1 AND session_id = $2 AND store_id = $3 AND id = $4 AND unshow = $5 AND forgotten = $6`,
		o.Project, o.Session, o.Store, o.ID, o.Unshow, o.Forgotten, due)
}

// StaleSince implements memory.Store.
func (s *Store) StaleSince(ctx context.Context, project stead.ProjectID, session string) (int64, bool, error) {
	var at *int64
	if !storable(string(project)) || !storable(session) {
		return 0, false, nil
	}
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT min(at) FROM memory_shown WHERE project_id = $1 AND session_id = $2 AND forgotten > 0`, string(project), session).Scan(&at)
	})
	if err != nil || at == nil {
		return 0, false, err
	}
	return *at, true, nil
}

// DropShowings implements memory.Store.
func (s *Store) DropShowings(ctx context.Context, project stead.ProjectID, session string) error {
	return s.shown(ctx, `DELETE FROM memory_shown WHERE project_id = $1 AND session_id = $2`, project, session)
}

// CopyShowings implements memory.Store.
func (s *Store) CopyShowings(ctx context.Context, project stead.ProjectID, from, to string) error {
	if !storable(to) {
		return nil
	}
	return s.shown(ctx, `INSERT INTO memory_shown (project_id, store_id, id, session_id, at, forgotten, due, unshow, cause)
		SELECT project_id, store_id, id, $3::text, at, forgotten, CASE WHEN forgotten > 0 THEN 1 ELSE 0 END, CASE WHEN forgotten > 0 THEN 1 ELSE 0 END, cause FROM memory_shown
		WHERE project_id = $1 AND session_id = $2
		ON CONFLICT (project_id, store_id, id, session_id) DO UPDATE SET unshow = greatest(memory_shown.unshow, excluded.unshow)`, project, from, to)
}

// shown runs a statement about what a session was shown.
func (s *Store) shown(ctx context.Context, text string, project stead.ProjectID, session string, args ...any) error {
	if !storable(string(project)) || !storable(session) {
		return nil
	}
	return s.transaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, text, append([]any{string(project), session}, args...)...)
		return err
	})
}
