package usage_test

import (
	"math"
	"testing"

	"github.com/stead-dev/stead/internal/usage"
)

func TestFigures(t *testing.T) {
	var c usage.Canary
	add := func(r usage.Record) {
		t.Helper()
		if err := c.Add(&r); err != nil {
			t.Fatal(err)
		}
	}
	for i := int64(1); i <= 100; i++ { // a call of each duration from 10 ms to a second
		r := usage.Record{Kind: usage.ModelCall, Model: "m", Provider: "p", Upstream: "seven-2026", Asked: "seven", Cost: 5, First: 2 * i}
		r.Calls, r.Millis, r.OutputTokens = 1, 10*i, 3
		if i%10 == 0 {
			r.Outcome = "refusal"
		}
		add(r)
	}
	add(usage.Record{Kind: usage.ModelCall, Model: "m", Provider: "p", Upstream: "eight"})
	add(usage.Record{Kind: usage.ModelFailure, Model: "m", Provider: "p", Upstream: "seven", Outcome: "server_error", Name: usage.FailedOver})
	add(usage.Record{Kind: usage.ModelFailure, Model: "m", Provider: "p", Upstream: "seven", Outcome: "server_error"})
	add(usage.Record{Kind: usage.Feedback, Model: "m", Provider: "p", Upstream: "seven", Score: 1000})
	add(usage.Record{Kind: usage.Feedback, Model: "m", Provider: "p", Upstream: "seven", Score: 500})
	for _, outcome := range []string{usage.Estimated, usage.Outrun} { // beside an answer of another version
		r := usage.Record{Kind: usage.ModelCall, Model: "m", Provider: "p", Upstream: "seven", Outcome: outcome, Cost: 7}
		r.Calls, r.InputTokens = 1, 9
		add(r)
	}
	add(usage.Record{Kind: usage.ToolCall, Name: "x"})
	all := c.Figures()
	if len(all) != 2 || all[0].Version != "p/eight" || all[1].Version != "p/seven" {
		t.Fatalf("%+v", all)
	}
	f := all[1]
	if f.Sum.Calls != 100 || f.Sum.Cost != 500 || f.Sum.OutputTokens != 300 || f.Outcomes["refusal"] != 10 || f.Failures["server_error"] != 2 || f.FailedOver != 1 || f.GivenUp != 2 {
		t.Errorf("%+v", f)
	}
	if score, ok := f.Score(); score != 0.75 || !ok {
		t.Errorf("score %v, %v", score, ok)
	}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 0.03*want {
			t.Errorf("%s is %.1f, want %.1f within 3 %%", what, got, want)
		}
	}
	near("mean", f.Total.Mean(), 505)
	near("p50", f.Total.Quantile(.5), 500)
	near("p95", f.Total.Quantile(.95), 950)
	near("p95 of the first word", f.First.Quantile(.95), 190)
	if _, ok := all[0].Score(); ok || all[0].Total.Quantile(.5) != 0 {
		t.Error("figures of nothing")
	}
}
