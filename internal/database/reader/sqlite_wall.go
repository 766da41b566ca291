package reader

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"strings"

	"modernc.org/sqlite"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/database"
)

// wall stands between a statement and a file. SQLite's authorizer asks it for each function, and for each column that is read but two sorts: those
// that USING and NATURAL compare, and those that a virtual table reads by itself. It knows the tables of the file, so that neither leads to what is hidden.
type wall struct {
	hidden  database.Hiding
	own     bool                // our own statements run: they may do all
	closed  map[string]bool     // tables and views of which nothing is read, in small letters
	parts   map[string][]string // and the columns that are not, of others
	ordered map[int64]string    // the tables of the indexes that hold such columns, by where those begin
}

// Functions that read or write files, load code, or take pointers, and some that take the product of two values' lengths; and tables that show raw
// pages of the file, and statements of the connection.
var (
	forbiddenFunctions = []string{"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "lsdir", "fsdir", "json_patch", "jsonb_patch", "unhex"}
	forbiddenTables    = []string{"sqlite_dbpage", "sqlite_dbdata", "sqlite_dbptr", "dbstat", "sqlite_stmt", "bytecode", "tables_used", "fsdir"}
	toldPragmas        = []string{"table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list"}
)

// versionPragma is what full-text search asks before it reads.
const versionPragma = "data_version"

// driver makes connections that ask the wall.
func (w *wall) driver() *sqlite.Driver {
	d := &sqlite.Driver{}
	d.RegisterConnectionHook(func(conn sqlite.ExecQuerierContext, _ string) error {
		r, ok := conn.(sqlite.AuthorizerRegisterer)
		if !ok {
			return errors.New("the driver has no authorizer")
		}
		return r.RegisterAuthorizer(w.authorize)
	})
	bounded(d)
	return d
}

// authorize lets by what reads tables of the file.
func (w *wall) authorize(action sqlite.AuthorizerActionCode, arg1, arg2, schema, _ string) sqlite.AuthorizerReturnCode {
	let := w.own
	switch action {
	case sqlite.AuthSelect, sqlite.AuthRecursive:
		let = true
	case sqlite.AuthFunction:
		let = let || !slices.Contains(forbiddenFunctions, strings.ToLower(arg2))
	case sqlite.AuthPragma: // as a table: PRAGMA as a statement does not get here
		pragma := strings.ToLower(arg1)
		let = let || pragma == versionPragma || slices.Contains(toldPragmas, pragma) && len(w.hidden) == 0
	case sqlite.AuthRead:
		let = let || w.mayRead(strings.ToLower(arg1), strings.ToLower(arg2), schema)
	}
	if let {
		return sqlite.AuthorizerOK
	}
	return sqlite.AuthorizerDeny
}

func (w *wall) mayRead(table, column, schema string) bool {
	catalog := strings.HasPrefix(table, catalogPrefix) // which quotes how tables were made, and has samples of values
	switch {
	case slices.Contains(forbiddenTables, table), schema != "" && schema != mainSchema:
		return false
	case catalog && len(w.hidden) > 0, w.closed[table], slices.Contains(w.parts[table], column):
		return false
	case column == "":
		return !w.hidden.Table(mainSchema, table)
	}
	return !w.hidden.Column(mainSchema, table, column)
}

const catalogPrefix = "sqlite_"

// inFile is a table or a view of the file.
type inFile struct {
	name, text string // in small letters, and how it was made
	view       bool
	virtual    bool
}

// learn looks at the file's tables, where something is hidden.
func (w *wall) learn(ctx context.Context, conn *sql.Conn) error {
	w.closed, w.parts, w.ordered = map[string]bool{}, map[string][]string{}, map[int64]string{}
	if len(w.hidden) == 0 {
		return nil
	}
	var all []inFile
	if err := list(ctx, conn, `SELECT name, coalesce(sql, ''), type FROM sqlite_schema WHERE type IN ('table', 'view')`, nil, func(scan func(...any) error) error {
		var t inFile
		var kind string
		if err := scan(&t.name, &t.text, &kind); err != nil {
			return err
		}
		t.view, t.virtual = kind == "view", strings.HasPrefix(words(t.text), "create virtual ")
		all = append(all, t)
		return nil
	}); err != nil {
		return err
	}
	for i := range all {
		if err := w.cover(ctx, conn, all[i]); err != nil {
			return err
		}
		all[i].name = strings.ToLower(all[i].name)
	}
	w.spread(conn, all)
	return nil
}

// cover notes what is hidden of a table. One that can't be described is not read, either.
func (w *wall) cover(ctx context.Context, conn *sql.Conn, t inFile) error {
	name := strings.ToLower(t.name)
	var hidden, generated []string
	err := list(ctx, conn, `SELECT name, hidden FROM pragma_table_xinfo(?)`, t.name, func(scan func(...any) error) error {
		var column string
		var kind int
		if err := scan(&column, &kind); err != nil {
			return err
		}
		const virtual, stored = 2, 3
		if column = strings.ToLower(column); w.hidden.Column(mainSchema, name, column) {
			hidden = append(hidden, column)
		} else if kind == virtual || kind == stored {
			generated = append(generated, column)
		}
		return nil
	})
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil || w.hidden.Table(mainSchema, name) || t.virtual && len(hidden) > 0 { // a virtual table searches all of its columns
		w.closed[name] = true
	} else if len(hidden) > 0 { // of which one may be made that is not asked for
		w.parts[name] = slices.Concat(hidden, generated)
		return w.order(ctx, conn, t.name)
	}
	return nil
}

// spread closes what shows something hidden in another way: virtual tables made of such tables, or of views that read something hidden, the
// tables in which virtual ones keep what they hold, and views that compare by USING or NATURAL.
func (w *wall) spread(conn *sql.Conn, all []inFile) {
	for before := -1; before < len(w.closed); {
		before = len(w.closed)
		for _, t := range all {
			switch {
			case w.closed[t.name]:
			case t.view && w.joins(t.text) != nil, t.virtual && (w.speaks(words(t.text)) || w.shows(conn, all, words(t.text))),
				slices.ContainsFunc(all, func(v inFile) bool { return v.virtual && w.closed[v.name] && strings.HasPrefix(t.name, v.name+"_") }):
				w.closed[t.name] = true
			}
		}
	}
}

// speaks reports whether a text names a table of which something is hidden.
func (w *wall) speaks(text string) bool {
	for name := range w.closed {
		if mentions(text, name) {
			return true
		}
	}
	for name := range w.parts {
		if mentions(text, name) {
			return true
		}
	}
	return false
}

// shows reports whether a text names a view that may not be read whole: the wall itself is asked.
func (w *wall) shows(conn *sql.Conn, all []inFile, text string) bool {
	w.own = false
	defer func() { w.own = true }()
	return slices.ContainsFunc(all, func(v inFile) bool {
		if !v.view || !mentions(text, v.name) {
			return false
		}
		_, _, err := columnsOf(conn, "SELECT * FROM "+ident(v.name))
		return err != nil
	})
}

// joins refuses a text that may compare something hidden by USING or NATURAL, which SQLite does not ask about. It goes by the text alone: a name
// stands in it as it is, since SQLite knows no other way to write one.
func (w *wall) joins(text string) error {
	t := words(text)
	natural := mentions(t, "natural")
	if !natural && !mentions(t, "using") {
		return nil
	}
	met := len(w.hidden) > 0 && strings.Contains(t, catalogPrefix)
	for _, name := range slices.Concat(forbiddenTables, slices.Collect(maps.Keys(w.closed))) {
		met = met || mentions(t, name)
	}
	for table, columns := range w.parts {
		met = met || mentions(t, table) && (natural || slices.ContainsFunc(columns, func(c string) bool { return mentions(t, c) }))
	}
	if !met {
		return nil
	}
	e := stead.Invalid("sql", "it joins, by USING or NATURAL, a table of which something is hidden")
	e.Hint = "Write the condition: JOIN b ON a.id = b.id."
	return e
}

// words is a text in small letters, with one space for what is between words: quotes, which may stand twice in a name, and blanks.
func words(text string) string {
	return strings.ToLower(strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || strings.ContainsRune("\"'`[]", r) }), " ")) + " "
}

// mentions reports whether a text that words made has a name, and not as a part of a longer word.
func mentions(text, name string) bool {
	name = strings.TrimSuffix(words(name), " ")
	if name == "" {
		return true // it may be anywhere
	}
	letter := func(c byte) bool {
		return c == '_' || c == '$' || c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z'
	}
	for from := 0; ; {
		at := strings.Index(text[from:], name)
		if at < 0 {
			return false
		}
		at += from
		end := at + len(name)
		if (at == 0 || !letter(text[at-1]) || !letter(name[0])) && (end == len(text) || !letter(text[end]) || !letter(name[len(name)-1])) {
			return true
		}
		from = at + 1
	}
}
