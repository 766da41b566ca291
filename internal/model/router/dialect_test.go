package router_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/router"
)

// fluent is an upstream that speaks the door's dialect as well.
type fluent struct {
	upstream
	body func() io.Reader // nil: its name
}

func (f *fluent) Forward(_ context.Context, req model.Forward) (*model.Answer, error) {
	f.calls++
	if f.fails != nil {
		if failure := f.fails(f.calls); failure != nil {
			return nil, failure
		}
	}
	body := io.Reader(strings.NewReader(f.name))
	if f.body != nil {
		body = f.body()
	}
	return &model.Answer{Body: io.NopCloser(body)}, nil
}

func speaks(f *fluent, change ...func(*router.Route)) router.Route {
	r := to(&f.upstream, change...)
	r.Model = f
	return r
}

// forward makes one forwarded call, as a door does: what the answer's end says is told.
func forward(a *router.Alias, call model.Caller, only bool) (string, *model.Error) {
	answer, err := a.Forward(context.Background(), model.Forward{Dialect: model.DialectChat, Body: []byte(`{}`), Caller: call, Only: only})
	if err != nil {
		e, _ := errors.AsType[*model.Error](err)
		return "", e
	}
	text, err := io.ReadAll(answer.Body)
	var ended error
	if err != nil {
		ended = &model.Error{Code: model.CodeConnection, Message: "broke off", Err: err}
	}
	answer.Ended(ended)
	_ = answer.Body.Close()
	return string(text), nil
}

// A call that goes on from a route that forwards to one that is translated for asks nobody twice.
func TestFromForwardingToTranslating(t *testing.T) {
	first := &fluent{upstream: upstream{name: "first", fails: fails(model.CodeOverloaded)}}
	second := &upstream{name: "second"}
	m := alias(speaks(first), to(second, ranked(1, 0)))
	_, e := forward(m, model.Caller{}, false)
	if e == nil || e.Code != model.CodeDialect || e.Route == nil || !slices.Equal(e.Route.Tried, []string{"first/x: " + model.CodeOverloaded}) {
		t.Fatalf("the door is told %+v", e)
	}
	said, route, err := ask(m, model.Caller{Tried: e.Route.Tried})
	if err != nil || said != "second" || first.calls != 1 || !slices.Equal(route.Tried, e.Route.Tried) {
		t.Errorf("%q by %+v, %v; the first was asked %d times", said, route, err, first.calls)
	}
}

// A call that can't be translated passes over those whom it would be translated for.
func TestOnlyThoseWhoSpeakTheDialect(t *testing.T) {
	limited := &fluent{upstream: upstream{name: "limited", fails: fails(model.CodeRateLimit)}}
	other := &upstream{name: "other"}
	well := &fluent{upstream: upstream{name: "well"}}
	m := alias(speaks(limited), to(other, ranked(1, 0)), speaks(well, ranked(2, 0)))
	_, e := forward(m, model.Caller{}, false)
	if e == nil || e.Code != model.CodeDialect {
		t.Fatalf("%+v", e)
	}
	if said, e := forward(m, model.Caller{Tried: e.Route.Tried}, true); e != nil || said != "well" || limited.calls != 1 || other.calls != 0 {
		t.Errorf("%q, %+v; limited %d, other %d", said, e, limited.calls, other.calls)
	}
	m = alias(speaks(limited), to(other, ranked(1, 0)))
	if _, e := forward(m, model.Caller{}, true); e == nil || e.Code != model.CodeDialect || e.Err == nil || !strings.Contains(e.Err.Error(), "no") {
		t.Errorf("with nobody else: %+v", e)
	}
}

// Streams that break off behind their beginning open a breaker like any other failure.
func TestBrokenStreamsOpenTheBreaker(t *testing.T) {
	broken := &fluent{upstream: upstream{name: "broken"}, body: func() io.Reader {
		return io.MultiReader(strings.NewReader("beginning"), iotest.ErrReader(errors.New("reset")))
	}}
	well := &fluent{upstream: upstream{name: "well"}}
	m := alias(speaks(broken), speaks(well, ranked(1, 0)))
	for i := range router.BreakAfter {
		if said, e := forward(m, model.Caller{}, false); e != nil || said != "beginning" {
			t.Fatalf("call %d: %q, %+v", i, said, e)
		}
	}
	if said, e := forward(m, model.Caller{}, false); e != nil || said != "well" || broken.calls != router.BreakAfter {
		t.Errorf("%q, %+v after %d", said, e, broken.calls)
	}
}

// What calls have in common keeps them on one route, forwarded or translated, for prompt caches.
func TestStatelessCallsStick(t *testing.T) {
	a, b := &fluent{upstream: upstream{name: "a"}}, &fluent{upstream: upstream{name: "b"}}
	m := alias(speaks(a), speaks(b))
	seen := map[string]map[string]bool{}
	for n := range 20 {
		for _, key := range []string{"k1", "k2", "k3", "k4", "k5", "k6", "k7", "k8"} {
			call := model.Caller{Affinity: key, Key: strings.Repeat("x", n)}
			said, e := forward(m, call, false)
			if e != nil {
				t.Fatal(e)
			}
			translated, _, err := ask(m, call)
			if err != nil {
				t.Fatal(err)
			}
			if seen[key] == nil {
				seen[key] = map[string]bool{}
			}
			seen[key][said], seen[key][translated] = true, true
		}
	}
	all := map[string]bool{}
	for key, by := range seen {
		if len(by) != 1 {
			t.Errorf("%s went to %v", key, by)
		}
		for name := range by {
			all[name] = true
		}
	}
	if len(all) != 2 {
		t.Errorf("all keys went to %v", all)
	}
}
