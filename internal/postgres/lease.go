package postgres

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

const (
	// skippedRetry is when to look again for due sessions that another transaction had locked.
	skippedRetry = 20 * time.Millisecond
	// nodeKept is how long the row of a dead node without sessions stays.
	nodeKept = time.Hour
	// unheardKept is how long after it was lost an acquisition may still take effect, generously.
	unheardKept = 2 * time.Minute
	// maxUnheard is how many lost acquisitions are remembered. While the database is away, callers
	// that try every skippedRetry reach back 20 seconds, and none of those took effect.
	maxUnheard = 1024
)

// acquireSQL takes due sessions that nobody holds and sessions of dead nodes, the longest due
// first. A node that is not alive gets none. The epoch is at least the time in milliseconds, so
// that no epoch is given twice even when the database crashed and forgot the last ones: this
// commit alone need not reach the disk before it is acknowledged. What a crash takes back is a
// lease; its holder's next append then finds another epoch or another holder and is fenced. And an
// append that did reach the disk took the lease that it needed with it.
//
// Every acquisition has a number. Leases whose answer did not arrive are granted again by the next
// one, or a node that lives would hold sessions that it knows nothing of.
const acquireSQL = `
WITH waiting AS MATERIALIZED (
	SELECT h.project_id, h.session_id, h.due_at AS since FROM heads h
	WHERE h.due_at IS NOT NULL AND h.due_at <= ` + nowSQL + `
	  AND EXISTS (SELECT 1 FROM nodes n WHERE n.id = $1 AND n.expires_at > clock_timestamp())
	ORDER BY h.due_at LIMIT $2 FOR UPDATE SKIP LOCKED
), orphaned AS MATERIALIZED (
	SELECT h.project_id, h.session_id, (extract(epoch FROM n.expires_at) * 1000)::bigint AS since
	FROM nodes n JOIN heads h ON h.holder = n.id
	WHERE n.expires_at <= clock_timestamp()
	  AND EXISTS (SELECT 1 FROM nodes me WHERE me.id = $1 AND me.expires_at > clock_timestamp())
	ORDER BY n.expires_at LIMIT $2 FOR UPDATE OF h SKIP LOCKED
), unheard AS MATERIALIZED (
	SELECT h.project_id, h.session_id, 0::bigint AS since FROM heads h
	WHERE cardinality($4::bigint[]) > 0 AND h.holder = $1 AND h.granted_by = ANY ($4::bigint[])
	LIMIT $2 FOR UPDATE SKIP LOCKED
), chosen AS (
	SELECT * FROM (SELECT * FROM waiting UNION SELECT * FROM orphaned UNION SELECT * FROM unheard) AS d
	ORDER BY since LIMIT $2
), taken AS (
	UPDATE heads h SET epoch = greatest(h.epoch + 1, ` + nowSQL + `), holder = $1, granted_by = $3, due_at = NULL
	FROM chosen c WHERE h.project_id = c.project_id AND h.session_id = c.session_id
	RETURNING h.project_id, h.session_id, h.epoch, h.tail, c.since
)
SELECT project_id, session_id, epoch, tail FROM taken ORDER BY since`

// nextSQL looks ahead: the database's time; whether something is due now; the earliest wake time to
// come; when the first other node that holds anything would be dead. All in Unix milliseconds.
const nextSQL = `
SELECT ` + nowSQL + `,
	EXISTS (SELECT 1 FROM heads WHERE due_at IS NOT NULL AND due_at <= ` + nowSQL + `) OR EXISTS (
		SELECT 1 FROM nodes n JOIN heads h ON h.holder = n.id WHERE n.expires_at <= clock_timestamp()),
	coalesce((SELECT due_at FROM heads WHERE due_at IS NOT NULL AND due_at > ` + nowSQL + ` ORDER BY due_at LIMIT 1), 0),
	coalesce((SELECT (extract(epoch FROM min(n.expires_at)) * 1000)::bigint FROM nodes n
		WHERE n.id <> $1 AND n.expires_at > clock_timestamp() AND EXISTS (SELECT 1 FROM heads h WHERE h.holder = n.id)), 0)`

// Acquire implements journal.Store. next also names the time at which another node's leases would
// end, unless it beats before.
func (s *Store) Acquire(ctx context.Context, node stead.NodeID, limit int) (leases []journal.Lease, next time.Time, err error) {
	if limit < 1 || !storable(string(node)) || node == "" {
		return nil, time.Time{}, stead.Invalid("node", "a node with an id acquires at least 1 session, not %q %d", node, limit)
	}
	var now, wake, death int64
	var due bool
	grant, unheard := rand.Int64(), s.unheard.list(node)
	err = s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		queue := &pgx.Batch{}
		queue.Queue("BEGIN")
		queue.Queue("SET LOCAL synchronous_commit = off")
		queue.Queue(acquireSQL, string(node), limit, grant, unheard).Query(func(rows pgx.Rows) error {
			leases, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (journal.Lease, error) {
				l := journal.Lease{Node: node}
				return l, row.Scan(&l.Key.Project, &l.Key.Session, &l.Epoch, &l.Tail)
			})
			return err
		})
		queue.Queue(nextSQL, string(node)).QueryRow(func(row pgx.Row) error { return row.Scan(&now, &due, &wake, &death) })
		queue.Queue("COMMIT")
		return c.SendBatch(ctx, queue).Close()
	})
	if err != nil {
		s.unheard.add(node, grant)
		return nil, time.Time{}, err
	}
	if due && len(leases) < limit {
		return leases, time.Now().Add(skippedRetry), nil
	}
	if wake == 0 || death != 0 && death < wake {
		wake = death
	}
	return leases, localTime(wake, now), nil
}

// localTime returns a time of the database's clock by our own. Where both agree that it is to come
// it stands as it is; else our clock is ahead, and what counts is how long it is still to go.
func localTime(at, now int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	if t := time.UnixMilli(at); t.After(time.Now()) {
		return t
	}
	return time.Now().Add(time.Duration(at-now) * time.Millisecond)
}

// unheard holds the numbers of acquisitions whose outcome is unknown. Each is kept for a while: a
// transaction can end after the connection that began it.
type unheard struct {
	mu     sync.Mutex
	grants []lostGrant
}

type lostGrant struct {
	node   stead.NodeID
	number int64
	at     time.Time
}

func (u *unheard) add(node stead.NodeID, number int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.grants) == maxUnheard {
		u.grants = u.grants[1:]
	}
	u.grants = append(u.grants, lostGrant{node, number, time.Now()})
}

func (u *unheard) list(node stead.NodeID) []int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	numbers := []int64{}
	for _, g := range u.grants {
		if g.node == node {
			numbers = append(numbers, g.number)
		}
	}
	return numbers
}

// prune forgets old grants and reports whether there are any left.
func (u *unheard) prune() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.grants = slices.DeleteFunc(u.grants, func(g lostGrant) bool { return time.Since(g.at) > unheardKept })
	return len(u.grants) > 0
}

// Heartbeat implements journal.Store.
func (s *Store) Heartbeat(ctx context.Context, node stead.NodeID, ttl time.Duration) error {
	if !storable(string(node)) || node == "" {
		return stead.Invalid("node", "a node has an id, not %q", node)
	}
	ttl = max(ttl, 0)
	err := s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, `INSERT INTO nodes (id, expires_at) VALUES ($1, clock_timestamp() + $2 * interval '1 microsecond')
			ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at`, string(node), ttl.Microseconds())
		return err
	})
	if err == nil && ttl == 0 {
		s.watch.due()
	}
	return err
}

// Lives implements journal.Store.
func (s *Store) Lives(ctx context.Context, node stead.NodeID) (bool, error) {
	var lives bool
	err := s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM nodes WHERE id = $1 AND expires_at > clock_timestamp())`, string(node)).Scan(&lives)
	return lives, translate(err)
}

// forgetNodes removes the rows of nodes that died long ago and hold nothing. A node that comes back
// in the same moment makes its row anew by its next heartbeat.
func (s *Store) forgetNodes(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM nodes n WHERE n.expires_at < clock_timestamp() - $1 * interval '1 millisecond'
		AND NOT EXISTS (SELECT 1 FROM heads h WHERE h.holder = n.id)`, nodeKept.Milliseconds())
	return err
}
