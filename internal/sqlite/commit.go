package sqlite

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// committer is the goroutine that owns the writing connection.
type committer struct {
	s          *Store
	conn       *sql.Conn
	st         writeStmts
	nextLog    int64 // id of the next log row
	recentRows int   // log rows that no extent holds
	maxRecent  int   // how many of them there may be
	names      map[usageName]int64
	resumes    bool // what was under way when the last process ended has yet to be marked due: see resume
}

// manyRows is how many log rows one statement inserts: fewer calls of the driver a group.
const manyRows = 16

type writeStmts struct {
	begin, commit, rollback                          *sql.Stmt
	head, insertSession, updateHead, updateListing   *sql.Stmt
	updateOwner                                      *sql.Stmt
	insertLog, insertLogs                            *sql.Stmt
	extents, insertExtent, setMark, deleteExtents    *sql.Stmt
	receipt, insertReceipt                           *sql.Stmt
	deleteSession, deleteLog, deleteKeys, deleteMade *sql.Stmt
	deleteSnapshot, saveSnapshot, dropSnapshot       *sql.Stmt
	logRows, rewriteLog                              *sql.Stmt
	insertUsage, insertUsages                        *sql.Stmt
	name, insertName                                 *sql.Stmt
	auditTree, insertAudit, insertAudits             *sql.Stmt
	storeAuditLog                                    *sql.Stmt
	due, nextDue                                     *sql.Stmt
	memory, storeMemory                              *sql.Stmt
}

func (c *committer) prepare(ctx context.Context) error {
	const logRow = "(?, ?, ?, ?, ?, ?)"
	insertLog := "INSERT INTO log (id, session, first, last, epoch, events) VALUES " + logRow
	const usageRow = "(?, ?, ?, ?, ?, ?)"
	const insertUsage = "INSERT OR IGNORE INTO usage_row (project, at, owner, place, shared, data) VALUES " + usageRow
	const auditRow = "(?, ?, ?)"
	const insertAudit = "INSERT INTO audit_record (project, seq, data) VALUES " + auditRow
	prepare := func(ctx context.Context, text string) (*sql.Stmt, error) {
		st, err := c.conn.PrepareContext(ctx, text)
		if err == nil {
			c.s.stmts = append(c.s.stmts, st)
		}
		return st, err
	}
	return prepareAll(ctx, prepare, map[**sql.Stmt]string{
		&c.st.begin:    "BEGIN IMMEDIATE",
		&c.st.commit:   "COMMIT",
		&c.st.rollback: "ROLLBACK",
		&c.st.head: `SELECT s.id, s.epoch, ifnull(s.due_at, 0), s.creation_key, x.last, x.epoch
			FROM session s LEFT JOIN extent x ON x.session = s.id
			WHERE s.project = ? AND s.session = ? ORDER BY x.first DESC LIMIT 1`,
		&c.st.extents:       `SELECT places FROM extent WHERE session = ? ORDER BY first`,
		&c.st.insertExtent:  `INSERT INTO extent (session, first, last, epoch, places) VALUES (?, ?, ?, ?, ?)`,
		&c.st.setMark:       `UPDATE mark SET log = ?`,
		&c.st.insertSession: `INSERT INTO session (project, session, agent, created_at, creation_key, due_at) VALUES (?, ?, ?, ?, ?, nullif(?, 0))`,
		&c.st.updateHead:    `UPDATE session SET epoch = ?, due_at = nullif(?, 0) WHERE id = ?`,
		&c.st.updateListing: `UPDATE session SET epoch = ?, due_at = nullif(?, 0), status = ?, metadata = ?, last_active = ? WHERE id = ?`,
		&c.st.updateOwner:   `UPDATE session SET agent = ifnull(nullif(?, ''), agent), environment = ifnull(nullif(?, ''), environment) WHERE id = ?`,
		&c.st.insertLog:     insertLog,
		&c.st.insertLogs:    insertLog + strings.Repeat(", "+logRow, manyRows-1),
		&c.st.receipt:       `SELECT digest, session, first, last FROM receipt WHERE project = ? AND scope = ? AND key = ?`,
		&c.st.insertReceipt: `INSERT INTO receipt (project, scope, key, digest, session, first, last) VALUES (?, ?, ?, ?, ?, ?, ?)`,

		&c.st.deleteSession:  `DELETE FROM session WHERE id = ?`,
		&c.st.deleteLog:      `DELETE FROM log WHERE id IN (SELECT value FROM json_each(?))`,
		&c.st.deleteExtents:  `DELETE FROM extent WHERE session = ?`,
		&c.st.deleteKeys:     `DELETE FROM receipt WHERE project = ? AND scope = ?`,
		&c.st.deleteMade:     `DELETE FROM receipt WHERE project = ? AND scope = '' AND key = ?`,
		&c.st.deleteSnapshot: `DELETE FROM snapshot WHERE session = ?`,
		&c.st.saveSnapshot: `INSERT INTO snapshot (session, seq, data) VALUES (?, ?, ?)
			ON CONFLICT (session) DO UPDATE SET seq = excluded.seq, data = excluded.data WHERE excluded.seq > seq`,
		&c.st.dropSnapshot: `INSERT INTO snapshot (session, seq, data) VALUES (?, ?, x'')
			ON CONFLICT (session) DO UPDATE SET seq = max(seq, excluded.seq), data = x''`,
		&c.st.logRows:      `SELECT id, first, events FROM log WHERE id IN (SELECT value FROM json_each(?)) AND first <= ? AND last >= ? ORDER BY first`,
		&c.st.rewriteLog:   `UPDATE log SET events = ? WHERE id = ?`,
		&c.st.insertUsage:  insertUsage,
		&c.st.insertUsages: insertUsage + strings.Repeat(", "+usageRow, manyRows-1),
		&c.st.name:         `SELECT id FROM usage_name WHERE project = ? AND what = ? AND name = ?`,
		&c.st.insertName:   `INSERT INTO usage_name (project, what, name) VALUES (?, ?, ?)`,

		&c.st.auditTree:    auditTree,
		&c.st.insertAudit:  insertAudit,
		&c.st.insertAudits: insertAudit + strings.Repeat(", "+auditRow, manyRows-1),
		&c.st.storeAuditLog: `INSERT INTO audit_log (project, size, tree) VALUES (?, ?, ?)
			ON CONFLICT (project) DO UPDATE SET size = excluded.size, tree = excluded.tree`,

		&c.st.memory:      memoryByID,
		&c.st.storeMemory: storeMemory,
		&c.st.due:         `SELECT project, session, due_at FROM session WHERE due_at > 0 AND due_at <= ? ORDER BY due_at`,
		&c.st.nextDue:     `SELECT due_at FROM session WHERE due_at > ? ORDER BY due_at LIMIT 1`,
	})
}

func prepareAll(ctx context.Context, prepare func(context.Context, string) (*sql.Stmt, error), all map[**sql.Stmt]string) error {
	for st, text := range all {
		var err error
		if *st, err = prepare(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

func (c *committer) run() {
	defer close(c.s.done)
	for {
		ops := c.s.box.take()
		if len(ops) == 0 {
			return
		}
		c.group(ops)
	}
}

// group runs the writes in one transaction, answers them, and then runs what wants committed state.
func (c *committer) group(ops []*op) {
	g, err := c.attempt(ops)
	for n := 0; err != nil && c.spared(err, n); n++ { // nothing of a group that failed is there: it can be run again
		g, err = c.attempt(ops)
	}
	if err != nil {
		for _, o := range ops {
			if o.write != nil {
				o.err = err
			}
		}
	} else {
		g.publish()
	}
	for _, o := range ops {
		if o.after != nil {
			o.err = o.after(c)
			if e, ok := o.err.(*dbError); ok {
				o.err = e.err
			}
		}
		close(o.done)
	}
}

// attempt runs the writes once. What failed is undone.
func (c *committer) attempt(ops []*op) (*group, error) {
	g := &group{c: c, staged: map[stead.SessionKey]*head{}}
	err := g.run(ops)
	if err != nil {
		g.undo()
	}
	return g, err
}

// group is one transaction in the making.
type group struct {
	c      *committer
	open   bool // the transaction has begun
	staged map[stead.SessionKey]*head
	rows   []any    // log rows not yet inserted: six values each
	placed []placed // all log rows of the group
	usage  []any    // usage records not yet inserted: six values each
	audit  map[stead.ProjectID]*auditLog
	named  map[usageName]int64 // numbers that are not committed yet, or were not in memory
	moved  bool                // what was recent before the group is in extents
	gone   map[int64]bool
	wakes  bool // some session became due, or will at a known time
}

// dbError marks a failure of the database, which fails the whole group, among the refusals of
// single operations.
type dbError struct{ err error }

func (e *dbError) Error() string { return e.err.Error() }

func failed(err error, what string) error { return &dbError{translate(err, what)} }

func (g *group) run(ops []*op) error {
	if g.c.resumes { // before any head is read, which would have the old due time
		if err := g.begin(); err != nil {
			return err.(*dbError).err
		}
		if err := g.c.resume(context.Background()); err != nil {
			return err
		}
		g.wakes = true
	}
	if err := g.moveRecent(ops); err != nil {
		return err.(*dbError).err
	}
	for _, o := range ops {
		if o.write == nil {
			continue
		}
		if err := o.ctx.Err(); err != nil { // nobody waits for it, or hears of this at the same moment
			o.err = stead.Wrap(stead.KindUnavailable, err, "the request ended before its write began")
			continue
		}
		o.err = o.write(g)
		if e, ok := o.err.(*dbError); ok {
			return e.err
		}
	}
	if err := g.flush(); err != nil {
		return err.(*dbError).err
	}
	if !g.open {
		return nil
	}
	if _, err := g.c.st.commit.Exec(); err != nil {
		return translate(err, "commit")
	}
	g.open = false
	return nil
}

// exec runs a writing statement, in a transaction that the first one begins.
func (g *group) exec(what string, st *sql.Stmt, args ...any) (sql.Result, error) {
	if err := g.begin(); err != nil {
		return nil, err
	}
	res, err := st.Exec(args...)
	if err != nil {
		return nil, failed(err, what)
	}
	return res, nil
}

func (g *group) begin() error {
	if g.open {
		return nil
	}
	if _, err := g.c.st.begin.Exec(); err != nil {
		return failed(err, "begin")
	}
	g.open = true
	return nil
}

// undo gives everything up. SQLite may have rolled back by itself already; then ROLLBACK's
// complaint is of no interest. The cached heads of the group go: nobody knows how a COMMIT that
// failed ended.
func (g *group) undo() {
	if g.open {
		_, _ = g.c.st.rollback.Exec()
	}
	s := g.c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range g.staged {
		if h := s.heads[key]; h != nil && h.holder == "" {
			delete(s.heads, key)
		} else if h != nil {
			s.heads[key] = &head{holder: h.holder, epoch: h.epoch, stale: true}
		}
	}
}

// insert queues the log rows of one append.
func (g *group) insert(h *head, events []stead.Event) {
	for len(events) > 0 {
		row, n := encodeRow(events)
		first := h.tail + 1
		h.tail += stead.Seq(n)
		id := g.c.nextLog
		g.c.nextLog++
		g.rows = append(g.rows, id, h.id, int64(first), int64(h.tail), int64(h.epoch), row)
		g.placed = append(g.placed, placed{h.id, h.epoch, place{id, first, h.tail}})
		events = events[n:]
	}
}

// How many values a queued row has.
const (
	logColumns   = 6
	usageColumns = 6
	auditColumns = 3
)

// insertMany inserts queued rows, manyRows of them a statement as far as that goes.
func (g *group) insertMany(what string, values []any, columns int, many, one *sql.Stmt) error {
	for rows := range slices.Chunk(values, manyRows*columns) {
		if len(rows) == manyRows*columns {
			if _, err := g.exec(what, many, rows...); err != nil {
				return err
			}
			continue
		}
		for row := range slices.Chunk(rows, columns) {
			if _, err := g.exec(what, one, row...); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush writes the queued rows and the heads that changed.
func (g *group) flush() error {
	if err := g.insertMany("append", g.rows, logColumns, g.c.st.insertLogs, g.c.st.insertLog); err != nil {
		return err
	}
	if err := g.insertMany("store usage", g.usage, usageColumns, g.c.st.insertUsages, g.c.st.insertUsage); err != nil {
		return err
	}
	g.usage = nil
	g.rows = nil
	if err := g.flushAudit(); err != nil {
		return err
	}
	for _, h := range g.staged {
		if err := g.flushHead(h); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) flushHead(h *head) error {
	var err error
	switch {
	case h.gone:
		return nil
	case h.listing != nil:
		l := h.listing
		var metadata []byte
		if metadata, err = encodeMetadata(l.Metadata); err != nil {
			return &dbError{err}
		}
		_, err = g.exec("update session", g.c.st.updateListing, int64(h.epoch), h.due, l.Status, string(metadata), l.LastActive, h.id)
		if err == nil && (l.Agent != "" || l.Environment != "") {
			_, err = g.exec("update session", g.c.st.updateOwner, string(l.Agent), l.Environment, h.id)
		}
	case h.dirty:
		_, err = g.exec("update session", g.c.st.updateHead, int64(h.epoch), h.due, h.id)
	}
	h.listing, h.dirty = nil, false
	return err
}

// publish makes the committed heads visible and wakes who waits for them.
func (g *group) publish() {
	s := g.c.s
	s.mu.Lock()
	g.publishPlaces()
	g.publishNames()
	for key, h := range g.staged {
		s.setHead(key, h)
		s.notify(key)
	}
	s.trimHeads()
	s.mu.Unlock()
	g.c.resumes = false
	if g.wakes {
		s.signalWork()
	}
}
