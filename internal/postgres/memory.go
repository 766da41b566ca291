package postgres

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

const memoryColumns = `project_id, store_id, id, version, revision, created_at, updated_at, coalesce(expires_at, 0), data`

const memorySQL = `SELECT ` + memoryColumns + ` FROM memories WHERE project_id = $1 AND store_id = $2`

// memoriesByID reads those of the ids in $3, one lookup each. With "id = ANY" the planner may as well read all of
// the store and look for the ids there, where statistics are missing or are those of smaller stores.
const memoriesByID = `SELECT m.* FROM (SELECT DISTINCT unnest($3::text[])) AS asked (id)
	CROSS JOIN LATERAL (` + memorySQL + ` AND id = asked.id LIMIT 1) AS m`

const memoriesByKey = `SELECT k.* FROM (SELECT DISTINCT unnest($3::bytea[])) AS asked (key) CROSS JOIN LATERAL (
	SELECT key, digest, id FROM memory_keys WHERE project_id = $1 AND store_id = $2 AND key = asked.key LIMIT 1) AS k`

func storablePlace(p memory.Place) bool { return storable(string(p.Project)) && storable(p.Store) }

// WriteMemories implements memory.Store.
func (s *Store) WriteMemories(ctx context.Context, p memory.Place, changes []memory.Change) ([]memory.Record, error) {
	if err := memory.CheckChanges(p, changes); err != nil {
		return nil, err
	}
	for i := range changes {
		if !storablePlace(p) || !storable(changes[i].ID) {
			return nil, stead.Invalid("id", "the id of the memory is not text")
		}
	}
	var err error
	for range maxTries {
		var out []memory.Record
		err = s.transaction(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			out, err = writeMemories(ctx, tx, p, changes)
			return err
		})
		if err == nil {
			return out, nil
		}
		if !retryable(sqlState(err)) {
			return nil, err
		}
	}
	return nil, err
}

// writeMemories takes the store's row first, so that its writers come one after the other.
func writeMemories(ctx context.Context, tx pgx.Tx, p memory.Place, changes []memory.Change) ([]memory.Record, error) {
	var revision int64
	if err := tx.QueryRow(ctx, `INSERT INTO memory_heads (project_id, store_id, revision) VALUES ($1, $2, 0)
		ON CONFLICT (project_id, store_id) DO UPDATE SET revision = memory_heads.revision RETURNING revision`,
		string(p.Project), p.Store).Scan(&revision); err != nil {
		return nil, err
	}
	if err := memory.CheckSince(changes, revision); err != nil {
		return nil, err
	}
	out := make([]memory.Record, len(changes))
	queue := &pgx.Batch{}
	old, keys, err := presentMemories(ctx, tx, p, changes)
	if err != nil {
		return nil, err
	}
	for i := range changes {
		c := &changes[i]
		if k, ok := keys[c.Key]; ok && c.Key != "" {
			if !bytes.Equal(k.digest, []byte(c.Digest)) {
				return nil, memory.KeyUsed()
			}
			out[i] = old[k.id]
			continue
		}
		had := old[c.ID]
		if c.Once && had.Version > 0 {
			continue
		}
		stored := had.Version
		if had.Data == nil {
			stored = 0
		}
		if err := c.Fits(stored); err != nil {
			return nil, err
		}
		revision++
		out[i] = queueMemory(queue, c, had, revision, memory.CauseOf(ctx))
	}
	queue.Queue(`UPDATE memory_heads SET revision = $3 WHERE project_id = $1 AND store_id = $2`, string(p.Project), p.Store, revision)
	return out, tx.SendBatch(ctx, queue).Close()
}

type memoryKey struct {
	digest []byte
	id     string
}

// presentMemories reads the records that the changes are about, those of their keys included.
func presentMemories(ctx context.Context, tx pgx.Tx, p memory.Place, changes []memory.Change) (map[string]memory.Record, map[string]memoryKey, error) {
	ids := make([]string, 0, len(changes))
	var used [][]byte
	for i := range changes {
		ids = append(ids, changes[i].ID)
		if changes[i].Key != "" {
			used = append(used, []byte(changes[i].Key))
		}
	}
	keys := map[string]memoryKey{}
	if len(used) > 0 {
		rows, err := tx.Query(ctx, memoriesByKey, string(p.Project), p.Store, used)
		if err != nil {
			return nil, nil, err
		}
		var key, digest []byte
		var id string
		if _, err := pgx.ForEachRow(rows, []any{&key, &digest, &id}, func() error {
			keys[string(key)] = memoryKey{bytes.Clone(digest), id}
			ids = append(ids, id)
			return nil
		}); err != nil {
			return nil, nil, err
		}
	}
	rows, err := tx.Query(ctx, memoriesByID, string(p.Project), p.Store, ids)
	if err != nil {
		return nil, nil, err
	}
	found, err := pgx.CollectRows(rows, scanMemory)
	if err != nil {
		return nil, nil, err
	}
	byID := make(map[string]memory.Record, len(found))
	for _, r := range found {
		byID[r.ID] = r
	}
	return byID, keys, nil
}

// queueMemory queues the statements of one change, and returns the record as it is after them.
func queueMemory(queue *pgx.Batch, c *memory.Change, old memory.Record, revision int64, cause string) memory.Record {
	r := c.Record
	r.Version, r.Revision = old.Version+1, revision
	if old.Data != nil {
		r.CreatedAt = old.CreatedAt
	}
	project, store := string(r.Project), r.Store
	switch {
	case r.Data == nil || c.Redact:
		queue.Queue(`DELETE FROM memory_versions WHERE project_id = $1 AND store_id = $2 AND id = $3`, project, store, r.ID)
		queue.Queue(`DELETE FROM memory_vectors WHERE project_id = $1 AND store_id = $2 AND id = $3`, project, store, r.ID)
	case old.Data != nil:
		queue.Queue(`INSERT INTO memory_versions (project_id, store_id, id, version, revision, created_at, updated_at, expires_at, data)
			SELECT project_id, store_id, id, version, revision, created_at, updated_at, expires_at, data
			FROM memories WHERE project_id = $1 AND store_id = $2 AND id = $3`, project, store, r.ID)
		queue.Queue(`DELETE FROM memory_versions WHERE project_id = $1 AND store_id = $2 AND id = $3 AND version <= $4`,
			project, store, r.ID, r.Version-memory.MaxVersions)
		if len(c.Drop) > 0 {
			queue.Queue(`DELETE FROM memory_versions WHERE project_id = $1 AND store_id = $2 AND id = $3 AND version = ANY($4::bigint[])`, project, store, r.ID, c.Drop)
			queue.Queue(`DELETE FROM memory_vectors WHERE project_id = $1 AND store_id = $2 AND id = $3`, project, store, r.ID)
		}
	}
	if r.Data == nil {
		r.ExpiresAt = 0
		queue.Queue(`DELETE FROM memory_keys WHERE project_id = $1 AND store_id = $2 AND id = $3`, project, store, r.ID)
	}
	queue.Queue(`INSERT INTO memories (project_id, store_id, id, version, revision, created_at, updated_at, expires_at, data)
		VALUES ($1, $2, $3, $4, $5, $6, $7, nullif($8::bigint, 0), $9) ON CONFLICT (project_id, store_id, id) DO UPDATE SET version = excluded.version,
		revision = excluded.revision, created_at = excluded.created_at, updated_at = excluded.updated_at, expires_at = excluded.expires_at, data = excluded.data`,
		project, store, r.ID, r.Version, r.Revision, r.CreatedAt, r.UpdatedAt, r.ExpiresAt, r.Data)
	if had, has := memory.Origins(old.Data), memory.Origins(r.Data); !slices.Equal(had, has) {
		queue.Queue(`DELETE FROM memory_origins WHERE project_id = $1 AND store_id = $2 AND id = $3`, project, store, r.ID)
		queue.Queue(`INSERT INTO memory_origins (project_id, session_id, store_id, id) SELECT $1::text, s, $2::text, $3::text FROM unnest($4::text[]) AS s`,
			project, store, r.ID, slices.DeleteFunc(has, func(s string) bool { return !storable(s) }))
	}
	if c.Forgets() {
		queueUnshow(queue, r, c.By, cause)
	}
	if c.Key != "" && r.Data != nil {
		queue.Queue(`INSERT INTO memory_keys (project_id, store_id, key, digest, id) VALUES ($1, $2, $3, $4, $5)`,
			project, store, []byte(c.Key), []byte(c.Digest), r.ID)
	}
	return r
}

func scanMemory(row pgx.CollectableRow) (memory.Record, error) {
	var r memory.Record
	err := row.Scan(&r.Project, &r.Store, &r.ID, &r.Version, &r.Revision, &r.CreatedAt, &r.UpdatedAt, &r.ExpiresAt, &r.Data)
	return r, err
}

// ReadMemories implements memory.Store.
func (s *Store) ReadMemories(ctx context.Context, p memory.Place, ids []string) ([]memory.Record, error) {
	asked := make([]string, 0, len(ids))
	for _, id := range ids {
		if storable(id) {
			asked = append(asked, id)
		}
	}
	return s.memories(ctx, p, memoriesByID+` WHERE m.data IS NOT NULL`, asked)
}

// MemoryVersions implements memory.Store.
func (s *Store) MemoryVersions(ctx context.Context, p memory.Place, id string) ([]memory.Record, error) {
	if !storable(id) {
		return nil, memory.NotFound(id)
	}
	found, err := s.memories(ctx, p, memorySQL+` AND id = $3 AND data IS NOT NULL UNION ALL
		SELECT `+memoryColumns+` FROM memory_versions WHERE project_id = $1 AND store_id = $2 AND id = $3 ORDER BY version DESC`, id)
	if err == nil && len(found) == 0 {
		err = memory.NotFound(id)
	}
	return found, err
}

// ListMemories implements memory.Store.
func (s *Store) ListMemories(ctx context.Context, q memory.Query) ([]memory.Record, error) {
	if !storable(q.After) {
		return nil, nil
	}
	text := memorySQL + ` AND data IS NOT NULL AND ($5::bigint = 0 OR expires_at IS NULL OR expires_at > $5)`
	switch {
	case q.Desc && q.After != "":
		text += ` AND id < $3 ORDER BY id DESC`
	case q.Desc:
		text += ` AND $3 = '' ORDER BY id DESC`
	default:
		text += ` AND id > $3 ORDER BY id`
	}
	return s.memories(ctx, q.Place, text+` LIMIT $4`, q.After, memory.Bounded(q.Limit), q.Now)
}

// MemoryChanges implements memory.Store.
func (s *Store) MemoryChanges(ctx context.Context, p memory.Place, after int64, limit int) ([]memory.Record, error) {
	return s.memories(ctx, p, memorySQL+` AND revision > 0 AND revision > $3 ORDER BY revision LIMIT $4`, after, memory.Bounded(limit))
}

// OriginMemories implements memory.Store.
func (s *Store) OriginMemories(ctx context.Context, project stead.ProjectID, session, afterStore, afterID string, limit int) ([]memory.Record, error) {
	if !storable(string(project)) || !storable(session) {
		return nil, nil
	}
	return s.queryMemories(ctx, `SELECT m.project_id, m.store_id, m.id, m.version, m.revision, m.created_at, m.updated_at, coalesce(m.expires_at, 0), m.data
		FROM memory_origins o JOIN memories m USING (project_id, store_id, id)
		WHERE o.project_id = $1 AND o.session_id = $2 AND (o.store_id, o.id) > ($3, $4) AND m.data IS NOT NULL ORDER BY o.store_id, o.id LIMIT $5`,
		string(project), session, afterStore, afterID, memory.Bounded(limit))
}

// DropMemories implements memory.Store.
func (s *Store) DropMemories(ctx context.Context, p memory.Place) error {
	if !storablePlace(p) {
		return nil
	}
	return s.transaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		queue := &pgx.Batch{}
		queue.Queue(`SELECT 1 FROM memory_heads WHERE project_id = $1 AND store_id = $2 FOR UPDATE`, string(p.Project), p.Store)
		queue.Queue(`UPDATE memory_shown SET forgotten = $3, due = 1, unshow = 1 WHERE project_id = $1 AND store_id = $2 AND forgotten = 0`, string(p.Project), p.Store, time.Now().UnixMilli())
		for _, table := range []string{"memory_heads", "memories", "memory_versions", "memory_keys", "memory_origins", "memory_vectors", "memory_vector_heads"} { // the lock of the writers first
			queue.Queue(`DELETE FROM `+table+` WHERE project_id = $1 AND store_id = $2`, string(p.Project), p.Store)
		}
		return tx.SendBatch(ctx, queue).Close()
	})
}

// ExpiredMemories implements memory.Store.
func (s *Store) ExpiredMemories(ctx context.Context, now int64, limit int) ([]memory.Record, error) {
	return s.queryMemories(ctx, `SELECT `+memoryColumns+` FROM memories WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2`, now, memory.Bounded(limit))
}

func (s *Store) memories(ctx context.Context, p memory.Place, text string, args ...any) ([]memory.Record, error) {
	if !storablePlace(p) {
		return nil, nil
	}
	return s.queryMemories(ctx, text, append([]any{string(p.Project), p.Store}, args...)...)
}

func (s *Store) queryMemories(ctx context.Context, text string, args ...any) ([]memory.Record, error) {
	var all []memory.Record
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, text, args...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, scanMemory)
		return err
	})
	return all, err
}
