package usage_test

import (
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/usage"
)

func day(text string) time.Time {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return t
}

// Periods repeat from the start on; before the first and after the last there is none other.
func TestTerms(t *testing.T) {
	for _, c := range []struct {
		start           string
		months, periods int
		at, from, to    string
	}{
		{"2026-01-01", 12, 0, "2026-11-26", "2026-01-01", "2027-01-01"},
		{"2026-01-01", 12, 0, "2027-01-01", "2027-01-01", "2028-01-01"},
		{"2026-01-15", 1, 0, "2026-03-14", "2026-02-15", "2026-03-15"},
		{"2026-01-15", 3, 0, "2026-04-15", "2026-04-15", "2026-07-15"},
		{"2026-01-15", 1, 2, "2026-11-01", "2026-02-15", "2026-03-15"},
		{"2026-12-01", 1, 0, "2026-11-01", "2026-12-01", "2027-01-01"},
	} {
		got := (&usage.Commitment{Start: day(c.start), Months: c.months, Periods: c.periods}).Term(day(c.at).UnixMilli())
		if want := (usage.Term{From: day(c.from).UnixMilli(), To: day(c.to).UnixMilli()}); got != want {
			t.Errorf("%d months from %s: at %s it is %s to %s, want %s to %s", c.months, c.start, c.at,
				usage.Day(got.From), usage.Day(got.To), c.from, c.to)
		}
	}
}

// What counts are calls of the provider's models; a model that goes by a version is the model, unless
// another pool has it by a longer name.
func TestWhatACommitmentCounts(t *testing.T) {
	call := func(provider, upstream string) *usage.Record {
		return &usage.Record{Kind: usage.ModelCall, Provider: provider, Upstream: upstream}
	}
	whole := usage.Commitment{Provider: "p"}
	pool := usage.Commitment{Provider: "p", Models: []string{"m", "n"}, Others: []string{"m-1-mini", "o"}}
	rest := usage.Commitment{Provider: "p", Others: []string{"m", "m-1-mini"}}
	for _, c := range []struct {
		r                 *usage.Record
		whole, pool, rest bool
	}{
		{call("p", "m"), true, true, false},
		{call("p", "m-2026-11-26"), true, true, false},
		{call("p", "m@001"), true, true, false},
		{call("p", "m-large"), true, false, true},
		{call("p", "m-1-mini"), true, false, false},
		{call("p", "n"), true, true, true},
		{call("q", "m"), false, false, false},
		{&usage.Record{Kind: usage.ToolCall, Provider: "p", Upstream: "m"}, false, false, false},
	} {
		if got := [3]bool{whole.Counts(c.r), pool.Counts(c.r), rest.Counts(c.r)}; got != [3]bool{c.whole, c.pool, c.rest} {
			t.Errorf("%s of %s: %v", c.r.Upstream, c.r.Provider, got)
		}
	}
}

func standing(c *usage.Commitment, at string, records ...usage.Record) usage.Standing {
	tracking := usage.NewTracking(c, day(at).UnixMilli(), "mine")
	for i := range records {
		tracking.Add(&records[i])
	}
	return tracking.Standing()
}

func spent(at string, project stead.ProjectID, cost, tokens int64) usage.Record {
	r := usage.Record{Kind: usage.ModelCall, Project: project, Provider: "p", At: day(at).UnixMilli(), Cost: cost}
	r.InputTokens, r.OutputTokens = tokens-tokens/3, tokens/3
	return r
}

// Money: what is not used by the end of the period is owed. As of a time, later records change nothing.
func TestACommitmentOfMoney(t *testing.T) {
	c := &usage.Commitment{Provider: "p", Start: day("2026-11-01"), Months: 1, Cost: 3000}
	records := []usage.Record{
		spent("2026-10-31", "mine", 9000, 0), spent("2026-11-01", "mine", 400, 0), spent("2026-11-09", "other", 301, 0),
		spent("2026-11-11", "mine", 5000, 0), spent("2026-12-01", "mine", 7, 0),
	}
	s := standing(c, "2026-11-11", records...)
	if s.Used != 701 || s.Own != 400 || s.Remaining != 2299 || s.Over != 0 || s.Share != 2336 || s.Elapsed != 3333 || s.Projected != 2103 || s.Owed != 897 {
		t.Errorf("in the middle: %+v", s)
	}
	if s = standing(c, "2026-11-30", records...); s.Used != 5701 || s.Over != 2701 || s.Remaining != 0 || s.Owed != 0 || s.Share != 19003 {
		t.Errorf("over: %+v", s)
	}
	if s = standing(c, "2026-12-02", records...); s.Used != 7 || s.From != day("2026-12-01").UnixMilli() {
		t.Errorf("the next period: %+v", s)
	}
	if s = standing(c, "2026-10-01", records...); s.Used != 0 || s.Elapsed != 0 || s.Projected != 0 || s.Owed != 3000 {
		t.Errorf("before it began: %+v", s)
	}
	c.Periods = 1
	if s = standing(c, "2027-03-01", records[:3]...); s.Used != 701 || s.Projected != 701 || s.Elapsed != 10_000 || s.Owed != 2299 {
		t.Errorf("after its end: %+v", s)
	}
}

// Tokens: the shortfall costs what the contract says, rounded up.
func TestACommitmentOfTokens(t *testing.T) {
	c := &usage.Commitment{Provider: "p", Start: day("2026-11-01"), Months: 1, Tokens: 3_000_001, Shortfall: 200}
	s := standing(c, "2026-11-16", spent("2026-11-02", "mine", 5, 1_000_000))
	if s.Used != 1_000_000 || s.Projected != 2_000_000 || s.Owed != 201 || s.Share != 3333 {
		t.Errorf("%+v", s)
	}
	c.Tokens, c.Shortfall = 1<<62, 1<<62
	if s = standing(c, "2026-11-16"); s.Owed != 1<<63-1 {
		t.Errorf("more than can be counted: %+v", s)
	}
}
