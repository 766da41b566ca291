package router_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/router"
	"github.com/stead-dev/stead/internal/usage"
)

var (
	seeds = flag.Int("seeds", 1000, "how many seeds to run")
	seed  = flag.Uint64("seed", 0, "run this seed alone")
)

// TestSimulation runs aliases over providers that fail, slow down, lie about their limits, hang, break
// off in the middle and come back, in fake time, and checks what must hold whatever they do.
func TestSimulation(t *testing.T) {
	first, n := uint64(1), *seeds
	if *seed != 0 {
		first, n = *seed, 1
	}
	for s := first; s < first+uint64(n) && !t.Failed(); s++ {
		synctest.Test(t, func(t *testing.T) { newWorld(t, s).run() })
		if t.Failed() {
			t.Logf("again: go test ./internal/model/router -run TestSimulation -args -seed %d", s)
		}
	}
}

// mode is what a provider does at present.
type mode int

const (
	healthy mode = iota
	slow
	failing
	limiting // truthful: it is well when Retry-After is over
	lying    // it asks for a wait of hours
	hanging  // says nothing, ever
	stalling // a delta, then nothing
	breaking // a delta, then an error
	cutting  // ends without Done
	refusing // the key
	blaming  // the request: nobody else is to be asked
	modes
)

// provider is a model with moods. What it is asked is written down.
type provider struct {
	w    *world
	name string

	tells bool // of a call that is given up: what it used

	mu    sync.Mutex
	mode  mode
	until time.Time // of limiting
}

// try is one attempt as a provider saw it.
type try struct {
	route string
	at    time.Time
	n     int // of all that happened in this world
	ended bool
	took  bool // the provider has perhaps done what was asked for
}

// asked is one call and all that became of it.
type asked struct {
	alias *router.Alias
	by    model.Caller
	began time.Time
	once  bool // it has effects at its provider
	held  bool // the budget has let it begin

	mu       sync.Mutex
	tries    []*try
	running  int
	most     int // that ran at once
	handed   int // when the first delta was handed out; 0: never
	handedAt time.Time
	deltas   int
	outcomes int
	err      *model.Error
	route    *model.Route
}

type world struct {
	t     *testing.T
	seed  uint64
	rnd   *rand.Rand
	state *router.State

	providers []*provider
	aliases   []*router.Alias

	mu    sync.Mutex
	clock int // counts what happens
	calls map[string]*asked
	purse purse
}

// purse is a budget of money, as package usage has it: a call begins while what was spent and is held is
// below the limit, and holds what it may use at the most.
type purse struct{ limit, spent, held, largest int64 }

// oneCall is what an attempt uses at the most, and each uses it all.
const oneCall = 10

// reserve holds for a call, for both attempts where it may be hedged.
func (w *world) reserve(a *asked) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &w.purse
	if !usage.Admits(usage.Amount{Cost: p.limit}, usage.Amount{Cost: p.spent + p.held}) {
		return false
	}
	p.held += holds(a.alias)
	p.largest = max(p.largest, holds(a.alias))
	return true
}

func holds(a *router.Alias) int64 {
	if a.Hedge > 0 {
		return 2 * oneCall
	}
	return oneCall
}

// settle replaces what a call held by what its outcome says that it used: on both routes.
func (w *world) settle(a *asked) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.purse.held -= holds(a.alias)
	if a.route == nil {
		return
	}
	w.purse.spent += oneCall
	if h := a.route.Hedged; h != nil && h.Usage != nil {
		w.purse.spent += h.Usage.InputTokens
	}
	if over := w.purse.spent - w.purse.limit; w.purse.limit > 0 && over > w.purse.largest {
		w.t.Errorf("seed %d: the budget is overshot by %d, more than the %d of one call", w.seed, over, w.purse.largest)
	}
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, seed: seed, rnd: rand.New(rand.NewPCG(seed, 1)), calls: map[string]*asked{}}
	w.state = router.NewState(nil)
	for i := range 2 + w.rnd.IntN(4) {
		w.providers = append(w.providers, &provider{w: w, name: fmt.Sprintf("p%d", i), tells: w.rnd.IntN(2) == 0})
	}
	for i := range 1 + w.rnd.IntN(2) {
		w.aliases = append(w.aliases, w.alias(fmt.Sprintf("m%d", i)))
	}
	return w
}

// alias draws routes with conditions, and a residency rule.
func (w *world) alias(name string) *router.Alias {
	a := &router.Alias{Name: name, State: w.state}
	if w.rnd.IntN(2) == 0 {
		a.Hedge = time.Duration(1+w.rnd.IntN(4000)) * time.Millisecond
	}
	for i, p := range w.providers {
		if i > 0 && w.rnd.IntN(5) == 0 {
			continue
		}
		r := router.Route{
			Provider: p.name, Upstream: "m", Weight: 1 + w.rnd.IntN(5), Priority: w.rnd.IntN(2), Model: p,
			Region: []string{"", "eu", "us"}[w.rnd.IntN(3)],
		}
		switch w.rnd.IntN(4) {
		case 0:
			r.When.Calls = router.CallsStateless
		case 1:
			r.When.Calls = router.CallsStateful
		}
		if w.rnd.IntN(6) == 0 {
			r.When.Projects = []stead.ProjectID{"y"}
		}
		a.Routes = append(a.Routes, r)
	}
	if w.rnd.IntN(2) == 0 {
		a.Residency = []router.Residency{{Project: "x", Regions: []string{"eu"}}}
	}
	return a
}

// run is chaos, then peace.
func (w *world) run() {
	var all sync.WaitGroup
	if w.rnd.IntN(2) == 0 {
		w.purse.limit = oneCall * int64(1+w.rnd.IntN(60))
	}
	for range 60 {
		if w.rnd.IntN(3) == 0 {
			w.upset()
		}
		all.Go(w.call(w.rnd.IntN(len(w.aliases)), w.caller(), w.rnd.IntN(12) == 0))
		time.Sleep(time.Duration(w.rnd.IntN(4000)) * time.Millisecond)
	}
	all.Wait()
	for _, p := range w.providers {
		p.become(healthy, time.Time{})
	}
	w.purse.limit = 0 // peace costs nothing
	time.Sleep(2 * router.MaxOpen)
	w.recovered()
	w.check()
}

func (w *world) caller() model.Caller {
	by := model.Caller{Project: []stead.ProjectID{"x", "y"}[w.rnd.IntN(2)], Stateful: w.rnd.IntN(2) == 0}
	if by.Stateful {
		by.Session = stead.SessionID(fmt.Sprintf("sess_%d", w.rnd.IntN(8)))
	}
	return by
}

func (w *world) upset() {
	p := w.providers[w.rnd.IntN(len(w.providers))]
	m := mode(w.rnd.IntN(int(modes)))
	if w.rnd.IntN(3) == 0 {
		m = healthy
	}
	p.become(m, time.Now().Add(time.Duration(1+w.rnd.IntN(20))*time.Second))
}

// recovered checks that every route of the first priority gets calls again, and that sessions stay.
func (w *world) recovered() {
	for i, b := range w.aliases {
		for _, by := range []model.Caller{{Project: "x"}, {Project: "y"}, {Project: "y", Stateful: true}} {
			want := w.best(b, by)
			if len(want) == 0 {
				continue
			}
			got := map[string]bool{}
			for n := 0; n < 600 && len(got) < len(want); n++ { // the lightest has one of 21 calls
				c := by
				if c.Stateful {
					c.Session = stead.SessionID(fmt.Sprintf("sess_%d", w.rnd.Uint64()))
				}
				a := w.make(i, c)
				w.ask(i, a, false)
				got[a.tries[0].route] = true
			}
			for _, id := range want {
				if !got[id] {
					w.t.Errorf("seed %d: %s of %s gets no calls although it is well", w.seed, id, b.Name)
				}
			}
		}
		w.sticks(i)
	}
}

func (w *world) sticks(alias int) {
	for s := range 5 {
		route := ""
		for range 3 {
			a := w.make(alias, model.Caller{Project: "y", Stateful: true, Session: stead.SessionID(fmt.Sprint("sticky_", s))})
			w.ask(alias, a, false)
			if a.err != nil {
				continue // no route is for such calls
			}
			if got := a.tries[0].route; route != "" && got != route {
				w.t.Errorf("seed %d: session %d of %s goes from %s to %s", w.seed, s, w.aliases[alias].Name, route, got)
			} else {
				route = got
			}
		}
	}
}

// best are the routes of the first priority that a caller may take.
func (w *world) best(a *router.Alias, by model.Caller) []string {
	var out []string
	least := 100
	for i := range a.Routes {
		if r := &a.Routes[i]; permitted(a, r, by) {
			if r.Priority < least {
				least, out = r.Priority, nil
			}
			if r.Priority == least {
				out = append(out, r.Name())
			}
		}
	}
	return out
}

// permitted says it again, in other words than the planner.
func permitted(a *router.Alias, r *router.Route, by model.Caller) bool {
	if r.When.Calls == router.CallsStateless && by.Stateful || r.When.Calls == router.CallsStateful && !by.Stateful {
		return false
	}
	if len(r.When.Projects) == 1 && r.When.Projects[0] != by.Project {
		return false
	}
	return len(a.Residency) == 0 || by.Project != "x" || r.Region == "eu"
}

func (w *world) make(alias int, by model.Caller) *asked {
	a := &asked{alias: w.aliases[alias], by: by, began: time.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	id := fmt.Sprintf("call%d", len(w.calls))
	w.calls[id] = a
	a.by.User = id
	return a
}

func (w *world) call(alias int, by model.Caller, impatient bool) func() {
	a := w.make(alias, by)
	a.once = w.rnd.IntN(3) == 0
	return func() {
		if a.held = w.reserve(a); !a.held {
			return
		}
		defer w.settle(a)
		if a.once {
			w.pass(a, impatient)
			return
		}
		w.ask(alias, a, impatient)
	}
}

func (w *world) tick() int { w.mu.Lock(); defer w.mu.Unlock(); w.clock++; return w.clock }

// pass makes a call that has effects at its provider.
func (w *world) pass(a *asked, impatient bool) {
	patience := 10 * time.Second
	if impatient {
		patience = 2 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := a.alias.Forward(ctx, model.Forward{Dialect: model.DialectChat, Body: []byte(`{"store":true}`), Caller: a.by})
	a.outcomes++
	if err != nil {
		if e, ok := errors.AsType[*model.Error](err); !ok && ctx.Err() == nil {
			w.t.Errorf("seed %d: an error of no kind: %v", w.seed, err)
		} else if a.err = e; e == nil {
			a.err = &model.Error{Code: model.CodeTimeout}
		}
		return
	}
	defer answer.Body.Close()
	a.handed, a.handedAt = w.tick(), time.Now()
	if _, err := io.ReadAll(answer.Body); err == nil {
		a.route = answer.Route
	}
}

// ask makes a call to its end. Nobody waits for ever.
func (w *world) ask(alias int, a *asked, impatient bool) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	patience := 10 * time.Second // as the runner's and the doors' limit of silence
	if impatient {
		patience = 2 * time.Second
	}
	defer time.AfterFunc(patience, cancel).Stop()
	for d, err := range w.aliases[alias].Generate(ctx, model.Request{Caller: a.by}) {
		a.mu.Lock()
		switch e, ok := errors.AsType[*model.Error](err); {
		case a.outcomes > 0:
			w.t.Errorf("seed %d: %s goes on after its end: %+v, %v", w.seed, a.by.User, d, err)
		case err != nil && !ok && ctx.Err() == nil:
			w.t.Errorf("seed %d: an error of no kind: %v", w.seed, err)
		case err != nil:
			a.outcomes++
			if a.err = e; e == nil {
				a.err = &model.Error{Code: model.CodeConnection}
			}
		case d.Kind == model.Done:
			a.outcomes++
			a.route = d.Route
			fallthrough
		default:
			if a.deltas++; a.handed == 0 {
				a.handed, a.handedAt = w.tick(), time.Now()
			}
		}
		a.mu.Unlock()
	}
}

func (p *provider) become(m mode, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode, p.until = m, until
}

func (p *provider) mood() (mode, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := time.Until(p.until)
	if p.mode == limiting && left <= 0 {
		p.mode = healthy
	}
	return p.mode, left
}

// Generate implements model.Model.
func (p *provider) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		_, end := p.take(req.Caller.User, req.Model)
		defer end()
		p.answer(ctx, yield)
	}
}

// take writes down that a call came.
func (p *provider) take(id, upstream string) (one *try, end func()) {
	p.w.mu.Lock()
	a := p.w.calls[id]
	p.w.mu.Unlock()
	one = &try{route: p.name + "/" + upstream, at: time.Now(), n: p.w.tick()}
	a.mu.Lock()
	a.tries = append(a.tries, one)
	a.running++
	a.most = max(a.most, a.running)
	a.mu.Unlock()
	return one, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.running--
		one.ended = true
	}
}

// Forward implements model.Forwarder, with an effect unless the provider says that it takes no call.
func (p *provider) Forward(ctx context.Context, req model.Forward) (*model.Answer, error) {
	one, end := p.take(req.Caller.User, req.Model)
	defer end()
	switch m, _ := p.mood(); m {
	case limiting, lying, refusing, blaming:
	default:
		one.took = true
	}
	var text string
	for d, err := range p.deltas(ctx) {
		if err != nil && text == "" {
			return nil, err
		}
		if err != nil {
			return &model.Answer{Body: io.NopCloser(iotest.ErrReader(err))}, nil
		}
		text += d.Text
	}
	if text == "" {
		return nil, &model.Error{Code: model.CodeConnection, Retry: true}
	}
	return &model.Answer{Body: io.NopCloser(strings.NewReader(text))}, nil
}

func (p *provider) deltas(ctx context.Context) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) { p.answer(ctx, yield) }
}

func (p *provider) answer(ctx context.Context, yield func(model.Delta, error) bool) {
	m, left := p.mood()
	wait := func(d time.Duration) bool {
		select {
		case <-ctx.Done():
			if p.tells && context.Cause(ctx) != context.Canceled { // not by the caller, nor by its patience
				yield(model.Delta{Kind: model.Done, Usage: &stead.Usage{InputTokens: oneCall}}, nil)
				return false
			}
			yield(model.Delta{}, &model.Error{Code: model.CodeConnection, Message: "ended", Retry: true, Err: ctx.Err()})
			return false
		case <-time.After(d):
			return true
		}
	}
	fail := func(code string, after time.Duration) {
		yield(model.Delta{}, &model.Error{Code: code, Message: code, Retry: code != model.CodeAuthentication, RetryAfter: after})
	}
	const long = time.Hour
	first := 10 * time.Millisecond
	switch m {
	case failing:
		fail(model.CodeServer, 0)
		return
	case limiting:
		fail(model.CodeRateLimit, left)
		return
	case lying:
		fail(model.CodeOverloaded, 5*long)
		return
	case refusing:
		fail(model.CodeAuthentication, 0)
		return
	case blaming:
		fail(model.CodeInvalid, 0)
		return
	case hanging:
		wait(long)
		return
	case slow:
		first = 3 * time.Second
	}
	if !wait(first) || !yield(model.Delta{Kind: model.TextDelta, Text: "a"}, nil) {
		return
	}
	switch m {
	case stalling:
		wait(long)
	case breaking:
		fail(model.CodeConnection, 0)
	default:
		if wait(first) {
			yield(model.Delta{Kind: model.Done, Usage: &stead.Usage{InputTokens: 1, OutputTokens: 1}}, nil)
		}
	}
}

// check holds everything that happened against what must hold.
func (w *world) check() {
	for id, a := range w.calls {
		if !a.held && a.outcomes == 0 && len(a.tries) == 0 {
			continue // no budget, no call
		}
		if a.outcomes != 1 {
			w.t.Errorf("seed %d: %s has %d outcomes", w.seed, id, a.outcomes)
		}
		if len(a.tries) > router.MaxAttempts {
			w.t.Errorf("seed %d: %s has %d attempts", w.seed, id, len(a.tries))
		}
		if most := w.atOnce(a); a.most > most {
			w.t.Errorf("seed %d: %s is on %d routes at once", w.seed, id, a.most)
		}
		took := 0
		for _, one := range a.tries {
			if one.took {
				took++
			}
		}
		if took > 1 {
			w.t.Errorf("seed %d: the effect of %s is perhaps done %d times", w.seed, id, took)
		}
		seen := map[string]bool{}
		for _, one := range a.tries {
			if late := a.handed > 0 && one.n > a.handed; late && (w.atOnce(a) == 1 || one.at.After(a.handedAt)) { // a hedge may begin at that moment
				w.t.Errorf("seed %d: %s is sent to %s after an answer had begun", w.seed, id, one.route)
			}
			if seen[one.route] {
				w.t.Errorf("seed %d: %s is sent to %s twice", w.seed, id, one.route)
			}
			seen[one.route] = true
			if !one.ended {
				w.t.Errorf("seed %d: %s still runs on %s", w.seed, id, one.route)
			}
			i := slices.IndexFunc(a.alias.Routes, func(r router.Route) bool { return r.Name() == one.route })
			if i < 0 || !permitted(a.alias, &a.alias.Routes[i], a.by) {
				w.t.Errorf("seed %d: %s of %+v is sent to %s, which is forbidden", w.seed, id, a.by, one.route)
			}
		}
		if a.route != nil && a.route.Why == "" {
			w.t.Errorf("seed %d: %s does not say why", w.seed, id)
		}
	}
	w.checkBudgets()
}

// atOnce is on how many routes a call may be at once.
func (w *world) atOnce(a *asked) int {
	if a.once || a.alias.Hedge == 0 {
		return 1
	}
	return 2
}

// checkBudgets counts extra attempts. The router's windows are laid end to end, so that any span of
// one window's length touches two of them at most: each has its share of its calls, one attempt is
// let through while the count is still below it.
func (w *world) checkBudgets() {
	for _, b := range w.aliases {
		var calls, extra []time.Time
		for _, a := range w.calls {
			if a.alias != b {
				continue
			}
			calls = append(calls, a.began)
			for i, one := range a.tries {
				if i > 0 {
					extra = append(extra, one.at)
				}
			}
		}
		for _, at := range extra {
			within := func(all []time.Time, window time.Duration) (n int) {
				for _, x := range all {
					if !x.After(at) && at.Sub(x) < window {
						n++
					}
				}
				return n
			}
			n := within(extra, router.ExtraWindow)
			most := 2 * (max(router.ExtraFree, router.ExtraShare*float64(within(calls, 2*router.ExtraWindow))) + 1)
			if float64(n) > most {
				w.t.Errorf("seed %d: %s has %d extra attempts where %.0f are allowed", w.seed, b.Name, n, most)
			}
		}
	}
}
