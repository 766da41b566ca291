package chaos

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment/ns"
	"github.com/stead-dev/stead/proof/effect"
	"github.com/stead-dev/stead/proof/rig"
)

var (
	kills = flag.Int("kills", 20, "SIGKILLs on SQLite; half as many on PostgreSQL")
	seed  = flag.Uint64("seed", 1, "of the loads and the moments")
)

// Sizes of the load, and times.
const (
	drivers = 8
	// burstEvery-th driver sends notes without waiting, the others turns with calls.
	burstEvery = 4
	// settleTimeout is how long everything may take to come to rest after the last kill: a dead
	// node's lease, the calls' own times, and the retries.
	settleTimeout = 90 * time.Second
	// leaseTTL is stead.LeaseTTL; a frozen node's sessions are taken over within takeOverMargin more.
	leaseTTL       = 15 * time.Second
	takeOverMargin = 10 * time.Second
	// freezeTries is how many nodes more may turn out to have held nothing.
	freezeTries  = 3
	frozenMoment = "frozen past the lease"
	// thawMargin is how long after its thaw a node may still send what it held.
	thawMargin = 2 * time.Second
)

var programs struct{ stead, effects string } // set by TestMain, read by the tests

func TestMain(m *testing.M) {
	if os.Args[0] == ns.Argv0 { // a driver that is tried starts this program again
		ns.Main()
	}
	flag.Parse()
	os.Exit(rig.Main(m, map[string]*string{"./cmd/stead": &programs.stead, "./proof/chaos/effects": &programs.effects}))
}

// world is everything that runs in one test.
type world struct {
	t      *testing.T
	dir    string
	nodes  []*rig.Node
	tools  *rig.Server
	ledger string
	client *rig.Client
	rnd    *rand.Rand // of the killer alone

	frozen  atomic.Bool // a node stands still: unknown outcomes can't be told yet
	moments map[string]int
}

func newWorld(t *testing.T, nodes int, database string) *world {
	w := &world{t: t, dir: t.TempDir(), rnd: rand.New(rand.NewPCG(*seed, 0)), moments: map[string]int{}}
	w.ledger = filepath.Join(w.dir, "ledger.jsonl")
	var err error
	if w.tools, err = rig.StartServer(programs.effects, "-ledger", w.ledger); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.tools.Close)
	config := fmt.Sprintf("mcp_servers:\n  - {label: world, url: %s/mcp}\n", w.tools.URL())
	config += "budgets: [{name: all, scope: project, limit: {calls: 1000000}}]\n" // never reached: its counter must be right
	if database != "" {
		config += "database: " + database + "\n"
	}
	var bases []string
	for i := range nodes {
		n, err := rig.NewNode(rig.NodeOptions{Program: programs.stead, Dir: filepath.Join(w.dir, fmt.Sprintf("node%d", i)), Config: config})
		if err == nil {
			err = n.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Kill)
		w.nodes = append(w.nodes, n)
		bases = append(bases, n.URL())
	}
	w.client = rig.NewClient(bases...)
	return w
}

func TestSQLite(t *testing.T) {
	w := newWorld(t, 1, "")
	w.run(func() error {
		for range *kills {
			if err := w.strike(w.nodes[0], 700*time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestTwoNodesOnPostgres(t *testing.T) {
	pg, err := rig.NewPostgres(t.TempDir())
	if errors.Is(err, rig.ErrNoPostgres) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Kill)
	url, err := pg.CreateDatabase("stead")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, 2, url)
	w.run(func() error {
		// A node may hold nothing at the moment that it freezes: then it proves nothing, and another
		// is tried.
		for try := 0; w.moments[frozenMoment] < max(1, *kills/40); try++ {
			if try == max(1, *kills/40)+freezeTries {
				return errors.New("no frozen node's sessions were taken over")
			}
			if err := w.freeze(w.nodes[try%len(w.nodes)]); err != nil {
				return err
			}
		}
		for range max(1, *kills/2) {
			// Rarer than on one node: a dead node's sessions wait for its lease to run out.
			if err := w.strike(w.nodes[w.rnd.IntN(len(w.nodes))], 4*time.Second); err != nil {
				return err
			}
		}
		return nil
	})
}

// run drives the load while harm is done, lets everything come to rest, and checks.
func (w *world) run(harm func() error) {
	t := w.t
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stop := make(chan struct{})
	var all []*driver
	var wg sync.WaitGroup
	for i := range drivers {
		d := newDriver(w, i)
		all = append(all, d)
		wg.Go(func() { d.fault = d.run(ctx, stop) })
	}
	err := harm()
	close(stop)
	if err != nil {
		cancel()
		wg.Wait()
		t.Fatal(err)
	}
	timer := time.AfterFunc(settleTimeout, cancel)
	wg.Wait()
	timer.Stop()
	w.check(all)
	t.Logf("%d kills, moments hit: %v", *kills, w.moments)
}

// strike kills a node at a moment that the seed draws, and starts it again.
func (w *world) strike(n *rig.Node, within time.Duration) error {
	moments := []string{"any", "any", effect.PhaseReceived, effect.PhaseApplied, effect.PhaseAnswered}
	moment := moments[w.rnd.IntN(len(moments))]
	time.Sleep(time.Duration(w.rnd.Int64N(int64(within)))) // the moment itself, not a wait for something
	if moment != "any" {
		// The call stands still where it is, so that the kill finds it there. An answer is let go,
		// and the kill comes into what the runtime does with it.
		hold := 100 * time.Millisecond
		if moment == effect.PhaseAnswered {
			hold = 0
		}
		hit, err := w.tools.AwaitPhase(moment, hold, 5*time.Second)
		if err != nil {
			return err
		}
		if !hit {
			moment = "none in time"
		}
		time.Sleep(time.Duration(w.rnd.Int64N(int64(5 * time.Millisecond))))
	}
	w.moments[moment]++
	n.Kill()
	return n.Start()
}

// freeze stops a node without its knowledge until the others have taken sessions over from it, then
// lets it run on: it must notice that they are no longer its own.
func (w *world) freeze(n *rig.Node) error {
	var others []string
	for _, o := range w.nodes {
		if o != n {
			others = append(others, o.URL())
		}
	}
	client := rig.NewClient(others...)
	// A call that is under way when the node stops is on one of the nodes: the drivers are at work.
	if _, err := w.tools.AwaitPhase(effect.PhaseApplied, 100*time.Millisecond, takeOverMargin); err != nil {
		return err
	}
	before, err := w.takenOver(client)
	if err != nil {
		return err
	}
	w.frozen.Store(true)
	if err := n.Freeze(); err != nil {
		return err
	}
	taken := rig.Poll(leaseTTL+takeOverMargin, "the sessions of a frozen node to be taken over", func() error {
		now, err := w.takenOver(client)
		if err == nil && now == before {
			err = fmt.Errorf("none was; the sessions are %v", w.statuses(client))
		}
		return err
	})
	if err := n.Thaw(); err != nil {
		return err
	}
	if taken != nil {
		w.moments["frozen with nothing in its hands"]++
		w.t.Log(taken)
	} else {
		w.moments[frozenMoment]++
	}
	// What the thawed node still had in its hands reaches the tool server now, or never.
	time.Sleep(thawMargin)
	w.frozen.Store(false)
	if !n.Alive() {
		return n.Start()
	}
	return nil
}

// statuses are those of all sessions, for the report of a failure.
func (w *world) statuses(client *rig.Client) []string {
	ctx, cancel := context.WithTimeout(w.t.Context(), leaseTTL)
	defer cancel()
	var page struct{ Data []rig.Session }
	if err := client.Do(ctx, http.MethodGet, "/v1/agents/sessions?limit=100", "", nil, &page); err != nil {
		return []string{err.Error()}
	}
	var out []string
	for _, s := range page.Data {
		out = append(out, s.ID+" "+s.Status)
	}
	return out
}

// takenOver counts, over all sessions, how often a node found another one's work in the middle.
func (w *world) takenOver(client *rig.Client) (int, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), leaseTTL)
	defer cancel()
	var page struct{ Data []rig.Session }
	if err := client.Do(ctx, http.MethodGet, "/v1/agents/sessions?limit=100", "", nil, &page); err != nil {
		return 0, err
	}
	n := 0
	for _, s := range page.Data {
		n += strings.Count(client.Export(ctx, s.ID), `"kind":"runner.recovered"`)
	}
	return n, nil
}
