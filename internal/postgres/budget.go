package postgres

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/usage"
)

var _ usage.Ledger = (*Store)(nil)

const countersSQL = `SELECT counter, cost, tokens, calls, millis, held_cost, held_tokens, held_calls, held_millis
	FROM budget_counters WHERE project_id = $1 AND counter = ANY($2)`

// lockSQL takes the counters in the order of their names: whoever wants two never waits for who has
// the other.
const lockSQL = countersSQL + ` ORDER BY counter FOR UPDATE`

// Reserve implements usage.Ledger.
func (s *Store) Reserve(ctx context.Context, project stead.ProjectID, r usage.Reservation) (usage.Verdict, error) {
	var v usage.Verdict
	err := s.again(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		v, err = reserve(ctx, tx, project, r)
		return err
	})
	return v, err
}

// again runs a transaction that may be repeated, until it does not collide with another.
func (s *Store) again(ctx context.Context, f func(context.Context, pgx.Tx) error) error {
	var err error
	for range maxTries {
		if err = s.transaction(ctx, f); err == nil || !retryable(sqlState(err)) {
			return err
		}
	}
	return err
}

func reserve(ctx context.Context, tx pgx.Tx, project stead.ProjectID, r usage.Reservation) (usage.Verdict, error) {
	var names []string
	for _, c := range r.Claims {
		names = append(names, c.Counter)
	}
	have, err := counters(ctx, tx, lockSQL, project, names)
	if err != nil {
		return usage.Verdict{}, err
	}
	var there bool // asked behind the lock: of two that repeat one reservation the later sees the earlier
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM budget_holds WHERE project_id = $1 AND hold = $2)`, string(project), r.Hold).Scan(&there)
	if err != nil || there {
		return usage.Verdict{}, err
	}
	v := usage.Judge(r, have)
	if !v.Reserved() {
		return v, nil
	}
	a, queue := r.Amount, &pgx.Batch{}
	queue.Queue(`INSERT INTO budget_holds (project_id, hold, counter, session_id, at, cost, tokens, calls, millis)
		SELECT $1, $2, counter, $4, $5, $6, $7, $8, $9 FROM unnest($3::text[]) AS counter`,
		string(project), r.Hold, names, string(r.Session), r.At, a.Cost, a.Tokens, a.Calls, a.Millis)
	queue.Queue(`UPDATE budget_counters SET held_cost = held_cost + $3, held_tokens = held_tokens + $4, held_calls = held_calls + $5, held_millis = held_millis + $6
		WHERE project_id = $1 AND counter = ANY($2)`, string(project), names, a.Cost, a.Tokens, a.Calls, a.Millis)
	return v, tx.SendBatch(ctx, queue).Close()
}

func counters(ctx context.Context, q interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}, text string, project stead.ProjectID, names []string) (map[string]usage.Counter, error) {
	rows, err := q.Query(ctx, text, string(project), names)
	if err != nil {
		return nil, err
	}
	out := map[string]usage.Counter{}
	var name string
	var c usage.Counter
	s, h := &c.Spent, &c.Held
	_, err = pgx.ForEachRow(rows, []any{&name, &s.Cost, &s.Tokens, &s.Calls, &s.Millis, &h.Cost, &h.Tokens, &h.Calls, &h.Millis}, func() error {
		out[name] = c
		return nil
	})
	return out, err
}

// Settle implements usage.Ledger.
func (s *Store) Settle(ctx context.Context, project stead.ProjectID, all []usage.Settlement) error {
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b usage.Settlement) int { // every transaction in one order
		return strings.Compare(a.Hold, b.Hold)
	})
	for _, end := range all {
		if err := s.again(ctx, func(ctx context.Context, tx pgx.Tx) error { return settle(ctx, tx, project, end) }); err != nil {
			return err
		}
	}
	return nil
}

func settle(ctx context.Context, tx pgx.Tx, project stead.ProjectID, end usage.Settlement) error {
	u, queue := end.Used, &pgx.Batch{}
	queue.Queue(`SELECT 1 FROM budget_counters WHERE project_id = $1
		AND counter IN (SELECT counter FROM budget_holds WHERE project_id = $1 AND hold = $2) ORDER BY counter FOR UPDATE`, string(project), end.Hold)
	queue.Queue(`WITH ended AS (DELETE FROM budget_holds WHERE project_id = $1 AND hold = $2 RETURNING counter, cost, tokens, calls, millis)
		UPDATE budget_counters c SET cost = c.cost + $3, tokens = c.tokens + $4, calls = c.calls + $5, millis = c.millis + $6,
			held_cost = c.held_cost - h.cost, held_tokens = c.held_tokens - h.tokens, held_calls = c.held_calls - h.calls, held_millis = c.held_millis - h.millis
		FROM ended h WHERE c.project_id = $1 AND c.counter = h.counter`,
		string(project), end.Hold, u.Cost, u.Tokens, u.Calls, u.Millis)
	return tx.SendBatch(ctx, queue).Close()
}

// Open implements usage.Ledger.
func (s *Store) Open(ctx context.Context, project stead.ProjectID, counter string, a usage.Amount) error {
	if !storable(counter) {
		return stead.Invalid("of", "the name of a budget's counter is not text")
	}
	return s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `INSERT INTO budget_counters (project_id, counter, cost, tokens, calls, millis) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
			string(project), counter, a.Cost, a.Tokens, a.Calls, a.Millis)
		return err
	})
}

// Counters implements usage.Ledger.
func (s *Store) Counters(ctx context.Context, project stead.ProjectID, names []string) (map[string]usage.Counter, error) {
	var out map[string]usage.Counter
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		out, err = counters(ctx, c, countersSQL, project, names)
		return err
	})
	return out, err
}

// Holds implements usage.Ledger.
func (s *Store) Holds(ctx context.Context, before int64, limit int) ([]usage.Held, error) {
	var out []usage.Held
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `SELECT project_id, hold, session_id, at, max(cost), max(tokens), max(calls), max(millis) FROM budget_holds WHERE at < $1
			GROUP BY at, project_id, hold, session_id ORDER BY at, project_id, hold LIMIT $2`, before, limit)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (h usage.Held, err error) {
			err = row.Scan(&h.Project, &h.Hold, &h.Session, &h.At, &h.Amount.Cost, &h.Amount.Tokens, &h.Amount.Calls, &h.Amount.Millis)
			return h, err
		})
		return err
	})
	return out, err
}
