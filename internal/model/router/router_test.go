package router_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/router"
)

// upstream answers with its name, or fails as it is told.
type upstream struct {
	name  string
	fails func(n int) *model.Error // of the n-th call, from 1; nil: never
	late  bool                     // fails behind its first word
	tier  string                   // that it says it served
	calls int
}

func (u *upstream) Generate(_ context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		u.calls++
		var failure *model.Error
		if u.fails != nil {
			failure = u.fails(u.calls)
		}
		if failure != nil && !u.late {
			yield(model.Delta{}, failure)
			return
		}
		if !yield(model.Delta{Kind: model.TextDelta, Text: u.name}, nil) {
			return
		}
		if failure != nil {
			yield(model.Delta{}, failure)
			return
		}
		yield(model.Delta{Kind: model.Done, Usage: &stead.Usage{InputTokens: 1}, Model: req.Model, Tier: u.tier}, nil)
	}
}

func fails(code string) func(int) *model.Error {
	return func(int) *model.Error { return &model.Error{Code: code, Message: "no", Retry: true} }
}

// ask makes one call and returns who answered, its route and the error.
func ask(a *router.Alias, call model.Caller) (string, *model.Route, error) {
	said := ""
	for d, err := range a.Generate(context.Background(), model.Request{Caller: call}) {
		if err != nil {
			var me *model.Error
			if errors.As(err, &me) {
				return said, me.Route, err
			}
			return said, nil, err
		}
		said += d.Text
		if d.Kind == model.Done {
			return said, d.Route, nil
		}
	}
	return said, nil, errors.New("no end")
}

func alias(routes ...router.Route) *router.Alias {
	return &router.Alias{Name: "m", Routes: routes, State: router.NewState(nil)}
}

func to(u *upstream, change ...func(*router.Route)) router.Route {
	r := router.Route{Provider: u.name, Upstream: "x", Model: u}
	for _, c := range change {
		c(&r)
	}
	return r
}

func in(region string) func(*router.Route)        { return func(r *router.Route) { r.Region = region } }
func when(c router.Condition) func(*router.Route) { return func(r *router.Route) { r.When = c } }
func ranked(priority, weight int) func(*router.Route) {
	return func(r *router.Route) { r.Priority, r.Weight = priority, weight }
}

func TestThreeReadableLines(t *testing.T) {
	a, b := &upstream{name: "cloud-a"}, &upstream{name: "cloud-b"}
	m := alias(to(a, when(router.Condition{Calls: router.CallsStateless})), to(b, in("eu"), when(router.Condition{Calls: router.CallsStateful})))
	m.Residency = []router.Residency{{Project: "x", Regions: []string{"eu"}}}
	for _, tc := range []struct {
		call model.Caller
		want string
	}{
		{model.Caller{Project: "y"}, "cloud-a"},
		{model.Caller{Project: "y", Stateful: true, Session: "s"}, "cloud-b"},
		{model.Caller{Project: "x", Stateful: true, Session: "s"}, "cloud-b"},
	} {
		if got, route, err := ask(m, tc.call); got != tc.want || err != nil || route.Provider != tc.want {
			t.Errorf("%+v went to %q by %+v, %v; want %s", tc.call, got, route, err, tc.want)
		}
	}
	_, _, err := ask(m, model.Caller{Project: "x"}) // stateless goes to cloud-a, which is outside
	if err == nil || !strings.Contains(err.Error(), "stays in eu") || a.calls != 1 {
		t.Errorf("%v: project x left its region", err)
	}
}

// A project never leaves its region: when all that is there fails, the call fails, and its error names the rule.
func TestFailOverStaysInTheRegion(t *testing.T) {
	for _, hedge := range []time.Duration{0, time.Minute} {
		bad, good := &upstream{name: "bad", fails: fails(model.CodeConnection)}, &upstream{name: "good"}
		m := alias(to(bad, in("eu")), to(good, in("us"), ranked(1, 0)))
		m.Hedge, m.Residency = hedge, []router.Residency{{Project: "x", Regions: []string{"eu"}}}
		_, _, err := ask(m, model.Caller{Project: "x"})
		if err == nil || !strings.Contains(err.Error(), "good/") || !strings.Contains(err.Error(), "project x stays in eu") || good.calls != 0 {
			t.Errorf("%v, and %d calls went elsewhere", err, good.calls)
		}
		if got, _, err := ask(m, model.Caller{Project: "y"}); got != "good" || err != nil {
			t.Errorf("another project: %q, %v", got, err)
		}
	}
}

func TestFailOver(t *testing.T) {
	for _, tc := range []struct {
		code  string
		moves bool
	}{
		{model.CodeRateLimit, true}, {model.CodeOverloaded, true}, {model.CodeServer, true}, {model.CodeConnection, true}, {model.CodeTimeout, true},
		{model.CodeAuthentication, true}, {model.CodeUsageLimit, true}, {model.CodeNotFound, true},
		{model.CodeInvalid, false}, {model.CodeContextLength, false}, {model.CodePolicy, false},
	} {
		bad, good := &upstream{name: "bad", fails: fails(tc.code)}, &upstream{name: "good"}
		got, route, err := ask(alias(to(bad), to(good, ranked(1, 0))), model.Caller{})
		if tc.moves != (got == "good") || tc.moves != (err == nil) {
			t.Errorf("%s: %q, %v", tc.code, got, err)
		}
		if tc.moves && !slices.Equal(route.Tried, []string{"bad/x: " + tc.code}) {
			t.Errorf("%s: the route does not say what was tried: %+v", tc.code, route)
		}
		if !tc.moves && (route == nil || route.Provider != "bad") {
			t.Errorf("%s: the error does not name its route: %+v", tc.code, route)
		}
	}
}

func TestNoFailOverOnceSomethingWasSaid(t *testing.T) {
	bad, good := &upstream{name: "half", fails: fails(model.CodeConnection), late: true}, &upstream{name: "good"}
	got, _, err := ask(alias(to(bad), to(good, ranked(1, 0))), model.Caller{})
	if got != "half" || err == nil || good.calls != 0 {
		t.Errorf("%q, %v, and %d calls of the next route", got, err, good.calls)
	}
}

func TestAPoolMayKeepItsCalls(t *testing.T) {
	bad := &upstream{name: "bad", fails: func(int) *model.Error { return &model.Error{Code: model.CodeRateLimit, Stay: true} }}
	good := &upstream{name: "good"}
	if _, _, err := ask(alias(to(bad), to(good, ranked(1, 0))), model.Caller{}); err == nil || good.calls != 0 {
		t.Errorf("%v: it was spilled over", err)
	}
}

func TestABreakerOpensAndOneCallTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ill := true
		a := &upstream{name: "a", fails: func(int) *model.Error {
			if ill {
				return &model.Error{Code: model.CodeServer}
			}
			return nil
		}}
		b := &upstream{name: "b"}
		m := alias(to(a), to(b, ranked(1, 0)))
		for range router.BreakAfter {
			_, _, _ = ask(m, model.Caller{})
		}
		before := a.calls
		if got, route, err := ask(m, model.Caller{}); got != "b" || err != nil || a.calls != before || len(route.Tried) > 0 {
			t.Errorf("%q, %+v, %v: the route is still called", got, route, err)
		}
		if c := m.Plan(model.Caller{}, "k"); c[1].Place != 0 || !strings.Contains(c[1].Why, "failed lately") {
			t.Errorf("the plan does not say so: %+v", c)
		}
		time.Sleep(router.OpenFor)
		ill = false
		if got, _, err := ask(m, model.Caller{}); got != "a" || err != nil {
			t.Errorf("%q, %v: the route is not tried again", got, err)
		}
		if got, _, _ := ask(m, model.Caller{}); got != "a" {
			t.Error("the route that is back gets no calls")
		}
	})
}

func TestAllRoutesDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &upstream{name: "a", fails: fails(model.CodeServer)}, &upstream{name: "b", fails: fails(model.CodeServer)}
		m := alias(to(a), to(b, ranked(1, 0)))
		calls := 0
		for range 1000 {
			if _, _, err := ask(m, model.Caller{}); err == nil {
				t.Fatal("no error")
			}
			calls++
		}
		made := a.calls + b.calls
		if most := float64(calls)*(1+router.ExtraShare) + router.ExtraFree + 1; float64(made) > most {
			t.Errorf("%d calls made %d attempts, more than the budget of %.0f", calls, made, most)
		}
		if made < calls {
			t.Errorf("%d calls made %d attempts: some were not tried at all", calls, made)
		}
	})
}

func TestWeightsAndStickiness(t *testing.T) {
	a, b := &upstream{name: "a"}, &upstream{name: "b"}
	m := alias(to(a, ranked(0, 9)), to(b, ranked(0, 1)))
	const n = 10_000
	first := map[stead.SessionID]string{}
	for i := range n {
		id := stead.SessionID(fmt.Sprintf("sess_%d", i))
		got, _, err := ask(m, model.Caller{Stateful: true, Session: id})
		if err != nil {
			t.Fatal(err)
		}
		first[id] = got
	}
	if share := float64(a.calls) / n; math.Abs(share-0.9) > 0.05*0.9 {
		t.Errorf("route a had %.3f of the calls, want 0.9 within 5 %%", share)
	}
	for id, want := range first {
		if got, _, _ := ask(m, model.Caller{Stateful: true, Session: id}); got != want {
			t.Fatalf("session %s went to %s and then to %s", id, want, got)
		}
	}
	a.calls = 0
	for range n { // calls that have nothing in common are spread as well
		_, _, _ = ask(m, model.Caller{})
	}
	if share := float64(a.calls) / n; math.Abs(share-0.9) > 0.05*0.9 {
		t.Errorf("of stateless calls route a had %.3f", share)
	}
}

func TestConditions(t *testing.T) {
	u := &upstream{name: "u"}
	for _, tc := range []struct {
		when router.Condition
		call model.Caller
		fits bool
	}{
		{router.Condition{}, model.Caller{}, true},
		{router.Condition{Projects: []stead.ProjectID{"a", "b"}}, model.Caller{Project: "b"}, true},
		{router.Condition{Projects: []stead.ProjectID{"a"}}, model.Caller{Project: "b"}, false},
		{router.Condition{Agents: []stead.AgentID{"agent_1"}}, model.Caller{Agent: "agent_2"}, false},
		{router.Condition{Labels: map[string]string{"team": "red"}}, model.Caller{Labels: stead.Labels{"team": {"red"}, "x": {"y"}}}, true},
		{router.Condition{Labels: map[string]string{"team": "red"}}, model.Caller{}, false},
	} {
		_, _, err := ask(alias(to(u, when(tc.when))), tc.call)
		if (err == nil) != tc.fits {
			t.Errorf("%+v for %+v: %v", tc.when, tc.call, err)
		}
	}
}

func TestOwnLimitsOpenNoBreaker(t *testing.T) {
	full := &upstream{name: "full", fails: func(int) *model.Error { return &model.Error{Code: model.CodeRateLimit, Own: true} }}
	m := alias(to(full), to(&upstream{name: "next"}, ranked(1, 0)))
	for range 2 * router.BreakAfter {
		if got, _, err := ask(m, model.Caller{}); got != "next" || err != nil {
			t.Fatalf("%q, %v: what finds no place in a pool goes to the next route", got, err)
		}
	}
	if c := m.Plan(model.Caller{}, "k"); c[0].Route.Provider != "full" || c[0].Place != 1 {
		t.Errorf("one project's full pool closed the route for all: %+v", c)
	}
}

// quiet says nothing until it is given up.
type quiet struct{ calls int }

func (q *quiet) Generate(ctx context.Context, _ model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		q.calls++
		<-ctx.Done()
		yield(model.Delta{}, &model.Error{Code: model.CodeConnection, Message: "cancelled", Err: ctx.Err()})
	}
}

func TestARouteThatSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &quiet{}
		m := alias(router.Route{Provider: "quiet", Upstream: "x", Model: q, FirstWord: 10 * time.Second}, to(&upstream{name: "next"}, ranked(1, 0)))
		for range router.BreakAfter {
			begin := time.Now()
			got, route, err := ask(m, model.Caller{})
			if got != "next" || err != nil || time.Since(begin) != 10*time.Second || !strings.Contains(strings.Join(route.Tried, ""), model.CodeTimeout) {
				t.Fatalf("%q, %+v, %v after %s", got, route, err, time.Since(begin))
			}
		}
		if _, _, err := ask(m, model.Caller{}); err != nil || q.calls != router.BreakAfter {
			t.Errorf("%v: it is called although its breaker is open (%d calls)", err, q.calls)
		}
	})
}

// rude panics.
type rude struct{}

func (rude) Generate(context.Context, model.Request) iter.Seq2[model.Delta, error] {
	return func(func(model.Delta, error) bool) { panic("rude") }
}

func TestAPanicKeepsNoRouteOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &upstream{name: "a", fails: fails(model.CodeServer)}
		m := alias(to(a), to(&upstream{name: "b"}, ranked(1, 0)))
		for range router.BreakAfter {
			_, _, _ = ask(m, model.Caller{})
		}
		time.Sleep(router.OpenFor)
		broken := *m
		broken.Routes = []router.Route{{Provider: "a", Upstream: "x", Model: rude{}}, m.Routes[1]}
		func() {
			defer func() { _ = recover() }()
			_, _, _ = ask(&broken, model.Caller{})
		}()
		a.fails = nil
		if got, _, err := ask(m, model.Caller{}); got != "a" || err != nil {
			t.Errorf("%q, %v: the probe that panicked is waited for for ever", got, err)
		}
	})
}

// A route says the tier that was served; else the one that was asked for, which is its own before the caller's.
func TestARoutesTier(t *testing.T) {
	for _, c := range []struct{ own, asked, served, want string }{
		{"", "", "", ""}, {"", "auto", "", ""}, {"", "flex", "", "flex"}, {"", "auto", "priority", "priority"}, {"", "priority", "default", "default"},
		{"priority", "", "", "priority"}, {"priority", "flex", "", "priority"}, {"priority", "flex", "default", "default"},
	} {
		a := alias(to(&upstream{name: "a", tier: c.served}, func(r *router.Route) { r.Tier = c.own }))
		var route *model.Route
		for d, err := range a.Generate(t.Context(), model.Request{ServiceTier: c.asked}) {
			if err != nil {
				t.Fatal(err)
			}
			route = d.Route
		}
		if route.Tier != c.want {
			t.Errorf("of the route %q, asked for %q, served %q: %q, want %q", c.own, c.asked, c.served, route.Tier, c.want)
		}
	}
}
