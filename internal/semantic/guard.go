package semantic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// Preconditions of an action are words, or conditions over the row that it is done to. Those are asked about right before the
// action's tool is called, as whoever the agent works for: a row that this one can't see is not there.

// Precondition is one of an action's.
type Precondition struct {
	Says  string      `yaml:"says"`  // for whoever acts; "": what Where says
	Where []Condition `yaml:"where"` // all of them must hold; none: it is words, and nobody checks
}

// UnmarshalYAML implements yaml.InterfaceUnmarshaler: a text is one that is words.
func (p *Precondition) UnmarshalYAML(read func(any) error) error {
	if read(&p.Says) == nil {
		return nil
	}
	p.Says = ""
	type plain Precondition
	return read((*plain)(p))
}

// words are the precondition in words.
func (p Precondition) words() string {
	if p.Says != "" {
		return p.Says
	}
	all := make([]string, len(p.Where))
	for i, c := range p.Where {
		all[i] = c.words()
	}
	return strings.Join(all, ", and ")
}

// checkPreconditions checks an action's, and that its arguments say which row they are about.
func (m *Model) checkPreconditions(at string, a *Action) error {
	checked := false
	for i := range a.Preconditions {
		p, at := &a.Preconditions[i], index(at+".preconditions", i)
		if p.Says == "" && len(p.Where) == 0 {
			return m.wrong(at, "it says nothing: write words, or where")
		}
		if len(p.Where) == 0 {
			continue
		}
		if checked = true; a.Entity == "" {
			return m.wrong(at, "what is checked is a row: write which entity the action is done to")
		}
		for j := range p.Where {
			if err := m.checkAsked(index(at+".where", j), a, &p.Where[j]); err != nil {
				return err
			}
		}
	}
	if a.Key == nil && !checked {
		return nil
	}
	return m.checkKey(at, a)
}

// checkAsked checks a condition, which may speak of whoever asks, as a rule of rows, and of the action's arguments.
func (m *Model) checkAsked(at string, a *Action, c *Condition) error {
	if c.Argument == "" {
		return m.checkCondition(at, a.Entity, c, true)
	}
	if c.Value != nil || c.Values != nil || c.Principal != "" || c.Through != "" {
		return m.wrong(at, "it has a value, or is compared with an argument")
	}
	e := m.Entities[a.Entity]
	if err := m.attribute(at+".attribute", e, c.Attribute); err != nil {
		return err
	}
	if c.Op == "" {
		c.Op = opEquals
	}
	if least, most := operands(c.Op); !slices.Contains(Operators(), c.Op) || least != 1 || most != 1 || c.Op == opContains {
		return m.wrong(at+".op", "with an argument it is %s, %s, %s, %s, %s or %s", opEquals, opNot, opGreater, opAtLeast, opLess, opAtMost)
	}
	if a.property(c.Argument) == nil {
		return m.under(at+".argument", unknown("argument", c.Argument, names(a.properties())))
	}
	return nil
}

// checkKey: the arguments say which row it is.
func (m *Model) checkKey(at string, a *Action) error {
	e := m.Entities[a.Entity]
	if e == nil {
		return m.wrong(at+".key", "it is of the entity that the action is done to: write entity")
	}
	if !sameSet(sorted(a.Key), e.Key) {
		return m.wrong(at+".key", "write which arguments are the key of %s (%s)", a.Entity, strings.Join(e.Key, ", "))
	}
	for _, k := range sorted(a.Key) {
		name := a.Key[k]
		if _, fixed := a.With[name]; fixed {
			continue
		}
		if a.property(name) == nil {
			return m.under(at+".key."+k, unknown("argument", name, names(a.properties())))
		}
		if required, _ := a.Arguments["required"].([]any); !slices.Contains(required, any(name)) {
			return m.wrong(at+".key."+k, "the argument %s must be required: without it nobody knows which %s it is", name, a.Entity)
		}
	}
	return nil
}

func (a *Action) properties() []string {
	all, _ := a.Arguments["properties"].(map[string]any)
	return sorted(all)
}

func (a *Action) property(name string) any {
	all, _ := a.Arguments["properties"].(map[string]any)
	return all[name]
}

// Guard is what is asked before an action is taken.
type Guard struct {
	Database   string
	Statement  Statement
	Entities   []string // that it reads
	Dimensions []string // attributes whose values a refusal tells

	name   string
	action *Action
	entity *Entity
	row    string // in words
}

// Guard makes the question whether an action with its tool's arguments may be taken, for whoever it is; nil: there is nothing to ask.
func (m *Model) Guard(name string, a *Action, arguments json.RawMessage, who Principal, dialect func(database string) (Dialect, error)) (*Guard, error) {
	if !slices.ContainsFunc(a.Preconditions, func(p Precondition) bool { return len(p.Where) > 0 }) {
		return nil, nil
	}
	var given map[string]any
	d := json.NewDecoder(bytes.NewReader(arguments))
	d.UseNumber()
	if err := d.Decode(&given); err != nil {
		return nil, stead.Invalid("arguments", "the arguments must be an object")
	}
	e := m.Entities[a.Entity]
	g := &Guard{Database: m.Sources[e.Source].Database, name: name, action: a, entity: e}
	speaks, err := dialect(g.Database)
	if err != nil {
		return nil, err
	}
	b := newBuilder(m, speaks, who)
	if g.Statement.SQL, err = g.sql(b, given); err != nil {
		return nil, err
	}
	g.Statement.Args, g.Entities = b.args, sorted(b.read)
	return g, nil
}

// sql selects the row: whether each checked precondition holds, then the values of the attributes that they speak of.
func (g *Guard) sql(b *builder, given map[string]any) (string, error) {
	t, row, err := b.tables(g.action.Entity)
	if err != nil {
		return "", err
	}
	var where, key, out []string
	for _, k := range sorted(g.action.Key) {
		attribute := g.entity.Attributes[k]
		v, err := argument(g.action.Key[k], attribute, given)
		if err != nil {
			return "", err
		}
		where = append(where, b.compare(attribute, b.column(row, attribute), opEquals, []any{v}))
		key = append(key, fmt.Sprintf("%s %v", k, given[g.action.Key[k]]))
	}
	g.row = g.action.Entity + " with " + strings.Join(key, ", ")
	for _, p := range g.action.checked() {
		var all []string
		for _, c := range p.Where {
			one, err := g.condition(b, row, c, given)
			if err != nil {
				return "", err
			}
			all = append(all, one)
			if c.Attribute != "" && !g.entity.Attributes[c.Attribute].Hidden && !contains(g.Dimensions, c.Attribute) {
				g.Dimensions = append(g.Dimensions, c.Attribute)
			}
		}
		out = append(out, "CASE WHEN "+strings.Join(all, " AND ")+" THEN 1 ELSE 0 END AS p"+fmt.Sprint(len(out)))
	}
	for i, n := range g.Dimensions {
		at := g.entity.Attributes[n]
		out = append(out, b.dialect.shown(b.column(row, at), at.Type, at.Stored)+fmt.Sprintf(" AS c%d", i))
	}
	const most = 2 // more than one is wrong
	return "SELECT " + strings.Join(out, ", ") + "\n  FROM " + t.sql.String() + "\n  WHERE " + strings.Join(where, " AND ") + fmt.Sprintf("\nLIMIT %d", most), nil
}

func (g *Guard) condition(b *builder, row string, c Condition, given map[string]any) (string, error) {
	if c.Argument == "" {
		return b.rule(g.action.Entity, row, c, 0)
	}
	attribute := g.entity.Attributes[c.Attribute]
	v, err := argument(c.Argument, attribute, given)
	if err != nil {
		return "", err
	}
	return b.compare(attribute, b.column(row, attribute), c.Op, []any{v}), nil
}

// argument is an argument as a value of an attribute.
func argument(name string, a *Attribute, given map[string]any) (any, error) {
	raw, there := given[name]
	if !there || raw == nil {
		return nil, stead.Invalid("arguments", "the argument %s is needed to check the preconditions, and is not given", name)
	}
	v, err := typed(a, raw, false)
	if err != nil {
		return nil, stead.Invalid("arguments", "the argument %s: %s", name, err)
	}
	return v, nil
}

func (a *Action) checked() []Precondition {
	var out []Precondition
	for _, p := range a.Preconditions {
		if len(p.Where) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// Holds reads the answer: an error says which precondition does not hold. tell: with the values that it speaks of.
func (g *Guard) Holds(t Table, tell bool) error {
	refuse := func(format string, args ...any) error {
		return stead.Errorf(stead.KindConflict, "the action %s is not taken: %s", g.name, fmt.Sprintf(format, args...))
	}
	switch len(t.Rows) {
	case 0:
		return refuse("there is no %s, or none that whoever it is for may see", g.row)
	case 1:
	default:
		return refuse("there is more than one %s", g.row)
	}
	row, checked := t.Rows[0], g.action.checked()
	var failed []string
	for i, p := range checked {
		if fmt.Sprint(row[i]) == "1" {
			continue
		}
		text := fmt.Sprintf("%q does not hold", p.words())
		var is []string
		for _, c := range p.Where {
			at := slices.Index(g.Dimensions, c.Attribute)
			if !tell || at < 0 || g.entity.Listed != nil && !*g.entity.Listed {
				continue
			}
			if one := c.Attribute + " is " + told(shownValue(row[len(checked)+at], g.entity.Attributes[c.Attribute].Type)); !contains(is, one) {
				is = append(is, one)
			}
		}
		if len(is) > 0 {
			text += " (" + strings.Join(is, ", ") + ")"
		}
		failed = append(failed, text)
	}
	if len(failed) == 0 {
		return nil
	}
	return refuse("of the %s, %s", g.row, strings.Join(failed, "; "))
}

// told is a value in words, cut where it is long.
func told(v any) string {
	if v == nil {
		return "not set"
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "not known"
	}
	const most = 200
	if r := []rune(string(raw)); len(r) > most {
		return string(r[:most]) + "…"
	}
	return string(raw)
}
