package simulation

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/journal/journaltest"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// How long the chaos lasts, and how long everything may take to come to rest after it (fake time).
const (
	chaosTime = 90 * time.Second
	restTime  = 6 * time.Hour
)

// world is one simulated run.
type world struct {
	seed      uint64
	ctx       context.Context
	store     *journaltest.Memory
	blobs     *blobs
	tools     *ledger
	boxes     *computers
	skew      atomic.Int64 // nanoseconds that the nodes' and the store's clock is ahead
	calm      atomic.Bool  // the chaos is over
	computing bool         // its sessions may have environments

	mu     sync.Mutex
	rng    *rand.Rand
	hosts  []*machine       // by slot, as nodes
	nodes  []*runner.Runner // by slot; a dead one still answers reads, as a client's old connection would not
	names  int
	fails  []string
	leases int // granted in all
	stop   context.CancelFunc
}

// maxLeases is far above what any world needs: more of them are a loop that gets nowhere.
const maxLeases = 20_000

// leased counts the leases of a store, so that sessions that are leased and released for ever without
// any time passing are seen.
type leased struct {
	*journaltest.Memory
	w *world
}

func (l *leased) Acquire(ctx context.Context, node stead.NodeID, limit int) ([]journal.Lease, time.Time, error) {
	leases, next, err := l.Memory.Acquire(ctx, node, limit)
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.leases += len(leases)
	if l.w.leases > maxLeases && len(l.w.fails) == 0 {
		l.w.fails = append(l.w.fails, fmt.Sprintf("%d leases were granted; the last ones are %+v", l.w.leases, leases))
		l.w.stop()
	}
	return leases, next, err
}

func newWorld(ctx context.Context, stop context.CancelFunc, seed uint64) *world {
	w := &world{seed: seed, ctx: ctx, stop: stop, rng: rand.New(rand.NewPCG(seed, 1))}
	w.blobs = newBlobs(w)
	w.store = journaltest.NewMemory(w.now)
	w.boxes = newComputers(w)
	w.tools = &ledger{w: w, applied: map[string][]string{}, results: map[string]string{}}
	return w
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) }

// n draws from [0,most).
func (w *world) n(most int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(most)
}

// chance is true in percent of a hundred cases.
func (w *world) chance(percent int) bool { return w.n(100) < percent }

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.n(int(d))) }

func (w *world) failf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fails = append(w.fails, fmt.Sprintf(format, args...))
}

// sleep waits on the fake clock; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// decided is what the world keeps of a decision in place of an audit record.
func decided(_ context.Context, req policy.Request, d policy.Decision) []byte {
	return fmt.Appendf(nil, "%s %s %t", req.Session.Session, req.Effect, d.Allow)
}

// boot starts a new node in a slot.
func (w *world) boot(slot int) {
	w.mu.Lock()
	w.names++
	name := stead.NodeID(fmt.Sprintf("node-%d", w.names))
	w.mu.Unlock()
	out := io.Discard
	if os.Getenv("STEAD_TEST_LOG") != "" {
		out = os.Stderr
	}
	late := w.upTo(2*maxLate) - maxLate // the node's clock beside the store's
	now := func() time.Time { return w.now().Add(late) }
	host := w.boxes.machine(slot)
	r := runner.New(runner.Config{
		Store: &leased{Memory: w.store, w: w}, Agents: w.store, Blobs: w.blobs, Models: catalog{w}, Tools: w.tools,
		Policy: careful{}, Audit: decided, Node: name, Now: now, Environments: host, EnvironmentIdle: environmentIdle,
		Log:    slog.New(slog.NewTextHandler(out, nil)).With("node", name),
		Random: func() float64 { return float64(w.n(1000)) / 1000 },
	})
	for r.Start(w.ctx) != nil {
		if !sleep(w.ctx, time.Second) {
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nodes[slot], w.hosts[slot] = r, host
}

// node is any node that lives, for a client's call.
func (w *world) node() *runner.Runner {
	for {
		w.mu.Lock()
		r := w.nodes[w.rng.IntN(len(w.nodes))]
		w.mu.Unlock()
		if r != nil || !sleep(w.ctx, 100*time.Millisecond) {
			return r
		}
	}
}

// kill ends a slot's node as SIGKILL would.
func (w *world) kill(slot int) {
	w.mu.Lock()
	r, host := w.nodes[slot], w.hosts[slot]
	w.nodes[slot] = nil
	w.mu.Unlock()
	if r == nil {
		return
	}
	host.die()
	r.Kill()
	if len(w.nodes) == 1 {
		w.store.Crash() // an embedded store dies with its process
	}
}

// killInCommit kills a node between a commit and its acknowledgement, or before the commit: all of
// its writes hang there, as long as it repeats them.
func (w *world) killInCommit(slot int) {
	const endless = 1 << 30
	fail := w.store.FailBefore
	if w.chance(60) {
		fail = w.store.FailAfter
	}
	fail(endless)
	sleep(w.ctx, w.upTo(10*time.Second))
	w.kill(slot)
	fail(0)
	w.boot(slot)
}

// snapshot stores the state at some past moment, so that who loads the session begins there.
func (w *world) snapshot(key stead.SessionKey) {
	events, err := w.store.Read(w.ctx, key, journal.ReadOptions{})
	if err != nil || len(events) == 0 {
		return
	}
	s := session.NewState(key)
	for _, e := range events[:1+w.n(len(events))] {
		if err := s.Apply(e); err != nil {
			w.failf("snapshot: %v", err)
			return
		}
	}
	data, err := s.Snapshot()
	if err == nil {
		err = w.store.SaveSnapshot(w.ctx, key, s.Tail, data)
	}
	if err != nil {
		w.failf("snapshot: %v", err)
	}
}

// drain ends a slot's node in order, as a deploy would.
func (w *world) drain(slot int) {
	w.mu.Lock()
	r, host := w.nodes[slot], w.hosts[slot]
	w.nodes[slot] = nil
	w.mu.Unlock()
	if r == nil {
		return
	}
	defer host.die()
	ctx, cancel := context.WithTimeout(w.ctx, w.upTo(5*time.Second))
	defer cancel()
	_ = r.Shutdown(ctx) // the store may refuse the last heartbeat: then the lease runs out
}

// chaos makes trouble until its time is over.
func (w *world) chaos(keys func() []stead.SessionKey) {
	end := time.Now().Add(chaosTime)
	for time.Now().Before(end) {
		if !sleep(w.ctx, w.upTo(4*time.Second)) {
			return
		}
		slot := w.n(len(w.nodes))
		switch w.n(11) {
		case 0, 1:
			w.kill(slot)
			sleep(w.ctx, w.upTo(20*time.Second))
			w.boot(slot)
		case 2:
			w.drain(slot)
			w.boot(slot)
		case 3:
			if all := keys(); len(all) > 0 {
				w.store.Steal(all[w.n(len(all))])
			}
		case 4:
			w.store.FailBefore(1 + w.n(20))
		case 5:
			w.store.FailAfter(1 + w.n(5))
		case 6:
			w.skew.Add(int64(w.upTo(40 * time.Second))) // past every lease
		case 7:
			w.store.Chance(w.seed+uint64(w.n(1000)), float64(w.n(20))/100, float64(w.n(20))/100)
		case 8:
			w.killInCommit(slot)
		case 9:
			if all := keys(); len(all) > 0 {
				w.snapshot(all[w.n(len(all))])
			}
		case 10:
			w.mu.Lock()
			host := w.hosts[slot]
			w.mu.Unlock()
			host.strike()
		}
	}
	w.store.Chance(0, 0, 0)
	w.store.FailBefore(0)
	w.store.FailAfter(0)
	for slot := range w.nodes {
		w.mu.Lock()
		dead := w.nodes[slot] == nil
		w.mu.Unlock()
		if dead {
			w.boot(slot)
		}
	}
	w.calm.Store(true)
}

// catalog has the scripted model, with a small context so that it is compacted now and then.
type catalog struct{ w *world }

func (c catalog) Resolve(name string, _ model.Caller) (model.Info, model.Model, error) {
	return model.Info{Name: name, Provider: "script", Upstream: name, ContextWindow: 1200, MaxOutputTokens: 100}, script(c), nil
}

func (c catalog) List(stead.ProjectID) []model.Info { return nil }

func tools() []agent.Tool {
	fn := func(name string, async bool) agent.Tool {
		return agent.Tool{Type: agent.ToolFunction, Name: name, Async: async, Parameters: []byte(`{"type":"object"}`)}
	}
	return []agent.Tool{
		{Type: agent.ToolMCP, ServerLabel: "box", RequireApproval: &agent.Approval{Always: []string{"ask"}}},
		fn("fn", false), fn("later", true),
	}
}
