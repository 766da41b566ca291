// Package postgres keeps the journal, snapshots, agents and documents in PostgreSQL, for one node or many.
//
// Shape (schema/0001_journal.sql, 0002_log.sql; every key is led by project and session):
//
//	nodes          node → expires_at            one row a node keeps all of its leases alive
//	heads          session → tail, epoch, holder, due_at      what an append reads and writes
//	sessions       session → agent, status, metadata          what lists show
//	log            session, seq → the events of one append, up to that seq
//	session_keys, creation_keys   idempotency key → digest, receipt
//	snapshots      session → seq, state
//	agents, agent_versions, agent_keys
//	documents, document_keys
//
// Writing: the Sends and Appends of this node that arrive while a commit is in flight go into the
// next one (committer.go). A batch is one transaction: one statement that fences all heads and
// stores all events, in one round trip; a large batch fences, then copies, in two (batch.go). An
// operation that is fenced or out of date falls out of its batch and fails alone. No statement
// relates two sessions to each other.
//
// Other nodes: heads carry holder and epoch, checked by the update that raises the tail. Commits
// are announced to other nodes by one coalesced NOTIFY outside the transaction (notify.go); when
// that is lost or late, polling finds the same things out.
//
// Units and limits: due_at is Unix milliseconds by the database's clock, and so is the life of a
// node; see the constants below and in committer.go and notify.go.
//
// Errors: those of package journal, by SQLSTATE alone (errors.go). While the database is away every
// call but Wait fails with KindUnavailable within callTimeout; when it is back, calls work again.
//
// Source: PostgreSQL 15 documentation, chapters 13 (row locks, READ COMMITTED), 30 (asynchronous
// commit), 55 (protocol: pipelining, binary COPY); decision 0003.
package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/journal"
)

const (
	// DefaultConns is how many connections a node opens for all but its commits.
	DefaultConns = 12
	// connectTimeout bounds the making of one connection, unless the URL sets connect_timeout.
	connectTimeout = 5 * time.Second
	// callTimeout bounds every call but Wait and imports, in the database or waiting for a connection.
	callTimeout = 15 * time.Second
	// abandonedAfter ends a transaction whose node fell silent in the middle, and with it its row locks.
	abandonedAfter = 10 * time.Second
	// lockTimeout is how long a batch waits for a session that another transaction has locked.
	// Transactions here take milliseconds: one that takes longer has lost its node.
	lockTimeout = 2 * time.Second
)

var (
	_ journal.Full   = (*Store)(nil)
	_ agent.Store    = (*Store)(nil)
	_ document.Store = (*Store)(nil)
)

// Options change what Open does. The zero value is what production wants.
type Options struct {
	// Conns is the most connections beside the few that commit and the one that listens; 0: DefaultConns.
	Conns int
	// AllowLoss opens a database whose fsync or synchronous_commit is off. What it acknowledges can
	// be lost in a crash.
	AllowLoss bool
	// PollOnly neither listens nor notifies: for poolers that keep no session. Other nodes' events
	// then arrive within fallbackPoll.
	PollOnly bool
}

// Store is one node's access to the database.
type Store struct {
	pool      *pgxpool.Pool // all but commits
	committer *committer
	watch     *watch
	usage     usageNames
	unheard   unheard
	work      chan struct{}

	closed <-chan struct{}    // by stop
	stop   context.CancelFunc // ends the background goroutines
	done   sync.WaitGroup
	once   sync.Once
}

// Open connects, brings the schema up to date and starts the store's background work. It fails
// with KindInvalid for a URL that it cannot read, with KindConflict for a database that is newer
// than this program, that loses acknowledged writes (see Options.AllowLoss) or that refuses the
// user, and with KindUnavailable for one that does not answer.
func Open(ctx context.Context, url string, opts Options) (*Store, error) {
	config, err := poolConfig(url, opts)
	if err != nil {
		return nil, err
	}
	pool, err := openPool(ctx, config, cmpOr(opts.Conns, DefaultConns))
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, pool, migrations); err != nil {
		pool.Close()
		return nil, err
	}
	commits, err := openPool(ctx, config, maxInFlight)
	if err != nil {
		pool.Close()
		return nil, err
	}
	background, stop := context.WithCancel(context.Background())
	s := &Store{pool: pool, work: make(chan struct{}, 1), closed: background.Done(), stop: stop}
	s.watch = newWatch(s, config.ConnConfig, opts.PollOnly)
	s.committer = newCommitter(commits, s.watch, &s.usage)
	s.watch.start(background, &s.done)
	return s, nil
}

func cmpOr(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// Close implements journal.Full. It waits for what was queued, at most as long as the database takes.
func (s *Store) Close() error {
	s.once.Do(func() {
		s.committer.close()
		s.stop() // and with it every Wait
		s.done.Wait()
		s.pool.Close()
	})
	return nil
}

// Work implements journal.Store.
func (s *Store) Work() <-chan struct{} { return s.work }

func (s *Store) signalWork() {
	select {
	case s.work <- struct{}{}:
	default: // one is waiting already
	}
}

// read runs f on a connection of the pool, and once more when the connection turns out to be dead:
// after a restart of the database the pool is full of such.
func (s *Store) read(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) error {
	return s.call(ctx, 2, f)
}

// write is read for what must not run twice.
func (s *Store) write(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) error {
	return s.call(ctx, 1, f)
}

func (s *Store) call(ctx context.Context, attempts int, f func(context.Context, *pgxpool.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var err error
	for range attempts {
		err = s.pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return f(ctx, c) })
		if !connectionLost(ctx, err) {
			break
		}
		s.pool.Reset()
	}
	return translate(err)
}

// transaction runs f in a transaction of its own.
func (s *Store) transaction(ctx context.Context, f func(context.Context, pgx.Tx) error) error {
	return s.write(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		return pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error { return f(ctx, tx) })
	})
}

func checkSession(key stead.SessionKey) error {
	if !storable(string(key.Project)) || !storable(string(key.Session)) {
		return stead.NotFound("session", string(key.Session))
	}
	return nil
}
