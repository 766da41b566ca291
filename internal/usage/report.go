package usage

import (
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

// Sum adds up records.
type Sum struct {
	Records int64 `json:"records"`
	Quantities
	Cost int64 `json:"cost"` // micro-cents
}

// Add adds a record; KindTooLarge when a sum leaves int64.
func (s *Sum) Add(r *Record) error {
	return s.add(1, &r.Quantities, r.Cost)
}

// Merge adds another sum.
func (s *Sum) Merge(o *Sum) error { return s.add(o.Records, &o.Quantities, o.Cost) }

func (s *Sum) add(records int64, q *Quantities, cost int64) error {
	s.Records += records
	into, from := s.fields(), q.fields()
	for i := range into {
		if err := addTo(into[i], *from[i]); err != nil {
			return err
		}
	}
	return addTo(&s.Cost, cost)
}

func addTo(into *int64, n int64) error {
	if n > 0 && *into > math.MaxInt64-n {
		return stead.Errorf(stead.KindTooLarge, "a sum of usage records is larger than %d: narrow the report", int64(math.MaxInt64))
	}
	*into += n
	return nil
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
	for i, of := range g.of {
		values[i] = of(r)
	}
	key := strings.Join(values, "\x00")
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
	if err := row.Sum.Add(r); err != nil {
		return err
	}
	return g.total.Add(r)
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
