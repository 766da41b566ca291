package semantic

import "strings"

// Probe is what tells whether an entity is in its database what the model says: its columns are there, and its key is one. The
// second statement counts keys that several rows have: with such a key joins count rows twice.
type Probe struct {
	Entity, Database string
	Key              []string
	Statements       []Statement
}

// Probes are those of all entities.
func (m *Model) Probes(d Dialect, database string) []Probe {
	var out []Probe
	for _, n := range sorted(m.Entities) {
		e := m.Entities[n]
		if m.Sources[e.Source].Database != database {
			continue
		}
		b := newBuilder(m, d, Principal{})
		var columns, key []string
		for _, a := range sorted(e.Attributes) {
			columns = append(columns, b.column("k", e.Attributes[a]))
		}
		for _, k := range e.Key {
			key = append(key, b.column("k", e.Attributes[k]))
		}
		from := " FROM " + b.from(n) + " AS k"
		out = append(out, Probe{n, database, e.Key, []Statement{
			{SQL: "SELECT " + strings.Join(columns, ", ") + from + " LIMIT 1"},
			{SQL: "SELECT COUNT(*) FROM (SELECT 1 AS n" + from + " GROUP BY " + strings.Join(key, ", ") + " HAVING COUNT(*) > 1) AS o"},
		}})
	}
	return out
}

// Twice is how many keys several rows have, by what a probe's statements gave.
func (p Probe) Twice(tables []Table) int64 {
	if len(tables) == len(p.Statements) && len(tables[1].Rows) == 1 && len(tables[1].Rows[0]) == 1 {
		n, _ := tables[1].Rows[0][0].(int64)
		return n
	}
	return 0
}
