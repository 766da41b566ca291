package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
)

// schema holds the migrations, in order of name: 0001 leads from version 0 to 1, and so on. They
// only go forward, and one that was released is never changed.
//
//go:embed schema/*.sql
var schema embed.FS

func migrations() ([]string, error) {
	names, err := fs.Glob(schema, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	steps := make([]string, len(names))
	for i, name := range names {
		b, err := schema.ReadFile(name)
		if err != nil {
			return nil, err
		}
		steps[i] = string(b)
	}
	return steps, nil
}

// migrate brings the database to the newest version. Of several nodes that start at once, one does
// it while the others wait for the row of schema_version.
func migrate(ctx context.Context, pool *pgxpool.Pool, load func() ([]string, error)) error {
	steps, err := load()
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "read the migrations")
	}
	if err := ensureVersionTable(ctx, pool); err != nil {
		return fmt.Errorf("make schema_version: %w", translate(err))
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return advance(ctx, tx, steps) })
	if err != nil {
		return fmt.Errorf("migrate: %w", translate(err))
	}
	return nil
}

func ensureVersionTable(ctx context.Context, pool *pgxpool.Pool) error {
	var exists bool
	err := pool.QueryRow(ctx, `SELECT to_regclass('schema_version') IS NOT NULL`).Scan(&exists)
	if err != nil || exists {
		return err
	}
	// Whoever comes second finds the table in the catalogue, or collides with it there.
	_, err = pool.Exec(ctx, `CREATE TABLE IF NOT EXISTS schema_version (
		id      integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
		version integer NOT NULL)`)
	switch sqlState(err) {
	case codeUniqueViolation, codeDuplicateTable, codeDuplicateObject:
		return nil
	}
	return err
}

func advance(ctx context.Context, tx pgx.Tx, steps []string) error {
	// Another node's migration may take its time.
	if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = 0`); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO schema_version (id, version) VALUES (1, 0) ON CONFLICT DO NOTHING`); err != nil {
		return err
	}
	var version int
	err := tx.QueryRow(ctx, `SELECT version FROM schema_version WHERE id = 1 FOR UPDATE`).Scan(&version)
	if errors.Is(err, pgx.ErrNoRows) {
		return stead.Errorf(stead.KindInternal, "schema_version has no row")
	}
	if err != nil {
		return err
	}
	if version > len(steps) {
		e := stead.Errorf(stead.KindConflict, "the database has schema version %d, this program knows up to %d", version, len(steps))
		e.Hint = "Run the newer program that upgraded the database, or restore a backup from before."
		return e
	}
	for _, step := range steps[version:] {
		if _, err := tx.Exec(ctx, step, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
	}
	if version == len(steps) {
		return nil
	}
	_, err = tx.Exec(ctx, `UPDATE schema_version SET version = $1 WHERE id = 1`, len(steps))
	return err
}
