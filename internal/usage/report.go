package usage

import (
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// Limits of a report.
const (
	// MaxGroups is the most rows of a report.
	MaxGroups = 50_000
	// MaxDimensions is the most dimensions that one report is grouped by.
	MaxDimensions = 6
)

// Sum adds up records. What no record can truly say spoils its own sum alone, and is marked.
type Sum struct {
	Records int64 `json:"records"`
	Quantities
	Cost int64 `json:"cost"` // micro-cents
	// Capped: a quantity or the cost is more than math.MaxInt64 and stands at that, or a record says less than
	// nothing and counts as nothing. The sum is not to be billed by.
	Capped bool `json:"capped,omitempty"`
}

// Add adds a record.
func (s *Sum) Add(r *Record) { s.add(1, &r.Quantities, r.Cost) }

// Merge adds another sum.
func (s *Sum) Merge(o *Sum) {
	s.add(o.Records, &o.Quantities, o.Cost)
	s.Capped = s.Capped || o.Capped
}

func (s *Sum) add(records int64, q *Quantities, cost int64) {
	s.Records += records
	into, from := s.fields(), q.fields()
	capped := addTo(&s.Cost, cost)
	for i := range into {
		capped = addTo(into[i], *from[i]) || capped
	}
	s.Capped = s.Capped || capped
}

// addTo adds what is above zero, up to math.MaxInt64, and reports whether that is not the true sum. In which
// order things are added makes no difference to the result.
func addTo(into *int64, n int64) (capped bool) {
	if n < 0 || *into > math.MaxInt64-n {
		if n > 0 {
			*into = math.MaxInt64
		}
		return true
	}
	*into += n
	return false
}

// Report is records added up by some dimensions.
type Report struct {
	Dimensions []Dimension
	Rows       []ReportRow // sorted by their values
	Total      Sum
}

// ReportRow is one group: its values, in the order of the dimensions.
type ReportRow struct {
	Values []string
	Sum    Sum
}

// Grouping collects a report.
type Grouping struct {
	dims   []Dimension
	of     []func(*Record) string
	groups map[string]*ReportRow
	total  Sum
}

// NewGrouping begins a report. KindInvalid names what is no dimension.
func NewGrouping(names []string) (*Grouping, error) {
	g := &Grouping{groups: map[string]*ReportRow{}}
	if len(names) > MaxDimensions {
		return nil, stead.Invalid("group_by", "a report is grouped by at most %d dimensions, not %d", MaxDimensions, len(names))
	}
	all := dimensions()
	for _, n := range names {
		of, ok := all[Dimension(n)]
		if !ok || slices.Contains(g.dims, Dimension(n)) {
			return nil, stead.Invalid("group_by", "group_by takes %s, each once; not %.40q", strings.Join(Dimensions(), ", "), n)
		}
		g.dims, g.of = append(g.dims, Dimension(n)), append(g.of, of)
	}
	return g, nil
}

// Add adds a record; KindTooLarge above MaxGroups.
func (g *Grouping) Add(r *Record) error {
	values := make([]string, len(g.of))
	var long []byte
	for i, of := range g.of {
		values[i] = of(r)
		long = append(binary.AppendUvarint(long, uint64(len(values[i]))), values[i]...) // a value may hold anything
	}
	key := string(long)
	row := g.groups[key]
	if row == nil {
		if len(g.groups) == MaxGroups {
			e := stead.Errorf(stead.KindTooLarge, "the report has more than %d rows", MaxGroups)
			e.Hint = "Narrow it by from and to, or group it by less."
			return e
		}
		row = &ReportRow{Values: values}
		g.groups[key] = row
	}
	row.Sum.Add(r)
	g.total.Add(r)
	return nil
}

// Report ends the report.
func (g *Grouping) Report() Report {
	out := Report{Dimensions: g.dims, Rows: []ReportRow{}, Total: g.total}
	for _, row := range g.groups {
		out.Rows = append(out.Rows, *row)
	}
	slices.SortFunc(out.Rows, func(a, b ReportRow) int { return slices.Compare(a.Values, b.Values) })
	return out
}
