package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// row is one line of the result.
type row struct {
	name, baseline, ours, ratio, goal string
	verdict                           verdict
}

// verdict says whether a goal is reached.
type verdict int

const (
	none verdict = iota // a figure without a goal
	yes
	no
)

func (v verdict) String() string { return [...]string{"", "yes", "NO"}[v] }

func reached(ok bool) verdict {
	if ok {
		return yes
	}
	return no
}

// table is the result, in the order of measuring.
type table struct{ rows []row }

func (t *table) add(r row) { t.rows = append(t.rows, r) }

// atLeast compares a rate with its baseline's.
func (t *table) atLeast(name string, ours, baseline rate, goal float64) {
	ratio := ours.PerSecond / baseline.PerSecond
	t.add(row{name, perSecond(baseline), perSecond(ours), fmt.Sprintf("%.2f", ratio), fmt.Sprintf("≥ %.2f", goal), reached(ratio >= goal)})
}

// within compares a time with a limit made of the baseline.
func (t *table) within(name, baseline string, ours, limit time.Duration, ratio, goal string) {
	t.add(row{name, baseline, ms(ours), ratio, goal, reached(ours <= limit)})
}

func (t *table) print(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "figure\tbaseline\tours\tratio\tgoal\treached")
	for _, r := range t.rows {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", r.name, r.baseline, r.ours, r.ratio, r.goal, r.verdict)
	}
	return out.Flush()
}

func perSecond(r rate) string {
	return fmt.Sprintf("%.0f/s, p50 %s, p99 %s", r.PerSecond, ms(r.P50), ms(r.P99))
}

func ms(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}
