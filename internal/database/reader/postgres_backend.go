package reader

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead/internal/database"
)

// backend is the process of a PostgreSQL server that runs a statement. Its number alone may be another's later.
type backend struct {
	pid   int32
	start string
}

const (
	backendSQL = `SELECT pid, backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()`
	// endSQL asks a process once more to end, and gives a row while it is there.
	endSQL = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2`

	// minWatch and maxWatch are how long to wait before a server is asked again whether a statement has ended.
	minWatch = 250 * time.Millisecond
	maxWatch = 15 * time.Second
)

// watch keeps the place of a statement that its server has not ended (some functions look at no interruption, and a machine may hang), and leaves it
// when the server says that it has, or has forgotten it. One that is away is asked until it is back.
func (d *postgresDatabase) watch(on backend, place room) {
	defer place.leave()
	for wait := minWatch; ; wait = min(2*wait, maxWatch) {
		select {
		case <-d.alive.Done():
			return
		case <-time.After(wait):
		}
		if d.ended(on) {
			return
		}
	}
}

// ended reports whether a process is known to be gone.
func (d *postgresDatabase) ended(on backend) bool {
	ctx, cancel := context.WithTimeout(d.alive, database.ConnectTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, d.settings(database.ConnectTimeout))
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close(ctx) }()
	there := false
	rows, err := conn.Query(ctx, endSQL, on.pid, on.start)
	if err != nil {
		return false
	}
	defer rows.Close()
	for rows.Next() {
		there = true
	}
	return rows.Err() == nil && !there
}
