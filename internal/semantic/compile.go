package semantic

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// builder writes one statement.
type builder struct {
	model      *Model
	dialect    Dialect
	who        Principal
	args       []any
	aliases    int
	restricted map[string]bool // entities of which rules hide rows
	read       map[string]bool // entities that are read
}

func newBuilder(m *Model, d Dialect, who Principal) *builder {
	return &builder{model: m, dialect: d, who: who, restricted: map[string]bool{}, read: map[string]bool{}}
}

func (b *builder) alias(prefix string) string {
	b.aliases++
	return fmt.Sprintf("%s%d", prefix, b.aliases)
}

// value adds an argument of an attribute's type.
func (b *builder) value(a *Attribute, v any) string {
	arg, sql := b.dialect.argument(v, a.Type, a.Stored, b.dialect.placeholder(len(b.args)+1))
	b.args = append(b.args, arg)
	return sql
}

func (b *builder) column(alias string, a *Attribute) string {
	return alias + "." + quote(a.Column)
}

// compare writes a condition; the operator and the number of values are checked.
func (b *builder) compare(a *Attribute, column, op string, values []any) string {
	if a.Type == Timestamp {
		a, column, op, values = b.dialect.seconds(a, column, op, values)
	}
	of := b.dialect.comparable(column, a.Type, a.Stored)
	switch op {
	case opIsNull:
		return column + " IS NULL"
	case opIsNotNull:
		return column + " IS NOT NULL"
	case opContains:
		part, _ := values[0].(string)
		b.args = append(b.args, b.dialect.part(part))
		return b.dialect.contains(column, b.dialect.placeholder(len(b.args)))
	case opIn, opNotIn:
		all := make([]string, len(values))
		for i, v := range values {
			all[i] = b.value(a, v)
		}
		if op == opNotIn {
			return of + " NOT IN (" + strings.Join(all, ", ") + ")"
		}
		return of + " IN (" + strings.Join(all, ", ") + ")"
	}
	return of + " " + map[string]string{opEquals: "=", opNot: "<>", opGreater: ">", opAtLeast: ">=", opLess: "<", opAtMost: "<="}[op] + " " + b.value(a, values[0])
}

// keeps is compare where people say what they want to see: what has no value is not equal to any. (SQL leaves it out of <> and NOT IN;
// rules of rows do too.)
func (b *builder) keeps(a *Attribute, column, op string, values []any) string {
	sql := b.compare(a, column, op, values)
	if op == opNot || op == opNotIn {
		return "(" + column + " IS NULL OR " + sql + ")"
	}
	return sql
}

// from is where an entity's rows are.
func (b *builder) from(entity string) string {
	e := b.model.Entities[entity]
	if e.SQL != "" {
		return "(" + e.SQL + "\n)"
	}
	return quoteTable(e.Table)
}

func quoteTable(name string) string {
	var parts []string
	for _, p := range tableParts(name) {
		parts = append(parts, quote(p))
	}
	return strings.Join(parts, ".")
}

// rows is an entity as whoever asks sees it: nothing reads it in another way.
func (b *builder) rows(entity string) (string, error) {
	b.read[entity] = true
	alias := b.alias("r")
	seen, err := b.sees(entity, alias, 0)
	if err != nil {
		return "", err
	}
	if seen == "" {
		return b.from(entity), nil
	}
	return "(SELECT " + alias + ".* FROM " + b.from(entity) + " AS " + alias + " WHERE " + seen + ")", nil
}

// on joins two tables by a relation. one: in the direction of the step.
func (b *builder) on(s step, from, to string, _ bool) string {
	r := b.model.Relations[s.relation]
	left, right := b.model.Entities[r.From], b.model.Entities[r.To]
	var all []string
	for _, n := range sorted(r.On) {
		a, c := left.Attributes[n], right.Attributes[r.On[n]]
		if s.reversed {
			a, c = c, a
		}
		all = append(all, b.column(from, a)+" = "+b.column(to, c))
	}
	return strings.Join(all, " AND ")
}

// tables are the joins of one branch: each way is joined once.
type tables struct {
	b     *builder
	sql   strings.Builder
	known map[string]string // way → alias
}

func (b *builder) tables(entity string) (*tables, string, error) {
	rows, err := b.rows(entity)
	if err != nil {
		return nil, "", err
	}
	alias := b.alias("t")
	t := &tables{b: b, known: map[string]string{"": alias}}
	t.sql.WriteString(rows + " AS " + alias)
	return t, alias, nil
}

// reach joins what leads to a dimension, and gives the alias of its table.
func (t *tables) reach(d dimension) (string, error) {
	way, at := "", t.known[""]
	for _, s := range d.steps {
		way += fmt.Sprintf("/%s %t", s.relation, s.reversed)
		if alias, ok := t.known[way]; ok {
			at = alias
			continue
		}
		_, to, _ := t.b.model.ends(s)
		rows, err := t.b.rows(to)
		if err != nil {
			return "", err
		}
		alias := t.b.alias("t")
		t.sql.WriteString("\n  LEFT JOIN " + rows + " AS " + alias + " ON " + t.b.on(s, at, alias, true))
		t.known[way], at = alias, alias
	}
	return at, nil
}

// branch is what is aggregated of one entity by one time.
type branch struct {
	entity, time string
	metrics      []string
}

// branches are what the metrics of a query are made of.
func (m *Model) branches(metrics []string) []branch {
	var out []branch
	for _, n := range metrics {
		for _, p := range m.Metrics[n].parts {
			x := m.Metrics[p]
			i := slices.IndexFunc(out, func(b branch) bool { return b.entity == x.Entity && b.time == x.Time })
			if i < 0 {
				i = len(out)
				out = append(out, branch{entity: x.Entity, time: x.Time})
			}
			if !contains(out[i].metrics, p) {
				out[i].metrics = append(out[i].metrics, p)
			}
		}
	}
	return out
}

// metricsSQL writes a query with metrics: each entity is aggregated, then what belongs together is put side by side.
func (b *builder) metricsSQL(a *asked) (string, error) {
	branches := b.model.branches(a.metrics)
	cuts := len(a.dims)
	if a.grain != "" {
		cuts++
	}
	keys := make([]string, cuts)
	for i := range keys {
		keys[i] = fmt.Sprintf("d%d", i)
	}
	place := map[string]string{} // metric → its column
	var with []string
	for i, br := range branches {
		for _, n := range br.metrics {
			place[n] = fmt.Sprintf("m%d", len(place))
		}
		sql, err := b.branchSQL(a, br, place)
		if err != nil {
			return "", err
		}
		with = append(with, fmt.Sprintf("b%d AS (%s)", i, sql))
	}
	last := "b0"
	if len(branches) > 1 {
		with = append(with, "u AS ("+union(branches, keys, place)+")")
		last = "u"
	}
	return "WITH " + strings.Join(with, ",\n") + "\n" + b.outer(a, keys, place, last, len(branches) > 1), nil
}

// branchSQL aggregates one entity.
func (b *builder) branchSQL(a *asked, br branch, place map[string]string) (string, error) {
	t, base, err := b.tables(br.entity)
	if err != nil {
		return "", err
	}
	var out []string
	for i, name := range a.dims {
		at, d, err := b.place(t, a.ways[name], br.entity)
		if err != nil {
			return "", err
		}
		out = append(out, b.dialect.shown(b.column(at, d), d.Type, d.Stored)+fmt.Sprintf(" AS d%d", i))
	}
	e := b.model.Entities[br.entity]
	if a.grain != "" {
		at := e.Attributes[br.time]
		out = append(out, b.dialect.bucket(b.column(base, at), at.Stored, a.grain)+fmt.Sprintf(" AS d%d", len(a.dims)))
	}
	groups := len(out)
	for _, n := range br.metrics {
		out = append(out, b.aggregate(b.model.Metrics[n], e, base)+" AS "+place[n])
	}
	var where []string
	for _, f := range a.filters {
		at, d, err := b.place(t, a.ways[f.dimension], br.entity)
		if err != nil {
			return "", err
		}
		where = append(where, b.keeps(d, b.column(at, d), f.op, f.values))
	}
	if at := e.Attributes[br.time]; br.time != "" {
		if !a.from.IsZero() {
			where = append(where, b.compare(at, b.column(base, at), opAtLeast, []any{a.from}))
		}
		if !a.to.IsZero() {
			where = append(where, b.compare(at, b.column(base, at), opLess, []any{a.to}))
		}
	}
	sql := "SELECT " + strings.Join(out, ", ") + "\n  FROM " + t.sql.String()
	if len(where) > 0 {
		sql += "\n  WHERE " + strings.Join(where, " AND ")
	}
	if groups > 0 {
		sql += "\n  GROUP BY " + numbers(groups)
	}
	return sql, nil
}

func numbers(n int) string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(i + 1)
	}
	return strings.Join(out, ", ")
}

// place joins what leads from an entity to a dimension of its metrics.
func (b *builder) place(t *tables, s shared, entity string) (string, *Attribute, error) {
	d, ok := s.ways[entity]
	if !ok {
		return "", nil, stead.Errorf(stead.KindInternal, "no way leads from %s to %s", entity, s.name)
	}
	alias, err := t.reach(d)
	return alias, b.model.Entities[d.entity].Attributes[d.attribute], err
}

// aggregate writes a metric over the rows of its entity; its own conditions are within, so that others do not feel them.
func (b *builder) aggregate(x *Metric, e *Entity, base string) string {
	of := "1"
	typ := Type("")
	if x.of != nil {
		of = x.of.sql(b.dialect, func(n string) string { return b.column(base, e.Attributes[n]) })
		if a := e.Attributes[x.of.name]; a != nil {
			typ = a.Type
			if x.Aggregate == "min" || x.Aggregate == "max" || x.Aggregate == "count_distinct" {
				of = b.dialect.shown(of, a.Type, a.Stored)
			}
		}
	}
	if x.Aggregate == "min" || x.Aggregate == "max" {
		of = b.dialect.ordered(of, typ)
	}
	if len(x.Where) > 0 {
		var all []string
		for _, c := range x.Where {
			a := e.Attributes[c.Attribute]
			all = append(all, b.keeps(a, b.column(base, a), c.Op, c.Values))
		}
		of = "CASE WHEN " + strings.Join(all, " AND ") + " THEN " + of + " END"
	}
	if x.Aggregate == "count_distinct" {
		return "COUNT(DISTINCT " + of + ")"
	}
	return strings.ToUpper(x.Aggregate) + "(" + of + ")"
}

// union puts branches one below the other, each with its own columns and none in those of the others, and takes from each group the
// one value that there is. The nothing of a column has its type, since it comes from it.
func union(branches []branch, keys []string, place map[string]string) string {
	var parts, all []string
	for i, br := range branches {
		out := slices.Clone(keys)
		for j, other := range branches {
			for _, n := range other.metrics {
				if i == j {
					out = append(out, place[n])
					continue
				}
				out = append(out, fmt.Sprintf("(SELECT %s FROM b%d WHERE 1=0) AS %s", place[n], j, place[n]))
			}
		}
		parts = append(parts, fmt.Sprintf("SELECT %s FROM b%d", strings.Join(out, ", "), i))
		for _, n := range br.metrics {
			all = append(all, fmt.Sprintf("MAX(%s) AS %s", place[n], place[n]))
		}
	}
	sql := "SELECT " + strings.Join(append(slices.Clone(keys), all...), ", ") + " FROM (" + strings.Join(parts, " UNION ALL ") + ") AS p"
	if len(keys) > 0 {
		sql += " GROUP BY " + numbers(len(keys))
	}
	return sql
}

// outer computes formulas, sorts and limits. beside: a group may have rows of one entity and none of another. Then, and in a formula, a sum of
// no rows is 0, as a count is: a month without refunds has the revenue that it has.
func (b *builder) outer(a *asked, keys []string, place map[string]string, from string, beside bool) string {
	var metric func(n string, whole bool) string
	metric = func(n string, whole bool) string {
		x := b.model.Metrics[n]
		switch {
		case x.formula != nil:
			return x.formula.sql(b.dialect, func(part string) string { return b.dialect.number(metric(part, true)) })
		case x.Aggregate == "count" || x.Aggregate == "count_distinct" || x.Aggregate == "sum" && whole:
			return "COALESCE(" + place[n] + ", " + b.dialect.zero() + ")" // no group: none were there
		}
		return place[n]
	}
	out := slices.Clone(keys)
	for _, n := range a.metrics {
		out = append(out, metric(n, beside))
	}
	for i := range out {
		out[i] += fmt.Sprintf(" AS c%d", i)
	}
	return "SELECT * FROM (SELECT " + strings.Join(out, ", ") + " FROM " + from + ") AS o" + b.tail(a)
}

// tail sorts and limits: one row more than wanted tells that there are more.
func (b *builder) tail(a *asked) string {
	var by []string
	for _, o := range a.order {
		c := fmt.Sprintf("c%d", o.column)
		way := " ASC"
		if o.desc {
			way = " DESC"
		}
		by = append(by, "("+c+" IS NULL)", b.dialect.ordered(c, a.columns[o.column].typ)+way)
	}
	sql := ""
	if len(by) > 0 {
		sql = "\nORDER BY " + strings.Join(by, ", ")
	}
	return sql + fmt.Sprintf("\nLIMIT %d", a.limit+1)
}

// listSQL writes a query for rows.
func (b *builder) listSQL(a *asked) (string, error) {
	t, _, err := b.tables(a.entity)
	if err != nil {
		return "", err
	}
	place := func(name string) (string, *Attribute, error) {
		d, err := b.model.resolve(a.entity, name)
		if err != nil {
			return "", nil, err
		}
		alias, err := t.reach(d)
		return alias, b.model.Entities[d.entity].Attributes[d.attribute], err
	}
	var out, where []string
	for i, name := range a.dims {
		at, d, err := place(name)
		if err != nil {
			return "", err
		}
		out = append(out, b.dialect.shown(b.column(at, d), d.Type, d.Stored)+fmt.Sprintf(" AS c%d", i))
	}
	for _, f := range a.filters {
		at, d, err := place(f.dimension)
		if err != nil {
			return "", err
		}
		where = append(where, b.keeps(d, b.column(at, d), f.op, f.values))
	}
	sql := "SELECT " + strings.Join(out, ", ") + "\n  FROM " + t.sql.String()
	if len(where) > 0 {
		sql += "\n  WHERE " + strings.Join(where, " AND ")
	}
	return "SELECT * FROM (" + sql + ") AS o" + b.tail(a), nil
}
