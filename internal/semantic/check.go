package semantic

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/stead-dev/stead"
)

var termName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`) })

// maxIdentifier is the longest name of a table or column, in bytes.
const maxIdentifier = 128

// TimeColumn is the name of the column of times in an answer: nothing else has it.
const TimeColumn = "time"

// sorted are the keys of a map, in order: errors and SQL are the same every time.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// check refuses what a query would trip over.
func (m *Model) check() error {
	if !termName().MatchString(m.Name) {
		return m.wrong("name", "%.80q is no name: small letters, digits and _, beginning with a letter", m.Name)
	}
	if m.Version < 1 {
		return m.wrong("version", "it counts from 1 and goes up with each change")
	}
	if n := len(m.Entities) + len(m.Metrics) + len(m.Actions) + len(m.Relations); n > MaxTerms {
		return m.wrong("entities", "%d entities, relations, metrics and actions are more than the limit of %d", n, MaxTerms)
	}
	for _, step := range []func() error{m.checkNames, m.checkEntities, m.checkRelations, m.checkRules, m.checkMetrics, m.checkActions} {
		if err := step(); err != nil {
			return err
		}
	}
	m.index()
	return nil
}

// checkNames: each name is a name, and in a path the name of an entity can't be taken for that of a relation.
func (m *Model) checkNames() error {
	for key, names := range map[string][]string{"sources": sorted(m.Sources), "entities": sorted(m.Entities), "relations": sorted(m.Relations), "metrics": sorted(m.Metrics), "actions": sorted(m.Actions)} {
		for _, n := range names {
			at := key + "." + n
			switch {
			case !termName().MatchString(n):
				return m.wrong(at, "%.80q is no name: small letters, digits and _, beginning with a letter", n)
			case n == TimeColumn:
				return m.wrong(at, "%q is the column of times in every answer: choose another name", n)
			case key == "relations" && m.Entities[n] != nil:
				return m.wrong(at, "an entity has that name too: name the relation by the role of its other end, such as billing_address")
			}
		}
	}
	for _, at := range missing(m.Sources, "sources") {
		return m.wrong(at, "it says nothing")
	}
	for _, at := range slices.Concat(missing(m.Entities, "entities"), missing(m.Relations, "relations"), missing(m.Metrics, "metrics"), missing(m.Actions, "actions")) {
		return m.wrong(at, "it says nothing")
	}
	for _, n := range sorted(m.Sources) {
		if m.Sources[n].Database == "" {
			return m.wrong("sources."+n+".database", "a source names a database of the configuration")
		}
	}
	return nil
}

func missing[V any](all map[string]*V, key string) []string {
	var out []string
	for _, n := range sorted(all) {
		if all[n] == nil {
			out = append(out, key+"."+n)
		}
	}
	return out
}

func (m *Model) checkEntities() error {
	for _, n := range sorted(m.Entities) {
		if err := m.checkEntity("entities."+n, m.Entities[n]); err != nil {
			return err
		}
	}
	return nil
}

func (m *Model) checkEntity(at string, e *Entity) error {
	if e.Source == "" && len(m.Sources) == 1 {
		e.Source = sorted(m.Sources)[0]
	}
	if _, err := find("source", e.Source, termsOf("source", m.Sources)); err != nil {
		return m.under(at+".source", err)
	}
	switch {
	case (e.Table == "") == (e.SQL == ""):
		return m.wrong(at, "an entity is a table or a query: write one of them")
	case e.Table != "" && tableParts(e.Table) == nil:
		return m.wrong(at+".table", "%.80q is no table: write table, or schema.table", e.Table)
	case e.SQL != "":
		e.SQL = strings.TrimRight(strings.TrimSpace(e.SQL), "; \n\t")
		if head := strings.ToLower(firstWord(e.SQL)); head != "select" && head != "with" || strings.ContainsAny(e.SQL, ";\x00") {
			return m.wrong(at+".query", "it must be one SELECT")
		}
	case len(e.Attributes) == 0:
		return m.wrong(at+".attributes", "an entity has attributes")
	}
	if len(e.Attributes) > MaxAttributes {
		return m.wrong(at+".attributes", "%d are more than the limit of %d", len(e.Attributes), MaxAttributes)
	}
	for _, n := range sorted(e.Attributes) {
		if err := m.checkAttribute(at+".attributes."+n, n, e.Attributes[n]); err != nil {
			return err
		}
	}
	if len(e.Key) == 0 {
		return m.wrong(at+".key", "an entity has a key: the attributes that no two rows share")
	}
	for i, k := range e.Key {
		if err := m.attribute(index(at+".key", i), e, k); err != nil {
			return err
		}
	}
	return m.checkFreshness(at+".freshness", e)
}

func index(at string, i int) string { return at + "[" + strconv.Itoa(i) + "]" }

func firstWord(s string) string {
	if f := strings.Fields(s); len(f) > 0 {
		return f[0]
	}
	return ""
}

// tableParts are the identifiers of a table; nil: it is none.
func tableParts(s string) []string {
	parts := strings.Split(s, ".")
	const most = 2 // schema and table
	if len(parts) > most || slices.ContainsFunc(parts, func(p string) bool { return !identifier(p) }) {
		return nil
	}
	return parts
}

func identifier(s string) bool {
	return s != "" && len(s) <= maxIdentifier && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

func (m *Model) checkAttribute(at, name string, a *Attribute) error {
	switch {
	case !termName().MatchString(name):
		return m.wrong(at, "%.80q is no name: small letters, digits and _, beginning with a letter", name)
	case a == nil:
		return m.wrong(at, "it says nothing: write at least its type")
	case !slices.Contains(typeNames(), string(a.Type)):
		return m.under(at+".type", unknown("type", string(a.Type), names(typeNames())))
	case a.Column != "" && !identifier(a.Column):
		return m.wrong(at+".column", "%.80q is no column", a.Column)
	}
	if err := m.stored(at+".stored", a.Stored, a.Type); err != nil {
		return err
	}
	a.Column = cmp.Or(a.Column, name)
	if len(a.Values) > 0 && a.Type != Text {
		return m.wrong(at+".values", "an enumeration is of type text")
	}
	if a.Hidden && a.Samples {
		return m.wrong(at+".samples", "what is hidden has no samples")
	}
	return nil
}

func (m *Model) stored(at, how string, t Type) error {
	switch {
	case how == "":
		return nil
	case how != storedUnix && how != storedMilli:
		return m.wrong(at, "it is %q or %q, or left out", storedUnix, storedMilli)
	case t != Timestamp:
		return m.wrong(at, "it is for timestamps")
	}
	return nil
}

func typeNames() []string {
	return []string{string(Text), string(Integer), string(Number), string(Boolean), string(Date), string(Timestamp)}
}

func names(list []string) []term {
	out := make([]term, len(list))
	for i, n := range list {
		out[i] = term{name: n}
	}
	return out
}

func termsOf[V any](kind string, all map[string]V) []term {
	var out []term
	for _, n := range sorted(all) {
		out = append(out, term{kind: kind, name: n})
	}
	return out
}

// attribute checks that an entity has an attribute.
func (m *Model) attribute(at string, e *Entity, name string) error {
	if e.Attributes[name] != nil {
		return nil
	}
	return m.under(at, unknown("attribute", name, attributeTerms("", e, true)))
}

// attributeTerms are the attributes of an entity as terms; hidden ones only where they may be spoken of.
func attributeTerms(prefix string, e *Entity, hidden bool) []term {
	var out []term
	for _, n := range sorted(e.Attributes) {
		if a := e.Attributes[n]; a != nil && (hidden || !a.Hidden) {
			out = append(out, term{kind: "attribute", name: prefix + n, synonyms: a.Synonyms, about: a.Description})
		}
	}
	return out
}

func (m *Model) checkFreshness(at string, e *Entity) error {
	f := e.Freshness
	switch {
	case f == nil:
		return nil
	case (f.Attribute == "") == (f.Table == ""):
		return m.wrong(at, "it names an attribute of the entity, or the table and column that know when it was loaded")
	case f.Within <= 0:
		return m.wrong(at+".within", "write how old the data may be, such as 24h")
	case f.Table != "":
		if tableParts(f.Table) == nil || !identifier(f.Column) {
			return m.wrong(at, "%.80q and %.80q are no table and column", f.Table, f.Column)
		}
		return m.stored(at+".stored", f.Stored, Timestamp)
	case f.Column != "" || f.Stored != "":
		return m.wrong(at, "column and stored are for a table")
	}
	if err := m.attribute(at+".attribute", e, f.Attribute); err != nil {
		return err
	}
	if t := e.Attributes[f.Attribute].Type; t != Timestamp && t != Date {
		return m.wrong(at+".attribute", "%s is of type %s: freshness is told by a timestamp or a date", f.Attribute, t)
	}
	return nil
}

func (m *Model) checkRelations() error {
	for _, n := range sorted(m.Relations) {
		r, at := m.Relations[n], "relations."+n
		for key, name := range map[string]string{"from": r.From, "to": r.To} {
			if _, err := find("entity", name, termsOf("entity", m.Entities)); err != nil || m.Entities[name] == nil {
				return m.under(at+"."+key, cmpErr(err, unknown("entity", name, termsOf("entity", m.Entities))))
			}
		}
		from, to := m.Entities[r.From], m.Entities[r.To]
		switch {
		case len(r.On) == 0:
			return m.wrong(at+".on", "write which attribute of %s is which of %s", r.From, r.To)
		case from.Source != to.Source:
			return m.wrong(at, "%s and %s are in different sources: nothing joins them", r.From, r.To)
		case r.Cardinality != ManyToOne && r.Cardinality != OneToMany && r.Cardinality != OneToOne:
			return m.wrong(at+".cardinality", "it is %s, %s or %s", ManyToOne, OneToMany, OneToOne)
		}
		for _, a := range sorted(r.On) {
			b := r.On[a]
			if err := m.attribute(at+".on."+a, from, a); err != nil {
				return err
			}
			if err := m.attribute(at+".on."+a, to, b); err != nil {
				return err
			}
			if x, y := from.Attributes[a].Type, to.Attributes[b].Type; x != y {
				return m.wrong(at+".on."+a, "%s.%s is of type %s and %s.%s of type %s", r.From, a, x, r.To, b, y)
			}
		}
		// At an end where there is at most one row, the joined attributes are the key: or rows would be counted twice.
		if r.Cardinality != OneToMany && !sameSet(slices.Collect(maps.Values(r.On)), to.Key) {
			return m.wrong(at+".cardinality", "%s is one only if it is joined by its key (%s)", r.To, strings.Join(to.Key, ", "))
		}
		if r.Cardinality != ManyToOne && !sameSet(sorted(r.On), from.Key) {
			return m.wrong(at+".cardinality", "%s is one only if it is joined by its key (%s)", r.From, strings.Join(from.Key, ", "))
		}
	}
	return nil
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

func (m *Model) checkActions() error {
	for _, n := range sorted(m.Actions) {
		a, at := m.Actions[n], "actions."+n
		server, name, ok := strings.Cut(a.Tool, "/")
		switch {
		case !ok || server == "" || name == "":
			return m.wrong(at+".tool", "%.80q is no tool: write SERVER/TOOL, with the label of a tool server", a.Tool)
		case a.Description == "":
			return m.wrong(at+".description", "an action says what it does")
		case a.Effect != "" && a.Effect != "pure" && a.Effect != "idempotent" && a.Effect != "unknown":
			return m.wrong(at+".effect", "it is pure, idempotent or unknown")
		case a.Entity != "" && m.Entities[a.Entity] == nil:
			return m.under(at+".entity", unknown("entity", a.Entity, termsOf("entity", m.Entities)))
		}
		if a.Arguments == nil {
			a.Arguments = map[string]any{}
		}
		if t, has := a.Arguments["type"]; has && t != "object" {
			return m.wrong(at+".arguments.type", "arguments are an object")
		}
		a.Arguments["type"] = "object"
		if _, has := a.Arguments["additionalProperties"]; !has {
			a.Arguments["additionalProperties"] = false
		}
		properties, _ := a.Arguments["properties"].(map[string]any)
		for _, w := range sorted(a.With) {
			if _, both := properties[w]; both {
				return m.wrong(at+".with."+w, "it is an argument of the action too: who acts could not change it")
			}
		}
		if err := m.checkPreconditions(at, a); err != nil {
			return err
		}
		var err error
		if a.schema, err = json.Marshal(a.Arguments); err != nil {
			return m.wrong(at+".arguments", "they are no JSON Schema: %s", err)
		}
		if _, err := json.Marshal(a.With); err != nil {
			return m.wrong(at+".with", "they can't be written as JSON: %s", err)
		}
	}
	return nil
}

// Schema is the JSON Schema of an action's arguments.
func (a *Action) Schema() json.RawMessage { return a.schema }

// Target is the server and the tool that an action is a call of.
func (a *Action) Target() (server, tool string) {
	server, tool, _ = strings.Cut(a.Tool, "/")
	return server, tool
}

// index collects the model's terms.
func (m *Model) index() {
	m.terms = &terms{}
	for _, n := range sorted(m.Metrics) {
		m.terms.all = append(m.terms.all, term{"metric", n, m.Metrics[n].Synonyms, m.Metrics[n].Description})
	}
	for _, n := range sorted(m.Entities) {
		m.terms.all = append(m.terms.all, term{"entity", n, m.Entities[n].Synonyms, m.Entities[n].Description})
	}
	for _, n := range sorted(m.Actions) {
		m.terms.all = append(m.terms.all, term{"action", n, m.Actions[n].Synonyms, m.Actions[n].Description})
	}
}

// of are the terms of one kind.
func (t *terms) of(kind string) []term {
	var out []term
	for _, one := range t.all {
		if one.kind == kind {
			out = append(out, one)
		}
	}
	return out
}

// FindMetric, FindEntity and FindAction give what a word stands for.
func (m *Model) FindMetric(word string) (string, *Metric, error) {
	t, err := find("metric", word, m.terms.of("metric"))
	return t.name, m.Metrics[t.name], err
}

func (m *Model) FindEntity(word string) (string, *Entity, error) {
	t, err := find("entity", word, m.terms.of("entity"))
	return t.name, m.Entities[t.name], err
}

func (m *Model) FindAction(word string) (string, *Action, error) {
	t, err := find("action", word, m.terms.of("action"))
	return t.name, m.Actions[t.name], err
}

// Call is what an action's tool gets: the arguments, and those that are always the same.
func (a *Action) Call(arguments json.RawMessage) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(arguments, &fields); err != nil {
		return nil, stead.Invalid("arguments", "the arguments must be an object")
	}
	for _, n := range sorted(a.With) {
		raw, err := json.Marshal(a.With[n])
		if err != nil {
			return nil, stead.Wrap(stead.KindInternal, err, "write the argument %s", n)
		}
		fields[n] = raw
	}
	out, err := json.Marshal(fields)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "write the arguments")
	}
	return out, nil
}

// Recall is Call backwards and forwards again: of arguments that the tool would get, as somebody has written them anew, it makes those
// that the action gets, has them checked, and gives what the tool gets. What is always the same may be left out, and is never another.
func (a *Action) Recall(called json.RawMessage, check func(schema, arguments []byte) error) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(called, &fields); err != nil {
		return nil, stead.Invalid("arguments", "the arguments must be an object")
	}
	for _, n := range sorted(a.With) {
		raw, err := json.Marshal(a.With[n])
		if err != nil {
			return nil, stead.Wrap(stead.KindInternal, err, "write the argument %s", n)
		}
		if got, there := fields[n]; there && !sameJSON(got, raw) {
			return nil, stead.Invalid("arguments", "%s is always %s", n, raw)
		}
		delete(fields, n)
	}
	arguments, err := json.Marshal(fields)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "write the arguments")
	}
	if err := check(a.schema, arguments); err != nil {
		return nil, stead.Invalid("arguments", "the arguments do not fit: %s", err)
	}
	return a.Call(arguments)
}

// sameJSON reports whether two texts are the same value, however their objects are ordered.
func sameJSON(a, b []byte) bool {
	read := func(raw []byte) (v any, err error) {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		return v, d.Decode(&v)
	}
	x, err := read(a)
	y, other := read(b)
	return err == nil && other == nil && reflect.DeepEqual(x, y)
}

// Unknown is the error for a word that stands for nothing of a list, with those that are like it.
func Unknown(what, word string, all []string) error { return unknown(what, word, names(all)) }

// Read is a table that a model reads.
type Read struct {
	Entity, Database, Table string // Table "": a query of the model's author
}

// Reads are all the tables that a model reads.
func (m *Model) Reads() []Read {
	var out []Read
	for _, n := range sorted(m.Entities) {
		e := m.Entities[n]
		database := m.Sources[e.Source].Database
		out = append(out, Read{n, database, e.Table})
		if f := e.Freshness; f != nil && f.Table != "" {
			out = append(out, Read{n, database, f.Table})
		}
	}
	return out
}
