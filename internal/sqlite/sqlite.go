// Package sqlite keeps the journal, the agents and the documents of one node in one SQLite file.
//
// Shape: see schema/0001_journal.sql and docs/decisions/0002-sqlite-log-layout.md.
//
//	PATH        session, log (one row an append, in order of insertion), extent (where a session's
//	            rows are), receipt, snapshot, agent, document
//	PATH-wal    what is committed and not yet moved into PATH; gone after Close
//	PATH.lock   locked while a process owns the database; holds its process id
//
// One goroutine, the committer, owns the writing connection and everything that decides about
// writes: heads, leases, idempotency. It takes all the writes that wait, of all sessions, into one
// transaction with one fsync (synchronous=FULL), and answers each of them only after that. An
// operation that is refused (fenced, tail, conflict) does not touch its companions.
//
// Leases live in memory, because the process owns the database alone: after a restart every session
// with open work is due at once. Epochs are stored with the appends. Acquire therefore writes
// nothing. Memory goes to sessions that are held, plus a bounded cache; an idle session costs none.
//
// Units and limits: times in columns are Unix milliseconds; the constants below have theirs.
//
// Errors: as package journal says. A full disk or a failing one is KindUnavailable and the
// store carries on by itself when there is space again; a damaged file is KindInternal.
//
// Source: https://sqlite.org/wal.html, https://sqlite.org/pragma.html#pragma_synchronous.
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/journal"
)

const (
	// pageBytes is the size of a page of a new database.
	pageBytes = 16 << 10
	// walPages is how long the WAL grows before it is moved into the database: 64 MB.
	walPages = 4000
	// writerCacheKiB and readerCacheKiB bound the page caches: 16 MiB for the committer, 4 MiB a reader.
	writerCacheKiB = 16 << 10
	readerCacheKiB = 4 << 10
	// maxReaders is the most reading connections.
	maxReaders = 8
	// busyTimeout is how long a connection waits for a lock; only opening and recovery ever take one.
	busyTimeout = 5 * time.Second
	// walSuffix makes the name of the write-ahead log, where every commit goes.
	walSuffix = "-wal"
	// indexSuffix makes the name of the file behind that log's index.
	indexSuffix = "-shm"
)

// Options are settings of Open; the zero value is right for production.
type Options struct {
	// Now is the clock for due times and heartbeats; nil is time.Now.
	Now func() time.Time
	// Spare makes room for a file of the database that could not be written for want of it, for so many bytes or 0
	// for some, and reports whether there is more than before; nil: nobody does. What failed is then tried again.
	// Where it is not sure that room was wanting, it should look whether the disk is full. It is called by one
	// goroutine at a time, at most until it reports false.
	Spare func(file string, bytes int64, sure bool) bool

	recentRows int // tests set it; 0 is maxRecentRows
}

// Store implements journal.Full, agent.Store, document.Store and memory.Store.
type Store struct {
	now     func() time.Time
	spare   func(file string, bytes int64, sure bool) bool
	path    string
	lock    *os.File
	writer  *sql.DB   // of one connection:
	conn    *sql.Conn // used by the committer alone, as are
	stmts   []*sql.Stmt
	readers *sql.DB
	read    readStmts
	names   usageNames
	box     mailbox
	done    chan struct{} // closed when the committer has stopped
	work    chan struct{}

	mu     sync.Mutex
	heads  map[stead.SessionKey]*head  // committed; those without a holder may be dropped at any time
	nodes  map[stead.NodeID]*node      // nodes that live or hold something
	topics map[stead.SessionKey]*topic // sessions that somebody waits for
	recent map[int64]*run              // session's row id → its log rows that no extent holds yet
	moves  int                         // how often recent was emptied into extents
}

var (
	_ journal.Full   = (*Store)(nil)
	_ agent.Store    = (*Store)(nil)
	_ document.Store = (*Store)(nil)
)

// Open opens or makes the database at path and brings its schema up to date. The directory must
// exist. KindConflict when another process has it open, and still has after a few seconds, or when a newer
// version of Stead made it.
func Open(ctx context.Context, path string, opts Options) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "open database %s", path)
	}
	lock, err := lockFile(ctx, abs+".lock")
	if err != nil {
		return nil, err
	}
	s := newStore(abs, lock, opts)
	for err = s.open(ctx, opts); err != nil; err = s.open(ctx, opts) {
		again := s.spared(err)
		if !again {
			s.closeFiles()
			return nil, err
		}
		s.closeDatabase()
		s = newStore(abs, lock, opts)
	}
	return s, nil
}

func newStore(path string, lock *os.File, opts Options) *Store {
	s := &Store{
		now: opts.Now, spare: opts.Spare, path: path, lock: lock,
		done: make(chan struct{}), work: make(chan struct{}, 1),
		heads: map[stead.SessionKey]*head{}, nodes: map[stead.NodeID]*node{}, topics: map[stead.SessionKey]*topic{},
		recent: map[int64]*run{},
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.box.init()
	return s
}

func (s *Store) open(ctx context.Context, opts Options) error {
	// SQLite would let everybody read what it makes; its log files take the database's mode.
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "open database %s", s.path)
	}
	if err := f.Close(); err != nil {
		return stead.Wrap(stead.KindUnavailable, err, "open database %s", s.path)
	}
	s.writer, err = sql.Open("sqlite", dsn(s.path, writerCacheKiB, "wal_autocheckpoint("+strconv.Itoa(walPages)+")", "secure_delete(ON)"))
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "open database %s", s.path)
	}
	s.writer.SetMaxOpenConns(1)
	if s.conn, err = s.writer.Conn(ctx); err != nil {
		return translate(err, "open database "+s.path)
	}
	conn := s.conn
	if err := enableWAL(ctx, conn); err != nil {
		return err
	}
	if err := migrate(ctx, conn); err != nil {
		return err
	}
	s.readers, err = sql.Open("sqlite", dsn(s.path, readerCacheKiB, "query_only(ON)"))
	if err != nil {
		return stead.Wrap(stead.KindInternal, err, "open database %s", s.path)
	}
	s.readers.SetMaxOpenConns(maxReaders)
	s.readers.SetMaxIdleConns(maxReaders)
	if err := s.read.prepare(ctx, s.readers); err != nil {
		return translate(err, "prepare reads")
	}
	c := &committer{s: s, conn: conn, names: map[usageName]int64{}, maxRecent: cmp.Or(opts.recentRows, maxRecentRows)}
	if err := c.prepare(ctx); err != nil {
		return translate(err, "prepare writes")
	}
	if err := c.loadRecent(ctx); err != nil {
		return translate(err, "read the end of the log")
	}
	for err := c.resume(ctx); err != nil; err = c.resume(ctx) {
		if s.spared(err) {
			continue
		}
		if !isFull(err) {
			return err
		}
		c.resumes = true // what is there can be read, and the first write that finds room does this first
		break
	}
	go c.run()
	return nil
}

// enableWAL makes the file a WAL database, for good. It is not among the pragmas of the data source
// name because the driver runs those in alphabetical order, and page_size counts only before it.
func enableWAL(ctx context.Context, conn *sql.Conn) error {
	var mode string
	if err := conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return translate(err, "enable the write-ahead log")
	}
	if mode != "wal" {
		return stead.Errorf(stead.KindUnavailable, "the file system has no write-ahead log for SQLite (journal mode %q)", mode)
	}
	return nil
}

func dsn(path string, cacheKiB int, pragmas ...string) string {
	q := url.Values{}
	all := append([]string{
		"busy_timeout(" + strconv.FormatInt(busyTimeout.Milliseconds(), 10) + ")",
		"page_size(" + strconv.Itoa(pageBytes) + ")",
		"synchronous(FULL)",
		"temp_store(MEMORY)",
		"cache_size(-" + strconv.Itoa(cacheKiB) + ")",
	}, pragmas...)
	for _, p := range all {
		q.Add("_pragma", p)
	}
	u := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: q.Encode()}
	return u.String()
}

// Close finishes the writes in flight, stops the committer and gives the lock back. Everything
// after it fails with KindUnavailable. Closing twice is harmless.
func (s *Store) Close() error {
	if !s.box.close() {
		<-s.done
		return nil
	}
	<-s.done
	s.mu.Lock()
	for key, t := range s.topics {
		close(t.changed)
		delete(s.topics, key)
	}
	s.mu.Unlock()
	return s.closeFiles()
}

func (s *Store) closeFiles() error {
	err := s.closeDatabase()
	// Closing gives the lock back.
	if locked := s.lock.Close(); locked != nil && err == nil {
		err = translate(locked, "close database "+s.path)
	}
	return err
}

// closeDatabase keeps the lock.
func (s *Store) closeDatabase() error {
	var first error
	keep := func(err error) {
		if err != nil && first == nil {
			first = err
		}
	}
	if s.readers != nil {
		keep(s.readers.Close())
	}
	// What is taken out of a pool the pool does not close: the WAL would stay behind.
	for _, st := range s.stmts {
		keep(st.Close())
	}
	if s.conn != nil {
		keep(s.conn.Close())
	}
	if s.writer != nil {
		keep(s.writer.Close())
	}
	return translate(first, "close database "+s.path)
}

func errClosed() error {
	return stead.Errorf(stead.KindUnavailable, "the store is closed")
}
