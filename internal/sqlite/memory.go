package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

const memoryColumns = `project, store, id, version, revision, created_at, updated_at, ifnull(expires_at, 0), data`

const memoryByID = `SELECT ` + memoryColumns + ` FROM memory WHERE project = ? AND store = ? AND id = ?`

const storeMemory = `INSERT INTO memory (project, store, id, version, revision, created_at, updated_at, expires_at, data)
		VALUES (?, ?, ?, ?, ?, ?, ?, nullif(?, 0), ?) ON CONFLICT (project, store, id) DO UPDATE SET version = excluded.version,
		revision = excluded.revision, created_at = excluded.created_at, updated_at = excluded.updated_at, expires_at = excluded.expires_at, data = excluded.data`

// WriteMemories implements memory.Store.
func (s *Store) WriteMemories(ctx context.Context, p memory.Place, changes []memory.Change) ([]memory.Record, error) {
	if err := memory.CheckChanges(p, changes); err != nil {
		return nil, err
	}
	bytes := 0
	for i := range changes {
		bytes += len(changes[i].Data)
	}
	var out []memory.Record
	err := s.do(ctx, &op{bytes: bytes, write: func(g *group) (err error) {
		out, err = g.writeMemories(p, changes, memory.CauseOf(ctx))
		return err
	}})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// writeMemories checks every change before it makes the first: a refused operation must leave the
// transaction that it shares with others as it was.
func (g *group) writeMemories(p memory.Place, changes []memory.Change, cause string) ([]memory.Record, error) {
	ctx := context.Background()
	out := make([]memory.Record, len(changes))
	done := make([]bool, len(changes)) // by an idempotency key, before
	for i := range changes {
		var err error
		if out[i], done[i], err = g.checkMemory(ctx, &changes[i]); err != nil {
			return nil, err
		}
	}
	var revision int64
	err := g.c.conn.QueryRowContext(ctx, `SELECT revision FROM memory_head WHERE project = ? AND store = ?`, string(p.Project), p.Store).Scan(&revision)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, failed(err, "read the revision of memories")
	}
	if err := memory.CheckSince(changes, revision); err != nil {
		return nil, err
	}
	for i := range changes {
		if done[i] {
			continue
		}
		revision++
		if out[i], err = g.writeMemory(&changes[i], out[i], revision, cause); err != nil {
			return nil, err
		}
	}
	return out, g.execText(ctx, "store the revision of memories", `INSERT INTO memory_head (project, store, revision) VALUES (?, ?, ?)
		ON CONFLICT (project, store) DO UPDATE SET revision = excluded.revision`, string(p.Project), p.Store, revision)
}

// checkMemory returns the record as it is, and whether the change was made before.
func (g *group) checkMemory(ctx context.Context, c *memory.Change) (memory.Record, bool, error) {
	if c.Key != "" {
		var id, had string
		err := g.c.conn.QueryRowContext(ctx, `SELECT id, digest FROM memory_key WHERE project = ? AND store = ? AND key = ?`,
			string(c.Project), c.Store, []byte(c.Key)).Scan(&id, &had)
		switch {
		case err == nil && had != c.Digest:
			return memory.Record{}, false, memory.KeyUsed()
		case err == nil:
			r, err := g.memory(ctx, c.Place, id)
			return r, true, err
		case !errors.Is(err, sql.ErrNoRows):
			return memory.Record{}, false, failed(err, "read idempotency key")
		}
	}
	old, err := g.memory(ctx, c.Place, c.ID)
	if err != nil {
		return old, false, err
	}
	if c.Once && old.Version > 0 {
		return memory.Record{}, true, nil
	}
	stored := old.Version
	if old.Data == nil {
		stored = 0
	}
	return old, false, c.Fits(stored)
}

// memory reads a record in the transaction; the zero one when there is none.
func (g *group) memory(ctx context.Context, p memory.Place, id string) (memory.Record, error) {
	r, err := scanMemory(g.c.st.memory.QueryRowContext(ctx, string(p.Project), p.Store, id))
	if errors.Is(err, sql.ErrNoRows) {
		return memory.Record{}, nil
	}
	if err != nil {
		return r, failed(err, "read memory")
	}
	return r, nil
}

func scanMemory(row interface{ Scan(...any) error }) (memory.Record, error) {
	var r memory.Record
	err := row.Scan(&r.Project, &r.Store, &r.ID, &r.Version, &r.Revision, &r.CreatedAt, &r.UpdatedAt, &r.ExpiresAt, &r.Data)
	return r, err
}

func (g *group) writeMemory(c *memory.Change, old memory.Record, revision int64, cause string) (memory.Record, error) {
	ctx := context.Background()
	r := c.Record
	r.Version, r.Revision = old.Version+1, revision
	if old.Data != nil {
		r.CreatedAt = old.CreatedAt
	}
	project, store := string(r.Project), r.Store
	if r.Data == nil || c.Redact {
		if err := g.execText(ctx, "forget versions of a memory", `DELETE FROM memory_version WHERE project = ? AND store = ? AND id = ?`, project, store, r.ID); err != nil {
			return r, err
		}
		if err := g.forgetVectors(ctx, r); err != nil {
			return r, err
		}
	} else if old.Data != nil {
		if err := g.keepVersion(ctx, r); err != nil {
			return r, err
		}
		if err := g.dropVersions(ctx, r, c.Drop); err != nil {
			return r, err
		}
	}
	var data any
	if r.Data == nil {
		r.ExpiresAt = 0
		if err := g.execText(ctx, "forget keys of a memory", `DELETE FROM memory_key WHERE project = ? AND store = ? AND id = ?`, project, store, r.ID); err != nil {
			return r, err
		}
	} else {
		data = string(r.Data)
	}
	if _, err := g.exec("store memory", g.c.st.storeMemory,
		project, store, r.ID, r.Version, r.Revision, r.CreatedAt, r.UpdatedAt, r.ExpiresAt, data); err != nil {
		return r, err
	}
	if c.Forgets() {
		if err := g.unshow(ctx, r, c.By, cause); err != nil {
			return r, err
		}
	}
	if err := g.originate(ctx, r, old.Data); err != nil || c.Key == "" || r.Data == nil {
		return r, err
	}
	return r, g.execText(ctx, "store idempotency key", `INSERT INTO memory_key (project, store, key, digest, id) VALUES (?, ?, ?, ?, ?)`,
		project, store, []byte(c.Key), c.Digest, r.ID)
}

// originate keeps which sessions a record comes from.
func (g *group) originate(ctx context.Context, r memory.Record, old []byte) error {
	had, has := memory.Origins(old), memory.Origins(r.Data)
	if slices.Equal(had, has) {
		return nil
	}
	project := string(r.Project)
	if len(had) > 0 {
		if err := g.execText(ctx, "forget origins of a memory", `DELETE FROM memory_origin WHERE project = ? AND store = ? AND id = ?`, project, r.Store, r.ID); err != nil {
			return err
		}
	}
	for _, session := range has {
		if err := g.execText(ctx, "store origin of a memory", `INSERT INTO memory_origin (project, session, store, id) VALUES (?, ?, ?, ?)
			ON CONFLICT DO NOTHING`, project, session, r.Store, r.ID); err != nil {
			return err
		}
	}
	return nil
}

// OriginMemories implements memory.Store.
func (s *Store) OriginMemories(ctx context.Context, project stead.ProjectID, session, afterStore, afterID string, limit int) ([]memory.Record, error) {
	return s.memories(ctx, "list memories of a session", `SELECT m.project, m.store, m.id, m.version, m.revision, m.created_at, m.updated_at, ifnull(m.expires_at, 0), m.data
		FROM memory_origin o JOIN memory m ON m.project = o.project AND m.store = o.store AND m.id = o.id
		WHERE o.project = ?1 AND o.session = ?2 AND (o.store, o.id) > (?3, ?4) AND m.data IS NOT NULL ORDER BY o.store, o.id LIMIT ?5`,
		string(project), session, afterStore, afterID, memory.Bounded(limit))
}

// dropVersions drops some of an entry's versions, and the vector, which tells what the last of them was about.
func (g *group) dropVersions(ctx context.Context, r memory.Record, versions []int64) error {
	for _, v := range versions {
		if err := g.execText(ctx, "drop version of a memory", `DELETE FROM memory_version WHERE project = ? AND store = ? AND id = ? AND version = ?`,
			string(r.Project), r.Store, r.ID, v); err != nil {
			return err
		}
	}
	if len(versions) == 0 {
		return nil
	}
	return g.forgetVectors(ctx, r)
}

// keepVersion copies the present version to those before it, and drops what is beyond the limit.
func (g *group) keepVersion(ctx context.Context, r memory.Record) error {
	if err := g.execText(ctx, "keep version of a memory", `INSERT INTO memory_version (project, store, id, version, revision, created_at, updated_at, expires_at, data)
		SELECT project, store, id, version, revision, created_at, updated_at, expires_at, data FROM memory WHERE project = ? AND store = ? AND id = ?`,
		string(r.Project), r.Store, r.ID); err != nil {
		return err
	}
	return g.execText(ctx, "drop version of a memory", `DELETE FROM memory_version WHERE project = ? AND store = ? AND id = ? AND version <= ?`,
		string(r.Project), r.Store, r.ID, r.Version-memory.MaxVersions)
}

// ReadMemories implements memory.Store.
func (s *Store) ReadMemories(ctx context.Context, p memory.Place, ids []string) ([]memory.Record, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "encode ids")
	}
	return s.memories(ctx, "read memories", `SELECT `+memoryColumns+` FROM memory
		WHERE project = ? AND store = ? AND id IN (SELECT value FROM json_each(?)) AND data IS NOT NULL`, string(p.Project), p.Store, string(list))
}

// MemoryVersions implements memory.Store.
func (s *Store) MemoryVersions(ctx context.Context, p memory.Place, id string) ([]memory.Record, error) {
	found, err := s.memories(ctx, "read versions of a memory", `SELECT `+memoryColumns+` FROM memory
		WHERE project = ?1 AND store = ?2 AND id = ?3 AND data IS NOT NULL
		UNION ALL SELECT `+memoryColumns+` FROM memory_version WHERE project = ?1 AND store = ?2 AND id = ?3 ORDER BY 4 DESC`,
		string(p.Project), p.Store, id)
	if err == nil && len(found) == 0 {
		err = memory.NotFound(id)
	}
	return found, err
}

// ListMemories implements memory.Store.
func (s *Store) ListMemories(ctx context.Context, q memory.Query) ([]memory.Record, error) {
	text := `SELECT ` + memoryColumns + ` FROM memory WHERE project = ?1 AND store = ?2 AND data IS NOT NULL
		AND (?5 = 0 OR expires_at IS NULL OR expires_at > ?5)`
	switch {
	case q.Desc && q.After != "":
		text += ` AND id < ?3 ORDER BY id DESC`
	case q.Desc:
		text += ` AND ?3 = '' ORDER BY id DESC`
	default:
		text += ` AND id > ?3 ORDER BY id`
	}
	return s.memories(ctx, "list memories", text+` LIMIT ?4`, string(q.Project), q.Store, q.After, memory.Bounded(q.Limit), q.Now)
}

// MemoryChanges implements memory.Store.
func (s *Store) MemoryChanges(ctx context.Context, p memory.Place, after int64, limit int) ([]memory.Record, error) {
	return s.memories(ctx, "read changes of memories", `SELECT `+memoryColumns+` FROM memory
		WHERE project = ? AND store = ? AND revision > ? ORDER BY revision LIMIT ?`, string(p.Project), p.Store, after, memory.Bounded(limit))
}

// DropMemories implements memory.Store.
func (s *Store) DropMemories(ctx context.Context, p memory.Place) error {
	return s.do(ctx, &op{write: func(g *group) error {
		if err := g.execText(context.Background(), "mark what was shown as forgotten", `UPDATE memory_shown SET forgotten = ?, due = 1, unshow = 1 WHERE project = ? AND store = ? AND forgotten = 0`,
			time.Now().UnixMilli(), string(p.Project), p.Store); err != nil {
			return err
		}
		for _, table := range []string{"memory", "memory_version", "memory_key", "memory_origin", "memory_vector", "memory_vector_head", "memory_head"} {
			if err := g.execText(context.Background(), "drop memories", `DELETE FROM `+table+` WHERE project = ? AND store = ?`, string(p.Project), p.Store); err != nil {
				return err
			}
		}
		return nil
	}})
}

// ExpiredMemories implements memory.Store.
func (s *Store) ExpiredMemories(ctx context.Context, now int64, limit int) ([]memory.Record, error) {
	return s.memories(ctx, "list expired memories", `SELECT `+memoryColumns+` FROM memory WHERE expires_at <= ? ORDER BY expires_at LIMIT ?`,
		now, memory.Bounded(limit))
}

func (s *Store) memories(ctx context.Context, what, text string, args ...any) ([]memory.Record, error) {
	rows, err := s.readers.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, translate(err, what)
	}
	defer rows.Close()
	var out []memory.Record
	for rows.Next() {
		r, err := scanMemory(rows)
		if err != nil {
			return nil, translate(err, what)
		}
		out = append(out, r)
	}
	return out, translate(rows.Err(), what)
}
