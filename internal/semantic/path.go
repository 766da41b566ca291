package semantic

import (
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// step is one relation, in one of its directions.
type step struct {
	relation string
	reversed bool // from To to From
}

// dimension is an attribute as it is reached from a metric's entity.
type dimension struct {
	name      string // as the model says it: "status", "customer.country"
	steps     []step
	entity    string
	attribute string
	only      bool // of a metric: there is no other way from its entity to that one
}

// ends are the entities of a step, and whether there is at most one row at its end.
func (m *Model) ends(s step) (from, to string, one bool) {
	r := m.Relations[s.relation]
	if s.reversed {
		return r.To, r.From, r.Cardinality != ManyToOne
	}
	return r.From, r.To, r.Cardinality != OneToMany
}

// stepsFrom are the steps that lead out of an entity, in order.
func (m *Model) stepsFrom(entity string) []step {
	var out []step
	for _, n := range sorted(m.Relations) {
		r := m.Relations[n]
		if r.From == entity {
			out = append(out, step{n, false})
		}
		if r.To == entity && r.From != r.To {
			out = append(out, step{n, true})
		}
	}
	return out
}

// resolve finds the attribute that a name means from an entity: "attribute", "entity.attribute",
// "relation.attribute" or "relation.relation.attribute". Hidden ones are not there.
func (m *Model) resolve(base, name string) (dimension, error) {
	way, last, dotted := cutLast(name)
	if !dotted {
		return m.attributeAt(name, base, nil, name)
	}
	segments := strings.Split(way, ".")
	if len(segments) == 1 && m.Relations[segments[0]] == nil {
		t, err := find("entity", segments[0], m.entityTerms())
		if err != nil {
			return dimension{}, err
		}
		if t.name == base {
			return m.attributeAt(last, base, nil, last)
		}
		steps, err := m.wayTo(base, t.name, last)
		if err != nil {
			return dimension{}, err
		}
		return m.attributeAt(t.name+"."+last, t.name, steps, last)
	}
	steps, at := []step{}, base
	for _, s := range segments {
		next, err := m.follow(at, s)
		if err != nil {
			return dimension{}, err
		}
		from, to, one := m.ends(next)
		if !one {
			return dimension{}, m.fanOut(base, name, from, to)
		}
		steps, at = append(steps, next), to
	}
	if len(steps) > MaxHops {
		return dimension{}, stead.Invalid("dimension", "%.200q takes %d joins, the limit is %d", name, len(steps), MaxHops)
	}
	return m.attributeAt(name, at, steps, last)
}

func (m *Model) entityTerms() []term {
	var out []term
	for _, n := range sorted(m.Entities) {
		out = append(out, term{"entity", n, m.Entities[n].Synonyms, m.Entities[n].Description})
	}
	return out
}

// follow is the step that a relation is from an entity.
func (m *Model) follow(at, relation string) (step, error) {
	var all []term
	for _, s := range m.stepsFrom(at) {
		if s.relation == relation {
			return s, nil
		}
		all = append(all, term{name: s.relation})
	}
	return step{}, unknown("relation of "+at, relation, all)
}

func (m *Model) attributeAt(name, entity string, steps []step, attribute string) (dimension, error) {
	e := m.Entities[entity]
	if a := e.Attributes[attribute]; a != nil && !a.Hidden {
		return dimension{name: name, steps: steps, entity: entity, attribute: attribute}, nil
	}
	t, err := find("attribute of "+entity, attribute, attributeTerms("", e, false))
	if err != nil {
		return dimension{}, err
	}
	prefix, _, dotted := cutLast(name)
	if dotted {
		return dimension{name: prefix + "." + t.name, steps: steps, entity: entity, attribute: t.name}, nil
	}
	return dimension{name: t.name, steps: steps, entity: entity, attribute: t.name}, nil
}

func (m *Model) fanOut(base, name, from, to string) error {
	e := stead.Invalid("dimension", "%.200q would count rows of %s more than once: a %s has many %s", name, base, from, to)
	e.Hint = "Use a metric of " + to + ", or a dimension of which each " + base + " has one."
	return e
}

// wayTo finds the only way from one entity to another on which there is one row at each step.
func (m *Model) wayTo(from, to, attribute string) ([]step, error) {
	found := m.ways(from, to, true)
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if many := m.ways(from, to, false); len(many) > 0 {
			for _, s := range many[0] {
				if a, b, one := m.ends(s); !one {
					return nil, m.fanOut(from, to+"."+attribute, a, b)
				}
			}
		}
		e := stead.Invalid("dimension", "no relation leads from %s to %s", from, to)
		e.Hint = "From " + from + " there are: " + strings.Join(m.reachable(from), ", ") + "."
		return nil, e
	}
	var names []string
	for _, way := range found {
		var parts []string
		for _, s := range way {
			parts = append(parts, s.relation)
		}
		names = append(names, strings.Join(append(parts, attribute), "."))
	}
	e := stead.Invalid("dimension", "%q is ambiguous: %d ways lead from %s to %s", to+"."+attribute, len(found), from, to)
	e.Hint = "Name one of them: " + strings.Join(names, ", ") + "."
	return nil, e
}

// maxWays bounds how many ways are looked for: two are ambiguous already.
const maxWays = 8

// ways are the ways from an entity to another which pass none twice, the shortest first.
func (m *Model) ways(from, to string, oneOnly bool) [][]step {
	type walk struct {
		at    string
		steps []step
		seen  []string
	}
	var found [][]step
	queue := []walk{{at: from, seen: []string{from}}}
	const most = 10_000
	for tried := 0; len(queue) > 0 && tried < most && len(found) < maxWays; tried++ {
		w := queue[0]
		queue = queue[1:]
		for _, s := range m.stepsFrom(w.at) {
			_, next, one := m.ends(s)
			if oneOnly && !one || slices.Contains(w.seen, next) {
				continue
			}
			steps := append(slices.Clone(w.steps), s)
			if next == to {
				found = append(found, steps)
				continue
			}
			if len(steps) < MaxHops {
				queue = append(queue, walk{next, steps, append(slices.Clone(w.seen), next)})
			}
		}
	}
	return found
}

// reachable are the entities to which exactly one row leads.
func (m *Model) reachable(from string) []string {
	out := []string{from}
	for _, n := range sorted(m.Entities) {
		if n != from && len(m.ways(from, n, true)) > 0 {
			out = append(out, n)
		}
	}
	return out
}
