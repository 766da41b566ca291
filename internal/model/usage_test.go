package model_test

import (
	"math"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// What an upstream tells that can't be is cut to what can.
func TestUsageThatCannotBeIsNotBelieved(t *testing.T) {
	const most = model.MaxTokens
	for told, want := range map[stead.Usage]stead.Usage{
		{InputTokens: 10, CachedTokens: 4, CacheWriteTokens: 2, OutputTokens: 3, ReasoningTokens: 1}: {InputTokens: 10, CachedTokens: 4, CacheWriteTokens: 2, OutputTokens: 3, ReasoningTokens: 1},
		{InputTokens: -5, OutputTokens: math.MinInt64}:                                               {},
		{InputTokens: math.MaxInt64, OutputTokens: most + 1}:                                         {InputTokens: most, OutputTokens: most},
		{InputTokens: 5, CachedTokens: 9, CacheWriteTokens: 9}:                                       {InputTokens: 5, CachedTokens: 5},
		{InputTokens: 5, CachedTokens: 2, CacheWriteTokens: 9}:                                       {InputTokens: 5, CachedTokens: 2, CacheWriteTokens: 3},
		{OutputTokens: 5, ReasoningTokens: 9}:                                                        {OutputTokens: 5, ReasoningTokens: 5},
	} {
		if got := *model.Sane(told); got != want {
			t.Errorf("of %+v %+v is believed, want %+v", told, got, want)
		}
	}
}

// A cost is exact, and never wraps around.
func TestCostsDoNotWrap(t *testing.T) {
	const dear = 10_000_000_000 // 100 USD
	for _, c := range []struct {
		price model.Price
		used  stead.Usage
		want  int64
	}{
		{model.Price{Input: 1}, stead.Usage{InputTokens: 1}, 1},
		{model.Price{Input: dear, Output: dear}, stead.Usage{InputTokens: model.MaxTokens, OutputTokens: model.MaxTokens}, 2000 * dear},
		{model.Price{Input: dear}, stead.Usage{InputTokens: math.MaxInt64}, math.MaxInt64},
		{model.Price{Input: math.MaxInt64, CachedInput: math.MaxInt64, Output: math.MaxInt64}, stead.Usage{InputTokens: math.MaxInt64, OutputTokens: math.MaxInt64}, math.MaxInt64},
		{model.Price{Input: dear, Output: 1_000_000}, stead.Usage{InputTokens: -7, OutputTokens: 7}, 7},
	} {
		if got := c.price.Cost(c.used); got != c.want {
			t.Errorf("%+v at %+v costs %d, want %d", c.used, c.price, got, c.want)
		}
	}
}
