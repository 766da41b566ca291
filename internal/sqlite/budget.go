package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/usage"
)

var _ usage.Ledger = (*Store)(nil)

// Reserve implements usage.Ledger. The committer makes one reservation after the other.
func (s *Store) Reserve(ctx context.Context, project stead.ProjectID, r usage.Reservation) (usage.Verdict, error) {
	var v usage.Verdict
	err := s.do(ctx, &op{write: func(g *group) (err error) {
		v, err = g.reserve(project, r)
		return err
	}})
	return v, err
}

func (g *group) reserve(project stead.ProjectID, r usage.Reservation) (usage.Verdict, error) {
	ctx := context.Background()
	var n int
	if err := g.c.conn.QueryRowContext(ctx, `SELECT count(*) FROM budget_hold WHERE project = ? AND hold = ?`, string(project), r.Hold).Scan(&n); err != nil {
		return usage.Verdict{}, failed(err, "reserve")
	}
	if n > 0 {
		return usage.Verdict{}, nil
	}
	var names []string
	for _, c := range r.Claims {
		names = append(names, c.Counter)
	}
	have, err := counters(ctx, g.c.conn.QueryContext, project, names)
	if err != nil {
		return usage.Verdict{}, failed(err, "reserve")
	}
	v := usage.Judge(r, have)
	if !v.Reserved() {
		return v, nil
	}
	a := r.Amount
	for _, c := range r.Claims {
		if err := g.execText(ctx, "reserve", `INSERT INTO budget_hold (project, hold, counter, session, at, cost, tokens, calls, millis)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, string(project), r.Hold, c.Counter, string(r.Session), r.At, a.Cost, a.Tokens, a.Calls, a.Millis); err != nil {
			return v, err
		}
		if err := g.execText(ctx, "reserve", `UPDATE budget_counter SET held_cost = held_cost + ?, held_tokens = held_tokens + ?,
			held_calls = held_calls + ?, held_millis = held_millis + ? WHERE project = ? AND counter = ?`,
			a.Cost, a.Tokens, a.Calls, a.Millis, string(project), c.Counter); err != nil {
			return v, err
		}
	}
	return v, nil
}

// counters reads those of the names that are there.
func counters(ctx context.Context, query func(context.Context, string, ...any) (*sql.Rows, error), project stead.ProjectID, names []string) (map[string]usage.Counter, error) {
	list, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	rows, err := query(ctx, `SELECT counter, cost, tokens, calls, millis, held_cost, held_tokens, held_calls, held_millis FROM budget_counter
		WHERE project = ? AND counter IN (SELECT value FROM json_each(?))`, string(project), string(list))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]usage.Counter{}
	for rows.Next() {
		var name string
		var c usage.Counter
		s, h := &c.Spent, &c.Held
		if err := rows.Scan(&name, &s.Cost, &s.Tokens, &s.Calls, &s.Millis, &h.Cost, &h.Tokens, &h.Calls, &h.Millis); err != nil {
			return nil, err
		}
		out[name] = c
	}
	return out, rows.Err()
}

// Settle implements usage.Ledger.
func (s *Store) Settle(ctx context.Context, project stead.ProjectID, all []usage.Settlement) error {
	return s.do(ctx, &op{write: func(g *group) error {
		ctx := context.Background()
		for _, end := range all {
			u := end.Used
			if err := g.execText(ctx, "settle", `UPDATE budget_counter AS c SET
				cost = c.cost + ?, tokens = c.tokens + ?, calls = c.calls + ?, millis = c.millis + ?,
				held_cost = c.held_cost - h.cost, held_tokens = c.held_tokens - h.tokens, held_calls = c.held_calls - h.calls, held_millis = c.held_millis - h.millis
				FROM budget_hold AS h WHERE h.project = ? AND h.hold = ? AND c.project = h.project AND c.counter = h.counter`,
				u.Cost, u.Tokens, u.Calls, u.Millis, string(project), end.Hold); err != nil {
				return err
			}
			if err := g.execText(ctx, "settle", `DELETE FROM budget_hold WHERE project = ? AND hold = ?`, string(project), end.Hold); err != nil {
				return err
			}
		}
		return nil
	}})
}

// Open implements usage.Ledger.
func (s *Store) Open(ctx context.Context, project stead.ProjectID, counter string, a usage.Amount) error {
	return s.do(ctx, &op{write: func(g *group) error {
		return g.execText(context.Background(), "open counter", `INSERT OR IGNORE INTO budget_counter (project, counter, cost, tokens, calls, millis)
			VALUES (?, ?, ?, ?, ?, ?)`, string(project), counter, a.Cost, a.Tokens, a.Calls, a.Millis)
	}})
}

// Counters implements usage.Ledger.
func (s *Store) Counters(ctx context.Context, project stead.ProjectID, names []string) (map[string]usage.Counter, error) {
	out, err := counters(ctx, s.readers.QueryContext, project, names)
	return out, translate(err, "read budgets")
}

// Holds implements usage.Ledger.
func (s *Store) Holds(ctx context.Context, before int64, limit int) ([]usage.Held, error) {
	rows, err := s.readers.QueryContext(ctx, `SELECT project, hold, session, at, max(cost), max(tokens), max(calls), max(millis) FROM budget_hold WHERE at < ?
		GROUP BY at, project, hold, session ORDER BY at, project, hold LIMIT ?`, before, limit)
	if err != nil {
		return nil, translate(err, "list holds")
	}
	defer rows.Close()
	var out []usage.Held
	for rows.Next() {
		var h usage.Held
		if err := rows.Scan(&h.Project, &h.Hold, &h.Session, &h.At, &h.Amount.Cost, &h.Amount.Tokens, &h.Amount.Calls, &h.Amount.Millis); err != nil {
			return nil, translate(err, "list holds")
		}
		out = append(out, h)
	}
	return out, translate(rows.Err(), "list holds")
}
