package semantic

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
)

// Prepared is a query that can be run: statements for one database, and what is needed to read what they give.
type Prepared struct {
	Database   string
	Statements []Statement
	Limits     Limits

	// What the query speaks of, as policies are asked about it.
	Metrics, Entities, Dimensions []string

	model     *Model
	asked     *asked
	fresh     []string // entities whose freshness the statements behind the first tell
	hidden    []string // entities of which rules hide rows
	freshened map[string]Duration
}

// Source is the name of the source that a query reads.
func (m *Model) sourceOf(a *asked) string {
	entity := a.entity
	if entity == "" {
		entity = m.Metrics[m.Metrics[a.metrics[0]].parts[0]].Entity
	}
	return m.Entities[entity].Source
}

// DatabaseOf is the database that a query reads.
func (m *Model) DatabaseOf(q Query) (string, error) {
	a, err := m.ask(q)
	if err != nil {
		return "", err
	}
	return m.Sources[m.sourceOf(a)].Database, nil
}

// Prepare makes SQL of a query, for whoever asks.
func (m *Model) Prepare(q Query, who Principal, d Dialect) (*Prepared, error) {
	a, err := m.ask(q)
	if err != nil {
		return nil, err
	}
	source := m.sourceOf(a)
	b := newBuilder(m, d, who)
	var sql string
	if a.entity != "" {
		sql, err = b.listSQL(a)
	} else {
		sql, err = b.metricsSQL(a)
	}
	if err != nil {
		return nil, err
	}
	p := &Prepared{
		Database: m.Sources[source].Database, Statements: []Statement{{sql, b.args}}, Limits: Limits{Rows: a.limit, Bytes: MaxAnswerBytes},
		Metrics: a.metrics, Entities: sorted(b.read), model: m, asked: a, hidden: sorted(b.restricted), freshened: map[string]Duration{},
	}
	p.Dimensions, err = m.spoken(a)
	if err != nil {
		return nil, err
	}
	return p, p.freshness(d, who)
}

// spoken are the names of what a query cuts by, lists or filters: as it is called, and as entity.attribute, which is the same by whatever
// way it is reached. Policies that name a column would not hear of it by another of its names.
func (m *Model) spoken(a *asked) ([]string, error) {
	var out []string
	add := func(name string) {
		if !contains(out, name) {
			out = append(out, name)
		}
	}
	all := slices.Clone(a.dims)
	for _, f := range a.filters {
		all = append(all, f.dimension)
	}
	for _, name := range all {
		add(name)
	}
	for _, name := range all {
		columns, err := m.columnsOf(a, name)
		if err != nil {
			return nil, err
		}
		for _, d := range columns {
			add(d.entity + "." + d.attribute)
		}
	}
	return out, nil
}

// columnsOf is what a query's dimension reads: of each aggregate its own.
func (m *Model) columnsOf(a *asked, name string) ([]dimension, error) {
	if a.entity != "" {
		d, err := m.resolve(a.entity, name)
		return []dimension{d}, err
	}
	var out []dimension
	for _, d := range a.ways[name].ways {
		out = append(out, d) // one column, from each entity
	}
	return out, nil
}

// freshness adds statements that tell how new the data is, in the same transaction.
func (p *Prepared) freshness(d Dialect, who Principal) error {
	for _, n := range p.Entities {
		e := p.model.Entities[n]
		if e.Freshness == nil {
			continue
		}
		b := newBuilder(p.model, d, who)
		f := e.Freshness
		var sql string
		if f.Table != "" {
			sql = d.fresh("f."+quote(f.Column), Timestamp, f.Stored, quoteTable(f.Table))
		} else {
			rows, err := b.rows(n)
			if err != nil {
				return err
			}
			a := e.Attributes[f.Attribute]
			sql = d.fresh(b.column("f", a), a.Type, a.Stored, rows)
		}
		p.fresh = append(p.fresh, n)
		p.freshened[n] = f.Within
		p.Statements = append(p.Statements, Statement{sql, b.args})
	}
	for _, n := range p.Metrics {
		for _, part := range p.model.Metrics[n].parts {
			x := p.model.Metrics[part]
			if within, ok := p.freshened[x.Entity]; ok && x.Freshness > 0 && x.Freshness < within {
				p.freshened[x.Entity] = x.Freshness
			}
		}
	}
	return nil
}

// fresh asks for the newest of some rows, of those that are not dated in the future.
func (d Dialect) fresh(column string, t Type, stored, rows string) string {
	return "SELECT " + d.newest(column, t, stored) + " FROM " + rows + " AS f WHERE " + d.past(column, t, stored)
}

// Answer is what a query gives. Its JSON is what agents get.
type Answer struct {
	Model       Named        `json:"model"`
	Columns     []Column     `json:"columns"`
	Rows        [][]any      `json:"rows"`
	Truncated   bool         `json:"truncated,omitempty"`
	Definitions []Definition `json:"definitions"`
	Source      []string     `json:"source"`
	AsOf        string       `json:"as_of"` // when it was read
	Freshness   []Fresh      `json:"freshness,omitempty"`
	Notes       []string     `json:"notes,omitempty"`
}

// Named is a model in one of its versions.
type Named struct {
	Name    string `json:"name"`
	Version int64  `json:"version"`
	Digest  string `json:"digest"`
}

// Column is a column of an Answer.
type Column struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // dimension, time or metric
	Unit string `json:"unit,omitempty"`
}

// Definition is what a metric is, in words.
type Definition struct {
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Definition  string `json:"definition"`
	Unit        string `json:"unit,omitempty"`
	Owner       string `json:"owner,omitempty"`
}

// Fresh says how new an entity's data is.
type Fresh struct {
	Entity   string `json:"entity"`
	DataAsOf string `json:"data_as_of,omitempty"` // "": there is none
	Within   string `json:"within"`
	Stale    bool   `json:"stale"`
}

// Answer makes the answer of what the statements gave, which were run at a time.
func (p *Prepared) Answer(tables []Table, at time.Time) (Answer, error) {
	if len(tables) != len(p.Statements) {
		return Answer{}, stead.Errorf(stead.KindInternal, "%d statements gave %d tables", len(p.Statements), len(tables))
	}
	m := p.model
	out := Answer{
		Model: m.Named(), Rows: make([][]any, 0, len(tables[0].Rows)), Truncated: tables[0].Truncated,
		Definitions: []Definition{}, AsOf: at.UTC().Format(time.RFC3339),
	}
	for _, c := range p.asked.columns {
		out.Columns = append(out.Columns, Column{c.name, c.kind, c.unit})
	}
	for _, row := range tables[0].Rows {
		if len(row) != len(p.asked.columns) {
			return Answer{}, stead.Errorf(stead.KindInternal, "a row has %d values, not %d", len(row), len(p.asked.columns))
		}
		values := make([]any, len(row))
		for i, v := range row {
			values[i] = shownValue(v, p.asked.columns[i].typ)
		}
		out.Rows = append(out.Rows, values)
	}
	for _, n := range p.Metrics {
		out.Definitions = append(out.Definitions, m.Define(n))
		for _, part := range m.Metrics[n].parts {
			if part != n && !slices.ContainsFunc(out.Definitions, func(d Definition) bool { return d.Name == part }) {
				out.Definitions = append(out.Definitions, m.Define(part))
			}
		}
	}
	for _, n := range p.Entities {
		out.Source = append(out.Source, m.readFrom(n))
	}
	p.notes(&out, tables, at)
	return out, nil
}

func (p *Prepared) notes(out *Answer, tables []Table, at time.Time) {
	for i, n := range p.fresh {
		f := Fresh{Entity: n, Within: p.freshened[n].String(), Stale: true}
		if rows := tables[i+1].Rows; len(rows) == 1 && len(rows[0]) == 1 {
			if text, ok := rows[0][0].(string); ok {
				f.DataAsOf = text
				if t, err := moment(text); err == nil {
					f.Stale = at.Sub(t) > time.Duration(p.freshened[n])
				}
			}
		}
		out.Freshness = append(out.Freshness, f)
		switch {
		case f.DataAsOf == "":
			out.Notes = append(out.Notes, fmt.Sprintf("How new the data of %s is, is not known: there is none.", n))
		case f.Stale:
			out.Notes = append(out.Notes, fmt.Sprintf("STALE: the newest data of %s is of %s, and it should be at most %s old. Say so when you use it.", n, f.DataAsOf, f.Within))
		}
	}
	if len(p.hidden) > 0 {
		out.Notes = append(out.Notes, "Of "+strings.Join(p.hidden, ", ")+" only the rows count that this user may see.")
	}
	if out.Truncated {
		out.Notes = append(out.Notes, "There are more rows than these: use filters, fewer dimensions or another order.")
	}
}

// shownValue is a value as JSON has it.
func shownValue(v any, t Type) any {
	switch v := v.(type) {
	case int64:
		if t == Boolean {
			return v != 0
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
	case json.Number:
		return trimmed(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case []byte:
		return string(v)
	}
	return v
}

// trimmed takes the zeros off that are behind a decimal's last digit. What is no number of JSON is a text.
func trimmed(n json.Number) any {
	text := n.String()
	if !decimalText().MatchString(text) {
		return text
	}
	if strings.Contains(text, ".") && !strings.ContainsAny(text, "eE") {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	return json.Number(text)
}

// Named is the model's name and version.
func (m *Model) Named() Named { return Named{m.Name, m.Version, m.Digest} }

// readFrom says where an entity's rows are.
func (m *Model) readFrom(entity string) string {
	e := m.Entities[entity]
	if e.SQL != "" {
		return e.Source + ": " + entity + " (a query of the model)"
	}
	return e.Source + ": " + e.Table
}

// Define says in words what a metric is.
func (m *Model) Define(name string) Definition {
	x := m.Metrics[name]
	d := Definition{Name: name, Description: x.Description, Unit: x.Unit, Owner: cmpOr(x.Owner, m.Owner)}
	if x.formula != nil {
		d.Definition = x.Formula
		return d
	}
	of := ""
	if x.Of != "" {
		of = " of " + x.Of
	}
	d.Definition = x.Aggregate + of + " over " + x.Entity
	for i, c := range x.Where {
		word := " and "
		if i == 0 {
			word = " where "
		}
		d.Definition += word + c.words()
	}
	if x.Time != "" {
		d.Definition += ", in time by " + x.Time
	}
	return d
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// words is a condition as people read it.
func (c Condition) words() string {
	if c.Through != "" {
		return "the " + c.Through + " is seen"
	}
	text := c.Attribute + " " + strings.ReplaceAll(c.Op, "_", " ")
	if c.Principal != "" {
		return text + " the user's " + c.Principal
	}
	if c.Argument != "" {
		return text + " the argument " + c.Argument
	}
	var values []string
	for _, v := range c.Values {
		switch v := v.(type) {
		case time.Time:
			values = append(values, v.Format(time.RFC3339))
		default:
			values = append(values, fmt.Sprint(v))
		}
	}
	return strings.TrimSpace(text + " " + strings.Join(values, ", "))
}
