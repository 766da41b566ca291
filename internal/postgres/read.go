package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

const (
	// The events wanted lie between two seqs: $3, and as many beyond it as $4 says. The rows that
	// hold them begin and end within those, or, by less than the events of one row ($5), beyond.
	readUpSQL = `SELECT first, events FROM log
		WHERE project_id = $1 AND session_id = $2 AND last > $3::bigint AND last < $3 + $4 + $5 AND first <= $3 + $4 ORDER BY last`
	readDownSQL = `SELECT first, events FROM log
		WHERE project_id = $1 AND session_id = $2 AND last >= $3::bigint - $4 AND last < $3 + $5 AND first < $3 ORDER BY last DESC`
	tailSQL = `SELECT tail FROM heads WHERE project_id = $1 AND session_id = $2`
	headSQL = `SELECT h.project_id, h.session_id, s.agent_id, s.created_at, h.tail, h.epoch, coalesce(h.holder, ''),
		s.status, s.metadata, s.last_active, s.environment
		FROM sessions s JOIN heads h ON h.project_id = s.project_id AND h.session_id = s.session_id`
	// The two directions differ in text so that each is one walk along the key.
	headsUpSQL   = headSQL + headsWhereSQL + ` AND s.session_id > $2 ORDER BY s.session_id LIMIT $3`
	headsDownSQL = headSQL + headsWhereSQL + ` AND ($2 = '' OR s.session_id < $2) ORDER BY s.session_id DESC LIMIT $3`

	headsWhereSQL = ` WHERE s.project_id = $1 AND ($4 = '' OR s.agent_id = $4) AND ($5 = '' OR s.status = $5)
		AND s.metadata @> $6::bytea[] AND CASE WHEN $7 = '' THEN s.agent_id <> '' ELSE s.environment <> '' AND s.environment = $7 END`
)

// Read implements journal.Store.
func (s *Store) Read(ctx context.Context, key stead.SessionKey, opts journal.ReadOptions) ([]stead.Event, error) {
	if err := checkSession(key); err != nil {
		return nil, err
	}
	limit := opts.Limit
	if limit <= 0 || limit > stead.MaxReadEvents {
		limit = stead.MaxReadEvents
	}
	var events []stead.Event
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		sql, bound := readUpSQL, max(opts.After, 0)
		if opts.Desc {
			tail, err := tailOf(ctx, c, key)
			if err != nil {
				return err
			}
			sql, bound = readDownSQL, tail+1
			if opts.After > 0 {
				bound = min(opts.After, bound)
			}
		}
		var err error
		if events, err = readLog(ctx, c, sql, key, bound, limit); err != nil || len(events) > 0 {
			return err
		}
		_, err = tailOf(ctx, c, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return events, nil
}

// readLog returns at most limit events above the bound (with readDownSQL: below it), in that order.
func readLog(ctx context.Context, c *pgxpool.Conn, sql string, key stead.SessionKey, bound stead.Seq, limit int) ([]stead.Event, error) {
	rows, err := c.Query(ctx, sql, string(key.Project), string(key.Session), int64(bound), int64(limit), int64(maxRowEvents))
	if err != nil {
		return nil, err
	}
	up := sql == readUpSQL
	var out, some []stead.Event
	var first stead.Seq
	var row pgtype.DriverBytes // valid until the next row: decoding copies
	_, err = pgx.ForEachRow(rows, []any{&first, &row}, func() error {
		var err error
		if some, err = decodeRow(some[:0], first, row); err != nil {
			return err
		}
		if !up {
			slices.Reverse(some)
		}
		for _, e := range some {
			if above := e.Seq > bound; above == up && e.Seq != bound && len(out) < limit {
				out = append(out, e)
			}
		}
		return nil
	})
	return out, err
}

// tailOf returns KindNotFound for a session that is not there.
func tailOf(ctx context.Context, c *pgxpool.Conn, key stead.SessionKey) (stead.Seq, error) {
	var tail stead.Seq
	err := c.QueryRow(ctx, tailSQL, string(key.Project), string(key.Session)).Scan(&tail)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, stead.NotFound("session", string(key.Session))
	}
	return tail, err
}

// Head implements journal.Directory.
func (s *Store) Head(ctx context.Context, key stead.SessionKey) (journal.Head, error) {
	if err := checkSession(key); err != nil {
		return journal.Head{}, err
	}
	var head journal.Head
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, headSQL+` WHERE s.project_id = $1 AND s.session_id = $2`, string(key.Project), string(key.Session))
		if err != nil {
			return err
		}
		head, err = pgx.CollectExactlyOneRow(rows, scanHead)
		if errors.Is(err, pgx.ErrNoRows) {
			return stead.NotFound("session", string(key.Session))
		}
		return err
	})
	return head, err
}

// Heads implements journal.Directory.
func (s *Store) Heads(ctx context.Context, project stead.ProjectID, q journal.Query) ([]journal.Head, error) {
	for _, text := range []string{string(project), string(q.Agent), q.Status, string(q.After), q.Environment} {
		if !storable(text) {
			return nil, nil // nothing stored can match
		}
	}
	limit := q.Limit
	if limit <= 0 || limit > stead.MaxPageSize+1 {
		limit = stead.MaxPageSize + 1
	}
	sql := headsUpSQL
	if q.Desc {
		sql = headsDownSQL
	}
	var heads []journal.Head
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, sql, string(project), string(q.After), limit, string(q.Agent), q.Status, pairs(q.Metadata), q.Environment)
		if err != nil {
			return err
		}
		heads, err = pgx.CollectRows(rows, scanHead)
		return err
	})
	return heads, err
}

func scanHead(row pgx.CollectableRow) (journal.Head, error) {
	var h journal.Head
	var metadata [][]byte
	err := row.Scan(&h.Key.Project, &h.Key.Session, &h.Agent, &h.CreatedAt, &h.Tail, &h.Epoch, &h.Holder,
		&h.Listing.Status, &metadata, &h.Listing.LastActive, &h.Listing.Environment)
	if err != nil {
		return h, err
	}
	h.Listing.Agent = h.Agent
	h.Listing.Metadata, err = metadataOf(metadata)
	return h, err
}

// Delete implements journal.Directory. The head goes first and alone: its lock waits for batches in
// flight, and the statements after it see what those stored.
func (s *Store) Delete(ctx context.Context, key stead.SessionKey) error {
	if err := checkSession(key); err != nil {
		return err
	}
	err := s.transaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		project, session := string(key.Project), string(key.Session)
		tag, err := tx.Exec(ctx, `DELETE FROM heads WHERE project_id = $1 AND session_id = $2`, project, session)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return stead.NotFound("session", session)
		}
		queue := &pgx.Batch{}
		for _, table := range []string{"sessions", "log", "session_keys", "creation_keys", "snapshots"} {
			queue.Queue(`DELETE FROM `+table+` WHERE project_id = $1 AND session_id = $2`, project, session)
		}
		return tx.SendBatch(ctx, queue).Close()
	})
	if err == nil {
		s.watch.deleted(key)
	}
	return err
}

// LoadSnapshot implements journal.Snapshots.
func (s *Store) LoadSnapshot(ctx context.Context, key stead.SessionKey) (stead.Seq, []byte, error) {
	if checkSession(key) != nil {
		return 0, nil, nil
	}
	var seq stead.Seq
	var data []byte
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		err := c.QueryRow(ctx, `SELECT seq, data FROM snapshots WHERE project_id = $1 AND session_id = $2`,
			string(key.Project), string(key.Session)).Scan(&seq, &data)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	if len(data) == 0 { // there is none, or Rewrite took it
		return 0, nil, err
	}
	return seq, data, err
}

// SaveSnapshot implements journal.Snapshots. The session's head is locked against deletion, so that
// no snapshot outlives its session; appends are not held up.
func (s *Store) SaveSnapshot(ctx context.Context, key stead.SessionKey, seq stead.Seq, data []byte) error {
	if err := checkSession(key); err != nil {
		return err
	}
	if data == nil {
		data = []byte{}
	}
	return s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `INSERT INTO snapshots AS old (project_id, session_id, seq, data)
			SELECT project_id, session_id, $3::bigint, $4::bytea FROM heads WHERE project_id = $1 AND session_id = $2 FOR KEY SHARE
			ON CONFLICT (project_id, session_id) DO UPDATE SET seq = excluded.seq, data = excluded.data WHERE old.seq < excluded.seq`,
			string(key.Project), string(key.Session), int64(seq), data)
		return err
	})
}
