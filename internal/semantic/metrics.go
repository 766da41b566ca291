package semantic

import (
	"slices"
	"strings"
)

// The aggregates, and those that take numbers.
var (
	aggregates = []string{"sum", "avg", "min", "max", "count", "count_distinct"}
	grains     = []string{"hour", "day", "week", "month", "quarter", "year"}
)

// Grains lists the grains of time, the finest first.
func Grains() []string { return slices.Clone(grains) }

func (m *Model) checkMetrics() error {
	for _, n := range sorted(m.Metrics) {
		at, x := "metrics."+n, m.Metrics[n]
		if x.Description == "" {
			return m.wrong(at+".description", "a metric says in words what it is")
		}
		if m.Entities[n] != nil || m.Actions[n] != nil {
			return m.wrong(at, "an entity or an action has that name too")
		}
		var err error
		if x.Formula != "" {
			err = m.checkFormula(at, x)
		} else {
			err = m.checkAggregate(at, x)
		}
		if err != nil {
			return err
		}
	}
	for _, n := range sorted(m.Metrics) {
		if err := m.expand(n, nil); err != nil {
			return err
		}
	}
	for _, n := range sorted(m.Metrics) { // of formulas: what all of their parts have
		if x := m.Metrics[n]; x.formula != nil {
			if err := m.checkFormulaDimensions("metrics."+n, x); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *Model) checkFormula(at string, x *Metric) error {
	if x.Entity != "" || x.Aggregate != "" || x.Of != "" || len(x.Where) > 0 || x.Time != "" || len(x.Grains) > 0 || x.Freshness != 0 {
		return m.wrong(at+".formula", "a formula is of metrics, and has entity, aggregate, of, where, time and freshness from them")
	}
	e, err := parseExpression(x.Formula)
	if err != nil {
		return m.under(at+".formula", err)
	}
	if len(e.names()) == 0 {
		return m.wrong(at+".formula", "it names no metric")
	}
	for _, name := range e.names() {
		if m.Metrics[name] == nil {
			return m.under(at+".formula", unknown("metric", name, termsOf("metric", m.Metrics)))
		}
	}
	x.formula = e
	return nil
}

func (m *Model) checkAggregate(at string, x *Metric) error {
	e := m.Entities[x.Entity]
	switch {
	case e == nil:
		return m.under(at+".entity", unknown("entity", x.Entity, termsOf("entity", m.Entities)))
	case !slices.Contains(aggregates, x.Aggregate):
		return m.under(at+".aggregate", unknown("aggregate", x.Aggregate, names(aggregates)))
	case x.Of == "" && x.Aggregate != "count":
		return m.wrong(at+".of", "write of what it is the %s", x.Aggregate)
	}
	if x.Freshness > 0 && e.Freshness == nil {
		return m.wrong(at+".freshness", "how new the data of %s is, is not known: write freshness at the entity", x.Entity)
	}
	if x.Of != "" {
		var err error
		if x.of, err = parseExpression(x.Of); err != nil {
			return m.under(at+".of", err)
		}
		if err := m.checkOperands(at+".of", x, e); err != nil {
			return err
		}
	}
	for i := range x.Where {
		if err := m.checkCondition(index(at+".where", i), x.Entity, &x.Where[i], false); err != nil {
			return err
		}
	}
	if err := m.checkTime(at, x, e); err != nil {
		return err
	}
	for i, d := range x.Dimensions {
		key := index(at+".dimensions", i)
		found, err := m.resolve(x.Entity, d)
		if err != nil {
			return m.under(key, err)
		}
		if found.name = d; slices.ContainsFunc(x.dims, func(other dimension) bool { return other.name == d }) {
			return m.wrong(key, "%s is there twice", d)
		}
		found.only = m.onlyWay(x.Entity, found)
		x.dims = append(x.dims, found)
	}
	x.shared = x.own()
	return nil
}

func (m *Model) checkOperands(at string, x *Metric, e *Entity) error {
	operands := x.of.names()
	if len(operands) == 0 && x.Aggregate != "sum" {
		return m.wrong(at, "it names no attribute")
	}
	for _, name := range operands {
		if err := m.attribute(at, e, name); err != nil {
			return err
		}
		t := e.Attributes[name].Type
		plain := x.of.name != "" // the attribute by itself
		counted := x.Aggregate == "count" || x.Aggregate == "count_distinct" || x.Aggregate == "min" || x.Aggregate == "max"
		if t != Integer && t != Number && !(plain && counted) {
			return m.wrong(at, "%s is of type %s, and %s takes numbers", name, t, x.Aggregate)
		}
		if plain && t == Boolean && (x.Aggregate == "min" || x.Aggregate == "max") {
			return m.wrong(at, "%s is a boolean, which has no %s", name, x.Aggregate)
		}
	}
	return nil
}

func (m *Model) checkTime(at string, x *Metric, e *Entity) error {
	if x.Time == "" {
		if len(x.Grains) > 0 {
			return m.wrong(at+".grains", "grains are of a time: write time, an attribute of %s", x.Entity)
		}
		return nil
	}
	if err := m.attribute(at+".time", e, x.Time); err != nil {
		return err
	}
	t := e.Attributes[x.Time].Type
	if t != Timestamp && t != Date {
		return m.wrong(at+".time", "%s is of type %s: it must be a timestamp or a date", x.Time, t)
	}
	for i, g := range x.Grains {
		if !slices.Contains(grains, g) {
			return m.under(index(at+".grains", i), unknown("grain", g, names(grains)))
		}
	}
	if len(x.Grains) == 0 {
		if x.Grains = Grains(); t == Date {
			x.Grains = x.Grains[1:]
		}
	}
	if t == Date && slices.Contains(x.Grains, "hour") {
		return m.wrong(at+".grains", "%s is a date: it has no hours", x.Time)
	}
	return nil
}

// expand notes of what aggregates a metric is made of, in order, and how long its formula is with those of its parts written out:
// each metric once, however many lead to it. A metric that is made of itself is refused.
func (m *Model) expand(name string, seen []string) error {
	x := m.Metrics[name]
	switch {
	case slices.Contains(seen, name):
		return m.wrong("metrics."+seen[0]+".formula", "it leads in a circle: %s", strings.Join(append(seen, name), " → "))
	case x.size > 0:
		return nil
	case x.formula == nil:
		x.parts, x.size = []string{name}, 1
		return nil
	}
	known := map[string]bool{}
	for _, n := range x.formula.names() {
		if err := m.expand(n, append(slices.Clone(seen), name)); err != nil {
			return err
		}
		for _, p := range m.Metrics[n].parts {
			if !known[p] {
				known[p], x.parts = true, append(x.parts, p)
			}
		}
	}
	size := x.formula.size(func(n string) int { return m.Metrics[n].size })
	if size > MaxFormula {
		return m.wrong("metrics."+name+".formula", "with the formulas of its metrics written out it has more than %d names, numbers and signs, which is the limit", MaxFormula)
	}
	x.size = size
	return nil
}

// checkFormulaDimensions: a formula can be cut by what each of its parts can be cut by.
func (m *Model) checkFormulaDimensions(at string, x *Metric) error {
	parts := x.parts
	source := m.Entities[m.Metrics[parts[0]].Entity].Source
	for _, p := range parts {
		if other := m.Entities[m.Metrics[p].Entity].Source; other != source {
			return m.wrong(at+".formula", "its metrics are in the sources %s and %s: nothing joins them", source, other)
		}
	}
	common := m.common(parts)
	if len(x.Dimensions) == 0 {
		for _, s := range common {
			x.Dimensions = append(x.Dimensions, s.name)
		}
		x.shared = common
		return nil
	}
	all, words := make([]term, len(common)), m.wordsOf(parts)
	for i, s := range common {
		all[i] = term{name: s.name}
	}
	for i, d := range x.Dimensions {
		at := index(at+".dimensions", i)
		found := slices.IndexFunc(common, func(s shared) bool { return s.has(d) && !m.another(words, d, s, true) })
		if found < 0 {
			if err := m.twoColumns(parts, d); err != nil {
				return m.under(at, err)
			}
			return m.under(at, unknown("common dimension of "+strings.Join(parts, " and "), d, all))
		}
		x.shared = append(x.shared, shared{d, common[found].ways})
	}
	return nil
}
