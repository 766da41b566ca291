package postgres

import (
	"reflect"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
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
	for range 2 { // as they were, and after they were added again
		checkUsageOfBefore(t, s, old)
		for _, r := range old {
			again := r.Want
			again.Data = []byte("other")
			if err := s.AddUsage(ctx, r.Project, []journal.UsageRow{again}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func checkUsageOfBefore(t *testing.T, s journal.Usage, old []journaltest.OldUsage) {
	t.Helper()
	want := map[stead.ProjectID][]journal.UsageRow{}
	for _, r := range old {
		want[r.Project] = append(want[r.Project], r.Want)
	}
	for project, rows := range want {
		got, err := s.UsageRows(t.Context(), project, journal.UsageQuery{})
		if err != nil || !reflect.DeepEqual(got, rows) {
			t.Fatalf("project %s has\n%+v, want\n%+v: %v", project, got, rows, err)
		}
	}
	last := old[len(old)-1]
	got, err := s.UsageRows(t.Context(), last.Project, journal.UsageQuery{Session: stead.SessionID(last.Session)})
	if err != nil || len(got) != 1 || got[0].Seq != last.Want.Seq {
		t.Fatalf("the session has %+v: %v", got, err)
	}
}
