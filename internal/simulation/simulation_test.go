package simulation

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage/account"
)

var seeds = flag.Int("seeds", defaultSeeds, "how many seeds to run")

// TestSeeds runs many worlds. SEED=n runs that one alone.
func TestSeeds(t *testing.T) {
	if one := os.Getenv("SEED"); one != "" {
		seed, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			t.Fatalf("SEED=%q is not a number", one)
		}
		simulate(t, seed)
		return
	}
	// A world has one clock and moves little at a time: as many as there are processors run at once.
	var next atomic.Uint64
	for range runtime.GOMAXPROCS(0) {
		t.Run("worlds", func(t *testing.T) {
			t.Parallel()
			for seed := next.Add(1) - 1; seed < uint64(*seeds) && !t.Failed(); seed = next.Add(1) - 1 {
				simulate(t, seed)
			}
		})
	}
}

func simulate(t *testing.T, seed uint64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := newWorld(ctx, cancel, seed)
		w.computing = w.chance(25)
		w.nodes = make([]*runner.Runner, 1+w.n(3))
		w.hosts = make([]*machine, len(w.nodes))
		for slot := range w.nodes {
			w.boot(slot)
		}
		apps := w.play()
		w.check(apps)
		for slot := range w.nodes {
			w.kill(slot)
		}
		time.Sleep(deaf) // actions that did not hear that they were given up; the clock stops when this ends
		if len(w.fails) == 0 {
			return
		}
		for _, a := range apps {
			t.Logf("journal of %s:\n%s", a.id, w.dump(a))
		}
		t.Errorf("seed %d (repeat with SEED=%d):\n%s", seed, seed, strings.Join(w.fails, "\n"))
	})
}

// play runs the applications through the chaos and until all of them rest.
func (w *world) play() []*app {
	apps := make([]*app, 1+w.n(5))
	var mu sync.Mutex
	var known []stead.SessionKey
	keys := func() []stead.SessionKey {
		mu.Lock()
		defer mu.Unlock()
		return known
	}
	var acting, watching, trouble sync.WaitGroup
	done := make(chan struct{})
	trouble.Go(func() { w.chaos(keys) })
	for i := range apps {
		a := &app{w: w, n: i}
		apps[i] = a
		acting.Go(func() {
			if !sleep(w.ctx, w.upTo(30*time.Second)) || !a.create() {
				return
			}
			mu.Lock()
			known = append(known, stead.SessionKey{Project: me.Project, Session: a.id})
			mu.Unlock()
			watching.Go(func() { a.watch(w.ctx, done) })
			a.run()
		})
	}
	acting.Wait()
	trouble.Wait()
	sleep(w.ctx, time.Minute) // let the watchers see the end
	close(done)
	watching.Wait()
	return apps
}

func (w *world) events(a *app) []stead.Event {
	events, err := w.store.Read(context.Background(), stead.SessionKey{Project: me.Project, Session: a.id}, journal.ReadOptions{})
	if err != nil {
		w.failf("read %s: %v", a.id, err)
	}
	return events
}

func (w *world) dump(a *app) string {
	var b strings.Builder
	for _, e := range w.events(a) {
		fmt.Fprintf(&b, "%4d %d %s %s\n", e.Seq, e.At, e.Kind, e.Data)
	}
	return b.String()
}

// check holds the world against the invariants.
func (w *world) check(apps []*app) {
	for op, keys := range w.tools.applied {
		name, _, _ := strings.Cut(op, "-")
		if (name == "count" || name == "launch" || name == "ask" || name == "sh" || name == "write") && len(keys) > 1 {
			w.failf("%s took effect %d times, under the keys %v", op, len(keys), keys)
		}
	}
	w.checkUsage()
	journals := map[stead.SessionKey][]stead.Event{}
	defer func() { w.boxes.check(journals) }()
	for _, a := range apps {
		if a.id == "" {
			continue
		}
		events := w.events(a)
		if a.box {
			journals[stead.SessionKey{Project: me.Project, Session: a.id}] = events
		}
		w.checkInputs(a, events)
		w.checkAudit(a, events)
		w.checkReplay(a, events)
		w.checkSnapshots(a, events)
		for _, ahead := range timersAhead(events) {
			w.failf("session %s: %s", a.id, ahead)
		}
		w.checkSubagents(a, events)
		a.checkStream(events)
	}
}

// checkUsage: the usage records are those that the journals make, one by one and in their sums.
func (w *world) checkUsage() {
	v, err := account.New(account.Config{Store: w.store, Policy: policy.AllowLocal{}}).Verify(context.Background(), me, false, false)
	if err != nil {
		w.failf("verify the usage records: %v", err)
		return
	}
	for _, d := range v.Differences {
		w.failf("usage record %s is %s: the journal says %+v, the store %+v", d.ID, d.What, d.Journal, d.Store)
	}
	if !v.OK() {
		w.failf("the usage records don't add up: journals %+v, store %+v", v.Journal, v.Store)
	}
}

// checkAudit: what was done was decided, and each decision is recorded once.
func (w *world) checkAudit(a *app, events []stead.Event) {
	want, got := map[string]int{}, map[string]int{}
	make := func(effect policy.Effect, allow bool) string {
		return string(decided(context.Background(), policy.Request{Session: stead.SessionKey{Session: a.id}, Effect: effect}, policy.Decision{Allow: allow}))
	}
	record := func(effect policy.Effect) string { return make(effect, true) }
	for _, e := range events {
		for _, allowed := range w.functions(e) {
			want[make(policy.ToolCall, allowed)]++
		}
		switch e.Kind {
		case session.KindToolRequired:
			want[record(policy.ToolCall)]++
		case session.KindModelCalled:
			want[record(policy.ModelCall)]++
		case session.KindToolCalled:
			want[record(policy.ToolCall)]++
		case session.KindSubagentInput: // with a subagent.created, or to one that there is
			want[record(policy.SubagentCreate)]++
		case session.KindSessionCreated:
			want[record(policy.SessionCreate)]++
		case session.KindInputMessage:
			if len(want) > 1 { // the first may have come with the session
				want[record(policy.SessionWrite)]++
			}
		}
	}
	for _, d := range w.store.AuditDrafts(me.Project) {
		got[string(d)]++
	}
	for record, n := range want {
		if exact := !strings.Contains(record, string(policy.SessionWrite)); got[record] < n || exact && got[record] != n {
			w.failf("the audit log has %d records %q, the journal says %d", got[record], record, n)
		}
	}
}

// checkInputs: everything that was accepted is in the journal, once.
func (w *world) checkInputs(a *app, events []stead.Event) {
	count := map[string]int{}
	for _, e := range events {
		if e.Kind != session.KindInputMessage {
			continue
		}
		m, err := session.Decode[session.Message](e)
		if err != nil {
			w.failf("%v", err)
			continue
		}
		count[asked(m)]++
	}
	for _, s := range a.sent {
		if count[s] != 1 {
			w.failf("session %s holds %q %d times", a.id, s, count[s])
		}
	}
}

// maxLate is the most by which a node's clock is behind the store's, or ahead of it.
const maxLate = 3 * time.Second

// timersAhead: no event says that it is later than its writer's clock, or the store's, can have said, however far they may be from each other. Else of several times that a session waits for one
// that has not come is taken for over.
func timersAhead(events []stead.Event) (ahead []string) {
	for _, e := range events {
		if e.Kind != session.KindTimerFired {
			continue
		}
		if p, err := session.Decode[session.TimerFired](e); err != nil || p.At > e.At+runner.MaxClockSkew.Milliseconds() {
			ahead = append(ahead, fmt.Sprintf("event %d brings a time %d ms ahead of its own: %v", e.Seq, p.At-e.At, err))
		}
	}
	return ahead
}

// TestTimersAheadAreSeen: the check tells a time that has not come from one that another clock has brought.
func TestTimersAheadAreSeen(t *testing.T) {
	var events []stead.Event
	for i, at := range []int64{1000, 999, 1000 + runner.MaxClockSkew.Milliseconds(), 1001 + runner.MaxClockSkew.Milliseconds(), 1000 + time.Hour.Milliseconds()} {
		e, err := session.NewEvent(1000, session.KindTimerFired, session.TimerFired{At: at})
		if err != nil {
			t.Fatal(err)
		}
		e.Seq = stead.Seq(i + 1)
		events = append(events, e)
	}
	got := timersAhead(events)
	if len(got) != 2 || !strings.HasPrefix(got[0], "event 4 ") || !strings.HasPrefix(got[1], "event 5 ") {
		t.Errorf("%q", got)
	}
}

// checkSnapshots: a state from any snapshot and the events after it is the state from replay.
func (w *world) checkSnapshots(a *app, events []stead.Event) {
	key := stead.SessionKey{Project: me.Project, Session: a.id}
	at := w.n(len(events) + 1)
	replayed, resumed := session.NewState(key), session.NewState(key)
	for i, e := range events {
		if i == at {
			data, err := resumed.Snapshot()
			if err == nil {
				resumed, err = session.LoadState(key, data)
			}
			if err != nil {
				w.failf("snapshot of %s at %d: %v", a.id, at, err)
				return
			}
		}
		if err := replayed.Apply(e); err != nil {
			w.failf("replay: %v", err)
			return
		}
		if err := resumed.Apply(e); err != nil {
			w.failf("replay from snapshot: %v", err)
			return
		}
	}
	x, _ := json.Marshal(replayed)
	y, _ := json.Marshal(resumed)
	if !reflect.DeepEqual(x, y) {
		w.failf("session %s: state from replay\n%s\nfrom the snapshot at %d\n%s", a.id, x, at, y)
	}
	if replayed.Turn != nil || replayed.Working() > 0 {
		w.failf("session %s rests with a turn", a.id)
	}
}

// wire is what the checks read of any stream event.
type wire struct {
	EventID      string `json:"event_id"`
	ItemID       string `json:"item_id"`
	SummaryIndex int    `json:"summary_index"`
	Delta        string `json:"delta"`
	Text         string `json:"text"`
}

func flat(body any) wire {
	var out wire
	data, err := json.Marshal(body)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		panic(err)
	}
	return out
}
