package usage_test

import (
	"math"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/usage"
)

// What an environment costs is exact, rounded up to the micro-cent, and never wraps around.
func TestRates(t *testing.T) {
	r := &usage.Rates{Hour: 5_000_000, Month: 10_000_000, Egress: 9_000_000}
	var month, much usage.Quantities
	month.SetStored(1_000_000_000, 30*24*3600*1000)
	much.SetStored(math.MaxInt64, math.MaxInt64)
	for _, c := range []struct {
		kind usage.Kind
		q    usage.Quantities
		want int64
	}{
		{usage.Environment, usage.Quantities{Millis: 3_600_000}, 5_000_000},
		{usage.Environment, usage.Quantities{Millis: 1}, 2},
		{usage.Environment, usage.Quantities{}, 0},
		{usage.Storage, month, 10_000_000},
		{usage.Storage, much, 35583997055766882},
		{usage.Egress, usage.Quantities{SentBytes: 400_000_000, ReceivedBytes: 600_000_000}, 9_000_000},
		{usage.ModelCall, usage.Quantities{Millis: 3_600_000}, 0},
	} {
		if got := r.Cost(c.kind, c.q); got != c.want {
			t.Errorf("%s of %+v costs %d, want %d", c.kind, c.q, got, c.want)
		}
	}
}

// Tools are priced by the edition of the moment, and by the line that says most.
func TestPricesOfTools(t *testing.T) {
	b := usage.NewBook([]usage.Edition{
		{Version: "new", From: 200, Rates: usage.Rates{Hour: 7}, Tools: []usage.ToolPrice{{Name: "*", Call: 1}, {Name: "web/*", Call: 2}, {Name: "web/search", Call: 3}}},
		{Version: "old", From: 100, Tools: []usage.ToolPrice{{Name: "web/search", Call: 9}}},
	})
	for _, c := range []struct {
		at      int64
		name    string
		want    int64
		version string
	}{{99, "web/search", 0, ""}, {100, "web/search", 9, "old"}, {100, "shell", 0, ""}, {200, "web/search", 3, "new"}, {200, "web/open", 2, "new"}, {200, "shell", 1, "new"}} {
		if got, version := b.Tool(c.at, c.name); got != c.want || version != c.version {
			t.Errorf("%s at %d costs %d by %q, want %d by %q", c.name, c.at, got, version, c.want, c.version)
		}
	}
	if b.Rates(150) != nil || b.Rates(200).Hour != 7 || b.Rates(200).Version != "new" {
		t.Errorf("rates are %+v and %+v", b.Rates(150), b.Rates(200))
	}
}

// What an attempt used that was cut off before its provider said it is estimated: the input, by the other's count.
func TestACutAttemptIsEstimated(t *testing.T) {
	b := usage.NewBook([]usage.Edition{{Version: "v", Prices: []usage.PriceLine{{Provider: "slow", Price: model.Price{Input: 2_000_000, Output: 9_000_000}}}}})
	won := stead.Usage{InputTokens: 100, OutputTokens: 50}
	cut := model.Hedged{Provider: "slow", Unknown: true}
	b.PriceHedged(&cut, usage.Sale{}, won, 30)
	if cut.Usage == nil || *cut.Usage != (stead.Usage{InputTokens: 100}) || cut.Cost != 200 || cut.Prices != "v" {
		t.Errorf("it is %+v of %+v", cut, cut.Usage)
	}
	alone := model.Hedged{Provider: "slow", Unknown: true} // the other one broke off
	if b.PriceHedged(&alone, usage.Sale{}, stead.Usage{}, 30); alone.Usage == nil || alone.Usage.InputTokens != 30 || alone.Cost != 60 {
		t.Errorf("it is %+v of %+v", alone, alone.Usage)
	}
	refused := model.Hedged{Provider: "slow"}
	if b.PriceHedged(&refused, usage.Sale{}, won, 30); refused.Usage != nil || refused.Cost != 0 {
		t.Errorf("what was refused has used %+v", refused.Usage)
	}
}
