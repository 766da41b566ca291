package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

type readStmts struct {
	id, tail, up, down, head, snapshot *sql.Stmt
	agent, newestAgent                 *sql.Stmt
}

// headColumns are those of scanHead; the two subqueries are one step each in the index of the log.
const headColumns = `s.project, s.session, s.agent, s.created_at, s.epoch, s.status, s.metadata, s.last_active, s.view,
	ifnull((SELECT l.last FROM log l WHERE l.session = s.id ORDER BY l.first DESC LIMIT 1), 0),
	ifnull((SELECT l.epoch FROM log l WHERE l.session = s.id ORDER BY l.first DESC LIMIT 1), 0)`

func (r *readStmts) prepare(ctx context.Context, db *sql.DB) error {
	return prepareAll(ctx, db.PrepareContext, map[**sql.Stmt]string{
		&r.id: `SELECT id FROM session WHERE project = ? AND session = ?`,
		&r.tail: `SELECT ifnull((SELECT l.last FROM log l WHERE l.session = s.id ORDER BY l.first DESC LIMIT 1), 0)
			FROM session s WHERE s.project = ? AND s.session = ?`,
		// The row that holds after+1 may begin before it.
		&r.up: `SELECT first, events FROM log WHERE session = ?1
			AND first >= ifnull((SELECT max(first) FROM log WHERE session = ?1 AND first <= ?2), 0) ORDER BY first`,
		&r.down:     `SELECT first, events FROM log WHERE session = ?1 AND first < ?2 ORDER BY first DESC`,
		&r.head:     `SELECT ` + headColumns + ` FROM session s WHERE s.project = ? AND s.session = ?`,
		&r.snapshot: `SELECT p.seq, p.data FROM session s JOIN snapshot p ON p.session = s.id WHERE s.project = ? AND s.session = ?`,
		&r.agent:    `SELECT version, created_at, updated_at, spec FROM agent WHERE project = ? AND agent = ? AND version = ?`,
		&r.newestAgent: `SELECT version, created_at, updated_at, spec FROM agent WHERE project = ? AND agent = ?
			ORDER BY version DESC LIMIT 1`,
	})
}

// Read implements journal.Store.
func (s *Store) Read(ctx context.Context, key stead.SessionKey, opts journal.ReadOptions) ([]stead.Event, error) {
	limit := opts.Limit
	if limit <= 0 || limit > stead.MaxReadEvents {
		limit = stead.MaxReadEvents
	}
	var id int64
	if err := s.read.id.QueryRowContext(ctx, string(key.Project), string(key.Session)).Scan(&id); err != nil {
		return nil, notFound(err, key)
	}
	if opts.Desc {
		return s.readDown(ctx, id, opts.After, limit)
	}
	return s.readUp(ctx, id, opts.After, limit)
}

func (s *Store) readUp(ctx context.Context, id int64, after stead.Seq, limit int) ([]stead.Event, error) {
	after = max(after, 0)
	var out []stead.Event
	err := s.eachRow(ctx, s.read.up, id, int64(after)+1, func(events []stead.Event) bool {
		for _, e := range events {
			if e.Seq > after && len(out) < limit {
				out = append(out, e)
			}
		}
		return len(out) < limit
	})
	return out, err
}

func (s *Store) readDown(ctx context.Context, id int64, below stead.Seq, limit int) ([]stead.Event, error) {
	if below <= 0 {
		below = 1<<63 - 1
	}
	var out []stead.Event
	err := s.eachRow(ctx, s.read.down, id, int64(below), func(events []stead.Event) bool {
		for _, e := range slices.Backward(events) {
			if e.Seq < below && len(out) < limit {
				out = append(out, e)
			}
		}
		return len(out) < limit
	})
	return out, err
}

// eachRow hands the decoded rows of a query to f until it reports false.
func (s *Store) eachRow(ctx context.Context, st *sql.Stmt, id, bound int64, f func([]stead.Event) bool) error {
	rows, err := st.QueryContext(ctx, id, bound)
	if err != nil {
		return translate(err, "read events")
	}
	defer rows.Close()
	var scratch []stead.Event
	for rows.Next() {
		var first int64
		var row sql.RawBytes
		if err := rows.Scan(&first, &row); err != nil {
			return translate(err, "read events")
		}
		if scratch, err = decodeRow(scratch[:0], stead.Seq(first), row); err != nil {
			return err
		}
		if !f(scratch) {
			return nil
		}
	}
	return translate(rows.Err(), "read events")
}

func notFound(err error, key stead.SessionKey) error {
	if errors.Is(err, sql.ErrNoRows) {
		return stead.NotFound("session", string(key.Session))
	}
	return translate(err, "read session "+key.String())
}

// Head implements journal.Directory.
func (s *Store) Head(ctx context.Context, key stead.SessionKey) (journal.Head, error) {
	h, err := scanHead(s.read.head.QueryRowContext(ctx, string(key.Project), string(key.Session)).Scan)
	if err != nil {
		return journal.Head{}, notFound(err, key)
	}
	return s.withLease(h), nil
}

// Heads implements journal.Directory.
func (s *Store) Heads(ctx context.Context, project stead.ProjectID, q journal.Query) ([]journal.Head, error) {
	text, args := headsQuery(project, q)
	rows, err := s.readers.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, translate(err, "list sessions")
	}
	defer rows.Close()
	var out []journal.Head
	for rows.Next() {
		h, err := scanHead(rows.Scan)
		if err != nil {
			return nil, translate(err, "list sessions")
		}
		out = append(out, s.withLease(h))
	}
	return out, translate(rows.Err(), "list sessions")
}

func headsQuery(project stead.ProjectID, q journal.Query) (string, []any) {
	text := `SELECT ` + headColumns + ` FROM session s WHERE s.project = ?`
	args := []any{string(project)}
	and := func(condition string, values ...any) {
		text += " AND " + condition
		args = append(args, values...)
	}
	if q.Agent != "" {
		and("s.agent = ?", string(q.Agent))
	}
	if q.Status != "" {
		and("s.status = ?", q.Status)
	}
	for k, v := range q.Metadata {
		and("EXISTS (SELECT 1 FROM json_each(s.metadata) j WHERE j.key = ? AND j.value = ?)", k, v)
	}
	order := "s.session"
	switch {
	case q.Desc && q.After != "":
		and("s.session < ?", string(q.After))
	case q.After != "":
		and("s.session > ?", string(q.After))
	}
	if q.Desc {
		order += " DESC"
	}
	limit := q.Limit
	if limit <= 0 || limit > stead.MaxPageSize+1 {
		limit = stead.MaxPageSize + 1
	}
	return text + " ORDER BY " + order + " LIMIT ?", append(args, limit)
}

func scanHead(scan func(...any) error) (journal.Head, error) {
	var h journal.Head
	var metadata string
	var view []byte
	var epoch stead.Epoch
	if err := scan(&h.Key.Project, &h.Key.Session, &h.Agent, &h.CreatedAt, &h.Epoch, &h.Listing.Status, &metadata,
		&h.Listing.LastActive, &view, &h.Tail, &epoch); err != nil {
		return journal.Head{}, err
	}
	h.Epoch = max(h.Epoch, epoch)
	if len(view) > 0 {
		h.Listing.View = view
	}
	if metadata != "{}" {
		if err := json.Unmarshal([]byte(metadata), &h.Listing.Metadata); err != nil {
			return journal.Head{}, stead.Wrap(stead.KindInternal, err, "read metadata of session %s", h.Key)
		}
	}
	return h, nil
}

// withLease adds what only memory knows: the holder, if it lives, and the epoch of its lease.
func (s *Store) withLease(h journal.Head) journal.Head {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.heads[h.Key]
	if c == nil || c.holder == "" {
		return h
	}
	h.Epoch = max(h.Epoch, c.epoch)
	if s.nodes[c.holder].until.After(now) {
		h.Holder = c.holder
	}
	return h
}
