package semantic

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// Overview is a model at one look. Its JSON is what agents get.
type Overview struct {
	Model       Named   `json:"model"`
	Description string  `json:"description,omitempty"`
	Metrics     []Brief `json:"metrics"`
	Entities    []Brief `json:"entities"`
	Actions     []Brief `json:"actions"`
}

// Brief is a term in a line.
type Brief struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Synonyms    []string `json:"synonyms,omitempty"`
}

// Overview lists the model's terms.
func (m *Model) Overview() Overview {
	o := Overview{Model: m.Named(), Description: m.Description, Metrics: []Brief{}, Entities: []Brief{}, Actions: []Brief{}}
	for _, t := range m.terms.all {
		b := Brief{t.name, t.about, t.synonyms}
		switch t.kind {
		case "metric":
			o.Metrics = append(o.Metrics, b)
		case "entity":
			o.Entities = append(o.Entities, b)
		case "action":
			o.Actions = append(o.Actions, b)
		}
	}
	return o
}

// Described is everything that an agent may know of one term.
type Described struct {
	Model       Named                `json:"model"`
	Kind        string               `json:"kind"` // metric, entity or action
	Name        string               `json:"name"`
	Description string               `json:"description,omitempty"`
	Synonyms    []string             `json:"synonyms,omitempty"`
	Owner       string               `json:"owner,omitempty"`
	Source      string               `json:"source,omitempty"`
	Metric      *MetricDescription   `json:"metric,omitempty"`
	Attributes  []AttributeDescribed `json:"attributes,omitempty"`
	Key         []string             `json:"key,omitempty"`
	Relations   []string             `json:"relations,omitempty"`
	Metrics     []string             `json:"metrics,omitempty"` // of an entity
	Rows        string               `json:"rows,omitempty"`    // whether rules hide some
	Freshness   string               `json:"freshness,omitempty"`
	Action      *ActionDescription   `json:"action,omitempty"`

	// Samples are the statements that tell some values of attributes, in the order of Sampled.
	Samples  []Statement `json:"-"`
	Sampled  []int       `json:"-"` // indexes of Attributes
	Database string      `json:"-"`
	Reads    []string    `json:"-"` // entities whose rows the samples are of
}

// MetricDescription is how a metric is used.
type MetricDescription struct {
	Definition string   `json:"definition"`
	Unit       string   `json:"unit,omitempty"`
	Dimensions []string `json:"dimensions"`
	Time       string   `json:"time,omitempty"`
	Grains     []string `json:"grains,omitempty"`
	Parts      []string `json:"parts,omitempty"`
}

// AttributeDescribed is an attribute.
type AttributeDescribed struct {
	Name        string   `json:"name"`
	Type        Type     `json:"type"`
	Unit        string   `json:"unit,omitempty"`
	Description string   `json:"description,omitempty"`
	Synonyms    []string `json:"synonyms,omitempty"`
	Values      []string `json:"values,omitempty"`
	Samples     []any    `json:"samples,omitempty"`
}

// ActionDescription is how an action is taken.
type ActionDescription struct {
	Arguments     json.RawMessage `json:"arguments"`
	Preconditions []string        `json:"preconditions,omitempty"`
	Checked       []string        `json:"checked,omitempty"` // of these, what is looked at before the action is taken
	Entity        string          `json:"entity,omitempty"`
	Approval      bool            `json:"needs_approval,omitempty"`
	Tool          string          `json:"tool"`
}

// Describe tells what a word stands for, for whoever asks. kinds: "" is all of them.
func (m *Model) Describe(word string, who Principal, d func(database string) (Dialect, error)) (*Described, error) {
	t, err := find("term", word, m.terms.all)
	if err != nil {
		return nil, m.elsewhere(word, err)
	}
	out := &Described{Model: m.Named(), Kind: t.kind, Name: t.name, Description: t.about, Synonyms: t.synonyms, Owner: m.Owner}
	switch t.kind {
	case "metric":
		m.describeMetric(out)
	case "action":
		a := m.Actions[t.name]
		out.Owner = cmpOr(a.Owner, m.Owner)
		out.Action = &ActionDescription{Arguments: a.schema, Entity: a.Entity, Approval: a.Approval, Tool: a.Tool}
		for _, p := range a.Preconditions {
			out.Action.Preconditions = append(out.Action.Preconditions, p.words())
		}
		for _, p := range a.checked() {
			out.Action.Checked = append(out.Action.Checked, p.words())
		}
	default:
		return out, m.describeEntity(out, who, d)
	}
	return out, nil
}

// elsewhere is the error of a word that stands for no term, with the entities that have it as an attribute, or as one of the values of such.
func (m *Model) elsewhere(word string, err error) error {
	var at []string
	w := plain(word)
	same := func(s string) bool { return plain(s) == w }
	for _, entity := range sorted(m.Entities) {
		for _, n := range sorted(m.Entities[entity].Attributes) {
			a := m.Entities[entity].Attributes[n]
			switch {
			case a.Hidden || len(at) == maxNear:
			case same(n) || slices.ContainsFunc(a.Synonyms, same):
				at = append(at, fmt.Sprintf("It is an attribute of %s (%s): describe that.", entity, n))
			case slices.ContainsFunc(a.Values, same):
				at = append(at, fmt.Sprintf("It is a value of an attribute of %s (%s): describe that.", entity, n))
			}
		}
	}
	if e, ok := errors.AsType[*stead.Error](err); ok && len(at) > 0 {
		e.Hint = strings.Join(append(at, e.Hint), " ")
	}
	return err
}

func (m *Model) describeMetric(out *Described) {
	x, def := m.Metrics[out.Name], m.Define(out.Name)
	out.Owner = def.Owner
	out.Metric = &MetricDescription{Definition: def.Definition, Unit: x.Unit, Dimensions: append([]string{}, x.Dimensions...), Time: x.Time, Grains: x.Grains}
	parts := x.parts
	if x.formula != nil {
		out.Metric.Parts = x.formula.names()
		for _, p := range parts { // what all of them have
			if g := m.Metrics[p].Grains; p == parts[0] {
				out.Metric.Grains = g
			} else {
				out.Metric.Grains = both(out.Metric.Grains, g)
			}
		}
	}
	e := m.Entities[m.Metrics[parts[0]].Entity]
	out.Source = m.readFrom(m.Metrics[parts[0]].Entity)
	within := x.Freshness
	if within == 0 && e.Freshness != nil {
		within = e.Freshness.Within
	}
	if within > 0 {
		out.Freshness = "at most " + within.String() + " old"
	}
}

func both(a, b []string) []string {
	var out []string
	for _, s := range a {
		if contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}

func (m *Model) describeEntity(out *Described, who Principal, dialect func(string) (Dialect, error)) error {
	e := m.Entities[out.Name]
	out.Source, out.Key, out.Database, out.Reads = m.readFrom(out.Name), e.Key, m.Sources[e.Source].Database, []string{out.Name}
	for _, n := range sorted(e.Attributes) {
		a := e.Attributes[n]
		if a.Hidden {
			continue
		}
		out.Attributes = append(out.Attributes, AttributeDescribed{n, a.Type, a.Unit, a.Description, a.Synonyms, a.Values, nil})
		if a.Samples && len(a.Values) == 0 {
			d, err := dialect(out.Database)
			if err != nil {
				return err
			}
			sql, err := m.samples(out.Name, a, who, d)
			if err != nil {
				return err
			}
			out.Samples, out.Sampled = append(out.Samples, sql), append(out.Sampled, len(out.Attributes)-1)
		}
	}
	for _, s := range m.stepsFrom(out.Name) {
		_, to, one := m.ends(s)
		each := "has many"
		if one {
			each = "has one"
		}
		out.Relations = append(out.Relations, fmt.Sprintf("%s: each %s %s %s", s.relation, out.Name, each, to))
	}
	for _, n := range sorted(m.Metrics) {
		if m.Metrics[n].Entity == out.Name {
			out.Metrics = append(out.Metrics, n)
		}
	}
	if len(e.Rows) > 0 {
		out.Rows = "Only the rows are there that this user may see."
	}
	if f := e.Freshness; f != nil {
		out.Freshness = "at most " + f.Within.String() + " old"
	}
	return nil
}

// samples writes a statement that tells some values of an attribute, of rows that whoever asks sees.
func (m *Model) samples(entity string, a *Attribute, who Principal, d Dialect) (Statement, error) {
	b := newBuilder(m, d, who)
	rows, err := b.rows(entity)
	if err != nil {
		return Statement{}, err
	}
	value := d.shown(b.column("s", a), a.Type, a.Stored)
	sql := "SELECT c0 FROM (SELECT DISTINCT " + value + " AS c0 FROM " + rows + " AS s WHERE " + b.column("s", a) + " IS NOT NULL) AS o ORDER BY " + d.ordered("c0", a.Type) + fmt.Sprintf("\nLIMIT %d", MaxSamples)
	return Statement{strings.TrimSpace(sql), b.args}, nil
}

// Sample puts what the statements of Samples gave into the description.
func (d *Described) Sample(tables []Table) {
	for i, t := range tables {
		if i >= len(d.Sampled) {
			return
		}
		at := &d.Attributes[d.Sampled[i]]
		for _, row := range t.Rows {
			if len(row) == 1 {
				at.Samples = append(at.Samples, shownValue(row[0], at.Type))
			}
		}
	}
}
