package reader

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stead-dev/stead"
)

// Partitions, and tables that inherit, have rows of others: what is hidden of one is hidden of those.
func TestHiddenRowsAreOfPartitionsToo(t *testing.T) {
	s := openPostgresShop(t, "users.password", "kept.secret", "old_2*")
	role := strings.TrimPrefix(s.config.DSN[strings.Index(s.config.DSN, "user=reader_"):], "user=")
	role, _, _ = strings.Cut(role, " ")
	role, _, _ = strings.Cut(role, "&")
	exec := func(statements ...string) {
		t.Helper()
		for _, q := range statements {
			if _, err := s.raw.Exec(strings.ReplaceAll(q, "ROLE", role)); err != nil {
				t.Fatal(q, err)
			}
		}
	}
	refused := func(what, names string) {
		t.Helper()
		if _, err := s.ask(t.Context(), "SELECT 1", limits); stead.KindOf(err) != stead.KindForbidden || !strings.Contains(fmt.Sprint(err), names) {
			t.Errorf("%s: %v", what, err)
		}
	}
	taken := func(what string) {
		t.Helper()
		if _, err := s.ask(t.Context(), "SELECT 1", limits); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	exec(`CREATE TABLE users (id int, password text) PARTITION BY RANGE (id)`, `CREATE TABLE users_low PARTITION OF users FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id)`, `CREATE TABLE u1 PARTITION OF users_low FOR VALUES FROM (0) TO (10)`,
		`CREATE TABLE kept (id int, secret text)`, `CREATE TABLE heir (more int) INHERITS (kept)`, `CREATE TABLE old (id int, note text) PARTITION BY RANGE (id)`, `CREATE TABLE old_2020 PARTITION OF old FOR VALUES FROM (0) TO (100)`)
	taken("no right to any")
	exec(`GRANT SELECT (id) ON users TO ROLE`)
	taken("the column that is not hidden")
	exec(`GRANT SELECT ON u1 TO ROLE`)
	refused("a partition's partition", "public.u1.password, which are rows of public.users,")
	exec(`REVOKE SELECT ON u1 FROM ROLE`, `GRANT SELECT (id) ON u1 TO ROLE`)
	taken("its other column")
	exec(`GRANT SELECT ON heir TO ROLE`)
	refused("a table that inherits", "public.heir.secret, which are rows of public.kept,")
	exec(`REVOKE SELECT ON heir FROM ROLE`, `GRANT SELECT (more) ON heir TO ROLE`)
	taken("what it has of its own")
	exec(`GRANT SELECT (note) ON old TO ROLE`)
	refused("the table of a partition that is hidden", "public.old.note, which are rows of public.old_2020,")
	exec(`REVOKE SELECT (note) ON old FROM ROLE`, `CREATE TABLE ext (id int, note text)`, `ALTER EXTENSION plpgsql ADD TABLE ext`, `GRANT SELECT ON ext TO ROLE`)
	defer exec(`ALTER EXTENSION plpgsql DROP TABLE ext`)
	taken("a table of an extension")
	exec(`ALTER TABLE ext RENAME TO old_2`)
	defer exec(`ALTER TABLE old_2 RENAME TO ext`)
	refused("one that is hidden", "public.old_2.id")
}

// A server that does not end a statement keeps its place: nobody runs more of them than there are places.
func TestAStatementThatDoesNotEndKeepsItsPlace(t *testing.T) {
	s := openPostgresShop(t)
	d := s.Database.(*postgresDatabase)
	short, long := limits, limits
	short.Time, long.Time = 500*time.Millisecond, 4*time.Second // in the latter it is found and stopped, on a busy machine as well
	ended := make(chan error, 1)
	go func() {
		_, err := s.ask(t.Context(), "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n", long)
		ended <- err
	}()
	running := func() (pid int) {
		_ = s.raw.QueryRow("SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'WITH RECURSIVE n(i)%'").Scan(&pid)
		return pid
	}
	pid := 0
	for until := time.Now().Add(10 * time.Second); pid == 0 && time.Now().Before(until); {
		pid = running()
	}
	if pid == 0 {
		t.Fatal("the statement does not run")
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil { // as a function that looks at no interruption
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	if err := <-ended; stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), "within 4s") {
		t.Error(err)
	}
	time.Sleep(3 * minWatch) // it was asked at least once
	if running() != pid || len(d.asking) != 1 {
		t.Errorf("it runs as %d, and has %d places", running(), len(d.asking))
	}
	for range MaxConns - 1 {
		d.asking <- struct{}{}
	}
	if _, err := s.ask(t.Context(), "SELECT 1", short); stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), "no place") {
		t.Error(err)
	}
	if _, err := s.Tables(t.Context()); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ask(t.Context(), "SELECT 1", limits); err != nil || running() != 0 {
		t.Errorf("behind it: %v", err)
	}
}
