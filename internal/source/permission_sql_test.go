package source_test

import (
	"context"
	stdsql "database/sql"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/stead-dev/stead"
	sqldb "github.com/stead-dev/stead/internal/database"
	"github.com/stead-dev/stead/internal/database/reader"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/source/sql"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// warehouse is a PostgreSQL database with roles of its own.
type warehouse struct {
	*testing.T
	raw  *stdsql.DB
	url  string
	role func(name string) string // as the server has it, on which others are too
}

func newWarehouse(t *testing.T, roles ...string) *warehouse {
	t.Helper()
	w := &warehouse{T: t, url: pgtest.URL(t)}
	stamp := time.Now().UnixNano()
	w.role = func(name string) string { return fmt.Sprintf("%s_%d", name, stamp) }
	raw, err := stdsql.Open("pgx", w.url)
	check(t, err)
	w.raw = raw
	t.Cleanup(func() { raw.Close() })
	for _, name := range roles {
		w.exec("CREATE ROLE @" + name)
		t.Cleanup(func() { w.exec("DROP OWNED BY @" + name + "; DROP ROLE @" + name) })
	}
	return w
}

// exec runs a statement, in which @NAME is a role.
func (w *warehouse) exec(statement string) {
	w.Helper()
	words := strings.Split(statement, "@")
	for i, word := range words[1:] {
		n := strings.IndexFunc(word+" ", func(r rune) bool { return r < 'a' || r > 'z' })
		words[i+1] = w.role(word[:n]) + word[n:]
	}
	if _, err := w.raw.Exec(strings.Join(words, "")); err != nil {
		w.Fatalf("%s: %v", statement, err)
	}
}

// tables reads a database; while broken, no table can be read.
type tables struct {
	*sql.Reader
	broken atomic.Bool
}

func (r *tables) Walk(ctx context.Context, w source.Walk) (string, error) {
	visit := w.Visit
	w.Visit = func(d source.Document) error {
		if r.broken.Load() {
			d.Read = func(context.Context) (source.Content, error) {
				return source.Content{}, stead.Errorf(stead.KindUnavailable, "the table is locked")
			}
		}
		return visit(d)
	}
	return r.Reader.Walk(ctx, w)
}

// asking reads a database without permissions, until it has some.
type asking struct {
	source.Reader
	permissions atomic.Pointer[tables]
}

func (r *asking) Walk(ctx context.Context, w source.Walk) (string, error) {
	if p := r.permissions.Load(); p != nil {
		return p.Walk(ctx, w)
	}
	return r.Reader.Walk(ctx, w)
}

// Permits implements source.Permitter.
func (r *asking) Permits(project stead.ProjectID, spec source.Spec) bool {
	p := r.permissions.Load()
	return p != nil && p.Permits(project, spec)
}

func (w *warehouse) reads(everyone bool) *tables {
	w.Helper()
	d, err := reader.Open(sqldb.Config{Name: "shop", Driver: sqldb.PostgreSQL, DSN: w.url})
	check(w.T, err)
	w.Cleanup(func() { d.Close() })
	return &tables{Reader: sql.New([]sql.Grant{{Database: d, Projects: []stead.ProjectID{stead.DefaultProject}, Samples: 5, Permissions: &sql.Permissions{
		Roles: map[string][]string{w.role("staff"): {"role:developer"}, w.role("hr"): {"user:ada"}, w.role("gone"): {"user:eve"}}, Everyone: everyone,
	}}})}
}

// TestGrantsOfADatabaseFollow: who may SELECT what a document tells of a table may read the document, and a change there is followed.
func TestGrantsOfADatabaseFollow(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		w := newWarehouse(t, "staff", "hr")
		w.exec(`CREATE TABLE pay (id INTEGER PRIMARY KEY, level TEXT, site TEXT); CREATE TABLE open (id INTEGER PRIMARY KEY, pay_id INTEGER REFERENCES pay, level TEXT); CREATE TABLE rows (id INTEGER PRIMARY KEY, level TEXT);
			ALTER TABLE rows ENABLE ROW LEVEL SECURITY; CREATE TABLE none (id INTEGER PRIMARY KEY, level TEXT); REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO @staff, @hr;
			INSERT INTO pay SELECT n, 'director', 'bonn' FROM generate_series(1, 10) n; INSERT INTO open SELECT n, n, 'public' FROM generate_series(1, 10) n; INSERT INTO rows SELECT n, 'director' FROM generate_series(1, 10) n;
			GRANT SELECT ON pay, open, rows TO @hr; GRANT SELECT ON open, rows TO @staff; GRANT SELECT (id, site) ON pay TO @staff`)
		r := w.reads(true)
		n := readBy(t, db, source.SQL, r, &atomic.Int64{}).begin()
		store := n.store()
		src, err := n.Create(t.Context(), n.me, store, source.Spec{Type: source.SQL, Database: "shop"}, "", "")
		check(t, err)
		partial := "public.pay/" + w.role("staff")
		first := n.ended(src, 1)
		n.want("did", did(first), "+5 ~0 -0 =0 !0")
		n.want("the owner of hr", n.finds(developer, store, "database shop table"), "public.open public.pay public.pay/"+w.role("staff")+" public.rows") // ada is a developer, too
		n.want("staff", n.finds(bob, store, "database shop table"), "public.open "+partial+" public.rows")
		n.want("whom a role is that there is not", n.finds(eve, store, "database shop table"), "")
		n.want("values of a column that one may not read", n.finds(bob, store, "director"), "")
		n.want("a table of rows of which not everybody sees each", n.finds(developer, store, "director"), "public.pay")
		if len(first.Failures) != 1 || first.Failures[0].Code != "access_unmapped" || first.Failures[0].Path != "public.none" {
			t.Errorf("that nobody may read one is not told: %+v", first.Failures)
		}
		n.want("again", n.again(src), "+0 ~0 -0 =5 !0")

		w.exec(`REVOKE SELECT ON pay FROM @hr; GRANT SELECT ON none TO @hr`)
		n.want("did", n.again(src), "+1 ~2 -1 =2 !0") // the foreign key to it is not for hr any more
		n.want("behind a revocation", n.finds(developer, store, "director"), "")
		n.want("what was granted", n.finds(developer, store, "database shop table"), "public.none public.open public.open/"+w.role("hr")+" "+partial+" public.rows")

		// One column less for those who had all: what is known of it goes with the right, also while the table can't be read.
		w.exec(`GRANT SELECT ON pay TO @hr`)
		n.again(src)
		n.want("granted again", n.finds(developer, store, "director"), "public.pay")
		r.broken.Store(true)
		w.exec(`REVOKE SELECT ON pay FROM @hr; GRANT SELECT (id, site) ON pay TO @hr`)
		n.again(src)
		n.want("while it can't be read: what has no reader any more", n.finds(developer, store, "director"), "")
		r.broken.Store(false)
		n.again(src)
		n.want("then", n.finds(developer, store, "bonn"), "public.pay/"+w.role("hr"))

		// A role that is told of more under the same name is not told of it by what the name had before.
		w.exec(`ALTER TABLE pay ADD COLUMN reward TEXT; GRANT SELECT (reward) ON pay TO @hr`)
		n.again(src)
		n.want("staff and hr are apart", n.finds(bob, store, "bonn"), "public.pay/"+w.role("staff"))
		r.broken.Store(true)
		w.exec(`REVOKE SELECT (site, reward) ON pay FROM @hr; GRANT SELECT (level) ON pay TO @hr`)
		n.again(src)
		n.want("what was told of other columns is closed", n.finds(developer, store, "reward"), "")
		r.broken.Store(false)
		n.again(src)
		n.want("what is told now", n.finds(developer, store, "level director"), "public.none public.open public.pay/"+w.role("hr")+" public.rows")

		w.exec(`GRANT SELECT ON none TO PUBLIC; GRANT USAGE ON SCHEMA public TO PUBLIC`)
		n.again(src)
		n.want("everyone", n.finds(eve, store, "database shop table"), "public.none")
		_, err = n.Update(t.Context(), n.me, store, src.ID, &[]source.Rule{{Paths: []string{"public.pay"}, Readers: vectorstore.Readers{Roles: []string{"auditor"}}}}, nil)
		check(t, err)
		n.want("rules are for all that is told of a table", n.finds(developer, store, "database shop table"), "public.none public.open public.rows")
	})
}

// TestGrantsThatBegin: what was told of a table before anybody was asked who may read it is nobody's until it is told anew, since it may have told of what
// is not there any more.
func TestGrantsThatBegin(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		w := newWarehouse(t, "staff", "hr")
		w.exec(`CREATE TABLE pay (id INTEGER PRIMARY KEY, level TEXT, site TEXT); INSERT INTO pay SELECT n, 'director', 'bonn' FROM generate_series(1, 10) n; GRANT USAGE ON SCHEMA public TO @staff`)
		permitted := w.reads(false)
		d, err := reader.Open(sqldb.Config{Name: "shop", Driver: sqldb.PostgreSQL, DSN: w.url})
		check(t, err)
		t.Cleanup(func() { d.Close() })
		r := &asking{Reader: sql.New([]sql.Grant{{Database: d, Projects: []stead.ProjectID{stead.DefaultProject}, Samples: 5}})}
		n := readBy(t, db, source.SQL, r, &atomic.Int64{}).begin()
		store := n.store()
		src, err := n.Create(t.Context(), n.me, store, source.Spec{Type: source.SQL, Database: "shop"}, "", "")
		check(t, err)
		n.ended(src, 1)
		n.want("everybody", n.finds(bob, store, "director"), "public.pay")

		w.exec(`ALTER TABLE pay DROP COLUMN level; GRANT SELECT ON pay TO @staff`)
		permitted.broken.Store(true)
		r.permissions.Store(permitted)
		n.again(src)
		n.want("staff, of a column that is gone", n.finds(bob, store, "director"), "")
		permitted.broken.Store(false)
		n.again(src)
		n.want("staff", n.finds(bob, store, "bonn"), "public.pay")
		n.want("others", n.finds(eve, store, "bonn"), "")
	})
}
