package usage_test

import (
	"math"
	"testing"

	"github.com/stead-dev/stead/internal/usage"
)

// A record that can't be spoils its own row and the total, which say so, and no other; in whatever order.
func TestARecordThatCannotBeIsOneRowsProblem(t *testing.T) {
	absurd := call("liar", math.MaxInt64, math.MaxInt64)
	records := []usage.Record{absurd, absurd, call("liar", -9, -5), call("honest", 5, 3)}
	var totals []usage.Sum
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}} {
		g, err := usage.NewGrouping([]string{"provider"})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range order {
			if err := g.Add(&records[i]); err != nil {
				t.Fatal(err)
			}
		}
		r := g.Report()
		if honest := r.Rows[0].Sum; honest.Capped || honest.Cost != 5 || honest.OutputTokens != 3 {
			t.Errorf("the honest row is %+v", honest)
		}
		if liar := r.Rows[1].Sum; !liar.Capped || liar.Cost != math.MaxInt64 || liar.OutputTokens != math.MaxInt64 || liar.Calls != 3 {
			t.Errorf("the row that is marked is %+v", liar)
		}
		totals = append(totals, r.Total)
	}
	if totals[0] != totals[1] || totals[0] != totals[2] || !totals[0].Capped {
		t.Errorf("totals differ with the order: %+v", totals)
	}
}

// A name may hold any byte: two pairs of names that are alike when they are joined are two rows.
func TestNamesOfAReportAreNotJoined(t *testing.T) {
	g, err := usage.NewGrouping([]string{"provider", "model"})
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range [][2]string{{"a\x00b", "c"}, {"a", "b\x00c"}} {
		r := call(names[0], 1, 1)
		r.Model = names[1]
		if err := g.Add(&r); err != nil {
			t.Fatal(err)
		}
	}
	if rows := g.Report().Rows; len(rows) != 2 {
		t.Errorf("%d rows: %+v", len(rows), rows)
	}
}
