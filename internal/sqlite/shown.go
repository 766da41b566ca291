package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

// ShowMemories implements memory.Store. It is one of the writes, so that what is forgotten is forgotten before it or behind it, unless all of it is noted
// already: files of a store are shown again with each call.
func (s *Store) ShowMemories(ctx context.Context, project stead.ProjectID, session string, at, now int64, refs []memory.Ref) error {
	list, err := json.Marshal(refs)
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "encode what a session is shown")
	}
	var fresh bool
	if err := s.readers.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM json_each(?3) r WHERE NOT EXISTS (SELECT 1 FROM memory_shown m
		WHERE m.project = ?1 AND m.store = r.value->>'Store' AND m.id = r.value->>'ID' AND m.session = ?2))`, string(project), session, string(list)).Scan(&fresh); err != nil {
		return translate(err, "read what a session was shown")
	}
	if !fresh {
		return nil
	}
	return s.do(ctx, &op{write: func(g *group) error {
		return g.execText(context.Background(), "note what a session is shown", `INSERT INTO memory_shown (project, store, id, session, at, forgotten, due, unshow)
			SELECT ?1, store, id, ?2, ?3, iif(there, 0, ?4), NOT there, NOT there
			FROM (SELECT r.value->>'Store' AS store, r.value->>'ID' AS id,
				EXISTS (SELECT 1 FROM memory m WHERE m.project = ?1 AND m.store = r.value->>'Store' AND m.id = r.value->>'ID' AND m.data IS NOT NULL) AS there FROM json_each(?5) r) WHERE true
			ON CONFLICT DO NOTHING`, string(project), session, at, now, string(list))
	}})
}

// unshow marks what was shown of a record as forgotten.
func (g *group) unshow(ctx context.Context, r memory.Record, by, cause string) error {
	return g.execText(ctx, "mark what was shown as forgotten", `UPDATE memory_shown SET forgotten = iif(session = ?5, 1, max(?4, 1)), due = 1, unshow = 1, cause = iif(?6 = '', cause, ?6)
		WHERE project = ?1 AND store = ?2 AND id = ?3`, string(r.Project), r.Store, r.ID, r.UpdatedAt, by, cause)
}

// DueShowings implements memory.Store.
func (s *Store) DueShowings(ctx context.Context, project stead.ProjectID, now int64, limit int) ([]memory.Showing, error) {
	return s.showings(ctx, `WHERE due > 0 AND due <= ?1 AND (?2 = '' OR project = ?2) ORDER BY due LIMIT ?3`, now, string(project), memory.Bounded(limit))
}

// DueUnshowings implements memory.Store.
func (s *Store) DueUnshowings(ctx context.Context, now int64, limit int) ([]memory.Showing, error) {
	return s.showings(ctx, `WHERE unshow > 0 AND unshow <= ? ORDER BY unshow LIMIT ?`, now, memory.Bounded(limit))
}

// CausedShowings implements memory.Store.
func (s *Store) CausedShowings(ctx context.Context, project stead.ProjectID, cause string, after memory.Showing, limit int) ([]memory.Showing, error) {
	return s.showings(ctx, `WHERE project = ? AND cause = ? AND cause <> '' AND (session, store, id) > (?, ?, ?) ORDER BY session, store, id LIMIT ?`,
		string(project), cause, after.Session, after.Store, after.ID, memory.Bounded(limit))
}

func (s *Store) showings(ctx context.Context, which string, args ...any) ([]memory.Showing, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT project, store, id, session, at, forgotten, due, unshow, cause FROM memory_shown `+which, args...)
	if err != nil {
		return nil, translate(err, "list what was shown and is forgotten")
	}
	defer rows.Close()
	var out []memory.Showing
	for rows.Next() {
		var o memory.Showing
		if err := rows.Scan(&o.Project, &o.Store, &o.ID, &o.Session, &o.At, &o.Forgotten, &o.Due, &o.Unshow, &o.Cause); err != nil {
			return nil, translate(err, "read what was shown and is forgotten")
		}
		out = append(out, o)
	}
	return out, translate(rows.Err(), "list what was shown and is forgotten")
}

// FollowedShowing implements memory.Store.
func (s *Store) FollowedShowing(ctx context.Context, o memory.Showing, due int64) error {
	return s.do(ctx, &op{write: func(g *group) error {
		return g.execText(context.Background(), "note that what was shown is followed", `UPDATE memory_shown SET due = ?
			WHERE project = ? AND store = ? AND id = ? AND session = ? AND due = ? AND forgotten = ?`, due, string(o.Project), o.Store, o.ID, o.Session, o.Due, o.Forgotten)
	}})
}

// Unshown implements memory.Store.
func (s *Store) Unshown(ctx context.Context, o memory.Showing, due int64) error {
	return s.do(ctx, &op{write: func(g *group) error {
		return g.execText(context.Background(), "note that what was shown is taken out", `UPDATE memory_shown SET unshow = ?
			WHERE project = ? AND store = ? AND id = ? AND session = ? AND unshow = ? AND forgotten = ?`, due, string(o.Project), o.Store, o.ID, o.Session, o.Unshow, o.Forgotten)
	}})
}

// StaleSince implements memory.Store.
func (s *Store) StaleSince(ctx context.Context, project stead.ProjectID, session string) (int64, bool, error) {
	var at sql.NullInt64
	err := s.readers.QueryRowContext(ctx, `SELECT min(at) FROM memory_shown WHERE project = ? AND session = ? AND forgotten > 0`, string(project), session).Scan(&at)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, false, translate(err, "read what a session was shown")
	}
	return at.Int64, at.Valid, nil
}

// DropShowings implements memory.Store.
func (s *Store) DropShowings(ctx context.Context, project stead.ProjectID, session string) error {
	return s.do(ctx, &op{write: func(g *group) error {
		return g.execText(context.Background(), "forget what a session was shown", `DELETE FROM memory_shown WHERE project = ? AND session = ?`, string(project), session)
	}})
}

// CopyShowings implements memory.Store.
func (s *Store) CopyShowings(ctx context.Context, project stead.ProjectID, from, to string) error {
	return s.do(ctx, &op{write: func(g *group) error {
		return g.execText(context.Background(), "copy what a session was shown", `INSERT INTO memory_shown (project, store, id, session, at, forgotten, due, unshow, cause)
			SELECT project, store, id, ?3, at, forgotten, forgotten > 0, forgotten > 0, cause FROM memory_shown WHERE project = ?1 AND session = ?2
			ON CONFLICT DO UPDATE SET unshow = max(unshow, excluded.unshow)`, string(project), from, to)
	}})
}
