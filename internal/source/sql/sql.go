// Package sql makes documents of what an SQL database that the operator has allowed says of itself.
//
// Shape: the catalog → each table and view that the role may read and the configuration does not hide: a Markdown text of its columns,
// comments, keys and indexes, with about how many rows it has, and some values of columns.
//
// With Permissions, each document is for the roles that may read what it tells. Of a table of which some roles see less than it has, it has another
// document, "schema.table/ROLE" by the first of these. Rules of access go by the table.
//
// A document's path is "schema.table" (SQLite's schema is main), what is not a letter, digit, dash or underscore of a name written as %XX where
// it would be taken for something else. It has no stamp: it is made anew, and is the same while its digest is. Numbers of rows have one digit
// that counts, and values are the most frequent of the first rows, so that it stays the same while rows come and go.
//
// Values are never shown of columns that identify rows, whose names sound of people or secrets, or in which one value looks like either; nor
// such as one row alone has; nor of views, which may be costly. What has no form and no such name is not recognised.
//
// Units and limits: those of packages source and database.
//
// Errors: source.Refused when the database does not let its role in; KindUnavailable when it can't be read: nothing is known then; of a table alone, when it can't be described (a view of what
// is gone, a virtual table of a module that there is not): it says what it said. A table that is gone while it is read is
// looked at the next time.
package sql

import (
	"context"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/database"
	"github.com/stead-dev/stead/internal/source"
)

// Grant is a database that sources may name.
type Grant struct {
	database.Database
	Projects []stead.ProjectID // whose sources may
	Samples  int               // values of a column that are shown; 0: none
	// Permissions say who of the database is whom; nil: it is not asked who may read what.
	Permissions *Permissions
}

// Reader implements source.Reader.
type Reader struct{ grants []Grant }

// New makes a Reader.
func New(grants []Grant) *Reader { return &Reader{grants} }

// Check implements source.Reader.
func (r *Reader) Check(project stead.ProjectID, spec source.Spec) error {
	if spec.Path != "" {
		return stead.Invalid("path", "tables have no directories: choose them by include and exclude, which are patterns of schema.table")
	}
	_, err := r.grant(project, spec)
	return err
}

func (r *Reader) grant(project stead.ProjectID, spec source.Spec) (Grant, error) {
	for _, g := range r.grants {
		if g.Name() == spec.Database && slices.Contains(g.Projects, project) {
			return g, nil
		}
	}
	e := stead.Invalid("database", "there is no database %.80q for this project", spec.Database)
	e.Hint = "The operator grants those that sources may read: sources of an entry of databases."
	return Grant{}, e
}

// Walk implements source.Reader.
func (r *Reader) Walk(ctx context.Context, w source.Walk) (string, error) {
	g, err := r.grant(w.Project, w.Spec)
	if err != nil {
		return "", err
	}
	tables, err := g.Tables(ctx)
	var views []view
	if err == nil {
		views, err = g.views(ctx, tables)
	}
	if stead.KindOf(err) == stead.KindForbidden {
		return "", source.Refused(err)
	}
	if err != nil {
		return "", err
	}
	selection := source.Select(w.Spec)
	for _, v := range views {
		t, name := v.Table, v.path
		if !selection.Has(pathOf(t)) {
			continue
		}
		var broken error
		if t.Broken != "" {
			broken = stead.Errorf(stead.KindUnavailable, "%s can't be described: %s", t.ID(), t.Broken)
		}
		if err := w.Visit(source.Document{Err: broken, Path: name, URI: "database://" + g.Name() + "/" + name, Permits: v.permits, Read: func(ctx context.Context) (source.Content, error) {
			text, err := g.text(ctx, t)
			return source.Content{Data: []byte(text), Name: pathOf(t) + ".md"}, err
		}}); err != nil {
			return "", err
		}
	}
	return "", nil
}

// pathOf is a table's name as patterns meet it: one part, and of one table alone.
func pathOf(t database.Table) string { return escaped(t.Schema) + "." + escaped(t.Name) }

func escaped(name string) string {
	const hexits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(name) {
		if c < ' ' || strings.IndexByte(`/.%*?[]\`, c) >= 0 {
			b.WriteString("%" + string(hexits[c>>4]) + string(hexits[c&0xf]))
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// text tells of a table.
func (g Grant) text(ctx context.Context, t database.Table) (string, error) {
	var samples map[string]database.Shown
	secured := t.Secured && g.Permissions != nil // then values are of rows that not everybody sees who may read their columns
	if columns := sampled(t); g.Samples > 0 && len(columns) > 0 && !secured {
		sample, err := g.Sample(ctx, t, columns, g.Samples)
		if err != nil {
			if stead.KindOf(err) == stead.KindInvalid { // it can't be read as it was listed: dropped, changed, or too slow
				err = stead.Wrap(stead.KindUnavailable, err, "values of %s can't be read now", t.ID())
			}
			return "", err
		}
		samples = shown(t, sample, g.Samples)
	}
	return t.Markdown(g.Name(), samples), nil
}
