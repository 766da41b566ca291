package postgres

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
)

// sweepKeys is how many sessions one sweep statement looks up.
const sweepKeys = 1000

// watch knows who waits for which session, and tells them of commits: of this node directly, of
// others by notification (notify.go), and of all that those missed by sweeping the heads.
type watch struct {
	store *Store
	announcer

	mu      sync.Mutex
	waiting map[stead.SessionKey]map[*waiter]struct{}
}

// waiter is one call of Wait. Its channel holds the newest news: a tail, or gone.
type waiter struct {
	after stead.Seq
	news  chan stead.Seq
}

// gone is the tail of a session that was deleted.
const gone stead.Seq = -1

// Wait implements journal.Store. It asks the database once; a database that goes away while it
// waits does not end it; Close does, with KindUnavailable.
func (s *Store) Wait(ctx context.Context, key stead.SessionKey, after stead.Seq) (stead.Seq, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if err := checkSession(key); err != nil {
		return 0, err
	}
	w := s.watch.join(key, after)
	defer s.watch.leave(key, w)
	var tail stead.Seq
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		tail, err = tailOf(ctx, c, key)
		return err
	})
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		return 0, err
	case tail > after:
		return tail, nil
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-s.closed:
		return 0, stead.Errorf(stead.KindUnavailable, "the store is closed")
	case tail := <-w.news:
		if tail == gone {
			return 0, stead.NotFound("session", string(key.Session))
		}
		return tail, nil
	}
}

func (w *watch) join(key stead.SessionKey, after stead.Seq) *waiter {
	one := &waiter{after: after, news: make(chan stead.Seq, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting[key] == nil {
		w.waiting[key] = map[*waiter]struct{}{}
	}
	w.waiting[key][one] = struct{}{}
	return one
}

func (w *watch) leave(key stead.SessionKey, one *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting[key], one)
	if len(w.waiting[key]) == 0 {
		delete(w.waiting, key)
	}
}

// tell hands news to the waiters of a session that it concerns.
func (w *watch) tell(key stead.SessionKey, tail stead.Seq) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.waiting[key] {
		if tail != gone && tail <= one.after {
			continue
		}
		select {
		case one.news <- tail:
		default: // it has news that it has not looked at; any will end its wait
		}
	}
}

// committed tells of a batch that is on stable storage.
func (w *watch) committed(list []stored) {
	due := false
	for _, s := range list {
		if len(s.events) > 0 {
			w.tell(s.key, s.tail)
			w.announce(s.key, s.tail)
		}
		due = due || s.due
	}
	if due {
		w.due()
	}
}

func (w *watch) deleted(key stead.SessionKey) {
	w.tell(key, gone)
	w.announce(key, gone)
}

// due tells that a session became due, or may have.
func (w *watch) due() {
	w.store.signalWork()
	w.announceDue()
}

// sweep looks up the tail of every session that somebody waits for.
func (w *watch) sweep(ctx context.Context) error {
	keys := w.waitedFor()
	for len(keys) > 0 {
		n := min(len(keys), sweepKeys)
		if err := w.sweepSome(ctx, keys[:n]); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

func (w *watch) waitedFor() []stead.SessionKey {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys := make([]stead.SessionKey, 0, len(w.waiting))
	for key := range w.waiting {
		keys = append(keys, key)
	}
	return keys
}

func (w *watch) sweepSome(ctx context.Context, keys []stead.SessionKey) error {
	projects, sessions := make([]string, len(keys)), make([]string, len(keys))
	for i, key := range keys {
		projects[i], sessions[i] = string(key.Project), string(key.Session)
	}
	return w.store.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, `SELECT k.no, coalesce(h.tail, -1) FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (project_id, session_id, no)
			LEFT JOIN heads h ON h.project_id = k.project_id AND h.session_id = k.session_id`, projects, sessions)
		if err != nil {
			return err
		}
		var no int
		var tail stead.Seq
		_, err = pgx.ForEachRow(rows, []any{&no, &tail}, func() error {
			w.tell(keys[no-1], tail)
			return nil
		})
		return err
	})
}

// sweepDue signals work when a session is due: by its wake time, by the death of its node, or since
// the answer to an acquisition was lost.
func (w *watch) sweepDue(ctx context.Context) error {
	var now, wake, death int64
	var due bool
	err := w.store.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, nextSQL, "").Scan(&now, &due, &wake, &death)
	})
	if lost := w.store.unheard.prune(); err == nil && (due || lost) {
		w.store.signalWork()
	}
	return err
}
