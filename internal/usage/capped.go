package usage

import (
	"fmt"
	"strings"

	"github.com/stead-dev/stead"
)

// MaxRecorded is the most that a record can truly say of anything, its cost in micro-cents among them: some 90
// million dollars, or nine petabytes. What says more, or less than nothing, is a provider's mistake from before
// usage was checked, or a price's. No statement pays by it unless somebody says how.
const MaxRecorded = 1 << 53

// MaxCappedShown is how many such records a statement shows; the others are counted.
const MaxCappedShown = 100

// Capped says what a statement does with records that can't be.
type Capped string

// The ways. The zero value is CappedRefuse.
const (
	CappedRefuse   Capped = "refuse"    // there is no statement
	CappedLeaveOut Capped = "leave_out" // they are listed, and paid by nobody
	CappedAtBound  Capped = "at_bound"  // they are listed, and count with 0 or MaxRecorded where they can't be
)

// CappedOf reads a way; KindInvalid.
func CappedOf(name string) (Capped, error) {
	switch c := Capped(name); c {
	case "":
		return CappedRefuse, nil
	case CappedRefuse, CappedLeaveOut, CappedAtBound:
		return c, nil
	}
	return "", stead.Invalid("capped", `capped must be "refuse", "leave_out" or "at_bound", not %.40q`, name)
}

// Bounded is the record with what can't be at its bound, and whether anything was.
func (r Record) Bounded() (Record, bool) {
	any := false
	for _, n := range append([]*int64{&r.Cost}, ptrs(&r.Quantities)...) {
		if at := min(max(*n, 0), MaxRecorded); at != *n {
			*n, any = at, true
		}
	}
	return r, any
}

func ptrs(q *Quantities) []*int64 {
	all := q.fields()
	return all[:]
}

// cappedError refuses a statement, and names the first records that are why.
func cappedError(shown []Record, count int) error {
	const named = 3
	var ids []string
	for _, r := range shown[:min(len(shown), named)] {
		ids = append(ids, fmt.Sprintf("%s (%d micro-cents)", r.ID, r.Cost))
	}
	if count > named {
		ids = append(ids, "…")
	}
	e := stead.Errorf(stead.KindTooLarge, "this time can't be settled: of its usage records %d say what can't be: %s", count, strings.Join(ids, ", "))
	e.Param = "capped"
	e.Hint = "Look at them with their provider. Settle the rest with capped=leave_out (stead usage statement --capped leave_out), or count them at their bound with at_bound: either statement lists them."
	return e
}
