package semantic

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/stead-dev/stead"
)

// principalKeys are what of a principal rules may compare with, besides labels.
var principalKeys = []string{"id", "role", "kind", "project"}

const labelPrefix = "label."

// checkRules checks who sees which rows, and that no rule leads in a circle.
func (m *Model) checkRules() error {
	for _, n := range sorted(m.Entities) {
		e, at := m.Entities[n], "entities."+n+".rows"
		if _, said := m.lines[at]; said && len(e.Rows) == 0 {
			return m.wrong(at, "no rule lets no row through: leave rows out where everybody sees all of them")
		}
		for i := range e.Rows {
			if err := m.checkRule(index(at, i), n, &e.Rows[i]); err != nil {
				return err
			}
		}
	}
	for _, n := range sorted(m.Entities) {
		if err := m.lead(n, nil); err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) checkRule(at, entity string, r *Rule) error {
	if r.All == (len(r.Where) > 0) {
		return m.wrong(at, "a rule says all: true, or where")
	}
	for i := range r.Where {
		if err := m.checkCondition(index(at+".where", i), entity, &r.Where[i], true); err != nil {
			return err
		}
	}
	return nil
}

// checkCondition checks one condition on an entity's own attributes. rule: it may speak of whoever asks.
func (m *Model) checkCondition(at, entity string, c *Condition, rule bool) error {
	e := m.Entities[entity]
	if c.Through != "" {
		if !rule || c.Attribute != "" || c.Op != "" || c.Principal != "" || c.Argument != "" || c.Value != nil || c.Values != nil {
			return m.wrong(at+".through", "it stands alone, in a rule of rows")
		}
		s, err := m.follow(entity, c.Through)
		if err != nil {
			return m.under(at+".through", err)
		}
		if _, to, _ := m.ends(s); len(m.Entities[to].Rows) == 0 {
			return m.wrong(at+".through", "everybody sees every %s: this lets all rows through that have one", to)
		}
		return nil
	}
	if c.Attribute == "" {
		return m.wrong(at, "a condition names an attribute")
	}
	if c.Argument != "" {
		return m.wrong(at+".argument", "arguments count in preconditions of actions alone")
	}
	if err := m.attribute(at+".attribute", e, c.Attribute); err != nil {
		return err
	}
	if c.Op == "" {
		if c.Op = opEquals; len(c.Values) > 0 {
			c.Op = opIn
		}
	}
	if c.Value != nil {
		if c.Values != nil {
			return m.wrong(at, "it has a value or values")
		}
		c.Values, c.Value = []any{c.Value}, nil
	}
	if c.Principal != "" {
		return m.checkPrincipal(at, c, rule)
	}
	values, err := checkOperation(c.Op, e.Attributes[c.Attribute], c.Values)
	if err != nil {
		return m.under(at, err)
	}
	c.Values = values
	return nil
}

func (m *Model) checkPrincipal(at string, c *Condition, rule bool) error {
	label, isLabel := strings.CutPrefix(c.Principal, labelPrefix)
	switch {
	case !rule:
		return m.wrong(at+".principal", "who asks counts in rules of rows alone: a metric is the same for everybody")
	case len(c.Values) > 0:
		return m.wrong(at, "it has a value, or is compared with whoever asks")
	case isLabel && label == "" || !isLabel && !slices.Contains(principalKeys, c.Principal):
		return m.under(at+".principal", unknown("attribute of a principal", c.Principal, names(append(slices.Clone(principalKeys), "label.NAME"))))
	case c.Op != opEquals && c.Op != opNot:
		return m.wrong(at+".op", "with whoever asks it is %s or %s", opEquals, opNot)
	}
	return nil
}

// lead notes how far rules lead and how many conditions that makes, each entity once. Rules that follow relations in a circle are
// refused: whether a row is seen would depend on itself.
func (m *Model) lead(entity string, seen []string) error {
	e, at := m.Entities[entity], "entities."+entity+".rows"
	if slices.Contains(seen, entity) {
		return m.wrong("entities."+seen[0]+".rows", "its rules lead in a circle: %s", strings.Join(append(seen, entity), " → "))
	}
	if e.conditions > 0 {
		return nil
	}
	conditions, through := 0, 0
	for _, r := range e.Rows {
		conditions++ // also that of a rule with all
		for _, c := range r.Where {
			conditions++
			if c.Through == "" {
				continue
			}
			s, err := m.follow(entity, c.Through)
			if err != nil {
				return err
			}
			_, to, _ := m.ends(s)
			if err := m.lead(to, append(slices.Clone(seen), entity)); err != nil {
				return err
			}
			conditions, through = conditions+m.Entities[to].conditions, max(through, 1+m.Entities[to].through)
		}
		switch {
		case through > MaxThrough:
			return m.wrong(at, "they lead through %d relations, one behind the other: the limit is %d", through, MaxThrough)
		case conditions > MaxConditions:
			return m.wrong(at, "with the rules of the entities that they lead to they have more than %d conditions, which is the limit", MaxConditions)
		}
	}
	e.conditions, e.through = conditions, through
	return nil
}

// value is what of a principal a rule compares with, in the attribute's type: nothing for what it has not, or is none of that type.
func (p Principal) value(key string, a *Attribute) []any {
	var texts []string
	switch key {
	case "id":
		texts = []string{p.ID}
	case "role":
		texts = []string{p.Role}
	case "kind":
		texts = []string{p.Kind}
	case "project":
		texts = []string{p.Project}
	default:
		texts = p.Labels[strings.TrimPrefix(key, labelPrefix)]
	}
	var out []any
	for _, t := range texts {
		if t == "" || key == "role" && t == SeveralRoles {
			continue
		}
		if v, err := typed(a, t, false); err == nil && onlyWay(v, t) {
			out = append(out, v)
		}
	}
	return out
}

// onlyWay says whether a text is the way in which a number is written: "07" and "7.0" are other users than "7".
func onlyWay(v any, text string) bool {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10) == text
	case decimal:
		return plainDecimal().MatchString(text) && text != "-0"
	}
	return true
}

var plainDecimal = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$`) })

// sees writes which rows of an entity whoever asks sees, where alias is the name of the table; "": all.
func (b *builder) sees(entity, alias string, depth int) (string, error) {
	e := b.model.Entities[entity]
	if len(e.Rows) == 0 {
		return "", nil
	}
	var rules []string
	for _, r := range e.Rows {
		// Who has no role is the one user of a server without authentication.
		if len(r.Roles) > 0 && b.who.Role != "" && !slices.Contains(r.Roles, b.who.Role) {
			continue
		}
		if r.All {
			return "", nil
		}
		var all []string
		for _, c := range r.Where {
			one, err := b.rule(entity, alias, c, depth)
			if err != nil {
				return "", err
			}
			all = append(all, one)
		}
		rules = append(rules, "("+strings.Join(all, " AND ")+")")
	}
	b.restricted[entity] = true
	if len(rules) == 0 {
		return "1=0", nil
	}
	return "(" + strings.Join(rules, " OR ") + ")", nil
}

func (b *builder) rule(entity, alias string, c Condition, depth int) (string, error) {
	e := b.model.Entities[entity]
	if c.Through != "" {
		return b.through(entity, alias, c.Through, depth)
	}
	a := e.Attributes[c.Attribute]
	column := b.column(alias, a)
	if c.Principal == "" {
		return b.compare(a, column, c.Op, c.Values), nil
	}
	values := b.who.value(c.Principal, a)
	switch {
	case len(values) == 0:
		return "1=0", nil // whoever asks has nothing to compare with
	case c.Op == opNot:
		return b.compare(a, column, opNotIn, values), nil
	}
	return b.same(a, column, values), nil
}

// same writes that a column is one of the texts of a principal, letter by letter. A database may take more for equal: a column of numbers
// would show the rows of 7 to a user who is called "07", and one that takes large letters for small ones those of ada to "ADA".
func (b *builder) same(a *Attribute, column string, values []any) string {
	if a.Type != Text {
		return b.compare(a, column, opIn, values)
	}
	places := make([]string, len(values))
	for i, v := range values {
		b.args = append(b.args, v)
		places[i] = b.dialect.placeholder(len(b.args))
	}
	return b.dialect.same(column, strings.Join(places, ", "))
}

// through writes that whoever asks sees the row at the other end of a relation.
func (b *builder) through(entity, alias, relation string, depth int) (string, error) {
	s, err := b.model.follow(entity, relation)
	if err != nil {
		return "", err
	}
	if depth > len(b.model.Entities) { // Parse finds circles: nobody comes here
		return "", stead.Errorf(stead.KindInternal, "rules of %s lead in a circle", entity)
	}
	_, to, _ := b.model.ends(s)
	other := b.alias("x")
	on := b.on(s, alias, other, true)
	seen, err := b.sees(to, other, depth+1)
	if err != nil {
		return "", err
	}
	if seen != "" {
		on += " AND " + seen
	}
	return "EXISTS (SELECT 1 FROM " + b.from(to) + " AS " + other + " WHERE " + on + ")", nil
}
