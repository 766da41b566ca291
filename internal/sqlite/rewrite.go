package sqlite

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// Rewrite implements journal.Redactor.
func (s *Store) Rewrite(ctx context.Context, key stead.SessionKey, changes []journal.Change) error {
	rw, err := journal.NewRewriting(changes)
	if err != nil {
		return err
	}
	return s.do(ctx, &op{bytes: rw.Bytes(), write: func(g *group) error { return g.rewrite(key, changes) }})
}

// logRow is a row of the log with what changes in it.
type logRow struct {
	id     int64
	events []byte
}

func (g *group) rewrite(key stead.SessionKey, changes []journal.Change) error {
	h, err := g.head(key)
	if err != nil {
		return err
	}
	if h == nil {
		return stead.NotFound("session", string(key.Session))
	}
	if err := g.flush(); err != nil { // what this very group appended may be what changes
		return err
	}
	rows, err := g.changed(h, changes)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if _, err := g.exec("rewrite events of "+key.String(), g.c.st.rewriteLog, row.events, row.id); err != nil {
			return err
		}
	}
	// In place of the snapshot comes one that can't be read, which no older one replaces.
	_, err = g.exec("drop snapshot of "+key.String(), g.c.st.dropSnapshot, h.id, int64(h.tail))
	return err
}

// changed reads the rows that hold events to be replaced and makes their new form. It changes nothing.
func (g *group) changed(h *head, changes []journal.Change) ([]logRow, error) {
	rw, err := journal.NewRewriting(changes) // a group that failed is run again, from the beginning
	if err != nil || len(changes) == 0 {
		return nil, err
	}
	first, last := rw.Span()
	logs, err := g.logsOf(h.id)
	if err != nil {
		return nil, err
	}
	rows, err := g.c.st.logRows.Query(logs, int64(last), int64(first))
	if err != nil {
		return nil, failed(err, "read events")
	}
	defer rows.Close()
	var out []logRow
	for rows.Next() {
		var r logRow
		var from int64
		if err := rows.Scan(&r.id, &from, &r.events); err != nil {
			return nil, failed(err, "read events")
		}
		events, err := decodeRow(nil, stead.Seq(from), r.events)
		if err != nil {
			return nil, err
		}
		differs, err := rw.In(events)
		if err != nil {
			return nil, err
		}
		if !differs {
			continue
		}
		r.events = r.events[:0]
		for _, e := range events {
			r.events = appendEvent(r.events, e)
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, failed(err, "read events")
	}
	return out, rw.Done()
}
