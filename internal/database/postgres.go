package database

import (
	"strconv"
	"time"

	"github.com/stead-dev/stead"
)

// ConnectTimeout bounds the making of a connection.
const ConnectTimeout = 5 * time.Second

// ServerParams are the parameters of a connection to PostgreSQL that reads, of which a statement takes no longer than within. What they say
// is written as packages database and semantic expect it, whatever the server's own defaults are.
func ServerParams(within time.Duration) map[string]string {
	limit := strconv.FormatInt(max(within.Milliseconds(), 1), 10)
	return map[string]string{
		"application_name": "stead", "default_transaction_read_only": "on", "TimeZone": "UTC", "DateStyle": "ISO", "IntervalStyle": "postgres", "standard_conforming_strings": "on", "bytea_output": "hex",
		"client_encoding": "UTF8", "statement_timeout": limit, "lock_timeout": limit, "idle_in_transaction_session_timeout": limit, "row_security": "on", "max_parallel_workers_per_gather": "0",
	}
}

// BadAddress is the error for an address that can't be read; the driver's may quote the password.
func BadAddress(name string) error {
	return stead.Invalid("dsn", "the address of the database %s can't be read: it looks like postgres://user@host/name", name)
}
