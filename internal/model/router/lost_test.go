package router_test

import (
	"context"
	"iter"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/router"
)

// taken is an upstream that takes a call, may say what it used, and breaks off without a word.
type taken struct{ told *stead.Usage }

func (u taken) Generate(ctx context.Context, _ model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		model.TallyOf(ctx).Sent()
		if u.told != nil {
			model.TallyOf(ctx).Told(*u.told)
		}
		yield(model.Delta{}, &model.Error{Code: model.CodeServer, Message: "no", Retry: true})
	}
}

// An attempt that broke off when its upstream had the request is charged: the route that was taken then names it. One
// that was refused is not, and the last failure is the call's own.
func TestAttemptsThatBrokeOffAreKnown(t *testing.T) {
	route := func(name string, m model.Model) router.Route {
		return router.Route{Provider: name, Upstream: name, Model: m, Price: &model.Price{Input: 5}}
	}
	a := alias(route("told", taken{&stead.Usage{InputTokens: 100}}), route("refused", &upstream{name: "refused", fails: fails(model.CodeRateLimit)}), route("good", &upstream{name: "good"}))
	tally := &model.Tally{}
	var last model.Delta
	for d, err := range a.Generate(model.WithTally(t.Context(), tally), model.Request{}) {
		if err != nil {
			t.Fatal(err)
		}
		last = d
	}
	lost := last.Route.Lost
	if len(lost) != 1 || lost[0].Provider != "told" || lost[0].Usage.InputTokens != 100 || lost[0].Unknown || lost[0].Price.Input != 5 {
		t.Errorf("lost %+v", lost)
	}
	if used, cost := last.Route.Both(stead.Usage{InputTokens: 1}, 1); used.InputTokens != 101 || cost != 1 {
		t.Errorf("together %+v %d", used, cost)
	}
	a = alias(route("unknown", taken{}), route("told", taken{&stead.Usage{InputTokens: 100}}))
	for _, err := range a.Generate(model.WithTally(t.Context(), tally), model.Request{}) {
		e, _ := err.(*model.Error)
		if e == nil || len(e.Route.Lost) != 1 || !e.Route.Lost[0].Unknown || e.Route.Provider != "told" {
			t.Errorf("failed with %+v", err)
		}
	}
	if told, charged := tally.Used(); !charged || told == nil || told.InputTokens != 100 {
		t.Errorf("the call itself: %+v", told)
	}
}
