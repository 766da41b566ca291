package pgtest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

func query[T any](t *testing.T, address, sql string) (T, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var v T
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return v, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, sql).Scan(&v)
	return v, err
}

// TestServer takes a server through its whole life: what was committed outlives a stop and a kill.
func TestServer(t *testing.T) {
	s := pgtest.New(t)
	a, b := s.Database(t), s.Database(t)
	if a == b {
		t.Fatal("two databases with one address")
	}
	for _, setting := range []string{"fsync", "synchronous_commit"} {
		if got, err := query[string](t, s.TCP(a), "SELECT current_setting('"+setting+"')"); err != nil || got != "on" {
			t.Errorf("%s = %q, %v; want on", setting, got, err)
		}
	}
	if _, err := query[int](t, a, "WITH x AS (SELECT 1) SELECT 1 FROM x"); err != nil {
		t.Fatal(err)
	}
	exec1(t, a, "CREATE TABLE kept (n int)")
	exec1(t, a, "INSERT INTO kept VALUES (1)")
	s.Restart(t)
	exec1(t, a, "INSERT INTO kept VALUES (2)")
	s.Kill(t)
	if _, err := query[int](t, a, "SELECT 1"); err == nil {
		t.Fatal("a killed server answers")
	}
	s.Start(t)
	if n, err := query[int](t, a, "SELECT count(*) FROM kept"); err != nil || n != 2 {
		t.Fatalf("after the kill: %d rows, %v; want 2", n, err)
	}
}

func exec1(t *testing.T, address, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

const childEnv = "PGTEST_CHILD"

// TestChild is the process that TestKilledProcess kills.
func TestChild(t *testing.T) {
	if os.Getenv(childEnv) == "" {
		t.Skip("runs only as the child of TestKilledProcess")
	}
	address := pgtest.URL(t)
	dir, err := query[string](t, address, "SELECT current_setting('unix_socket_directories')")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("dir=" + dir)
	select {}
}

// TestKilledProcess shows that a server does not outlive a test process that had no time to say so.
func TestKilledProcess(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestChild$", "-test.v")
	cmd.Env = append(os.Environ(), childEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dir := ""
	for lines := bufio.NewScanner(out); dir == "" && lines.Scan(); {
		if strings.Contains(lines.Text(), "SKIP") {
			t.Skip("no server here")
		}
		_, dir, _ = strings.Cut(lines.Text(), "dir=")
	}
	if dir == "" {
		t.Fatal("the child said nothing")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	deadline := time.NewTimer(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("the server's directory %s outlives its test", dir)
		case <-tick.C:
		}
	}
}
