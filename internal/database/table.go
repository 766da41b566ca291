package database

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// Table is a table or a view, as its database tells of it.
type Table struct {
	Schema, Name string
	Kind         string // "table", "view", "materialized view", "foreign table", "virtual table"
	Comment      string
	Columns      []Column
	Key          []string // the primary key
	Indexes      []Index  // and unique constraints, the key's apart
	Foreign      []Foreign
	Referring    []Foreign // of other tables; Table is the one that refers
	Rows         int64     // about; -1: it is not known
	Secured      bool      // which of its rows somebody sees depends on who that is
	Broken       string    // why it can't be read, of a view of what is gone, for one: nothing more is known of it
}

// Column is a column of a Table.
type Column struct {
	Name, Type, Comment string
	NotNull             bool
	Values              []string // all that there can be, where its type says so
}

// Index is an index, or a constraint that has one.
type Index struct {
	Unique  bool
	Columns []string // "": an expression
}

// Foreign is a foreign key.
type Foreign struct {
	Columns       []string
	Schema, Table string
	Refers        []string
}

// ID is the other table's name with its schema.
func (f Foreign) ID() string { return f.Schema + "." + f.Table }

// ID is a table's name with its schema.
func (t Table) ID() string { return t.Schema + "." + t.Name }

// View reports whether its rows are made when they are asked for.
func (t Table) View() bool { return t.Kind == "view" }

// Identifies reports whether a column's values are each of one row.
func (t Table) Identifies(column string) bool {
	if slices.Equal(t.Key, []string{column}) {
		return true
	}
	return slices.ContainsFunc(t.Indexes, func(i Index) bool { return i.Unique && slices.Equal(i.Columns, []string{column}) })
}

// Hiding is what is hidden: patterns of "schema.table" and of "schema.table.column", with * for anything. A schema may be left out.
type Hiding []string

// CheckHidden refuses what is no pattern.
func CheckHidden(patterns []string) error {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil || p == "" || strings.Contains(p, "/") {
			return fmt.Errorf("%.80q is no pattern such as hr.*, public.users.password or *.password", p)
		}
	}
	return nil
}

// Table reports whether a table is hidden.
func (h Hiding) Table(schema, table string) bool {
	return h.match(schema+"."+table) || h.match(table)
}

// Column reports whether a column is hidden, or all of its table.
func (h Hiding) Column(schema, table, column string) bool {
	return h.Table(schema, table) || h.match(schema+"."+table+"."+column) || h.match(table+"."+column)
}

// match compares without regard to case: a name that is hidden is hidden however it is written.
func (h Hiding) match(name string) bool {
	name = strings.ToLower(strings.ReplaceAll(name, "/", "\x00")) // * stands for a slash, too
	return slices.ContainsFunc(h, func(p string) bool {
		ok, err := path.Match(strings.ToLower(p), name)
		return ok && err == nil
	})
}

// Show takes what is hidden out of tables, with all that speaks of it, and tells which tables refer to each.
func (h Hiding) Show(tables []Table) []Table {
	out := without(tables, h.Table, h.Column)
	for i, t := range out {
		if t.Broken != "" && len(h) > 0 {
			out[i].Broken = "it can't be described" // the reason may name what is hidden
		}
	}
	return out
}

// without takes tables and columns out, with all that speaks of them, and tells which of the rest refer to each.
func without(tables []Table, table func(schema, table string) bool, column func(schema, table, column string) bool) []Table {
	var out []Table
	for _, t := range tables {
		if table(t.Schema, t.Name) {
			continue
		}
		hidden := func(c string) bool { return column(t.Schema, t.Name, c) }
		t.Columns = slices.DeleteFunc(slices.Clone(t.Columns), func(c Column) bool { return hidden(c.Name) })
		if len(t.Columns) == 0 && t.Broken == "" {
			continue
		}
		if slices.ContainsFunc(t.Key, hidden) {
			t.Key = nil
		}
		t.Indexes = slices.DeleteFunc(slices.Clone(t.Indexes), func(i Index) bool { return slices.ContainsFunc(i.Columns, hidden) })
		t.Foreign = slices.DeleteFunc(slices.Clone(t.Foreign), func(f Foreign) bool {
			return slices.ContainsFunc(f.Columns, hidden) || table(f.Schema, f.Table) || slices.ContainsFunc(f.Refers, func(c string) bool { return column(f.Schema, f.Table, c) })
		})
		t.Referring = nil
		out = append(out, t)
	}
	at := map[string]int{}
	for i, t := range out {
		at[t.ID()] = i
	}
	for _, t := range out {
		for _, f := range t.Foreign {
			if i, ok := at[f.ID()]; ok {
				out[i].Referring = append(out[i].Referring, Foreign{f.Columns, t.Schema, t.Name, f.Refers})
			}
		}
	}
	return out
}

// Shown are values of a column that are told.
type Shown struct {
	Values []string
	All    bool // there are no others
}

// Markdown tells of a table in a text. Its sections are short ones, so that a passage of a large table says which it is of.
func (t Table) Markdown(database string, samples map[string]Shown) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s%s of the database %s.", line(t.ID()), strings.ToUpper(t.Kind[:1]), t.Kind[1:], database)
	if t.Rows >= 0 {
		fmt.Fprintf(&b, " About %d rows.", rounded(t.Rows))
	}
	b.WriteString("\n")
	if t.Comment != "" {
		fmt.Fprintf(&b, "\n%s\n", strings.TrimSpace(t.Comment))
	}
	if t.Broken != "" {
		fmt.Fprintf(&b, "\nIt can't be read: %s.\n", line(t.Broken))
		return b.String()
	}
	b.WriteString("\n## Columns\n\n")
	for _, c := range t.Columns {
		b.WriteString("- " + t.column(c, samples[c.Name]) + "\n")
	}
	t.keys(&b)
	return b.String()
}

func (t Table) column(c Column, samples Shown) string {
	s := "`" + line(c.Name) + "`"
	if c.Type != "" {
		s += " " + line(c.Type)
	}
	if c.NotNull {
		s += ", not null"
	}
	if slices.Contains(t.Key, c.Name) {
		s += ", primary key"
	}
	if c.Comment != "" {
		s += ": " + line(c.Comment)
	}
	switch {
	case len(c.Values) > 0:
		s += ". One of: " + quoted(c.Values)
	case len(samples.Values) == 0:
	case samples.All:
		s += ". Values: " + quoted(samples.Values)
	default:
		s += ". For example: " + quoted(samples.Values) + ", …"
	}
	return s
}

func (t Table) keys(b *strings.Builder) {
	section := func(title string, n int, at func(int) string) {
		if n > 0 {
			fmt.Fprintf(b, "\n## %s\n\n", title)
		}
		for i := range n {
			b.WriteString("- " + line(at(i)) + "\n")
		}
	}
	section("Indexes", len(t.Indexes), func(i int) string {
		x := t.Indexes[i]
		kind := "index"
		if x.Unique {
			kind = "unique"
		}
		return kind + " (" + columns(x.Columns) + ")"
	})
	section("Refers to", len(t.Foreign), func(i int) string {
		f := t.Foreign[i]
		return "(" + columns(f.Columns) + ") → " + f.ID() + " (" + columns(f.Refers) + ")"
	})
	section("Referred to by", len(t.Referring), func(i int) string {
		f := t.Referring[i]
		return f.ID() + " (" + columns(f.Columns) + ") → (" + columns(f.Refers) + ")"
	})
}

func columns(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		if out[i] = n; n == "" {
			out[i] = "an expression"
		}
	}
	return strings.Join(out, ", ")
}

func quoted(values []string) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = "`" + strings.ReplaceAll(line(v), "`", "'") + "`"
	}
	return strings.Join(out, ", ")
}

// line is a text in one line.
func line(s string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " ")
}

// rounded has one digit that counts: what is said of a table stays the same while it grows a little.
func rounded(n int64) int64 {
	const small = 10
	if n < small {
		return n
	}
	unit := int64(math.Pow10(int(math.Log10(float64(n)))))
	return n / unit * unit
}

// clip is the beginning of a text, of at most n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Clip is a value of a sample as it is shown.
func Clip(s string) string {
	if s = line(s); len(s) > MaxSampleBytes {
		return clip(s, MaxSampleBytes-len("…")) + "…"
	}
	return s
}
