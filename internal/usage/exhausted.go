package usage

import (
	"fmt"
	"strconv"
	"strings"
)

// Exhausted says why the budget of a refusal has no room, in words for whoever made the call: what is used, what is
// held, and by whom as far as is known. A budget of which nothing is used may have no room either: until a call or an
// environment has ended and is on record, what it holds counts like what it used.
func (g Grant) Exhausted() string {
	b := g.Refused
	name := b.Name
	if name == "" {
		name = b.ID
	}
	per := map[Period]string{PeriodTotal: "", PeriodDay: " of this day", PeriodMonth: " of this month"}[b.Period]
	verdict := "has no room"
	var parts []string
	for _, p := range g.portions() {
		if p.spent+p.held < p.limit || p.limit == 0 {
			continue
		}
		if p.spent >= p.limit {
			verdict = "is used up"
		}
		parts = append(parts, p.words())
	}
	return "The budget" + per + " (" + name + ", per " + string(b.Scope) + ") " + verdict + ": " + strings.Join(parts, "; ") + "."
}

// portion is one of the four amounts of a budget.
type portion struct {
	limit, spent, held int64
	environment        int64 // of held: by the session's own environment
	show               func(int64) string
	unit               string // " calls are": behind the limit
}

func (g Grant) portions() []portion {
	l, s, h, e := g.Claim.Limit, g.Have.Spent, g.Have.Held, g.Environment
	return []portion{
		{l.Cost, s.Cost, h.Cost, e.Cost, func(n int64) string { return "$" + Dollars(n) }, " is"},
		{l.Tokens, s.Tokens, h.Tokens, e.Tokens, count, " tokens are"},
		{l.Calls, s.Calls, h.Calls, e.Calls, count, " calls are"},
		{l.Millis, s.Millis, h.Millis, e.Millis, seconds, " seconds are"},
	}
}

// words are "$0.00 of $0.20 is used and $3.00 held, all of it by the session's environment".
func (p portion) words() string {
	out := p.show(p.spent) + " of " + p.show(p.limit) + p.unit + " used and "
	switch {
	case p.held <= 0:
		return out + "nothing held"
	case p.environment >= p.held:
		return out + p.show(p.held) + " held, all of it by the session's environment"
	case p.environment > 0:
		return out + p.show(p.held) + " held, " + p.show(p.environment) + " of it by the session's environment"
	}
	return out + p.show(p.held) + " held by calls and environments that are not on record yet"
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

// seconds are exact: three digits behind the point, where they are not 0.
func seconds(millis int64) string { return strconv.FormatFloat(float64(millis)/1000, 'f', -1, 64) }

// Dollars writes micro-cents as dollars, exactly, with at least two digits behind the point: "0.20".
func Dollars(microCents int64) string {
	const perDollar = 100 * 1_000_000
	sign := ""
	if microCents < 0 {
		sign, microCents = "-", -microCents
	}
	text := fmt.Sprintf("%s%d.%08d", sign, microCents/perDollar, microCents%perDollar)
	for strings.HasSuffix(text, "0") && text[len(text)-3] != '.' {
		text = text[:len(text)-1]
	}
	return text
}
