package postgres

import (
	"testing"

	"github.com/stead-dev/stead/internal/journal/journaltest"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

// TestUsageMigration opens a database of before records were numbers: each is found again, by time and by
// session, is there but once, and stays when it is added again.
func TestUsageMigration(t *testing.T) {
	const before = 7 // migrations of that time
	ctx := t.Context()
	url := pgtest.URL(t)
	config, err := poolConfig(url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := openPool(ctx, config, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	err = migrate(ctx, pool, func() ([]string, error) {
		steps, err := migrations()
		return steps[:before], err
	})
	if err != nil {
		t.Fatal(err)
	}
	old := journaltest.UsageOfBefore()
	for _, r := range old {
		_, err := pool.Exec(ctx, `INSERT INTO usage_records (project_id, at, id, session_id, data) VALUES ($1, $2, $3, $4, $5)`,
			string(r.Project), r.At, r.ID, r.Session, []byte(r.Data))
		if err != nil {
			t.Fatal(err)
		}
	}
	s := openTest(t, url)
	journaltest.CheckUsageOfBefore(t, s, old)
}
