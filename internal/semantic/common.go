package semantic

import (
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// Metrics are put side by side by what is the same column: that two dimensions are called alike says nothing. Orders and refunds both have
// a status, and an order's is another one than a refund's, which may have that of its order too.

// shared is a dimension that several metrics have.
type shared struct {
	name string
	ways map[string]dimension // entity that is aggregated → how it gets there
}

func (s shared) column() string {
	for _, d := range s.ways {
		return d.entity + "." + d.attribute
	}
	return ""
}

// has says whether one of the metrics calls it so, and as entity.attribute it is called whatever it is called besides.
func (s shared) has(name string) bool {
	if s.column() == name {
		return true
	}
	for _, d := range s.ways {
		if d.name == name {
			return true
		}
	}
	return false
}

// own are the dimensions of an aggregate, by themselves.
func (x *Metric) own() []shared {
	out := make([]shared, len(x.dims))
	for i, d := range x.dims {
		out[i] = shared{d.name, map[string]dimension{x.Entity: d}}
	}
	return out
}

// common are the dimensions that all of several metrics have, named as the first one has them, or by entity.attribute where another one calls
// something else so.
func (m *Model) common(metrics []string) []shared {
	out := slices.Clone(m.Metrics[metrics[0]].shared)
	for _, n := range metrics[1:] {
		out = m.merge(out, m.Metrics[n].shared)
	}
	words := m.wordsOf(metrics)
	known := map[string]bool{}
	var named []shared
	for _, s := range out {
		if m.another(words, s.name, s, true) {
			s.name = s.column()
		}
		if !known[s.name] && !m.another(words, s.name, s, true) {
			known[s.name] = true
			named = append(named, s)
		}
	}
	return named
}

// merge keeps what both have. Of several that would fit, the one of the same name does, or none.
func (m *Model) merge(left, right []shared) []shared {
	columns := map[string][]shared{}
	for _, t := range right {
		columns[t.column()] = append(columns[t.column()], t)
	}
	var out []shared
	for _, s := range left {
		var found []shared
		for _, t := range columns[s.column()] {
			if m.alike(s, t) {
				found = append(found, t)
			}
		}
		if i := slices.IndexFunc(found, func(t shared) bool { return t.name == s.name }); i >= 0 {
			found = found[i : i+1]
		}
		if len(found) != 1 {
			continue
		}
		both := shared{s.name, map[string]dimension{}}
		for _, from := range []shared{found[0], s} {
			for entity, d := range from.ways {
				both.ways[entity] = d
			}
		}
		out = append(out, both)
	}
	return out
}

// called is a dimension of an aggregate, as one of its words says it.
type called struct {
	shared
	metric string
	byName bool // not by a synonym
}

// wordsOf are the words for the dimensions of the aggregates that metrics are made of.
func (m *Model) wordsOf(metrics []string) map[string][]called {
	out, known := map[string][]called{}, map[string]bool{}
	for _, n := range metrics {
		for _, p := range m.Metrics[n].parts {
			if known[p] {
				continue
			}
			known[p] = true
			for _, s := range m.Metrics[p].shared {
				d := s.ways[m.Metrics[p].Entity]
				out[plain(s.name)] = append(out[plain(s.name)], called{s, p, true})
				for _, word := range m.Entities[d.entity].Attributes[d.attribute].Synonyms {
					out[plain(word)] = append(out[plain(word)], called{s, p, false})
				}
			}
		}
	}
	return out
}

// another says whether a word for a dimension stands for something else too, by its name, or also by synonyms.
func (m *Model) another(words map[string][]called, word string, s shared, names bool) bool {
	return slices.ContainsFunc(words[plain(word)], func(t called) bool { return (t.byName || !names) && !m.alike(s, t.shared) })
}

// alike says whether two dimensions are one column, reached from each entity in ways that mean the same.
func (m *Model) alike(s, t shared) bool {
	fits := false
	for base, d := range s.ways {
		if same, both := t.ways[base]; both && !slices.Equal(d.steps, same.steps) {
			return false
		}
		for other, e := range t.ways {
			fits = fits || m.sameColumn(base, d, other, e)
		}
	}
	return fits
}

// sameColumn: from one entity the way is the same; from two, one leads by way of the other and then as that does, or both go the only way that
// there is. (The city that an order is shipped to, and the one that a line's order is billed to, are two.)
func (m *Model) sameColumn(base string, d dimension, other string, e dimension) bool {
	switch {
	case d.entity != e.entity || d.attribute != e.attribute:
		return false
	case base == other:
		return slices.Equal(d.steps, e.steps)
	}
	return d.only && e.only || m.leadsBy(d, other, e) || m.leadsBy(e, base, d)
}

// leadsBy says whether a way comes to an entity, and goes on from there as another one does.
func (m *Model) leadsBy(d dimension, entity string, e dimension) bool {
	for i, s := range d.steps {
		if _, to, _ := m.ends(s); to == entity {
			return slices.Equal(d.steps[i+1:], e.steps)
		}
	}
	return false
}

// onlyWay says whether a dimension's way is the only one from its entity.
func (m *Model) onlyWay(base string, d dimension) bool {
	if base == d.entity {
		return len(d.steps) == 0
	}
	key := base + " " + d.entity
	ways, known := m.between[key]
	if !known {
		ways = m.ways(base, d.entity, true)
		if m.between == nil {
			m.between = map[string][][]step{}
		}
		m.between[key] = ways
	}
	return len(ways) == 1 && slices.Equal(ways[0], d.steps)
}

// twoColumns is the error for a name that metrics have, but not for the same; nil: it is not so.
func (m *Model) twoColumns(metrics []string, word string) error {
	var is []string
	differ := false
	all := m.wordsOf(metrics)[plain(word)]
	for i, t := range all {
		is = append(is, t.column()+" (of "+t.metric+")")
		differ = differ || i > 0 && !m.alike(all[0].shared, t.shared)
	}
	if !differ {
		return nil
	}
	const most = 4
	if len(is) > most {
		is = append(is[:most], "…")
	}
	e := stead.Invalid("dimension", "%.80q is ambiguous: it may be %s", word, strings.Join(is, ", or "))
	e.Hint = "There is nothing by which all of them can be cut: ask for them one after the other."
	var names []string
	for _, s := range m.common(metrics) {
		names = append(names, s.name)
	}
	if len(names) > maxListed {
		names = append(names[:maxListed], "…")
	}
	if len(names) > 0 {
		e.Hint = "There are: " + strings.Join(names, ", ") + "."
	}
	return e
}
