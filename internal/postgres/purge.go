package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// What is deleted or written over stands in its table, as a version that nobody sees, until VACUUM. That leaves a version for
// whom an old snapshot may still show it, and says so to the statistics alone; and a page that is looked at just then.

// contents are the tables in which people's words are.
var contents = []string{
	"log", "snapshots", "sessions", "session_keys", "creation_keys", "agents", "agent_versions", "agent_keys", "documents", "document_keys",
	"memories", "memory_versions", "memory_keys", "memory_vectors", "memory_origins", "memory_shown", "audit_texts",
}

const (
	// purgeTimeout bounds one purge.
	purgeTimeout = 30 * time.Minute
	// purgeLock is how long it waits for another node's, and for the database's own: milliseconds.
	purgeLock = "30000"
	// purgePasses is how often each table is cleaned: what is left out, since somebody looks at its page, is not the next time.
	purgePasses = 2
	// purgeSettle is how long transactions may take that are older than a purge: those of a busy database end, one by one.
	purgeSettle = 3 * time.Second
	settlePoll  = 20 * time.Millisecond
)

var _ journal.Purger = (*Store)(nil)

// Purge implements journal.Purger, on a connection of its own.
func (s *Store) Purge(ctx context.Context) (journal.Purged, error) {
	ctx, cancel := context.WithTimeout(ctx, purgeTimeout)
	defer cancel()
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return "", translate(err)
	}
	conn := pooled.Hijack()
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, `SELECT set_config('lock_timeout', $1, false), set_config('vacuum_cost_delay', '2', false)`, purgeLock); err != nil {
		return "", translate(err)
	}
	// First: a snapshot that ends while the tables are cleaned has kept something in some of them. Once there is none that is older than the
	// purge, there can't be one any more, but for a standby's with hot_standby_feedback that connects just then.
	if err := reachable(ctx, conn); err != nil {
		return "", err
	}
	for range purgePasses {
		if _, err := conn.Exec(ctx, `VACUUM `+strings.Join(contents, ", ")); err != nil {
			return "", translate(err)
		}
	}
	return journal.Vacuumed, nil
}

// reachable makes sure that there was no old snapshot, and that VACUUM was not passed over for want of the right to it, which is
// a warning to PostgreSQL: a row version that is newer than all that was deleted goes as well.
func reachable(ctx context.Context, conn *pgx.Conn) error {
	var counts bool
	err := conn.QueryRow(ctx, `SELECT current_setting('track_counts')::boolean`).Scan(&counts)
	if err != nil {
		return translate(err)
	}
	if !counts {
		return stead.Errorf(stead.KindUnavailable, "whether PostgreSQL has cleaned its tables can't be seen while track_counts is off")
	}
	for _, text := range []string{`UPDATE schema_version SET version = version`, `SELECT pg_stat_force_next_flush()`} {
		if _, err := conn.Exec(ctx, text); err != nil {
			return translate(err)
		}
	}
	for end := time.Now().Add(purgeSettle); ; {
		if _, err := conn.Exec(ctx, `VACUUM schema_version`); err != nil {
			return translate(err)
		}
		var dead int64
		if err := conn.QueryRow(ctx, `SELECT pg_stat_get_dead_tuples('schema_version'::regclass)`).Scan(&dead); err != nil || dead == 0 {
			return translate(err)
		}
		if time.Now().After(end) {
			return stead.Errorf(stead.KindUnavailable, "PostgreSQL keeps what was deleted: for a transaction, a replication slot or a prepared transaction that is older, or since %s may not VACUUM", conn.Config().User)
		}
		select {
		case <-ctx.Done():
			return translate(ctx.Err())
		case <-time.After(settlePoll):
		}
	}
}
