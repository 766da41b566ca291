package source_test

import (
	stdsql "database/sql"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	sqldb "github.com/stead-dev/stead/internal/database"
	"github.com/stead-dev/stead/internal/database/reader"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/source/directory"
	"github.com/stead-dev/stead/internal/source/git"
	"github.com/stead-dev/stead/internal/source/sql"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// kept is what a source of one type keeps up to date: documents for everybody, for the boss, and what is in between once it is renamed.
type kept struct {
	spec   source.Spec
	reader source.Reader
	rename func() // of what is the boss's: no rule knows its new name
	public string // patterns
	hr     string
	paths  [3]string // of what is for all, of the boss's, and of that under its new name
}

// keeping makes what is kept, with the word "bonus" in each document.
func keeping(t *testing.T, kind string) kept {
	files := func(f *tree) {
		f.write("open/all.md", "Bonus for all.")
		f.write("hr/pay.md", "Bonus of the boss.")
	}
	inTree := kept{spec: source.Spec{Type: kind}, public: "open/", hr: "hr/", paths: [3]string{"open/all.md", "hr/pay.md", "people/pay.md"}}
	switch kind {
	case source.Directory:
		f := newTree(t)
		files(f)
		inTree.spec.Directory, inTree.reader = "docs", directory.New([]directory.Root{{Name: "docs", Path: f.dir}}, time.Now)
		inTree.rename = func() { check(t, os.Rename(filepath.Join(f.dir, "hr"), filepath.Join(f.dir, "people"))) }
	case source.Git:
		r := newRepository(t)
		files(r.tree)
		r.commit()
		inTree.spec.Repository, inTree.reader = "docs", git.New([]git.Repository{{Name: "docs", Path: r.dir}}, t.TempDir())
		inTree.rename = func() { r.git("mv", "hr", "people"); r.commit() }
	case source.Web:
		s := newSite(t)
		s.html("/", "Nothing.", "/open/all", "/hr/pay")
		s.html("/open/all", "Bonus for all.")
		s.html("/hr/pay", "Bonus of the boss.")
		inTree.spec.Site, inTree.reader = "docs", reading(&names{}, s.local("/"))
		inTree.paths = [3]string{"open/all", "hr/pay", "people/pay"}
		inTree.rename = func() {
			s.gone("/hr/pay")
			s.html("/", "Nothing.", "/open/all", "/people/pay")
			s.html("/people/pay", "Bonus of the boss.")
		}
	case source.SQL:
		path := filepath.Join(t.TempDir(), "shop.db")
		raw, err := stdsql.Open("sqlite", "file:"+path)
		check(t, err)
		t.Cleanup(func() { raw.Close() })
		_, err = raw.Exec(`CREATE TABLE bonus_all (bonus TEXT); CREATE TABLE hr_pay (bonus TEXT)`)
		check(t, err)
		d, err := reader.Open(sqldb.Config{Name: "shop", Driver: sqldb.SQLite, DSN: path})
		check(t, err)
		t.Cleanup(func() { d.Close() })
		inTree.spec.Database, inTree.reader = "shop", sql.New([]sql.Grant{{Database: d, Projects: []stead.ProjectID{stead.DefaultProject}}})
		inTree.public, inTree.hr, inTree.paths = "*.bonus_all", "*.hr_*", [3]string{"main.bonus_all", "main.hr_pay", "main.people_pay"}
		inTree.rename = func() {
			_, err := raw.Exec(`ALTER TABLE hr_pay RENAME TO people_pay`)
			check(t, err)
		}
	}
	return inTree
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestWhatNoRuleNamesIsClosed: where the default is deny, what is renamed is nobody's until a rule names it, in sources of every type that knows names;
// and that there is something of the kind is told.
func TestWhatNoRuleNamesIsClosed(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		for _, kind := range []string{source.Directory, source.Git, source.Web, source.SQL} {
			t.Run(kind, func(t *testing.T) {
				k := keeping(t, kind)
				n := newNode(t, db, t.TempDir(), &atomic.Int64{}, only(func(policy.Request) bool { return true }))
				n.Service = source.NewService(source.Config{Documents: db, Stores: n.vectors, Readers: map[string]source.Reader{kind: k.reader}, Now: time.Now})
				n.begin()
				store := n.store()
				boss, ada := vectorstore.Readers{Roles: []string{"owner"}}, stead.Principal{Project: stead.DefaultProject, Kind: stead.PrincipalUser, ID: "ada", Role: "developer"}
				owner := ada
				owner.Role = "owner"
				k.spec.AccessDefault = source.AccessDeny
				k.spec.Access = []source.Rule{{Paths: []string{k.public}, Everyone: true}, {Paths: []string{k.hr}, Readers: boss}, {Paths: []string{"**"}, Labels: []string{"ours"}}}
				both := func(paths ...string) string {
					slices.Sort(paths)
					return strings.Join(paths, " ")
				}
				told := func(s source.Source) (out string) {
					for _, f := range s.Failures {
						out += f.Code + " " + f.Path + ";"
					}
					return out
				}
				src, err := n.Create(t.Context(), n.me, store, k.spec, "", "")
				check(t, err)
				first := n.ended(src, 1)
				n.want("a developer", n.finds(ada, store, "bonus"), k.paths[0])
				n.want("an owner", n.finds(owner, store, "bonus"), both(k.paths[0], k.paths[1]))
				if kind != source.Web { // whose front page is closed
					n.want("told", told(first), "")
				}
				k.rename()
				n.again(src)
				n.want("a developer, later", n.finds(ada, store, "bonus"), k.paths[0])
				n.want("an owner, later", n.finds(owner, store, "bonus"), k.paths[0])
				now, err := n.Get(t.Context(), n.me, store, src.ID)
				check(t, err)
				if got := told(now); !strings.Contains(got, "access_closed ") || !strings.Contains(got, "access_unmatched "+k.hr) {
					t.Errorf("told is %q", got)
				}
				update := func(rules []source.Rule, otherwise string) source.Source {
					changed, err := n.Update(t.Context(), n.me, store, src.ID, &rules, &otherwise)
					check(t, err)
					return n.ended(changed, changed.Run+1)
				}
				named := slices.Clone(k.spec.Access)
				named[1].Paths = append(slices.Clone(named[1].Paths), k.paths[2]) // somebody names it
				if now = update(named, source.AccessDeny); now.Counts.Added+now.Counts.Removed > 0 || now.Counts.Changed != 1 {
					t.Errorf("other rules did %s", did(now))
				}
				n.want("an owner, named", n.finds(owner, store, "bonus"), both(k.paths[0], k.paths[2]))
				n.want("a developer, named", n.finds(ada, store, "bonus"), k.paths[0])
				update(named[1:2], source.AccessAllow) // what is the boss's alone, and all else open
				n.want("a developer, opened", n.finds(ada, store, "bonus"), k.paths[0])
				update(nil, source.AccessDeny)
				n.want("an owner, closed", n.finds(owner, store, "bonus"), "")
			})
		}
	})
}

// TestRulesThatChangeDuringASynchronisation hold for all documents, of a repository too, of which nothing is walked through while its commit is the same.
func TestRulesThatChangeDuringASynchronisation(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		r := newRepository(t)
		r.write("all.md", "Bonus for all.")
		r.commit()
		n := gitNode(t, db, git.Repository{Name: "docs", Path: r.dir})
		store, begun, gate := n.store(), make(chan struct{}), make(chan struct{})
		var once sync.Once
		hold := func(string) { once.Do(func() { close(begun); <-gate }) }
		n.convert.Store(&hold)
		src := n.gitSource(store, source.Spec{Repository: "docs"})
		<-begun
		deny := source.AccessDeny
		if _, err := n.Update(t.Context(), n.me, store, src.ID, nil, &deny); err != nil {
			t.Fatal(err)
		}
		close(gate)
		n.want("first", did(n.ended(src, 2)), "+0 ~0 -0 =1 !0") // it was added under them
		n.want("found", n.finds(n.me, store, "bonus"), "")
		allow := source.AccessAllow
		changed, err := n.Update(t.Context(), n.me, store, src.ID, nil, &allow)
		check(t, err)
		n.ended(changed, 3)
		n.want("found, opened", n.finds(n.me, store, "bonus"), "all.md")
	})
}
