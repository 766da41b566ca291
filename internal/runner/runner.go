// Package runner moves sessions forward: it leases them, replays, acts and commits, and it is the
// service that every door calls.
//
// Shape:
//
//	Runner ── Acquire ──▶ actor (one a leased session): state, work in flight
//	                        └─ step: apply outcomes → Next → one Append → start the effects
//	Service ── Send ──▶ journal ──Work──▶ Runner
//
// Delivery: an effect starts only after its intent is durable, and its outcome is kept in memory
// until it is durable too, however long the store is away. An actor that loses its lease drops
// everything: whoever holds the session now recovers by effect class.
//
// Units and limits: see stead's limits.go; MaxActive sessions are moved at once.
//
// Errors: the service's errors are *stead.Error. Effects' errors become events.
//
// Source: architecture rules 2–5 in ARCHITECTURE.md.
package runner

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/held"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/usage"
)

// Limits of one node.
const (
	// MaxActive is the most sessions that a node holds at once; more wait in the store.
	MaxActive = 8192
	// acquireBatch is how many sessions one Acquire takes.
	acquireBatch = 256
	// minPoll keeps a node whose clock is ahead of the store's from asking without pause.
	minPoll = 10 * time.Millisecond
	// maxPoll bounds how long due work can go unseen when a signal is lost.
	maxPoll = 5 * time.Second
	// maxCachedStates and maxCachedViews bound the memory of sessions that nobody holds.
	maxCachedStates     = 256
	maxCachedStateBytes = 16 << 20
	maxCachedViews      = 1024
	// cutGrace is how long actors may take, when the drain's time is over, to journal what they cut off.
	cutGrace = 2 * time.Second
	// unavailableBase and unavailableMax pace the retries while the store is away.
	unavailableBase = 20 * time.Millisecond
	unavailableMax  = 2 * time.Second
)

// Config is what a runner needs. Every field without a default must be set.
type Config struct {
	Store  journal.Full
	Agents agent.Store
	Blobs  blob.Store
	Models model.Catalog
	Tools  tool.Source
	// Untrusted reports whether strangers may write what an operator's tool server says of its tools; nil: none of theirs.
	Untrusted func(label string) bool
	Policy    policy.Authorizer
	// Audit makes the record of a decision that was policy.Request.Carried, for the append that holds what follows from it; nil,
	// or what it returns is: there is none.
	Audit func(ctx context.Context, req policy.Request, d policy.Decision) []byte
	// Watch returns a context that ends, with a *stead.Error as its cause, when an effect that was allowed is stopped
	// while it is under way; done is called at its end. nil: nothing is.
	Watch func(ctx context.Context, req policy.Request) (watched context.Context, done func())
	// Unsaid removes from beside the audit log what repeats something that was said in a session, and says how much; nil: nothing does.
	Unsaid func(ctx context.Context, key stead.SessionKey, said []string) (int, error)
	// Deleting runs what takes texts out of the database, of whose bytes somebody purges its files then; nil: nobody does.
	Deleting func(ctx context.Context, do func() error) error
	// Memory is what sessions remember by themselves; nil: nothing.
	Memory Memory
	// Guardrails check what goes to and comes from agents; nil: there are none.
	Guardrails *guardrail.Guard
	// Vaults has the credentials of sessions; nil: there are none.
	Vaults Vaults
	// Consent makes the page on which a session's user is asked to let its agent act for them at a tool server, which refused
	// with challenge; what comes back without an id needs nobody to be asked any more. nil: users are not asked.
	Consent func(ctx context.Context, req policy.Request, vault, label, serverURL string, challenge []string) (session.ConsentNeeded, error)
	// Workloads has tokens by which agents are known to others; nil: there are none.
	Workloads Workloads
	// Foreign resolves the environment of a session that is imported, for whoever imports it; nil: there are none here.
	Foreign func(ctx context.Context, p stead.Principal, f session.ForeignEnvironment) (session.EnvironmentPlan, error)
	// Environments hosts the computers of sessions; nil: there are none here.
	Environments environment.Host
	Node         stead.NodeID
	Log          *slog.Logger // nil: slog.Default()

	Now      func() time.Time // nil: time.Now
	Random   func() float64   // in [0,1), for jitter; nil: math/rand/v2
	LeaseTTL time.Duration    // 0: stead.LeaseTTL
	// WholeBytes is for tests; 0: MaxWholeBytes.
	WholeBytes int64
	// CheckArguments says whether a model's arguments fit a tool's parameters, in words for the
	// model. It is given by cmd so that the runner knows no schema library; nil checks nothing.
	CheckArguments func(schema, arguments []byte) error
	// Prices is the price book; nil: models cost what the catalog says.
	Prices *usage.Book
	// Budgets reserves what a model call may use before it is made; nil: there are none.
	Budgets Budgets
	// ToolTimeout is the longest wall time of a tool call; 0: stead.ToolTimeout.
	ToolTimeout time.Duration
	// ModelIdleTimeout cuts off a silent model stream; 0: stead.ModelIdleTimeout.
	ModelIdleTimeout time.Duration
	// EnvironmentIdle is how long an environment that nothing needs stays resident; 0: stead.EnvironmentIdle.
	EnvironmentIdle time.Duration
	// EnvironmentExpire is how long the workspace of an environment is kept after it was used last; 0: for
	// ever. At least twice blob.Grace, or some of its blobs stay until the session is deleted.
	EnvironmentExpire time.Duration
	// Full says why no new input is taken, because the disk that the journal is on is full; nil: it never is.
	// Low reports whether it is so full that what is accepted already waits as well; nil: it never is.
	Full func() error
	Low  func() bool
}

// Runner implements session.Service and session.Agents, and moves the sessions of its node.
type Runner struct {
	whole  *held.Budget // see MaxWholeBytes
	cfg    Config
	log    *slog.Logger
	live   *liveHub
	states *stateCache
	views  *viewCache
	waits  *waitCache

	mu      sync.Mutex
	actors  map[stead.SessionKey]*actor // leased by this node
	closing bool

	ctx    context.Context // ends when actors must stop at once
	stop   context.CancelFunc
	drain  chan struct{} // closed when actors must finish what is in flight and release
	loops  sync.WaitGroup
	acting sync.WaitGroup
	kick   chan struct{} // an actor ended: there may be room again
}

// New makes a runner. It does nothing before Start, but serves reads and takes input already.
func New(cfg Config) *Runner {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.WholeBytes = cmp.Or(cfg.WholeBytes, MaxWholeBytes)
	if cfg.Random == nil {
		cfg.Random = randomFloat
	}
	if cfg.LeaseTTL == 0 {
		cfg.LeaseTTL = stead.LeaseTTL
	}
	if cfg.ToolTimeout == 0 {
		cfg.ToolTimeout = stead.ToolTimeout
	}
	if cfg.ModelIdleTimeout == 0 {
		cfg.ModelIdleTimeout = stead.ModelIdleTimeout
	}
	if cfg.EnvironmentIdle == 0 {
		cfg.EnvironmentIdle = stead.EnvironmentIdle
	}
	if cfg.Full == nil {
		cfg.Full = func() error { return nil }
	}
	if cfg.Low == nil {
		cfg.Low = func() bool { return false }
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Runner{
		whole: held.New("sessions that are forked, exported and imported", cfg.WholeBytes),
		cfg:   cfg, log: cfg.Log, live: newLiveHub(), states: newStateCache(), views: newViewCache(), waits: newWaitCache(),
		actors: map[stead.SessionKey]*actor{},
		ctx:    ctx, stop: stop, drain: make(chan struct{}), kick: make(chan struct{}, 1),
	}
}

// Start announces the node and begins to move sessions. It returns once the node is known to the
// store; the work goes on until Shutdown.
func (r *Runner) Start(ctx context.Context) error {
	if err := r.cfg.Store.Heartbeat(ctx, r.cfg.Node, r.cfg.LeaseTTL); err != nil {
		return err
	}
	r.loops.Go(r.beat)
	r.loops.Go(r.acquire)
	r.loops.Go(r.sweepStrays)
	return nil
}

// Shutdown stops taking work, lets what is in flight finish until ctx ends, then cuts it off,
// journals that, and hands every lease back.
func (r *Runner) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	first := !r.closing
	r.closing = true
	r.mu.Unlock()
	if first {
		close(r.drain)
	}
	done := make(chan struct{})
	go func() { r.acting.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		r.cutActors()
		select {
		case <-done:
		case <-time.After(cutGrace): // the store is away: what they hold is lost, as in a crash
		}
	}
	r.stop()
	<-done
	r.loops.Wait()
	release, cancel := context.WithTimeout(context.Background(), unavailableMax)
	defer cancel()
	return r.cfg.Store.Heartbeat(release, r.cfg.Node, 0)
}

// Kill stops everything at once, as a crash would: nothing is journaled, no lease is handed back.
// It is for tests and for a node whose store is lost.
func (r *Runner) Kill() {
	r.mu.Lock()
	first := !r.closing
	r.closing = true
	r.mu.Unlock()
	r.stop()
	if first {
		close(r.drain)
	}
	r.acting.Wait()
	r.loops.Wait()
}

func (r *Runner) cutActors() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range r.actors {
		a.cut()
	}
}

// beat keeps the node's leases. A store that is away does not end it: the leases may be lost then,
// and the appends are fenced.
func (r *Runner) beat() {
	tick := time.NewTicker(r.cfg.LeaseTTL / 5)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(r.ctx, r.cfg.LeaseTTL)
		if err := r.cfg.Store.Heartbeat(ctx, r.cfg.Node, r.cfg.LeaseTTL); err != nil && r.ctx.Err() == nil {
			r.log.Warn("heartbeat failed", "err", err)
		}
		cancel()
	}
}

// acquire takes due sessions whenever the store says that there may be some.
func (r *Runner) acquire() {
	for {
		wait := r.acquireDue()
		timer := time.NewTimer(wait)
		select {
		case <-r.drain:
			timer.Stop()
			return
		case <-r.cfg.Store.Work():
		case <-r.kick:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// acquireDue starts an actor for each due session and says how long nothing more can be due.
func (r *Runner) acquireDue() time.Duration {
	for {
		room := r.room()
		if room == 0 {
			return maxPoll // an actor that ends kicks
		}
		ask := min(room, acquireBatch)
		leases, next, err := r.cfg.Store.Acquire(r.ctx, r.cfg.Node, ask)
		if err != nil {
			if r.ctx.Err() == nil {
				r.log.Warn("can't look for due sessions", "err", err)
			}
			return unavailableMax
		}
		for _, l := range leases {
			r.launch(l)
		}
		if len(leases) == ask {
			continue
		}
		if next.IsZero() {
			return maxPoll
		}
		return max(min(next.Sub(r.cfg.Now()), maxPoll), minPoll)
	}
}

func (r *Runner) room() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closing {
		return 0
	}
	return MaxActive - len(r.actors)
}

func (r *Runner) launch(l journal.Lease) {
	a := newActor(r, l)
	r.mu.Lock()
	if r.closing {
		r.mu.Unlock()
		return // the node's release makes it due elsewhere
	}
	old := r.actors[l.Key]
	r.actors[l.Key] = a
	r.acting.Add(1)
	r.mu.Unlock()
	if old != nil {
		old.abandon() // its lease is older: it is fenced already
	}
	go a.run()
}

func (r *Runner) retired(a *actor) {
	r.mu.Lock()
	if r.actors[a.key] == a {
		delete(r.actors, a.key)
	}
	r.mu.Unlock()
	r.acting.Done()
	poke(r.kick)
}

// arrived tells the session's actor, if it is on this node, of input that this node took.
func (r *Runner) arrived(key stead.SessionKey) {
	r.mu.Lock()
	a := r.actors[key]
	r.mu.Unlock()
	if a != nil {
		poke(a.input)
	}
}

func (r *Runner) now() int64 { return r.cfg.Now().UnixMilli() }

// Holding is how many sessions this node moves at present.
func (r *Runner) Holding() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.actors)
}

var (
	_ session.Service = (*Runner)(nil)
	_ session.Agents  = (*Runner)(nil)
)
