// Package pgtest runs real PostgreSQL servers for tests.
//
// Shape:
//
//	test binary ── one shared Server (URL)  ── a fresh database a test
//	            └─ own Servers (New), for tests that stop, kill and restart them
//
// A server is a temporary cluster made by initdb from the machine's own PostgreSQL binaries, with
// fsync and synchronous_commit on, in memory where there is room, reached by a Unix socket in its
// own directory and by a free port of 127.0.0.1. It ends, and its directory goes, when the test
// process ends, however that ends: a supervising shell holds the read end of a pipe whose write end
// dies with the test process.
//
// PostgreSQL refuses to run as root; a test that does runs it as the user postgres, or nobody.
//
// Errors: a missing server fails the test where CI is set, and skips it elsewhere.
package pgtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	startTimeout = 60 * time.Second // initdb and crash recovery on a busy machine
	pollInterval = 20 * time.Millisecond
)

var errNoServer = errors.New("no PostgreSQL server binaries found: apt-get install postgresql (Debian 12: postgresql-15)")

// shared is the binary's one cluster. It is a function that never changes, not state that tests
// could alter; its server lives until the process ends.
var shared = sync.OnceValues(start)

// URL returns the address of a fresh, empty database on the test binary's shared server. The
// database is dropped when the test ends.
func URL(tb testing.TB) string {
	tb.Helper()
	s, err := shared()
	check(tb, err)
	return s.Database(tb)
}

// New starts a server of the test's own. It ends with the test.
func New(tb testing.TB) *Server {
	tb.Helper()
	s, err := start()
	check(tb, err)
	tb.Cleanup(s.remove)
	return s
}

func check(tb testing.TB, err error) {
	tb.Helper()
	switch {
	case err == nil:
	case errors.Is(err, errNoServer) && os.Getenv("CI") == "":
		tb.Skip(err)
	default:
		tb.Fatal(err)
	}
}

// Database makes a fresh database and returns its address. It is dropped, with its connections,
// when the test ends.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	name := "t" + randomHex()
	s.Exec(tb, "CREATE DATABASE "+name)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		// A server that the test left stopped takes its databases with it.
		if err := s.exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil && s.running() {
			tb.Errorf("drop database %s: %v", name, err)
		}
	})
	return s.address(name)
}

// Exec runs one statement in the server's maintenance database, as its superuser.
func (s *Server) Exec(tb testing.TB, sql string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := s.exec(ctx, sql); err != nil {
		tb.Fatalf("%s: %v", sql, err)
	}
}

func (s *Server) exec(ctx context.Context, sql string) error {
	conn, err := pgx.Connect(ctx, s.address("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// Start starts a stopped or killed server on the same data and the same address, and waits until
// it answers.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	if err := s.start(); err != nil {
		tb.Fatal(err)
	}
}

// Stop ends the server in order, cutting off its clients.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	if err := s.end("INT"); err != nil {
		tb.Fatal(err)
	}
}

// Kill ends every process of the server at once, as a crash would: what it had not written is lost.
func (s *Server) Kill(tb testing.TB) {
	tb.Helper()
	if err := s.kill(); err != nil {
		tb.Fatal(err)
	}
}

// Restart is Stop and Start.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.Stop(tb)
	s.Start(tb)
}

func (s *Server) address(database string) string {
	q := url.Values{"host": {s.dir}, "port": {strconv.Itoa(s.port)}, "user": {"postgres"}, "sslmode": {"disable"}}
	return "postgres:///" + database + "?" + q.Encode()
}

// TCP returns the address of a database of Database on 127.0.0.1 instead of the socket.
func (s *Server) TCP(address string) string {
	database := strings.TrimPrefix(address[:strings.IndexByte(address, '?')], "postgres:///")
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

// binaries finds the newest installed server: on the PATH's pg_config, or where Debian puts it.
func binaries() (string, error) {
	var dirs []string
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well formed
	slices.SortFunc(debian, func(a, b string) int { return majorVersion(b) - majorVersion(a) })
	for _, dir := range append(dirs, debian...) {
		if fileExists(filepath.Join(dir, "initdb")) && fileExists(filepath.Join(dir, "postgres")) {
			return dir, nil
		}
	}
	return "", errNoServer
}

func majorVersion(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin))) // another name sorts last
	return n
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func randomHex() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
