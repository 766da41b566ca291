package usage

import (
	"math"
	"math/big"
	"strings"
	"time"

	"github.com/stead-dev/stead"
)

// Commitment is what was promised to a provider: so much money, or so many tokens, in each period. It is
// the operator's, of all projects together.
type Commitment struct {
	Name     string
	Provider string
	Pool     string // of capacity, which the models are those of; "": all of the provider
	// Models are the provider's that count; none: all but Others, which other pools have.
	Models, Others []string

	Start   time.Time // midnight of UTC: the first period begins
	Months  int       // of each period
	Periods int       // how many there are; 0: no end

	// One of both is committed, in each period.
	Cost   int64 // micro-cents, by the records
	Tokens int64 // input and output
	// Shortfall is what a million tokens cost that were committed and not used, in micro-cents. Of money,
	// what was not used is owed.
	Shortfall int64
}

// Term is one period of a commitment. Unix milliseconds: From <= At < To.
type Term struct{ From, To int64 }

// Term is the period that a time is in. Before the first one it is that one, after the last the last.
func (c *Commitment) Term(at int64) Term {
	n := 0
	for c.begin(n+1) <= at && (c.Periods == 0 || n+1 < c.Periods) {
		n++
	}
	return Term{c.begin(n), c.begin(n + 1)}
}

func (c *Commitment) begin(n int) int64 { return c.Start.AddDate(0, n*c.Months, 0).UnixMilli() }

// Counts reports whether a record is of a call that the commitment is about.
func (c *Commitment) Counts(r *Record) bool {
	if r.Kind != ModelCall || r.Provider != c.Provider {
		return false
	}
	own, other := likeness(c.Models, r.Upstream), likeness(c.Others, r.Upstream)
	if len(c.Models) == 0 {
		return other == 0
	}
	return own > other
}

// likeness is how long the name is that a model goes by, of the names given; 0: none of them. Providers
// answer with a version of what was asked for: "m-2026-11-26" of "m".
func likeness(names []string, upstream string) int {
	best := 0
	for _, name := range names {
		rest, ok := strings.CutPrefix(upstream, name)
		version := len(rest) > 1 && strings.ContainsRune("-@", rune(rest[0])) && rest[1] >= '0' && rest[1] <= '9'
		if ok && (rest == "" || version) {
			best = max(best, len(name))
		}
	}
	return best
}

// Tracking collects the standing of a commitment.
type Tracking struct {
	c    *Commitment
	at   int64
	own  stead.ProjectID
	term Term
	used int64
	mine int64
}

// NewTracking begins one, as it stood at a time: later records do not count. own is the project whose
// part is told.
func NewTracking(c *Commitment, at int64, own stead.ProjectID) *Tracking {
	return &Tracking{c: c, at: at, own: own, term: c.Term(at)}
}

// Filter selects the records that it needs; false: of none, since the commitment has not begun.
func (t *Tracking) Filter() (Filter, bool) {
	f := Filter{From: t.term.From, To: min(t.at, t.term.To), Provider: t.c.Provider, Kind: ModelCall}
	return f, f.To > f.From
}

// Add adds a record, if it counts. What leaves int64 stands at its end; what is below zero counts as nothing.
func (t *Tracking) Add(r *Record) {
	if f, ok := t.Filter(); !ok || !f.Selects(r) || !t.c.Counts(r) {
		return
	}
	counts := [2]int64{r.Cost}
	if t.c.Tokens > 0 {
		counts = [2]int64{r.InputTokens, r.OutputTokens}
	}
	for _, n := range counts {
		_ = addTo(&t.used, n) // a standing is an estimate: it is at its end then
		if r.Project == t.own {
			_ = addTo(&t.mine, n)
		}
	}
}

// Standing is how a commitment stands. Amounts are micro-cents or tokens, as it has them.
type Standing struct {
	*Commitment
	Term
	At        int64 // Unix milliseconds: as of
	Committed int64
	Used      int64
	Own       int64 // of that, by the project that asks
	Remaining int64 // that is committed and not used
	Over      int64 // that is used beyond it
	Share     int64 // used of committed, in basis points, rounded down
	Elapsed   int64 // of the period's time, the same
	Projected int64 // used at its end if it goes on as since its beginning, rounded down; Used once it has ended
	// Owed is what the projected shortfall costs, in micro-cents, rounded up.
	Owed int64
}

// Standing ends the tracking.
func (t *Tracking) Standing() Standing {
	c := t.c
	s := Standing{Commitment: c, Term: t.term, At: t.at, Committed: max(c.Cost, c.Tokens), Used: t.used, Own: t.mine, Projected: t.used}
	s.Remaining, s.Over = max(s.Committed-s.Used, 0), max(s.Used-s.Committed, 0)
	s.Share = ratio(s.Used, wholeBasisPoints, s.Committed)
	whole, gone := s.To-s.From, min(max(s.At-s.From, 0), s.To-s.From)
	s.Elapsed = ratio(gone, wholeBasisPoints, whole)
	if gone > 0 {
		s.Projected = ratio(s.Used, whole, gone)
	}
	short := max(s.Committed-s.Projected, 0)
	if c.Tokens > 0 {
		const million = 1_000_000
		short = -ratio(-short, c.Shortfall, million)
	}
	s.Owed = short
	return s
}

// ratio is a × b ÷ c, rounded down, and within int64; c is above 0.
func ratio(a, b, c int64) int64 {
	n := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
	n.Div(n, big.NewInt(c)) // Euclidean: with a divisor above 0 that is down
	if !n.IsInt64() {
		if n.Sign() < 0 {
			return math.MinInt64 + 1
		}
		return math.MaxInt64
	}
	return n.Int64()
}
