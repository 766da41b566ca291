package usage_test

import (
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/usage"
)

// settleAs makes a statement of records in an order.
func settleAs(t *testing.T, how usage.Capped, records []usage.Record) (usage.Statement, error) {
	t.Helper()
	rules := &usage.Rules{Rest: "rest", All: []usage.Rule{{Name: "half", Match: map[usage.Dimension]string{"provider": "p"}, Shares: []usage.Share{
		{Party: "x", BasisPoints: 5000}, {Party: "y", Unit: "output_tokens", PerUnit: 7}}}}}
	s := usage.NewSettling(rules, how)
	for i := range records {
		if err := s.Add(&records[i]); err != nil {
			return usage.Statement{}, err
		}
	}
	return s.Statement()
}

// Records that can't be stop a statement, until somebody says what becomes of them. Then it adds up, lists them,
// and is the same in whichever order the records come.
func TestAStatementOverRecordsThatCantBe(t *testing.T) {
	honest := []usage.Record{call("p", 300_000_000, 4), call("q", usage.MaxRecorded, 1)}
	wrong := []usage.Record{call("p", math.MaxInt64, 3), call("p", 5, -9), call("q", 100, math.MaxInt64)}
	for i := range wrong {
		wrong[i].ID = fmt.Sprint("usage_", i)
	}
	if st, err := settleAs(t, usage.CappedRefuse, honest); err != nil || st.CappedCount != 0 {
		t.Fatalf("%+v, %v", st, err)
	}
	all := append(append([]usage.Record{}, wrong...), honest...)
	_, err := settleAs(t, usage.CappedRefuse, all)
	if stead.KindOf(err) != stead.KindTooLarge || !strings.Contains(err.Error(), "3 say") || !strings.Contains(err.Error(), "usage_0 (9223372036854775807 micro-cents)") || !strings.Contains(err.Error(), "usage_2") {
		t.Errorf("refused with %v", err)
	}
	for how, cost := range map[usage.Capped]int64{
		usage.CappedLeaveOut: 300_000_000 + usage.MaxRecorded,
		usage.CappedAtBound:  300_000_000 + usage.MaxRecorded + usage.MaxRecorded + 5 + 100,
	} {
		st, err := settleAs(t, how, all)
		if err != nil || st.Total.Cost != cost || st.How != how || st.CappedCount != 3 || len(st.Capped) != 3 || st.Capped[0].Cost != math.MaxInt64 {
			t.Fatalf("%s: %d micro-cents, %d records, %v", how, st.Total.Cost, st.CappedCount, err)
		}
		sum, exact := int64(0), new(big.Rat)
		for _, l := range st.Lines {
			sum += l.Cents
			exact.Add(exact, l.Exact)
		}
		if sum != st.Cents || exact.Cmp(new(big.Rat).SetInt64(cost)) != 0 {
			t.Errorf("%s: the lines are %d cents of %d, %s of %d micro-cents", how, sum, st.Cents, exact, cost)
		}
		back := append(append([]usage.Record{}, honest...), wrong...)
		if again, err := settleAs(t, how, back); err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", st) {
			t.Errorf("%s, in another order:\n%+v\n%+v", how, st, again)
		}
	}
}

// A sum of records each of which can be is never cut.
func TestASumThatLeavesInt64IsNotSettled(t *testing.T) {
	records := make([]usage.Record, math.MaxInt64/usage.MaxRecorded+2)
	for i := range records {
		records[i] = call("p", usage.MaxRecorded, 1)
	}
	for _, how := range []usage.Capped{usage.CappedRefuse, usage.CappedLeaveOut, usage.CappedAtBound} {
		if _, err := settleAs(t, how, records); stead.KindOf(err) != stead.KindTooLarge {
			t.Errorf("%s: %v", how, err)
		}
	}
	if _, err := usage.CappedOf("ignore"); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("a way that is none: %v", err)
	}
}

func TestAStatementShowsFewOfManyRecordsThatCantBe(t *testing.T) {
	records := make([]usage.Record, usage.MaxCappedShown+20)
	for i := range records {
		records[i] = call("p", -1, 1)
	}
	if st, err := settleAs(t, usage.CappedLeaveOut, records); err != nil || len(st.Capped) != usage.MaxCappedShown || st.CappedCount != len(records) {
		t.Errorf("%d shown of %d, %v", len(st.Capped), st.CappedCount, err)
	}
}
