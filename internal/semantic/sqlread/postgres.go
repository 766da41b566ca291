package sqlread

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead/internal/database"
	"github.com/stead-dev/stead/internal/semantic"
)

type postgresReader struct {
	name   string
	config *pgxpool.Config

	mu   sync.Mutex
	pool *pgxpool.Pool // nil until it is needed
	shut bool
}

func openPostgres(c Config) (Reader, error) {
	config, err := pgxpool.ParseConfig(c.DSN)
	if err != nil {
		return nil, database.BadAddress(c.Name)
	}
	config.MaxConns = MaxConns
	config.MinConns = 0
	const idle = time.Minute
	config.MaxConnIdleTime = idle
	conn := config.ConnConfig
	conn.ConnectTimeout = database.ConnectTimeout
	maps.Copy(conn.RuntimeParams, database.ServerParams(semantic.QueryTimeout))
	// A statement is used once: the server tells its types, and nothing is prepared under a name, which poolers of transactions would lose.
	conn.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	return &postgresReader{name: c.Name, config: config}, nil
}

func (r *postgresReader) Dialect() semantic.Dialect { return semantic.PostgreSQL }

// Close implements io.Closer.
func (r *postgresReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut = true; r.pool != nil {
		r.pool.Close()
	}
	return nil
}

func (r *postgresReader) open(ctx context.Context) (*pgxpool.Pool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut {
		return nil, errors.New("closed")
	}
	if r.pool == nil {
		pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), r.config)
		if err != nil {
			return nil, err
		}
		r.pool = pool
	}
	return r.pool, nil
}

// Read implements semantic.Database.
func (r *postgresReader) Read(ctx context.Context, statements []semantic.Statement, limits semantic.Limits) ([]semantic.Table, error) {
	ctx, cancel := context.WithTimeout(ctx, semantic.QueryTimeout)
	defer cancel()
	pool, err := r.open(ctx)
	if err != nil {
		return nil, failed(ctx, r.name, err, "")
	}
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, failed(ctx, r.name, err, "")
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing was written
	var out []semantic.Table
	for _, s := range statements {
		t, err := r.rows(ctx, tx, s, limits)
		if err != nil {
			return nil, r.failed(ctx, err)
		}
		out = append(out, t)
	}
	return out, nil
}

func (r *postgresReader) rows(ctx context.Context, tx pgx.Tx, s semantic.Statement, limits semantic.Limits) (semantic.Table, error) {
	rows, err := tx.Query(ctx, s.SQL, s.Args...)
	if err != nil {
		return semantic.Table{}, err
	}
	defer rows.Close()
	kept := collect{limits: limits}
	for rows.Next() {
		row, err := rows.Values()
		if err != nil {
			return semantic.Table{}, err
		}
		for i, v := range row {
			if n, ok := v.(pgtype.Numeric); ok {
				row[i] = decimal(n)
			}
		}
		if !kept.add(row) {
			rows.Close()
			return kept.out, nil
		}
	}
	return kept.out, rows.Err()
}

// decimal is a numeric with all of its digits.
func decimal(n pgtype.Numeric) any {
	text, err := n.Value()
	if err != nil || text == nil {
		return nil
	}
	s, _ := text.(string)
	return json.Number(s)
}

// Codes of errors, by their class or whole.
const (
	codeCancelled = "57014" // by statement_timeout
	classSyntax   = "42"    // and names that are not there, and rights that are missing
	classData     = "22"    // values that can't be converted
	classReadOnly = "25"
)

// failed tells what PostgreSQL says of statements. What it says of data may quote it, and is not told.
func (r *postgresReader) failed(ctx context.Context, err error) error {
	e, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return failed(ctx, r.name, err, "")
	}
	switch {
	case e.Code == codeCancelled:
		return failures(r.name).Late(semantic.QueryTimeout, err)
	case strings.HasPrefix(e.Code, classSyntax), strings.HasPrefix(e.Code, classReadOnly):
		return failed(ctx, r.name, err, e.Message)
	case strings.HasPrefix(e.Code, classData):
		return failed(ctx, r.name, err, "a value in it can't be converted")
	}
	return failed(ctx, r.name, err, "")
}
