package semantic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
)

// Query is a question in terms of a model. Its JSON is what agents send.
type Query struct {
	Model      string   `json:"model,omitempty"`
	Metrics    []string `json:"metrics,omitempty"`
	Entity     string   `json:"entity,omitempty"` // without metrics: whose rows are listed
	Dimensions []string `json:"dimensions,omitempty"`
	Filters    []Filter `json:"filters,omitempty"`
	Time       *Range   `json:"time,omitempty"`
	Order      []Order  `json:"order,omitempty"`
	Limit      int      `json:"limit,omitempty"` // 0: DefaultRows
}

// Filter keeps what an attribute says.
type Filter struct {
	Dimension string `json:"dimension"`
	Operator  string `json:"operator,omitempty"` // "": equals, or in
	Values    []any  `json:"values,omitempty"`
}

// Range is a range of time, and the grain by which it is cut.
type Range struct {
	From  string `json:"from,omitempty"`
	To    string `json:"to,omitempty"` // exclusive
	Grain string `json:"grain,omitempty"`
}

// Order sorts by a column.
type Order struct {
	By         string `json:"by"`
	Descending bool   `json:"descending,omitempty"`
}

// ReadQuery reads a query strictly.
func ReadQuery(raw []byte) (Query, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	d.UseNumber()
	var q Query
	if err := d.Decode(&q); err != nil {
		if inner := strange(raw); inner != nil {
			return Query{}, inner
		}
		e := stead.Invalid("query", "the query can't be read: %s", strings.TrimPrefix(err.Error(), "json: "))
		e.Hint = "Its fields are model, metrics, entity, dimensions, filters, time, order and limit."
		return Query{}, e
	}
	return q, nil
}

// strange says which member of a filter, of time or of order a query has that there is not.
func strange(raw []byte) error {
	var q struct {
		Filters, Order []map[string]json.RawMessage
		Time           map[string]json.RawMessage
	}
	if json.Unmarshal(raw, &q) != nil {
		return nil // it is no query at all, or has values of other types
	}
	for i, f := range q.Filters {
		if err := only(fmt.Sprintf("filters[%d]", i), f, "dimension", "operator", "values"); err != nil {
			return err
		}
	}
	for i, o := range q.Order {
		if err := only(fmt.Sprintf("order[%d]", i), o, "by", "descending"); err != nil {
			return err
		}
	}
	return only("time", q.Time, "from", "to", "grain")
}

// only refuses members of a part of a query that it does not have.
func only(part string, of map[string]json.RawMessage, members ...string) error {
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if slices.ContainsFunc(members, func(m string) bool { return strings.EqualFold(m, name) }) {
			continue
		}
		e := stead.Invalid("query", "the query can't be read: unknown field %.80q in %s", name, part)
		e.Hint = "Its fields are " + strings.Join(members, ", ") + "."
		all := make([]term, len(members))
		for i, m := range members {
			all[i] = term{name: m}
		}
		if near := nearest(name, all); len(near) > 0 {
			e.Hint = "Did you mean " + strings.Join(near, ", or ") + "? " + e.Hint
		}
		return e
	}
	return nil
}

// column is one of an answer.
type column struct {
	name string
	kind string // "dimension", "time" or "metric"
	typ  Type   // of dimensions; "" of metrics
	unit string
}

// asked is a query whose terms are found.
type asked struct {
	metrics []string          // of the model
	entity  string            // without metrics
	dims    []string          // names of dimensions, as the metrics have them
	both    []shared          // that all the metrics have
	offers  []term            // the same, as people may call them
	ways    map[string]shared // of metrics: what is cut or filtered by, by its name
	filters []found
	from    time.Time
	to      time.Time
	grain   string
	order   []ordering
	limit   int
	columns []column
}

type found struct {
	dimension string
	op        string
	values    []any // typed, of the attribute
}

type ordering struct {
	column int
	desc   bool
}

// ask finds what a query means.
func (m *Model) ask(q Query) (*asked, error) {
	a := &asked{limit: q.Limit}
	switch {
	case len(q.Metrics) > MaxMetrics:
		return nil, stead.Invalid("metrics", "a query has at most %d metrics", MaxMetrics)
	case len(q.Dimensions) > MaxDimensions && len(q.Metrics) > 0:
		return nil, stead.Invalid("dimensions", "a query has at most %d dimensions", MaxDimensions)
	case len(q.Dimensions) > MaxAttributes:
		return nil, stead.Invalid("dimensions", "a query has at most %d dimensions", MaxAttributes)
	case len(q.Filters) > MaxFilters:
		return nil, stead.Invalid("filters", "a query has at most %d filters", MaxFilters)
	case q.Limit < 0 || q.Limit > MaxRows:
		return nil, stead.Invalid("limit", "limit is 1 to %d", MaxRows)
	case q.Limit == 0:
		a.limit = DefaultRows
	}
	for _, step := range []func(Query) error{
		func(q Query) error { return a.terms(m, q) },
		func(q Query) error { return a.dimensions(m, q) },
		func(q Query) error { return a.time(m, q) },
		func(q Query) error { return a.filter(m, q) },
		func(q Query) error { return a.sort(m, q) },
	} {
		if err := step(q); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// terms finds the metrics, or the entity that is listed.
func (a *asked) terms(m *Model, q Query) error {
	for _, word := range q.Metrics {
		name, _, err := m.FindMetric(word)
		if err != nil {
			return err
		}
		if !contains(a.metrics, name) {
			a.metrics = append(a.metrics, name)
		}
	}
	if len(a.metrics) > 0 {
		return a.oneSource(m)
	}
	if q.Entity == "" {
		e := stead.Invalid("metrics", "a query names metrics, or the entity whose rows are wanted")
		e.Hint = "describe tells which there are."
		return e
	}
	name, e, err := m.FindEntity(q.Entity)
	if err != nil {
		return err
	}
	if a.entity = name; e.Listed != nil && !*e.Listed {
		return stead.Invalid("entity", "the rows of %s are not listed: ask for its metrics", name)
	}
	return nil
}

func (a *asked) oneSource(m *Model) error {
	source := ""
	for _, n := range a.metrics {
		for _, p := range m.Metrics[n].parts {
			s := m.Entities[m.Metrics[p].Entity].Source
			if source == "" {
				source = s
			}
			if s != source {
				return stead.Invalid("metrics", "the metrics are in the sources %s and %s: ask for them one after the other", source, s)
			}
		}
	}
	return nil
}

// offered are the dimensions that all the metrics have, as terms: by whatever name one of them has it, unless another one calls something
// else so.
func (a *asked) offered(m *Model, common []shared) []term {
	words := m.wordsOf(a.metrics)
	out := make([]term, 0, len(common))
	for _, s := range common {
		t := term{kind: "dimension", name: s.name}
		add := func(word string) {
			if word != s.name && !contains(t.synonyms, word) && !m.another(words, word, s, false) {
				t.synonyms = append(t.synonyms, word)
			}
		}
		for _, entity := range sorted(s.ways) {
			d := s.ways[entity]
			at := m.Entities[d.entity].Attributes[d.attribute]
			t.about = cmpText(at.Description, d.entity)
			for _, word := range append(append([]string{d.name, s.column()}, dotted(d.name, at.Synonyms)...), at.Synonyms...) {
				add(word)
			}
		}
		out = append(out, t)
	}
	return out
}

func cmpText(a, b string) string {
	if a != "" {
		return a
	}
	return "of " + b
}

// dotted are what a dimension "customer.country" may be called besides: by its attribute alone, and by synonyms of that.
func dotted(name string, synonyms []string) []string {
	way, last, has := cutLast(name)
	if !has {
		return nil
	}
	out := []string{last}
	for _, s := range synonyms {
		out = append(out, way+"."+s)
	}
	return out
}

// pick finds a dimension that a word stands for.
func (a *asked) pick(m *Model, word string) (dimension, error) {
	if a.entity != "" {
		d, err := m.resolve(a.entity, word)
		if e := m.Entities[d.entity]; err == nil && e.Listed != nil && !*e.Listed {
			return d, stead.Invalid("dimension", "%.80q is of %s, whose rows are not listed, also not by way of %s: ask for its metrics", word, d.entity, a.entity)
		}
		return d, err
	}
	if a.both == nil {
		a.both = m.common(a.metrics)
		a.offers = a.offered(m, a.both)
	}
	common, offered := a.both, a.offers
	t, err := find("dimension", word, offered)
	if err == nil {
		s := common[slices.IndexFunc(common, func(s shared) bool { return s.name == t.name })]
		if a.ways == nil {
			a.ways = map[string]shared{}
		}
		a.ways[s.name] = s
		for _, d := range s.ways {
			d.name = s.name
			return d, nil
		}
	}
	if two := m.twoColumns(a.metrics, word); two != nil {
		return dimension{}, two
	}
	if e, ok := err.(*stead.Error); ok && len(a.metrics) > 0 && !strings.Contains(e.Message, "ambiguous") {
		e.Message = "there is no dimension " + short(word) + " by which " + strings.Join(a.metrics, " and ") + " can be cut"
		var all []string
		for _, o := range offered {
			all = append(all, o.name)
		}
		if len(all) > 0 && len(all) <= maxListed {
			e.Hint = strings.TrimSpace(strings.TrimSuffix(e.Hint, "There are: "+strings.Join(all, ", ")+".") + " There are: " + strings.Join(all, ", ") + ".")
		}
	}
	return dimension{}, err
}

func (a *asked) dimensions(m *Model, q Query) error {
	for _, word := range q.Dimensions {
		d, err := a.pick(m, word)
		if err != nil {
			return err
		}
		if contains(a.dims, d.name) {
			continue
		}
		a.dims = append(a.dims, d.name)
		at := m.Entities[d.entity].Attributes[d.attribute]
		a.columns = append(a.columns, column{d.name, "dimension", at.Type, at.Unit})
	}
	if a.entity == "" {
		return nil
	}
	if len(q.Dimensions) == 0 { // all that can be seen
		for _, n := range sorted(m.Entities[a.entity].Attributes) {
			if at := m.Entities[a.entity].Attributes[n]; !at.Hidden {
				a.dims = append(a.dims, n)
				a.columns = append(a.columns, column{n, "dimension", at.Type, at.Unit})
			}
		}
	}
	if len(a.dims) == 0 {
		return stead.Invalid("entity", "no attribute of %s can be shown", a.entity)
	}
	return nil
}

func (a *asked) time(m *Model, q Query) error {
	if q.Time != nil && *q.Time != (Range{}) {
		if a.entity != "" {
			e := stead.Invalid("time", "time is for metrics")
			e.Hint = "For rows of an entity use filters, with the operators at_least and less_than."
			return e
		}
		if err := a.within(m, *q.Time); err != nil {
			return err
		}
	}
	if a.grain != "" {
		a.columns = append(a.columns, column{TimeColumn, "time", Text, a.grain})
	}
	for _, n := range a.metrics {
		a.columns = append(a.columns, column{n, "metric", "", m.Metrics[n].Unit})
	}
	return nil
}

func (a *asked) within(m *Model, r Range) error {
	var err error
	for _, end := range []struct {
		param, text string
		to          *time.Time
	}{{"time.from", r.From, &a.from}, {"time.to", r.To, &a.to}} {
		if end.text == "" {
			continue
		}
		if *end.to, err = moment(end.text); err != nil {
			return stead.Invalid(end.param, "%s %.40q is no time: write 2026-01-31, or 2026-01-31T09:00:00Z", end.param, end.text)
		}
	}
	if !a.from.IsZero() && !a.to.IsZero() && !a.from.Before(a.to) {
		return stead.Invalid("time.to", "time.to must be after time.from: a range ends before it")
	}
	for _, n := range a.metrics {
		for _, p := range m.Metrics[n].parts {
			x := m.Metrics[p]
			if x.Time == "" {
				return stead.Invalid("time", "the metric %s has no time", p)
			}
			if r.Grain == "" {
				continue
			}
			t, err := find("grain of "+p, r.Grain, names(x.Grains))
			if err != nil {
				return err
			}
			a.grain = t.name
		}
	}
	return nil
}

func (a *asked) filter(m *Model, q Query) error {
	for _, f := range q.Filters {
		d, err := a.pick(m, f.Dimension)
		if err != nil {
			return err
		}
		op := f.Operator
		if op == "" {
			if op = opEquals; len(f.Values) > 1 {
				op = opIn
			}
		}
		values, err := checkOperation(op, m.Entities[d.entity].Attributes[d.attribute], f.Values)
		if err != nil {
			if e, ok := err.(*stead.Error); ok {
				e.Message = "filter of " + d.name + ": " + e.Message
			}
			return err
		}
		a.filters = append(a.filters, found{d.name, op, values})
	}
	return nil
}

// sort finds what the answer is sorted by: what was asked for, then its dimensions and time, so that it is the same every time.
func (a *asked) sort(m *Model, q Query) error {
	var columns []term
	for _, c := range a.columns {
		t := term{name: c.name}
		if c.kind == "metric" {
			t.synonyms = m.Metrics[c.name].Synonyms
		}
		if _, last, dotted := cutLast(c.name); dotted {
			t.synonyms = append(t.synonyms, last)
		}
		columns = append(columns, t)
	}
	for _, o := range q.Order {
		t, err := find("column", o.By, columns)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(a.columns, func(c column) bool { return c.name == t.name })
		a.order = append(a.order, ordering{i, o.Descending})
	}
	for i, c := range a.columns {
		if c.kind != "metric" && !slices.ContainsFunc(a.order, func(o ordering) bool { return o.column == i }) {
			a.order = append(a.order, ordering{column: i})
		}
	}
	return nil
}
