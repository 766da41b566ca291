package usage

import (
	"slices"
	"time"

	"github.com/stead-dev/stead"
)

// Filter selects records. Zero fields select all.
type Filter struct {
	From, To int64 // Unix milliseconds: From <= At < To; To 0: no end
	Session  stead.SessionID
	Kind     Kind
	Agent    stead.AgentID
	User     string
	Provider string
	Model    string
	Whose    string // of one user alone, whomever User asks for; "": everybody's
	Notes    bool   // notes too, which else are selected by Kind alone
}

// Selects reports whether a record passes.
func (f Filter) Selects(r *Record) bool {
	return (f.Notes || f.Kind != "" || !r.Kind.note()) && r.At >= f.From && (f.To == 0 || r.At < f.To) && is(f.Session, r.Session) && is(f.Kind, r.Kind) &&
		is(f.Agent, r.Agent) && is(f.User, r.User) && is(f.Whose, r.User) && is(f.Provider, r.Provider) && is(f.Model, r.Model)
}

func is[T ~string](want, have T) bool { return want == "" || want == have }

// Check refuses what can't be meant.
func (f Filter) Check() error {
	if f.Kind != "" && !slices.Contains(Kinds(), f.Kind) {
		return stead.Invalid("kind", "kind must be one of %v, not %.40q", Kinds(), f.Kind)
	}
	if f.To != 0 && f.To <= f.From {
		return stead.Invalid("to", "to must be later than from")
	}
	return nil
}

// Dimension is what reports can be grouped by.
type Dimension string

// Dimensions are all of them, with a record's value of each. Days and months are UTC.
func dimensions() map[Dimension]func(*Record) string {
	return map[Dimension]func(*Record) string{
		"project":  func(r *Record) string { return string(r.Project) },
		"agent":    func(r *Record) string { return string(r.Agent) },
		"session":  func(r *Record) string { return string(r.Session) },
		"turn":     func(r *Record) string { return r.Turn },
		"subagent": func(r *Record) string { return r.Subagent },
		"user":     func(r *Record) string { return r.User },
		"kind":     func(r *Record) string { return string(r.Kind) },
		"model":    func(r *Record) string { return r.Model },
		"upstream": func(r *Record) string { return r.Upstream },
		"provider": func(r *Record) string { return r.Provider },
		"region":   func(r *Record) string { return r.Region },
		"tier":     func(r *Record) string { return r.Tier },
		"name":     func(r *Record) string { return r.Name },
		"prices":   func(r *Record) string { return r.Prices },
		"day":      func(r *Record) string { return Day(r.At) },
		"month":    func(r *Record) string { return Month(r.At) },
	}
}

// Day is the day of a time, as "2026-11-26".
func Day(at int64) string { return time.UnixMilli(at).UTC().Format(time.DateOnly) }

// Month is the month of a time, as "2026-11".
func Month(at int64) string { return time.UnixMilli(at).UTC().Format("2006-01") }

// Dimensions are their names, sorted.
func Dimensions() []string {
	var out []string
	for d := range dimensions() {
		out = append(out, string(d))
	}
	slices.Sort(out)
	return out
}
