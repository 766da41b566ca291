package sql

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/database"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// Permissions say whom of Stead's the roles of a database are. What is told of a table is for whoever may SELECT all that is told of it. Roles that may
// read some columns alone have a document of their own, of these. Whom they do not name reads nothing by them.
type Permissions struct {
	Roles map[string][]string // by name: "user:ID", "service:ID" or "role:NAME"
	// Everyone says that what is granted to PUBLIC is for whoever may read the vector store; else PUBLIC is nobody.
	Everyone bool
}

// names are the roles that are asked about.
func (p *Permissions) names() []string {
	out := slices.Sorted(maps.Keys(p.Roles))
	if p.Everyone {
		out = append(out, database.Public)
	}
	return out
}

// view is what is told of a table to some roles.
type view struct {
	database.Table
	path    string
	permits *vectorstore.Permits // nil: the database is not asked
}

// Permits implements source.Permitter.
func (r *Reader) Permits(project stead.ProjectID, spec source.Spec) bool {
	g, err := r.grant(project, spec)
	return err == nil && g.Permissions != nil
}

// views are those of tables, in their order.
func (g Grant) views(ctx context.Context, tables []database.Table) ([]view, error) {
	if g.Permissions == nil {
		out := make([]view, len(tables))
		for i, t := range tables {
			out[i] = view{t, pathOf(t), nil}
		}
		return out, nil
	}
	rights := database.Rights{}
	if by, ok := g.Database.(database.Rightful); ok { // else nobody has any
		var err error
		if rights, err = by.Rights(ctx, g.Permissions.names()); err != nil {
			return nil, err
		}
	}
	seen := make([]map[string]database.Table, len(g.Permissions.names())) // of each role, by path
	for i, role := range g.Permissions.names() {
		seen[i] = map[string]database.Table{}
		for _, t := range database.Narrow(tables, func(c database.ColumnName) bool { return slices.Contains(rights[c], role) }) {
			seen[i][pathOf(t)] = t
		}
	}
	var out []view
	for _, t := range tables {
		out = append(out, g.Permissions.of(t, seen)...)
	}
	return out, nil
}

// of are the views of one table: roles that see the same of it share one.
func (p *Permissions) of(whole database.Table, seen []map[string]database.Table) []view {
	shared := map[string]int{} // what is seen → its place in out
	var out []view
	var roles [][]string
	for i, role := range p.names() {
		t, ok := seen[i][pathOf(whole)]
		if !ok {
			continue
		}
		what := outline(t)
		at, ok := shared[what]
		if !ok {
			at = len(out)
			shared[what] = at
			v := view{t, pathOf(whole), &vectorstore.Permits{Of: what}}
			if what != outline(whole) {
				v.path += "/" + escaped(role)
			}
			out, roles = append(out, v), append(roles, nil)
		}
		roles[at] = append(roles[at], role)
	}
	for i := range out {
		if who, all := p.who(roles[i]); !all {
			out[i].permits.Readers = []vectorstore.Readers{who}
		}
	}
	if len(out) == 0 {
		out = []view{{whole, pathOf(whole), &vectorstore.Permits{Of: outline(whole), Readers: []vectorstore.Readers{vectorstore.Nobody()}}}}
	}
	for i := range out {
		if out[i].Secured { // how many rows there are is not for each of them either
			out[i].Rows = -1
		}
	}
	return out
}

// who are those whom roles are.
func (p *Permissions) who(roles []string) (out vectorstore.Readers, all bool) {
	for _, role := range roles {
		if role == database.Public {
			return vectorstore.Readers{}, true
		}
		out.Name(p.Roles[role])
	}
	return out, false
}

// outline is what of a table needs rights: two texts of the same outline are for the same roles.
func outline(t database.Table) string {
	t.Rows, t.Comment = -1, ""
	t.Columns = slices.Clone(t.Columns)
	for i := range t.Columns {
		t.Columns[i] = database.Column{Name: t.Columns[i].Name}
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(t.Markdown("", nil))))
	return hex.EncodeToString(sum[:])
}
