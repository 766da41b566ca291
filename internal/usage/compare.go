package usage

import (
	"maps"
	"slices"
)

// Ways in which the stored records can differ from the journal.
const (
	Missing   = "missing"   // the journal has the event, the store no record
	Surplus   = "surplus"   // the store has a record that no event makes
	Different = "different" // both are there, and say different things
)

// Difference is one record in which store and journal disagree.
type Difference struct {
	ID             string
	What           string  // Missing, Surplus or Different
	Journal, Store *Record // nil where there is none
}

// before is the record as it was made before what environments compute was counted, and before an attempt
// that was outrun was told from one that answered.
func (r Record) before() Record {
	r.CPUMillis, r.Commands, r.MemoryBytes = 0, 0, 0
	if r.Outcome == Outrun {
		r.Outcome = ""
	}
	return r
}

// nobodys is the record as it was made before it said whose turn a subagent's is.
func (r Record) nobodys() Record {
	r.Subagent = ""
	return r
}

// Compare holds a session's stored records against those that its journal makes, in order of id.
func Compare(journal, store []Record) []Difference {
	have := make(map[string]*Record, len(store))
	for i := range store {
		have[store[i].ID] = &store[i]
	}
	var out []Difference
	for i := range journal {
		want := &journal[i]
		got := have[want.ID]
		delete(have, want.ID)
		switch {
		case got == nil:
			out = append(out, Difference{want.ID, Missing, want, nil})
		case *got != *want && *got != want.nobodys() && *got != want.before():
			out = append(out, Difference{want.ID, Different, want, got})
		}
	}
	for _, id := range slices.Sorted(maps.Keys(have)) {
		out = append(out, Difference{id, Surplus, nil, have[id]})
	}
	return out
}
