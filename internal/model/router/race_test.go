package router_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/router"
)

// speaker says its name after a time, and ends at once when it is given up. tells: it says then what it used.
type speaker struct {
	name  string
	after time.Duration
	tells bool

	mu     sync.Mutex
	calls  int
	active int
	given  int // how often it was given up
}

func (s *speaker) begin() (end func(given bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	s.active++
	return func(given bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.active--
		if given {
			s.given++
		}
	}
}

func (s *speaker) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		end := s.begin()
		used := &stead.Usage{InputTokens: 7}
		select {
		case <-time.After(s.after):
			end(false)
		case <-ctx.Done():
			end(true)
			if s.tells {
				yield(model.Delta{Kind: model.Done, Usage: used}, nil)
				return
			}
			yield(model.Delta{}, &model.Error{Code: model.CodeConnection, Message: "cancelled", Err: ctx.Err()})
			return
		}
		for _, text := range []string{s.name, "!"} {
			if !yield(model.Delta{Kind: model.TextDelta, Text: text}, nil) {
				return
			}
		}
		yield(model.Delta{Kind: model.Done, Usage: used, Model: req.Model}, nil)
	}
}

// Forward says its headers at once, and its name after a time, as streaming upstreams do.
func (s *speaker) Forward(ctx context.Context, _ model.Forward) (*model.Answer, error) {
	end := s.begin()
	r, w := io.Pipe()
	go func() {
		select {
		case <-time.After(s.after):
			end(false)
			_, _ = io.WriteString(w, s.name+" says ")
			_, _ = io.WriteString(w, "it")
			w.Close()
		case <-ctx.Done():
			end(true)
			w.CloseWithError(ctx.Err())
		}
	}()
	return &model.Answer{ContentType: "text/event-stream", Body: r}, nil
}

const hedge = 100 * time.Millisecond

// race is an alias with two routes, of which the first is hedged.
func race(a, b *speaker) *router.Alias {
	return &router.Alias{Name: "m", State: router.NewState(nil), Hedge: hedge, Routes: []router.Route{
		{Provider: a.name, Upstream: "x", Model: a, Region: "eu"}, {Provider: b.name, Upstream: "x", Model: b, Region: "us", Priority: 1},
	}}
}

func TestASilentRouteIsHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := &speaker{name: "slow", after: time.Minute}, &speaker{name: "quick", after: 10 * time.Millisecond}
		begin := time.Now()
		said, route, err := ask(race(slow, quick), model.Caller{})
		if said != "quick!" || err != nil || time.Since(begin) != hedge+quick.after {
			t.Fatalf("%q, %v after %s", said, err, time.Since(begin))
		}
		if h := route.Hedged; h == nil || h.Provider != "slow" || h.AfterMS != 100 || h.Usage != nil || !strings.Contains(route.Why, "slow/x said nothing for 100ms") {
			t.Errorf("the trace does not explain it: %+v %+v", route, route.Hedged)
		}
		synctest.Wait()
		if slow.given != 1 || slow.active != 0 {
			t.Error("the slower attempt was not given up")
		}
	})
}

func TestARouteThatSpeaksInTimeIsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &speaker{name: "first", after: hedge / 2}, &speaker{name: "second"}
		if said, route, err := ask(race(first, second), model.Caller{}); said != "first!" || err != nil || route.Hedged != nil || second.calls != 0 {
			t.Errorf("%q, %+v, %v, and %d calls of the second", said, route, err, second.calls)
		}
	})
}

func TestTheFirstMayStillWin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := &speaker{name: "first", after: 2 * hedge}, &speaker{name: "second", after: time.Minute, tells: true}
		said, route, err := ask(race(first, second), model.Caller{})
		if said != "first!" || err != nil || second.given != 1 {
			t.Fatalf("%q, %v; given up %d times", said, err, second.given)
		}
		if h := route.Hedged; h == nil || h.Provider != "second" || h.Usage == nil || h.Usage.InputTokens != 7 || h.Unknown {
			t.Errorf("what the other attempt used is not told: %+v", route.Hedged)
		}
	})
}

func TestAHedgeThatFailsLeavesTheFirstAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &speaker{name: "first", after: 2 * hedge}
		m := race(first, &speaker{name: "none"})
		for _, code := range []string{model.CodeServer, model.CodeInvalid} {
			m.Routes[1].Model = &upstream{name: "bad", fails: fails(code)}
			if said, _, err := ask(m, model.Caller{}); said != "first!" || err != nil {
				t.Errorf("%s of the hedge: %q, %v", code, said, err)
			}
		}
	})
}

func TestHedgesAreForwardedCallsToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := &speaker{name: "slow", after: time.Minute}, &speaker{name: "quick"}
		answer, err := race(slow, quick).Forward(t.Context(), model.Forward{Dialect: model.DialectChat, Body: json.RawMessage(`{}`)})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(answer.Body)
		if string(got) != "quick says it" || err != nil || answer.Route.Hedged == nil || !answer.Route.Hedged.Unknown || slow.given != 1 {
			t.Errorf("%q, %v by %+v", got, err, answer.Route)
		}
		if err := answer.Body.Close(); err != nil {
			t.Error(err)
		}
	})
}

// What may have effects at its provider is on one route, however long that is silent.
func TestEffectsAreNotHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := &speaker{name: "slow", after: time.Second}, &speaker{name: "quick"}
		for body, runs := range map[string]bool{`{"store":true}`: false, `{}`: true, `{"background":true}`: false} {
			answer, err := race(slow, quick).Forward(t.Context(), model.Forward{Dialect: model.DialectChat, Body: json.RawMessage(body), Runs: runs})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(answer.Body); string(got) != "slow says it" || err != nil || quick.calls != 0 {
				t.Errorf("%s, %v: %q, %v, and %d calls beside it", body, runs, got, err, quick.calls)
			}
			answer.Body.Close()
		}
	})
}

// refuser fails forwarded calls.
type refuser struct {
	upstream
	code  string
	calls int
}

func (r *refuser) Forward(context.Context, model.Forward) (*model.Answer, error) {
	r.calls++
	return nil, &model.Error{Code: r.code, Retry: true}
}

func TestWhatIsPerhapsDoneIsNotDoneAgain(t *testing.T) {
	for code, again := range map[string]bool{
		model.CodeRateLimit: true, model.CodeOverloaded: true, model.CodeAuthentication: true,
		model.CodeServer: false, model.CodeConnection: false, model.CodeTimeout: false,
	} {
		for body, effects := range map[string]bool{`{"store":true}`: true, `{}`: false} {
			first, second := &refuser{code: code}, &refuser{code: code}
			m := alias(router.Route{Provider: "a", Upstream: "x", Model: first}, router.Route{Provider: "b", Upstream: "x", Model: second, Priority: 1})
			_, err := m.Forward(t.Context(), model.Forward{Dialect: model.DialectChat, Body: json.RawMessage(body)})
			if want := again || !effects; (second.calls == 1) != want || err == nil {
				t.Errorf("%s after %s: the next route had %d calls (%v)", body, code, second.calls, err)
			}
		}
	}
}

func TestHedgesStayInTheRegion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := &speaker{name: "slow", after: time.Second}, &speaker{name: "quick"}
		m := race(slow, quick)
		m.Residency = []router.Residency{{Project: "x", Regions: []string{"eu"}}, {Labels: map[string]string{"data": "health"}, Regions: []string{"eu", "us"}}}
		for _, by := range []model.Caller{{Project: "x"}, {Project: "x", Labels: stead.Labels{"data": {"health"}}}} {
			if said, _, err := ask(m, by); said != "slow!" || err != nil || quick.calls != 0 {
				t.Errorf("%q, %v: a hedge left the region", said, err)
			}
		}
		m.Routes[0].Model = &upstream{name: "ill", fails: fails(model.CodeServer)}
		if _, _, err := ask(m, model.Caller{Project: "x"}); err == nil || quick.calls != 0 {
			t.Errorf("%v: a fail-over left the region", err)
		}
		if _, _, err := ask(m, model.Caller{Project: "y", Labels: stead.Labels{"data": {"health"}}}); err != nil || quick.calls != 1 {
			t.Errorf("%v: the rule of a label is about another region", err)
		}
	})
}

func TestHedgesAreOfTheRetryBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, quick := &speaker{name: "slow", after: 2 * hedge}, &speaker{name: "quick"}
		m := race(slow, quick)
		const n = 200
		for range n {
			if _, _, err := ask(m, model.Caller{}); err != nil {
				t.Fatal(err)
			}
		}
		if most := router.ExtraFree + int(router.ExtraShare*n) + 1; quick.calls > most || quick.calls < router.ExtraFree {
			t.Errorf("%d of %d calls were hedged, where %d may be", quick.calls, n, most)
		}
	})
}

func TestExplainNamesTheHedge(t *testing.T) {
	m := race(&speaker{name: "a"}, &speaker{name: "b"})
	m.Routes[0].Hedge = time.Second
	if c := m.Plan(model.Caller{}, "k"); c[0].Hedge != 0 || c[1].Hedge != time.Second || c[0].Breaker != router.BreakerClosed {
		t.Errorf("%+v", c)
	}
}

// breaker says a word and breaks off.
type breaker struct{ *speaker }

func (b breaker) Generate(context.Context, model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		if yield(model.Delta{Kind: model.TextDelta, Text: "wo"}, nil) {
			yield(model.Delta{}, &model.Error{Code: model.CodeConnection, Message: "broke off", Retry: true})
		}
	}
}

// Whoever has asked a hedged call knows of the attempt that was given up from the first word on, however it ends.
func TestWhatWasGivenUpIsToldWhenTheWinnerBreaksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quick := &speaker{name: "quick"}
		m := race(&speaker{name: "slow", after: time.Minute}, quick)
		m.Routes[1].Model = breaker{quick}
		for d, err := range m.Generate(t.Context(), model.Request{}) {
			route := d.Route
			if e, ok := errors.AsType[*model.Error](err); ok {
				route = e.Route
			}
			if route == nil || route.Hedged == nil || route.Hedged.Provider != "slow" || !route.Hedged.Charged() {
				t.Errorf("with %q (%v) nothing is said of the slow route: %+v", d.Text, err, route)
			}
		}
		for d := range m.Generate(t.Context(), model.Request{}) { // a consumer that goes
			if d.Route == nil || !d.Route.Hedged.Charged() {
				t.Errorf("who goes with the first word does not know: %+v", d.Route)
			}
			break
		}
	})
}
