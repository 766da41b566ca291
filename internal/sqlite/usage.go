package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// What of a project has a number in usage_name.
const (
	nameProject = iota // the project itself
	nameSession
	nameShared // what records share
)

// usageName is what a number stands for.
type usageName struct {
	project stead.ProjectID
	what    int
	name    string
}

// maxNames is how many numbers stay in memory, each way: some 20 MB.
const maxNames = 65_536

// queueUsage puts records into the group. Those of an append are its session's.
func (g *group) queueUsage(project stead.ProjectID, rows []journal.UsageRow) error {
	if len(rows) == 0 {
		return nil
	}
	own, err := g.number(usageName{project, nameProject, ""})
	if err != nil {
		return err
	}
	for i := range rows {
		r := &rows[i]
		owner := any(r.Call[:])
		if r.Seq > 0 {
			if owner, err = g.number(usageName{project, nameSession, string(r.Session)}); err != nil {
				return err
			}
		}
		shared, err := g.number(usageName{project, nameShared, r.Shared})
		if err != nil {
			return err
		}
		data := r.Data
		if data == nil {
			data = []byte{} // nil is NULL
		}
		g.usage = append(g.usage, own, r.At, owner, r.Place(), shared, data)
	}
	return nil
}

// number returns the number of a name, which is given one if it has none yet.
func (g *group) number(n usageName) (int64, error) {
	if id, ok := g.c.names[n]; ok {
		return id, nil
	}
	if id, ok := g.named[n]; ok {
		return id, nil
	}
	var id int64
	err := g.c.st.name.QueryRow(string(n.project), n.what, []byte(n.name)).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		var res sql.Result
		if res, err = g.exec("name usage", g.c.st.insertName, string(n.project), n.what, []byte(n.name)); err != nil {
			return 0, err
		}
		id, err = res.LastInsertId()
	}
	if err != nil {
		return 0, failed(err, "name usage")
	}
	if g.named == nil {
		g.named = map[usageName]int64{}
	}
	g.named[n] = id
	return id, nil
}

// publishNames keeps the group's numbers, which are committed now.
func (g *group) publishNames() {
	if len(g.c.names)+len(g.named) > maxNames {
		clear(g.c.names)
	}
	maps.Copy(g.c.names, g.named)
}

// AddUsage implements journal.Usage.
func (s *Store) AddUsage(ctx context.Context, project stead.ProjectID, rows []journal.UsageRow) error {
	if err := journal.CheckUsage(rows); err != nil {
		return err
	}
	bytes := 0
	for _, r := range rows {
		bytes += len(r.Data)
	}
	return s.do(ctx, &op{bytes: bytes, write: func(g *group) error { return g.queueUsage(project, rows) }})
}

// UsageProjects implements journal.Usage. A project has a number when it has a record.
func (s *Store) UsageProjects(ctx context.Context) ([]stead.ProjectID, error) {
	const what = "list projects with usage records"
	rows, err := s.readers.QueryContext(ctx, `SELECT project FROM usage_name WHERE what = 0 ORDER BY project`)
	if err != nil {
		return nil, translate(err, what)
	}
	defer rows.Close()
	var out []stead.ProjectID
	for rows.Next() {
		var p stead.ProjectID
		if err := rows.Scan(&p); err != nil {
			return nil, translate(err, what)
		}
		out = append(out, p)
	}
	return out, translate(rows.Err(), what)
}

// UsageRows implements journal.Usage.
func (s *Store) UsageRows(ctx context.Context, project stead.ProjectID, q journal.UsageQuery) ([]journal.UsageRow, error) {
	text, args := usageQuery(project, q)
	rows, err := s.readers.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, translate(err, "list usage records")
	}
	defer rows.Close()
	var found []usageRow
	for rows.Next() {
		var r usageRow
		if err := rows.Scan(&r.at, &r.owner, &r.place, &r.shared, &r.data); err != nil {
			return nil, translate(err, "list usage records")
		}
		found = append(found, r)
	}
	if err := rows.Err(); err != nil {
		return nil, translate(err, "list usage records")
	}
	return s.usageRows(ctx, found)
}

// usageRow is a row of the table.
type usageRow struct {
	at, place, shared int64
	owner             any // int64 or []byte
	data              []byte
}

// usageRows puts names in the place of numbers.
func (s *Store) usageRows(ctx context.Context, found []usageRow) ([]journal.UsageRow, error) {
	var ids []int64
	for _, r := range found {
		ids = append(ids, r.shared)
		if session, ok := r.owner.(int64); ok {
			ids = append(ids, session)
		}
	}
	names, err := s.names.of(ctx, s.readers, ids)
	if err != nil {
		return nil, err
	}
	out := make([]journal.UsageRow, 0, len(found))
	for _, r := range found {
		row := journal.UsageRow{At: r.at, Shared: names[r.shared], Data: r.data}
		row.SetPlace(r.place)
		switch owner := r.owner.(type) {
		case int64:
			row.Session = stead.SessionID(names[owner])
		case []byte:
			copy(row.Call[:], owner)
		}
		out = append(out, row)
	}
	return out, nil
}

// usageNames remembers what numbers stand for. A number that was read is committed, and stays.
type usageNames struct {
	mu   sync.Mutex
	byID map[int64]string
}

// of returns the names of numbers.
func (n *usageNames) of(ctx context.Context, db *sql.DB, ids []int64) (map[int64]string, error) {
	out := make(map[int64]string, 16)
	var missing []int64
	n.mu.Lock()
	for _, id := range ids {
		if _, ok := out[id]; ok {
			continue
		}
		name, ok := n.byID[id]
		if !ok {
			missing = append(missing, id)
		}
		out[id] = name
	}
	n.mu.Unlock()
	if len(missing) == 0 {
		return out, nil
	}
	list, err := json.Marshal(missing)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "list usage names")
	}
	rows, err := db.QueryContext(ctx, `SELECT id, name FROM usage_name WHERE id IN (SELECT value FROM json_each(?))`, string(list))
	if err != nil {
		return nil, translate(err, "list usage names")
	}
	defer rows.Close()
	read := map[int64]string{}
	for rows.Next() {
		var id int64
		var name []byte
		if err := rows.Scan(&id, &name); err != nil {
			return nil, translate(err, "list usage names")
		}
		read[id] = string(name)
	}
	maps.Copy(out, read)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.byID == nil || len(n.byID)+len(read) > maxNames {
		n.byID = map[int64]string{}
	}
	maps.Copy(n.byID, read)
	return out, translate(rows.Err(), "list usage names")
}

// Numbers in queries.
const (
	projectNumber = `(SELECT id FROM usage_name WHERE project = ? AND what = 0 AND name = x'')`
	sessionNumber = `(SELECT id FROM usage_name WHERE project = ? AND what = 1 AND name = ?)`
)

func usageQuery(project stead.ProjectID, q journal.UsageQuery) (string, []any) {
	text := `SELECT at, owner, place, shared, data FROM usage_row WHERE `
	var args []any
	if q.Session != "" {
		text += "place > 0 AND owner = " + sessionNumber
		args = append(args, string(project), []byte(q.Session))
	} else {
		text += "project = " + projectNumber
		args = append(args, string(project))
	}
	and := func(condition string, values ...any) {
		text += " AND " + condition
		args = append(args, values...)
	}
	if q.From != 0 {
		and("at >= ?", q.From)
	}
	if q.To != 0 {
		and("at < ?", q.To)
	}
	order, beyond := "at, owner, place", ">"
	if q.Desc {
		order, beyond = "at DESC, owner DESC, place DESC", "<"
	}
	switch after := q.After; {
	case after == journal.UsageName{}:
	case after.Seq == 0:
		and("(at, owner, place) "+beyond+" (?, ?, 0)", q.AfterAt, after.Call[:])
	default: // a session without a number has no records: 0 is before all
		and("(at, owner, place) "+beyond+" (?, ifnull("+sessionNumber+", 0), ?)", q.AfterAt, string(project), []byte(after.Session), after.Place())
	}
	return text + " ORDER BY " + order + " LIMIT ?", append(args, q.PageLimit())
}
