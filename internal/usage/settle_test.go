package usage_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/stead-dev/stead/internal/usage"
)

func settle(t *testing.T, rules *usage.Rules, records []usage.Record) usage.Statement {
	t.Helper()
	if err := rules.Check(); err != nil {
		t.Fatal(err)
	}
	s := usage.NewSettling(rules, usage.CappedRefuse)
	for i := range records {
		if err := s.Add(&records[i]); err != nil {
			t.Fatal(err)
		}
	}
	st, err := s.Statement()
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func call(provider string, cost, output int64) usage.Record {
	r := usage.Record{Kind: usage.ModelCall, Provider: provider, Cost: cost}
	r.Calls, r.OutputTokens = 1, output
	return r
}

// By hand: 10.00 and 0.05 USD at two providers, three parties a third each of one, a fixed price a call.
func TestStatement(t *testing.T) {
	const usd = 100_000_000
	rules := &usage.Rules{Rest: "operator", All: []usage.Rule{
		{Name: "thirds", Match: map[usage.Dimension]string{"provider": "a"}, Shares: []usage.Share{
			{Party: "x", BasisPoints: 3333}, {Party: "y", BasisPoints: 3333}, {Party: "{provider}", BasisPoints: 3333}}},
		{Name: "calls", Match: map[usage.Dimension]string{"provider": "b"}, Shares: []usage.Share{{Party: "x", Unit: "calls", PerUnit: 3_500_000}}},
	}}
	st := settle(t, rules, []usage.Record{call("a", 10*usd, 5), call("b", 5_000_000, 5), call("c", 1_499_999, 1)})
	var got []string
	for _, l := range st.Lines {
		got = append(got, fmt.Sprintf("%s %s %d", l.Rule, l.Party, l.Cents))
	}
	want := []string{
		"thirds a 333", "thirds operator 0", "thirds x 333", "thirds y 333", // 333.3 each, and 0.1
		"calls operator 2", "calls x 4", // 1.5 and 3.5: the largest remainders, the earlier line first
		"- operator 1", // 1.499999
	}
	if st.Cents != 1006 || !reflect.DeepEqual(got, want) {
		t.Errorf("%d cents: %q, want 1006: %q", st.Cents, got, want)
	}
}

// Random records and rules: the lines add up to the total exactly, none is a cent from what is exact,
// and neither the order of the records nor a repetition changes a byte.
func TestStatementsAddUp(t *testing.T) {
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 7))
		rules := &usage.Rules{Rest: "rest"}
		for i := range 1 + rng.IntN(3) {
			rule := usage.Rule{Name: fmt.Sprint("r", i), Match: map[usage.Dimension]string{"provider": fmt.Sprint("p", rng.IntN(4))}}
			left := int64(10_000)
			for j := range rng.IntN(4) {
				bp := rng.Int64N(left + 1)
				left -= bp
				rule.Shares = append(rule.Shares, usage.Share{Party: fmt.Sprint("party", j), BasisPoints: bp})
			}
			if rng.IntN(3) == 0 {
				rule.Shares = append(rule.Shares, usage.Share{Party: "{model}", Unit: "output_tokens", PerUnit: rng.Int64N(3000)})
			}
			rules.All = append(rules.All, rule)
		}
		var records []usage.Record
		for range rng.IntN(40) {
			r := call(fmt.Sprint("p", rng.IntN(5)), rng.Int64N(30_000_000), rng.Int64N(5000))
			r.Model = fmt.Sprint("m", rng.IntN(3))
			records = append(records, r)
		}
		st := settle(t, rules, records)
		sum, exact := int64(0), new(big.Rat)
		for _, l := range st.Lines {
			sum += l.Cents
			exact.Add(exact, l.Exact)
			off := new(big.Rat).Sub(new(big.Rat).SetInt64(l.Cents*1_000_000), l.Exact)
			if off.Abs(off).Cmp(big.NewRat(1_000_000, 1)) >= 0 {
				t.Errorf("seed %d: %s %s gets %d cents of %s micro-cents", seed, l.Rule, l.Party, l.Cents, l.Exact.FloatString(4))
			}
		}
		perParty := int64(0)
		for _, p := range st.Parties {
			perParty += p.Cents
		}
		if sum != st.Cents || perParty != st.Cents || exact.Cmp(new(big.Rat).SetInt64(st.Total.Cost)) != 0 {
			t.Errorf("seed %d: the lines are %d cents, the parties %d, the total %d; exactly %s of %d micro-cents", seed, sum, perParty, st.Cents, exact, st.Total.Cost)
		}
		rng.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		if again := settle(t, rules, records); fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", st) {
			t.Errorf("seed %d: in another order\n%+v\n%+v", seed, st, again)
		}
	}
}

func TestRulesThatCantBe(t *testing.T) {
	for _, rule := range []usage.Rule{
		{Match: map[usage.Dimension]string{"colour": "red"}},
		{Shares: []usage.Share{{Party: "x", Unit: "furlongs", PerUnit: 1}}},
		{Shares: []usage.Share{{Party: "{colour}", BasisPoints: 1}}},
	} {
		if err := (&usage.Rules{All: []usage.Rule{rule}}).Check(); err == nil {
			t.Errorf("%+v is accepted", rule)
		}
	}
}
