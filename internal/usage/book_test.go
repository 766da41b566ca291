package usage_test

import (
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/usage"
)

func TestBook(t *testing.T) {
	line := func(provider, name, tier string, input int64) usage.PriceLine {
		return usage.PriceLine{Provider: provider, Model: name, Tier: tier, Price: model.Price{Input: input}}
	}
	book := usage.NewBook([]usage.Edition{
		{Version: "two", From: 2000, Prices: []usage.PriceLine{line("", "", "", 20)}},
		{Version: "one", From: 1000, Prices: []usage.PriceLine{
			line("", "", "", 1), line("a", "", "", 2), line("", "m", "", 3), line("a", "m", "", 4), line("", "", "flex", 5), line("", "up", "flex", 6)}},
	})
	for _, c := range []struct {
		sale    usage.Sale
		input   int64
		version string
	}{
		{usage.Sale{At: 999, Model: "m"}, 0, ""},
		{usage.Sale{At: 1000, Model: "x", Provider: "b"}, 1, "one"},
		{usage.Sale{At: 1999, Model: "x", Provider: "a"}, 2, "one"},
		{usage.Sale{At: 1999, Model: "m", Provider: "b"}, 3, "one"},
		{usage.Sale{At: 1999, Model: "x", Upstream: "m", Provider: "a"}, 4, "one"},
		{usage.Sale{At: 1999, Model: "m", Provider: "a", Tier: "flex"}, 5, "one"},
		{usage.Sale{At: 1999, Model: "m", Upstream: "up", Provider: "a", Tier: "flex"}, 6, "one"},
		{usage.Sale{At: 2000, Model: "m", Provider: "a"}, 20, "two"},
	} {
		p := book.Price(c.sale)
		if p == nil {
			p = &model.Price{}
		}
		if p.Input != c.input || p.Version != c.version {
			t.Errorf("%+v costs %d (%s), want %d (%s)", c.sale, p.Input, p.Version, c.input, c.version)
		}
	}
	if (*usage.Book)(nil).Price(usage.Sale{At: 1}) != nil {
		t.Error("no book has a price")
	}
}

// Reasoning may cost something else than the rest of the output.
func TestReasoningPrice(t *testing.T) {
	u := stead.Usage{OutputTokens: 1_000_000, ReasoningTokens: 400_000}
	if got := (&model.Price{Output: 10, Reasoning: 5}).Cost(u); got != 8 {
		t.Errorf("costs %d, want 8", got)
	}
	if got := (&model.Price{Output: 10}).Cost(u); got != 10 {
		t.Errorf("costs %d, want 10", got)
	}
}

// A budget reserves for the dearest tier that a provider may serve: the one that is asked for or its default, and any
// where the provider chooses. What the book has no price of costs what it costs otherwise.
func TestTheDearestTier(t *testing.T) {
	line := func(name, tier string, input int64) usage.PriceLine {
		return usage.PriceLine{Model: name, Tier: tier, Price: model.Price{Input: input}}
	}
	book := usage.NewBook([]usage.Edition{{Version: "one", Prices: []usage.PriceLine{
		line("m", "", 10), line("m", "priority", 20), line("m", "flex", 5), line("n", "priority", 20)}}})
	for _, c := range []struct {
		name, tier string
		want       int64
	}{
		{"m", "", 20}, {"m", "auto", 20}, {"m", "default", 10}, {"m", "flex", 10}, {"m", "priority", 20}, {"m", "scale", 10},
		{"n", "", 20}, {"n", "default", 7}, {"o", "", 7},
	} {
		if got := book.Dearest(usage.Sale{At: 1, Model: c.name, Tier: c.tier}, &model.Price{Input: 7}); got.Input != c.want {
			t.Errorf("%s asked for as %q costs at most %d, want %d", c.name, c.tier, got.Input, c.want)
		}
	}
	if got := (*usage.Book)(nil).Dearest(usage.Sale{}, nil); got != nil {
		t.Errorf("without any price %+v", got)
	}
}
