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
	id, up, down, log, head, snapshot *sql.Stmt
	agent, newestAgent                *sql.Stmt
}

// headColumns are those of scanHead; the two subqueries are one step each in the extents.
const headColumns = `s.id, s.project, s.session, s.agent, s.created_at, s.epoch, s.status, s.metadata, s.last_active, s.environment,
	ifnull((SELECT x.last FROM extent x WHERE x.session = s.id ORDER BY x.first DESC LIMIT 1), 0),
	ifnull((SELECT x.epoch FROM extent x WHERE x.session = s.id ORDER BY x.first DESC LIMIT 1), 0)`

func (r *readStmts) prepare(ctx context.Context, db *sql.DB) error {
	return prepareAll(ctx, db.PrepareContext, map[**sql.Stmt]string{
		&r.id: `SELECT id FROM session WHERE project = ? AND session = ?`,
		// The extent that holds after+1 may begin before it.
		&r.up: `SELECT places FROM extent WHERE session = ?1
			AND first >= ifnull((SELECT max(first) FROM extent WHERE session = ?1 AND first <= ?2), 0) ORDER BY first`,
		&r.down: `SELECT places FROM extent WHERE session = ?1 AND first < ?2 ORDER BY first DESC`,
		// The order of the ids is kept.
		&r.log:      `SELECT l.first, l.events FROM json_each(?) j CROSS JOIN log l ON l.id = j.value`,
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
	places, err := s.places(ctx, id, opts, limit)
	if err != nil {
		return nil, err
	}
	var out []stead.Event
	for some := range slices.Chunk(places, placesPerRead) {
		if out, err = s.readRows(ctx, out, some, opts, limit); err != nil {
			return nil, notFound(err, key)
		}
	}
	return out, nil
}

// placesPerRead bounds one statement that reads log rows.
const placesPerRead = 256

// readRows appends the wanted events of the log rows to out. It is sql.ErrNoRows when rows have gone:
// the session was deleted meanwhile.
func (s *Store) readRows(ctx context.Context, out []stead.Event, places []place, opts journal.ReadOptions, limit int) ([]stead.Event, error) {
	rows, err := s.read.log.QueryContext(ctx, idList(places))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var scratch []stead.Event
	n := 0
	for ; rows.Next(); n++ {
		var first int64
		var row sql.RawBytes
		if err := rows.Scan(&first, &row); err != nil {
			return nil, err
		}
		if scratch, err = decodeRow(scratch[:0], stead.Seq(first), row); err != nil {
			return nil, err
		}
		if opts.Desc {
			slices.Reverse(scratch)
		}
		for _, e := range scratch {
			if wanted(e.Seq, opts) && len(out) < limit {
				out = append(out, e)
			}
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if n < len(places) {
		return nil, sql.ErrNoRows
	}
	return out, nil
}

func wanted(seq stead.Seq, opts journal.ReadOptions) bool {
	if opts.Desc {
		return opts.After <= 0 || seq < opts.After
	}
	return seq > opts.After
}

func notFound(err error, key stead.SessionKey) error {
	if errors.Is(err, sql.ErrNoRows) {
		return stead.NotFound("session", string(key.Session))
	}
	return translate(err, "read session "+key.String())
}

// Head implements journal.Directory.
func (s *Store) Head(ctx context.Context, key stead.SessionKey) (journal.Head, error) {
	heads, err := s.scanHeads(func() (*sql.Rows, error) {
		return s.read.head.QueryContext(ctx, string(key.Project), string(key.Session))
	})
	if err != nil {
		return journal.Head{}, notFound(err, key)
	}
	if len(heads) == 0 {
		return journal.Head{}, stead.NotFound("session", string(key.Session))
	}
	return heads[0], nil
}

// Heads implements journal.Directory.
func (s *Store) Heads(ctx context.Context, project stead.ProjectID, q journal.Query) ([]journal.Head, error) {
	text, args := headsQuery(project, q)
	heads, err := s.scanHeads(func() (*sql.Rows, error) { return s.readers.QueryContext(ctx, text, args...) })
	return heads, translate(err, "list sessions")
}

// scanHeads completes the rows of a query by what only memory knows. When log rows move from memory
// into extents between the two looks, neither may have shown them: then it looks again.
func (s *Store) scanHeads(query func() (*sql.Rows, error)) ([]journal.Head, error) {
	for {
		s.mu.Lock()
		moves := s.moves
		s.mu.Unlock()
		rows, err := query()
		if err != nil {
			return nil, err
		}
		heads, ids, err := collectHeads(rows)
		if err != nil {
			return nil, err
		}
		if s.complete(heads, ids, moves) {
			return heads, nil
		}
	}
}

func collectHeads(rows *sql.Rows) (heads []journal.Head, ids []int64, err error) {
	defer rows.Close()
	for rows.Next() {
		h, id, err := scanHead(rows.Scan)
		if err != nil {
			return nil, nil, err
		}
		heads, ids = append(heads, h), append(ids, id)
	}
	return heads, ids, rows.Err()
}

// complete adds recent log rows and live leases to heads.
func (s *Store) complete(heads []journal.Head, ids []int64, moves int) bool {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moves != moves {
		return false
	}
	for i := range heads {
		h := &heads[i]
		s.recent[ids[i]].raise(&h.Tail, &h.Epoch)
		if c := s.heads[h.Key]; c != nil && c.holder != "" {
			h.Epoch = max(h.Epoch, c.epoch)
			if s.nodes[c.holder].until.After(now) {
				h.Holder = c.holder
			}
		}
	}
	return true
}

func headsQuery(project stead.ProjectID, q journal.Query) (string, []any) {
	text := `SELECT ` + headColumns + ` FROM session s WHERE s.project = ?`
	args := []any{string(project)}
	and := func(condition string, values ...any) {
		text += " AND " + condition
		args = append(args, values...)
	}
	switch {
	case q.Environment != "":
		and("s.environment <> '' AND s.environment = ?", q.Environment)
	case q.Agent == "":
		and("s.agent <> ''")
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

func scanHead(scan func(...any) error) (h journal.Head, id int64, err error) {
	var metadata string
	var epoch stead.Epoch
	if err := scan(&id, &h.Key.Project, &h.Key.Session, &h.Agent, &h.CreatedAt, &h.Epoch, &h.Listing.Status, &metadata,
		&h.Listing.LastActive, &h.Listing.Environment, &h.Tail, &epoch); err != nil {
		return journal.Head{}, 0, err
	}
	h.Epoch, h.Listing.Agent = max(h.Epoch, epoch), h.Agent
	if metadata != "{}" {
		if err := json.Unmarshal([]byte(metadata), &h.Listing.Metadata); err != nil {
			return journal.Head{}, 0, stead.Wrap(stead.KindInternal, err, "read metadata of session %s", h.Key)
		}
	}
	return h, id, nil
}
