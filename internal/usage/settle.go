package usage

import (
	"cmp"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// Rule says who gets which part of what some records cost. A record counts under the first rule that
// it matches.
type Rule struct {
	Name   string
	Match  map[Dimension]string // all must be equal; none: every record matches
	Shares []Share
}

// Share is a party's part: BasisPoints of the cost, or a fixed amount for each unit that was used.
type Share struct {
	Party       string // "{provider}" and the like stand for a record's value of that dimension
	BasisPoints int64  // 100 are a percent
	Unit        string // name of a quantity, as in reports; "" with BasisPoints
	PerUnit     int64  // micro-cents
}

// Rules are those of a settlement.
type Rules struct {
	All  []Rule
	Rest string // party that gets what the shares of a rule leave, and what no rule matches
}

// RestRule is the name under which stands what no rule matches.
const RestRule = "-"

const (
	wholeBasisPoints   = 10_000
	microCentsPerCent  = 1_000_000
	exactUnitsPerCent  = microCentsPerCent * wholeBasisPoints // 1/10000 of a micro-cent: in it every share is whole
	maxSettlementLines = 10_000
)

// Check says what can't be settled by.
func (r *Rules) Check() error {
	all, units := dimensions(), units()
	for _, rule := range r.All {
		for d := range rule.Match {
			if all[d] == nil {
				return stead.Invalid("settlement.rules.match", "rule %s matches by %q, which is no dimension: it is one of %s", rule.Name, d, strings.Join(Dimensions(), ", "))
			}
		}
		for _, s := range rule.Shares {
			if s.Unit != "" && units[s.Unit] == nil {
				return stead.Invalid("settlement.rules.shares", "rule %s has a share by %q, which is no unit", rule.Name, s.Unit)
			}
			if d, ok := placeholder(s.Party); ok && all[d] == nil {
				return stead.Invalid("settlement.rules.shares", "rule %s has the party %s, which is no dimension", rule.Name, s.Party)
			}
		}
	}
	return nil
}

// units are the quantities that a fixed share can be by.
func units() map[string]func(*Quantities) int64 {
	return map[string]func(*Quantities) int64{
		"calls":            func(q *Quantities) int64 { return q.Calls },
		"input_tokens":     func(q *Quantities) int64 { return q.InputTokens },
		"cached_tokens":    func(q *Quantities) int64 { return q.CachedTokens },
		"output_tokens":    func(q *Quantities) int64 { return q.OutputTokens },
		"reasoning_tokens": func(q *Quantities) int64 { return q.ReasoningTokens },
		"duration_ms":      func(q *Quantities) int64 { return q.Millis },
		"sent_bytes":       func(q *Quantities) int64 { return q.SentBytes },
		"received_bytes":   func(q *Quantities) int64 { return q.ReceivedBytes },
		"megabyte_seconds": func(q *Quantities) int64 { return q.MegabyteSeconds },
		"cpu_ms":           func(q *Quantities) int64 { return q.CPUMillis },
		"commands":         func(q *Quantities) int64 { return q.Commands },
	}
}

// placeholder is the dimension that a party stands for.
func placeholder(party string) (Dimension, bool) {
	name, ok := strings.CutPrefix(party, "{")
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, "}")
	return Dimension(name), ok
}

// Statement is who gets what, to the cent.
type Statement struct {
	Lines   []StatementLine // by rule, in the order of the rules, then by party
	Parties []PartySum      // by party
	Total   Sum
	// Cents is the total in whole cents, half a cent rounded up, and what the lines add up to. What
	// rounding the total took away or gave is Total.Cost - Cents*1,000,000 micro-cents.
	Cents int64
	// How records that can't be were taken, the first MaxCappedShown of them as they are stored, and how many there are.
	How         Capped
	Capped      []Record
	CappedCount int
}

// StatementLine is what a party gets by a rule.
type StatementLine struct {
	Rule, Party string
	Exact       *big.Rat // micro-cents
	Cents       int64
}

// PartySum is what a party gets by all rules.
type PartySum struct {
	Party string
	Cents int64
}

// Settling collects a statement.
type Settling struct {
	rules  *Rules
	how    Capped
	capped []Record             // the first that can't be
	count  int                  // of all of them
	lines  map[lineKey]*big.Int // in exact units
	total  Sum
}

type lineKey struct {
	rule  int // index; len(rules): RestRule
	party string
}

// NewSettling begins a statement, which takes records that can't be as how says.
func NewSettling(rules *Rules, how Capped) *Settling {
	return &Settling{rules: rules, how: how, lines: map[lineKey]*big.Int{}}
}

// Add distributes what a record cost; KindTooLarge above maxSettlementLines, and for a sum that leaves int64.
func (s *Settling) Add(r *Record) error {
	if bounded, capped := r.Bounded(); capped {
		if s.count++; len(s.capped) < MaxCappedShown {
			s.capped = append(s.capped, *r)
		}
		if s.how != CappedAtBound {
			return nil
		}
		r = &bounded
	}
	s.total.Add(r)
	if s.total.Capped {
		e := stead.Errorf(stead.KindTooLarge, "with the record %s the sum is more than %d: this time can't be settled at once", r.ID, int64(math.MaxInt64))
		e.Hint = "Settle the time before and after that record."
		return e
	}
	all := dimensions()
	i := slices.IndexFunc(s.rules.All, func(rule Rule) bool { return rule.matches(r, all) })
	rest := exact(r.Cost, wholeBasisPoints)
	if i < 0 {
		return s.give(lineKey{len(s.rules.All), s.rules.Rest}, rest)
	}
	units := units()
	for _, share := range s.rules.All[i].Shares {
		part := exact(r.Cost, share.BasisPoints)
		if share.Unit != "" {
			part = exact(units[share.Unit](&r.Quantities), share.PerUnit)
			part.Mul(part, big.NewInt(wholeBasisPoints))
		}
		party := share.Party
		if d, ok := placeholder(party); ok {
			party = cmp.Or(all[d](r), RestRule)
		}
		rest.Sub(rest, part)
		if err := s.give(lineKey{i, party}, part); err != nil {
			return err
		}
	}
	return s.give(lineKey{i, s.rules.Rest}, rest)
}

func (rule *Rule) matches(r *Record, all map[Dimension]func(*Record) string) bool {
	for d, want := range rule.Match {
		if all[d](r) != want {
			return false
		}
	}
	return true
}

func exact(a, b int64) *big.Int { return new(big.Int).Mul(big.NewInt(a), big.NewInt(b)) }

func (s *Settling) give(k lineKey, part *big.Int) error {
	if have := s.lines[k]; have != nil {
		have.Add(have, part)
		return nil
	}
	if len(s.lines) == maxSettlementLines {
		return stead.Errorf(stead.KindTooLarge, "the statement has more than %d lines", maxSettlementLines)
	}
	s.lines[k] = part
	return nil
}

// Statement ends the statement. Lines are rounded down to whole cents, and the cents that are left go
// to the lines with the largest remainders, of equal ones to the earlier line: so the lines add up to
// the total exactly, and the same records and rules give the same statement byte for byte. KindTooLarge where
// there are records that can't be, unless it was said how they are taken: money is paid by it, so nothing is guessed.
func (s *Settling) Statement() (Statement, error) {
	if s.count > 0 && s.how != CappedLeaveOut && s.how != CappedAtBound {
		return Statement{}, cappedError(s.capped, s.count)
	}
	keys := make([]lineKey, 0, len(s.lines))
	for k := range s.lines {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b lineKey) int { return cmp.Or(cmp.Compare(a.rule, b.rule), strings.Compare(a.party, b.party)) })
	out := Statement{Total: s.total, Cents: roundHalfUp(s.total.Cost), How: s.how, Capped: s.capped, CappedCount: s.count}
	cent := big.NewInt(exactUnitsPerCent)
	left := out.Cents
	remainders := make([]*big.Int, len(keys))
	for i, k := range keys {
		cents, remainder := new(big.Int).DivMod(s.lines[k], cent, new(big.Int)) // Euclidean: 0 <= remainder
		remainders[i] = remainder
		left -= cents.Int64()
		out.Lines = append(out.Lines, StatementLine{Rule: s.ruleName(k.rule), Party: k.party, Cents: cents.Int64(),
			Exact: new(big.Rat).SetFrac(s.lines[k], big.NewInt(wholeBasisPoints))})
	}
	order := make([]int, len(keys))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return remainders[b].Cmp(remainders[a]) })
	for n := range left { // fewer than there are lines: each remainder is less than a cent
		out.Lines[order[n]].Cents++
	}
	out.Parties = parties(out.Lines)
	return out, nil
}

func roundHalfUp(microCents int64) int64 {
	return (microCents + microCentsPerCent/2) / microCentsPerCent
}

func (s *Settling) ruleName(i int) string {
	if i == len(s.rules.All) {
		return RestRule
	}
	return s.rules.All[i].Name
}

func parties(lines []StatementLine) []PartySum {
	var out []PartySum
	for _, l := range lines {
		i := slices.IndexFunc(out, func(p PartySum) bool { return p.Party == l.Party })
		if i < 0 {
			i = len(out)
			out = append(out, PartySum{Party: l.Party})
		}
		out[i].Cents += l.Cents
	}
	slices.SortFunc(out, func(a, b PartySum) int { return strings.Compare(a.Party, b.Party) })
	return out
}
