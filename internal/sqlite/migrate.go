package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
)

// Migrations go forward only. File NNNN_name.sql brings the schema from version NNNN-1 to NNNN,
// which PRAGMA user_version keeps.
//
//go:embed schema/*.sql
var schemaFiles embed.FS

// migrate brings the database up to date in one transaction: after a crash it is at the old version
// or at the new one.
func migrate(ctx context.Context, conn *sql.Conn) error {
	steps, err := schemaSteps(schemaFiles)
	if err != nil {
		return err
	}
	return migrateTo(ctx, conn, steps)
}

func migrateTo(ctx context.Context, conn *sql.Conn, steps []string) error {
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return translate(err, "begin migration")
	}
	done := false
	defer func() {
		if !done {
			_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	var version int
	if err := conn.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return translate(err, "read schema version")
	}
	if version > len(steps) {
		e := stead.Errorf(stead.KindConflict, "the database has schema version %d; this program knows versions up to %d", version, len(steps))
		e.Hint = "A newer version of Stead wrote it: run that version or a later one."
		return e
	}
	if version == len(steps) {
		return nil // and nothing is written: a full disk is no reason not to start
	}
	for i, step := range steps[version:] {
		if _, err := conn.ExecContext(ctx, step); err != nil {
			return translate(err, fmt.Sprintf("migrate to schema version %d", version+i+1))
		}
	}
	if _, err := conn.ExecContext(ctx, "PRAGMA user_version = "+strconv.Itoa(len(steps))); err != nil {
		return translate(err, "write schema version")
	}
	if _, err := conn.ExecContext(ctx, "COMMIT"); err != nil {
		return translate(err, "commit migration")
	}
	done = true
	return nil
}

// schemaSteps returns the migrations in order and makes sure that none is missing.
func schemaSteps(files fs.FS) ([]string, error) {
	names, err := fs.Glob(files, "schema/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	steps := make([]string, 0, len(names))
	for i, name := range names {
		if want := fmt.Sprintf("schema/%04d_", i+1); !strings.HasPrefix(name, want) {
			return nil, stead.Errorf(stead.KindInternal, "migration %s: expected a name that begins with %s", name, want)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, string(text))
	}
	return steps, nil
}
