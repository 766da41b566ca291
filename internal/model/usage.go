package model

import (
	"cmp"
	"math"
	"math/bits"

	"github.com/stead-dev/stead"
)

// MaxTokens is the most tokens of a kind that a call is believed to have: a thousand times the largest context
// window that there is.
const MaxTokens = 1_000_000_000

// Sane is what is believed of the usage that an upstream tells, for money is computed from it: no count is below
// zero or above MaxTokens, and parts are within their whole. Who tells more is charged for MaxTokens, which
// budgets feel: too much on record is seen and disputed, too little is not.
func Sane(u stead.Usage) *stead.Usage {
	u.InputTokens, u.OutputTokens = within(u.InputTokens, MaxTokens), within(u.OutputTokens, MaxTokens)
	u.CachedTokens = within(u.CachedTokens, u.InputTokens)
	u.CacheWriteTokens = within(u.CacheWriteTokens, u.InputTokens-u.CachedTokens)
	u.ReasoningTokens = within(u.ReasoningTokens, u.OutputTokens)
	return &u
}

// AskedTier is the service tier that a call asks its upstream for: the route's own, which replaces the caller's. ""
// stands for what the provider chooses.
func AskedTier(route, caller string) string {
	tier := cmp.Or(route, caller)
	if tier == tierAuto {
		return ""
	}
	return tier
}

// ServedTier is what is believed of the service tier that an upstream says it served: a name, in the words of the API
// that callers ask in.
func ServedTier(told string) string {
	switch {
	case told == tierAuto || len(told) > maxTierBytes:
		return ""
	case told == tierStandard:
		return tierDefault
	}
	return told
}

// The service tiers that have another name elsewhere. Anthropic's answers say "standard" (the Messages API,
// usage.service_tier: standard, priority or batch).
const (
	tierAuto     = "auto"
	tierDefault  = "default"
	tierStandard = "standard"
	maxTierBytes = 64
)

// Tokens is what is believed of one count: adapters that add counts up hold each to it, so that no sum wraps.
func Tokens(n int64) int64 { return within(n, MaxTokens) }

func within(n, most int64) int64 { return min(max(n, 0), most) }

// wide is a sum of products that does not leave its 128 bits: two's complement never comes into it.
type wide struct {
	hi, lo uint64
	full   bool
}

// add adds a × b; what is below zero counts as nothing.
func (w *wide) add(a, b int64) {
	hi, lo := bits.Mul64(uint64(max(a, 0)), uint64(max(b, 0)))
	var carry uint64
	w.lo, carry = bits.Add64(w.lo, lo, 0)
	w.hi, carry = bits.Add64(w.hi, hi, carry)
	w.full = w.full || carry > 0
}

// over is the sum by n, rounded up; math.MaxInt64 where it is more than that.
func (w *wide) over(n uint64) int64 {
	if w.full || w.hi >= n {
		return math.MaxInt64
	}
	quotient, rest := bits.Div64(w.hi, w.lo, n)
	if quotient >= math.MaxInt64 {
		return math.MaxInt64
	}
	if rest > 0 {
		quotient++
	}
	return int64(quotient)
}
