package sqlite

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stead-dev/stead/internal/journal/journaltest"
)

// TestUsageMigration opens a database of before records were numbers: each is found again, by time and by
// session, is there but once, and stays when it is added again.
func TestUsageMigration(t *testing.T) {
	const before = 6 // migrations of that time
	path := filepath.Join(t.TempDir(), "stead.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	steps, err := schemaSteps(schemaFiles)
	if err == nil {
		err = migrateTo(t.Context(), conn, steps[:before])
	}
	if err != nil {
		t.Fatal(err)
	}
	old := journaltest.UsageOfBefore()
	for _, r := range old {
		_, err := conn.ExecContext(t.Context(), `INSERT INTO usage_record (project, at, id, session, data) VALUES (?, ?, ?, ?, ?)`,
			string(r.Project), r.At, r.ID, r.Session, []byte(r.Data))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, Options{})
	journaltest.CheckUsageOfBefore(t, s, old)
}
