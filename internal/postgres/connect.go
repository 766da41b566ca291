package postgres

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
)

// settings are set on every connection. Every statement of this package is served by an index and
// joins by key from a short list, so the planner is told to do just that: a plan made while the
// tables were empty must not scan them when they are full. That an update visits its heads in the
// order of the list, which the caller sorts, keeps batches of several nodes from dead-locking.
var settings = map[string]string{
	"enable_seqscan":                      "off",
	"enable_hashjoin":                     "off",
	"enable_mergejoin":                    "off",
	"plan_cache_mode":                     "force_generic_plan",
	"jit":                                 "off",
	"lock_timeout":                        strconv.FormatInt(lockTimeout.Milliseconds(), 10),
	"idle_in_transaction_session_timeout": strconv.FormatInt(abandonedAfter.Milliseconds(), 10),
	"tcp_user_timeout":                    strconv.FormatInt(abandonedAfter.Milliseconds(), 10),
	"tcp_keepalives_idle":                 "4", // seconds; with the next two, a host that vanished is noticed in 10
	"tcp_keepalives_interval":             "2",
	"tcp_keepalives_count":                "3",
}

func poolConfig(url string, opts Options) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		// The cause is left out: it may quote the password.
		return nil, stead.Invalid("database", "the database's address cannot be read: it looks like postgres://user@host/name")
	}
	conn := config.ConnConfig
	if conn.ConnectTimeout <= 0 || conn.ConnectTimeout > callTimeout {
		conn.ConnectTimeout = connectTimeout
	}
	if conn.RuntimeParams["application_name"] == "" {
		conn.RuntimeParams["application_name"] = "stead"
	}
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error { return prepareConn(ctx, c, opts.AllowLoss) }
	return config, nil
}

func openPool(ctx context.Context, config *pgxpool.Config, conns int) (*pgxpool.Pool, error) {
	config = config.Copy()
	config.MaxConns = int32(conns)
	config.MinConns = 0
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, translate(err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, unreachable(config, err)
	}
	return pool, nil
}

// unreachable is the error of a server that can't be used from the start: one line and what to do.
func unreachable(config *pgxpool.Config, cause error) error {
	err := translate(cause)
	if stead.KindOf(err) != stead.KindUnavailable {
		return err
	}
	c := config.ConnConfig
	e := stead.Errorf(stead.KindUnavailable, "PostgreSQL at %s does not answer for user %q and database %q", net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))), c.User, c.Database)
	e.Hint = "Check that the server runs, and its address: postgres://user:password@host:port/database."
	if last := strings.LastIndex(cause.Error(), ": "); last >= 0 {
		e.Message += " (" + cause.Error()[last+2:] + ")" // "connection refused": for people, never compared
	}
	return e
}

// prepareConn refuses a server that forgets, whenever a connection is made: after a fail-over it is
// another server than the one that Open met.
func prepareConn(ctx context.Context, c *pgx.Conn, allowLoss bool) error {
	names := slices.Sorted(maps.Keys(settings))
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = settings[name]
	}
	var fsync, commit string
	err := c.QueryRow(ctx, `SELECT current_setting('fsync'), current_setting('synchronous_commit'), count(set_config(name, value, false))
		FROM unnest($1::text[], $2::text[]) AS s (name, value)`, names, values).Scan(&fsync, &commit, nil)
	if err != nil {
		return err
	}
	if !allowLoss && (fsync == "off" || commit == "off") {
		e := stead.Errorf(stead.KindConflict, "the database can lose acknowledged writes: fsync is %s, synchronous_commit is %s", fsync, commit)
		e.Hint = "Switch both on for this server, database and user."
		return e
	}
	return nil
}
