package source_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/passage"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/source/directory"
	"github.com/stead-dev/stead/internal/sqlite"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// database is what both databases offer.
type database interface {
	document.Store
	memory.Store
}

// both runs a test on either database.
func both(t *testing.T, test func(*testing.T, database)) {
	t.Run("sqlite", func(t *testing.T) {
		s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "stead.db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		test(t, s)
	})
	t.Run("postgres", func(t *testing.T) {
		s, err := postgres.Open(t.Context(), pgtest.URL(t), postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		test(t, s)
	})
}

// tree is a directory that a source reads.
type tree struct {
	*testing.T
	dir string
}

func newTree(t *testing.T) *tree { return &tree{t, t.TempDir()} }

// write makes a file that nobody has touched for a while.
func (f *tree) write(name, text string) {
	f.Helper()
	at := filepath.Join(f.dir, name)
	err := os.MkdirAll(filepath.Dir(at), 0o755)
	if err == nil {
		err = os.WriteFile(at, []byte(text), 0o644)
	}
	if err == nil {
		err = os.Chtimes(at, time.Time{}, time.Now().Add(-time.Hour))
	}
	if err != nil {
		f.Fatal(err)
	}
}

func (f *tree) remove(name string) {
	f.Helper()
	if err := os.RemoveAll(filepath.Join(f.dir, name)); err != nil {
		f.Fatal(err)
	}
}

// counting counts what of a reader's documents is read.
type counting struct {
	source.Reader
	read atomic.Int64
	hook func(path string) // called before a document is read; nil: nothing
}

func (c *counting) Walk(ctx context.Context, w source.Walk) (string, error) {
	visit := w.Visit
	w.Visit = func(d source.Document) error {
		if read := d.Read; read != nil {
			d.Read = func(ctx context.Context) (source.Content, error) {
				c.read.Add(1)
				if c.hook != nil {
					c.hook(d.Path)
				}
				return read(ctx)
			}
		}
		return visit(d)
	}
	return c.Reader.Walk(ctx, w)
}

// only lets what the rules of a role let.
type only func(policy.Request) bool

func (o only) Decide(_ context.Context, r policy.Request) (policy.Decision, error) {
	return policy.Decision{Allow: o(r), By: "test"}, nil
}

// node is a server: the services over a database.
type node struct {
	*testing.T
	*source.Service
	vectors *vectorstore.Service
	reader  *counting
	convert atomic.Pointer[func(name string)] // is called before a document becomes text
	ahead   *atomic.Int64                     // of the real clock, in nanoseconds
	me      stead.Principal
	stop    func() // ends the node's work; waits for it
}

func newNode(t *testing.T, db database, dir string, ahead *atomic.Int64, authorizer policy.Authorizer) *node {
	t.Helper()
	n := &node{T: t, ahead: ahead, me: stead.LocalPrincipal(), stop: func() {}}
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	n.reader = &counting{Reader: directory.New([]directory.Root{{Name: "docs", Path: dir}, {Name: "theirs", Path: dir, Projects: []stead.ProjectID{"two"}}}, time.Now)}
	n.vectors = vectorstore.NewService(vectorstore.Config{Documents: db, Records: db, Policy: authorizer, Now: now,
		Read: func(_ context.Context, name string, data []byte) (passage.Document, error) {
			if f := n.convert.Load(); f != nil {
				(*f)(name)
			}
			return passage.Read(name, data)
		},
		Emptied: func(ctx context.Context, project stead.ProjectID, store string) error {
			return n.Service.StoreEmptied(ctx, project, store)
		}})
	n.Service = source.NewService(source.Config{Documents: db, Stores: n.vectors, Readers: map[string]source.Reader{source.Directory: n.reader}, Now: now})
	return n
}

// begin works until the test ends, or stop.
func (n *node) begin() *node {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		var vectors sync.WaitGroup
		vectors.Go(func() { n.vectors.Run(ctx) })
		n.Service.Run(ctx)
		vectors.Wait()
	}()
	n.stop = func() { cancel(); <-done }
	n.Cleanup(n.stop)
	return n
}

func (n *node) store() string {
	n.Helper()
	made, err := n.vectors.CreateStore(n.Context(), n.me, vectorstore.Fields{Name: "handbook"}, nil, "", "")
	if err != nil {
		n.Fatal(err)
	}
	return made.ID
}

func (n *node) source(store string, spec source.Spec) source.Source {
	n.Helper()
	spec.Type = source.Directory
	if spec.Directory == "" {
		spec.Directory = "docs"
	}
	made, err := n.Create(n.Context(), n.me, store, spec, "", "")
	if err != nil {
		n.Fatal(err)
	}
	return made
}

// ended waits until a synchronisation of that number has.
func (n *node) ended(src source.Source, number int64) source.Source {
	n.Helper()
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if now, err := n.Get(n.Context(), n.me, src.Store, src.ID); err != nil {
			n.Fatal(err)
		} else if now.Run >= number && now.Holder == "" {
			return now
		}
	}
	n.Fatalf("synchronisation %d does not end", number)
	return src
}

// again synchronises once more, and returns what that did: "+added ~changed -removed =unchanged !failed".
func (n *node) again(src source.Source) string {
	n.Helper()
	now, err := n.Sync(n.Context(), n.me, src.Store, src.ID)
	if err != nil {
		n.Fatal(err)
	}
	return did(n.ended(src, now.Run+1))
}

func did(s source.Source) string {
	c := s.Counts
	return fmt.Sprintf("+%d ~%d -%d =%d !%d", c.Added, c.Changed, c.Removed, c.Unchanged, c.Failed)
}

// finds searches in somebody's name, and returns the paths of what was found, in their order.
func (n *node) finds(p stead.Principal, store, query string) string {
	n.Helper()
	found, err := n.vectors.Search(n.Context(), p, store, vectorstore.Search{Queries: []string{query}, Limit: 50})
	if err != nil {
		n.Fatal(err)
	}
	var out []string
	for _, f := range found {
		out = append(out, f.File.Origin.Path)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (n *node) want(what, got, want string) {
	n.Helper()
	if got != want {
		n.Errorf("%s: %q, want %q", what, got, want)
	}
}

// passages are how many records of passages there are, of whatever version; it waits until they are as many.
func (n *node) passages(db database, store string, want int) {
	n.Helper()
	got := 0
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		got = 0
		for after := ""; ; {
			records, err := db.ListMemories(n.Context(), memory.Query{Place: memory.Place{Project: n.me.Project, Store: store + ".passages"}, After: after, Limit: memory.MaxRecords})
			if err != nil {
				n.Fatal(err)
			}
			if got += len(records); len(records) < memory.MaxRecords {
				break
			}
			after = records[len(records)-1].ID
		}
		if got == want {
			return
		}
	}
	n.Errorf("%d passages are stored, want %d", got, want)
}

func TestADirectoryIsFollowed(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		f.write("a.md", "# Shop\n\n## Refunds\n\nRefunds take thirty days.\n")
		f.write("sub/b.txt", "Umbrellas are in the cellar.\n")
		f.write("sub/c.csv", "id,name\n1,Socks\n")
		f.write("sub/d.html", "<h1>House</h1><p>The lift is blue.</p>")
		f.write("e.bin", "\x00\x01\x02")
		f.write("drafts/x.md", "A draft about refunds.")
		f.write(".git/config", "refunds")
		n := newNode(t, db, f.dir, &atomic.Int64{}, policy.AllowLocal{}).begin()
		store := n.store()
		src := n.source(store, source.Spec{Exclude: []string{"drafts/"}, Attributes: map[string]any{"lang": "en"}})
		first := n.ended(src, 1)
		n.want("the first", did(first), "+4 ~0 -0 =0 !1")
		if len(first.Failures) != 1 || first.Failures[0].Path != "e.bin" || first.Failures[0].Code != "unsupported_file" {
			t.Errorf("failures %+v", first.Failures)
		}
		n.want("refunds", n.finds(n.me, store, "refunds"), "a.md")
		n.want("lift", n.finds(n.me, store, "lift"), "sub/d.html")

		read := n.reader.read.Load()
		if read != 5 || first.Counts.Read != 5 {
			t.Errorf("%d documents were read, counted as %d", read, first.Counts.Read)
		}
		n.want("as it was", n.again(src), "+0 ~0 -0 =4 !1")
		if n.reader.read.Load() != read {
			t.Errorf("%d documents were read again", n.reader.read.Load()-read)
		}
		// Touched, and with the same bytes: it is read, and nothing comes of it.
		if err := os.Chtimes(filepath.Join(f.dir, "a.md"), time.Time{}, time.Now().Add(-time.Minute)); err != nil {
			t.Fatal(err)
		}
		n.want("touched", n.again(src), "+0 ~0 -0 =4 !1")
		n.want("and once more", n.again(src), "+0 ~0 -0 =4 !1")
		if got := n.reader.read.Load() - read; got != 1 {
			t.Errorf("%d documents were read for one that was touched", got)
		}

		file, _, err := n.vectors.ListFiles(t.Context(), n.me, store, vectorstore.FileQuery{Page: vectorstore.Page{Limit: 10}})
		if err != nil || len(file) != 5 {
			t.Fatal(len(file), err)
		}
		id := vectorstore.DocumentID(src.ID, "a.md")
		before, err := n.vectors.GetFile(t.Context(), n.me, store, id)
		if err != nil {
			t.Fatal(err)
		}
		f.write("a.md", "# Shop\n\n## Refunds\n\nRefunds take sixty days.\n")
		f.write("new.md", "Bicycles go behind the house.")
		f.remove("sub/b.txt")
		n.want("changed", n.again(src), "+1 ~1 -1 =2 !1")
		n.want("cellar", n.finds(n.me, store, "umbrellas cellar"), "")
		found, err := n.vectors.Search(t.Context(), n.me, store, vectorstore.Search{Queries: []string{"refunds days"}})
		if err != nil || len(found) != 1 || !strings.Contains(found[0].Text, "sixty") || found[0].File.Origin.URI != "directory://docs/a.md" || fmt.Sprint(found[0].Lines) != "[1 5]" {
			t.Fatalf("found %+v %v", found, err)
		}
		now := found[0].File.Origin
		if now.Version == before.Origin.Version || len(now.Superseded) != 1 || now.Superseded[0].Version != before.Origin.Version {
			t.Errorf("version %s, before %+v", now.Version, now.Superseded)
		}
		if found[0].File.Attributes["lang"] != "en" || found[0].File.Attributes["path"] != "a.md" {
			t.Errorf("attributes %v", found[0].File.Attributes)
		}
		texts, _, err := n.vectors.Content(t.Context(), n.me, store, id)
		if err != nil || len(texts) != 1 || !strings.Contains(texts[0], "sixty") {
			t.Errorf("content %q %v", texts, err)
		}
		if err := n.vectors.Detach(t.Context(), n.me, store, id); stead.KindOf(err) != stead.KindConflict {
			t.Errorf("a document was taken out by hand: %v", err)
		}
		n.passages(db, store, 4)

		// One that can't be read any more as what it was says nothing.
		f.write("a.md", "\x00\x00")
		n.want("broken", n.again(src), "+0 ~0 -0 =3 !2")
		n.want("refunds", n.finds(n.me, store, "refunds"), "")
		f.write("a.md", "Refunds take a year.")
		n.want("mended", n.again(src), "+0 ~1 -0 =3 !1")
		n.want("refunds", n.finds(n.me, store, "refunds"), "a.md")

		// A directory that is not there: nothing is forgotten, and it says why.
		if err := os.Rename(f.dir, f.dir+".away"); err != nil {
			t.Fatal(err)
		}
		n.want("away", n.again(src), "+0 ~0 -0 =0 !0")
		if s := n.ended(src, 1); s.State.Error == nil || s.State.Error.Code != "unavailable" || strings.Contains(s.State.Error.Message, f.dir) {
			t.Errorf("its error: %+v", s.State.Error)
		}
		n.want("refunds", n.finds(n.me, store, "refunds"), "a.md")
		if err := os.Rename(f.dir+".away", f.dir); err != nil {
			t.Fatal(err)
		}
		n.want("back", n.again(src), "+0 ~0 -0 =4 !1")

		if err := n.Delete(t.Context(), n.me, store, src.ID); err != nil {
			t.Fatal(err)
		}
		n.want("deleted", n.finds(n.me, store, "refunds house lift"), "")
		n.passages(db, store, 0)
		if s, err := n.vectors.GetStore(t.Context(), n.me, store); err != nil || s.Files.Total() != 0 {
			t.Errorf("%+v %v", s.Files, err)
		}
	})
}

func TestLinksLeadNowhere(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f, other := newTree(t), newTree(t)
		f.write("hr/pay.md", "Salaries are secret.")
		f.write("a.md", "Apples are in the shed.")
		other.write("far.md", "Oranges are far away.")
		other.write("deep/far.md", "Oranges are deep.")
		for link, to := range map[string]string{"b.md": filepath.Join(other.dir, "far.md"), "c": filepath.Join(other.dir, "deep"), "d.md": "hr/pay.md", "e": "hr", "f": ".", "g.md": "../" + filepath.Base(other.dir) + "/far.md"} {
			if err := os.Symlink(to, filepath.Join(f.dir, link)); err != nil {
				t.Fatal(err)
			}
		}
		n := newNode(t, db, f.dir, &atomic.Int64{}, policy.AllowLocal{}).begin()
		store := n.store()
		n.want("links", did(n.ended(n.source(store, source.Spec{}), 1)), "+2 ~0 -0 =0 !0")
		n.want("oranges", n.finds(n.me, store, "oranges salaries apples"), "a.md hr/pay.md")
		n.want("a link as the part", did(n.ended(n.source(store, source.Spec{Path: "c"}), 1)), "+0 ~0 -0 =0 !0")
		for _, path := range []string{"..", "../x", "/etc", "a/../..", "./a"} {
			if _, err := n.Create(t.Context(), n.me, store, source.Spec{Type: source.Directory, Directory: "docs", Path: path}, "", ""); stead.KindOf(err) != stead.KindInvalid {
				t.Errorf("path %q: %v", path, err)
			}
		}
	})
}

// Rules of access: who is not let does not find, list, count or read a document; policies see its labels.
func TestWhoMayNotReadADocumentDoesNotKnowOfIt(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		f.write("all.md", "Bonus for all.")
		f.write("hr/pay.md", "Bonus of the boss.")
		f.write("hr/lists/team.md", "Bonus of the team.")
		f.write("plans/next.md", "Bonus of next year.")
		ada, bob := stead.Principal{Project: stead.DefaultProject, Kind: stead.PrincipalUser, ID: "ada"}, stead.Principal{Project: stead.DefaultProject, Kind: stead.PrincipalUser, ID: "bob", Role: "developer"}
		asked := atomic.Int64{}
		n := newNode(t, db, f.dir, &atomic.Int64{}, only(func(r policy.Request) bool {
			if r.Effect == policy.VectorStoreFileRead {
				asked.Add(1)
				return r.Principal.ID == "ada" || !slices.Contains(r.Document.Labels, "plan") || r.Acting && r.Labels["clearance"][0] == "plans"
			}
			return true
		})).begin()
		store := n.store()
		rules := []source.Rule{
			{Paths: []string{"hr/"}, Labels: []string{"confidential"}, Readers: vectorstore.Readers{Principals: []string{"user:ada"}, Roles: []string{"owner"}}},
			{Paths: []string{"hr/lists/**"}, Readers: vectorstore.Readers{Roles: []string{"owner"}}},
			{Paths: []string{"plans/*"}, Labels: []string{"plan"}},
		}
		src := n.source(store, source.Spec{Access: rules})
		n.want("all", did(n.ended(src, 1)), "+4 ~0 -0 =0 !0")
		service := stead.Principal{Project: stead.DefaultProject, Kind: stead.PrincipalService, ID: "ada"} // another ada
		boss := bob
		boss.Role = "owner"
		for _, c := range []struct {
			who  stead.Principal
			want string
		}{{ada, "all.md hr/pay.md plans/next.md"}, {bob, "all.md"}, {service, "all.md plans/next.md"}, {boss, "all.md hr/lists/team.md hr/pay.md"}} {
			n.want(string(c.who.Kind)+" "+c.who.ID, n.finds(c.who, store, "bonus"), c.want)
			many := len(strings.Fields(c.want))
			s, err := n.vectors.GetStore(t.Context(), c.who, store)
			list, more, err2 := n.vectors.ListFiles(t.Context(), c.who, store, vectorstore.FileQuery{Page: vectorstore.Page{Limit: 10}})
			if err != nil || err2 != nil || s.Files.Total() != many || len(list) != many || more {
				t.Errorf("%s %s: counts %d and lists %d files, want %d; %v %v", c.who.Kind, c.who.ID, s.Files.Total(), len(list), many, err, err2)
			}
			for _, path := range []string{"all.md", "hr/pay.md", "hr/lists/team.md", "plans/next.md"} {
				id := vectorstore.DocumentID(src.ID, path)
				_, err := n.vectors.GetFile(t.Context(), c.who, store, id)
				_, _, err2 := n.vectors.Content(t.Context(), c.who, store, id)
				missing := n.vectors.Detach(t.Context(), c.who, store, id)
				if may := slices.Contains(strings.Fields(c.want), path); (err == nil) != may || (err2 == nil) != may || !may && (stead.KindOf(err) != stead.KindNotFound || stead.KindOf(err2) != stead.KindNotFound || stead.KindOf(missing) != stead.KindNotFound) {
					t.Errorf("%s %s of %s: %v, %v, %v", c.who.Kind, c.who.ID, path, err, err2, missing)
				}
			}
		}
		// An agent finds what whoever it acts for may read, and policies are told for whom it acts.
		agent := stead.Principal{Project: stead.DefaultProject, Kind: stead.PrincipalAgent, ID: "sess_1"}
		for labels, want := range map[string]string{"plans": "all.md plans/next.md", "none": "all.md"} {
			vectors := n.vectors.In(vectorstore.For{Principal: bob, Labels: stead.Labels{"clearance": {labels}}})
			found, err := vectors.Search(t.Context(), agent, store, vectorstore.Search{Queries: []string{"bonus"}})
			if err != nil || len(found) != len(strings.Fields(want)) {
				t.Errorf("the agent with %s found %d: %v", labels, len(found), err)
			}
		}
		asked.Store(0)
		n.finds(ada, store, "bonus")
		if got := asked.Load(); got != 3 { // no labels, confidential, plan: the list is hidden before
			t.Errorf("policies were asked %d times for three sorts", got)
		}
	})
}

// A rule of access that is for nothing hides nothing: that is told, and how a file system writes an accent makes none of one.
func TestRulesThatAreForNothingAreTold(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		f.write("shop/all.md", "Bonus for all.")
		f.write("shop/hr/pay.md", "Bonus of the boss.")
		f.write("shop/Lo\u0308hne/list.md", "Bonus of the team.") // as macOS writes it
		f.write("shop/Pra\u0308mien/list.md", "Bonus of others.")
		n := newNode(t, db, f.dir, &atomic.Int64{}, only(func(policy.Request) bool { return true })).begin()
		store, owners := n.store(), vectorstore.Readers{Roles: []string{"owner"}}
		src := n.source(store, source.Spec{Path: "shop", Exclude: []string{"Pr\u00e4mien/"}, Access: []source.Rule{
			{Paths: []string{"shop/hr/**", "hr/"}, Readers: owners},
			{Paths: []string{"L\u00f6hne/"}, Readers: owners},
			{Paths: []string{"HR/**"}, Labels: []string{"confidential"}},
		}})
		told := func(s source.Source) string {
			var out []string
			for _, one := range s.Failures {
				out = append(out, one.Code+" "+one.Path)
			}
			return strings.Join(out, ", ")
		}
		end := n.ended(src, 1)
		n.want("documents", did(end), "+3 ~0 -0 =0 !0")
		n.want("told", told(end), "access_unmatched shop/hr/**, access_unmatched HR/**")
		n.want("found", n.finds(stead.Principal{Project: stead.DefaultProject, Kind: stead.PrincipalUser, ID: "bob", Role: "developer"}, store, "bonus"), "all.md")
	})
}

func TestProjectsAreApart(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		f.write("a.md", "Apples.")
		n := newNode(t, db, f.dir, &atomic.Int64{}, policy.AllowLocal{}).begin()
		store := n.store()
		src := n.source(store, source.Spec{})
		n.ended(src, 1)
		theirs := stead.Principal{Project: "two", Kind: stead.PrincipalUser, ID: "eve"}
		for what, err := range map[string]error{
			"get":    second(n.Get(t.Context(), theirs, store, src.ID)),
			"list":   second(n.List(t.Context(), theirs, store)),
			"sync":   second(n.Sync(t.Context(), theirs, store, src.ID)),
			"delete": n.Delete(t.Context(), theirs, store, src.ID),
			"create": second(n.Create(t.Context(), theirs, store, source.Spec{Type: source.Directory, Directory: "docs"}, "", "")),
			"search": second(n.vectors.Search(t.Context(), theirs, store, vectorstore.Search{Queries: []string{"apples"}})),
			"file":   second(n.vectors.GetFile(t.Context(), theirs, store, vectorstore.DocumentID(src.ID, "a.md"))),
		} {
			if stead.KindOf(err) != stead.KindNotFound {
				t.Errorf("another project's %s: %v", what, err)
			}
		}
		if _, err := n.Create(t.Context(), n.me, store, source.Spec{Type: source.Directory, Directory: "theirs"}, "", ""); stead.KindOf(err) != stead.KindInvalid || strings.Contains(err.Error(), f.dir) {
			t.Errorf("a directory of another project: %v", err)
		}
		other, err := n.vectors.CreateStore(t.Context(), theirs, vectorstore.Fields{}, nil, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.Get(t.Context(), n.me, n.store(), src.ID); stead.KindOf(err) != stead.KindNotFound {
			t.Errorf("a source of another store: %v", err)
		}
		mine, err := n.Create(t.Context(), theirs, other.ID, source.Spec{Type: source.Directory, Directory: "theirs"}, "key", "digest")
		if err != nil {
			t.Fatal(err)
		}
		if twice, err := n.Create(t.Context(), theirs, other.ID, source.Spec{Type: source.Directory, Directory: "theirs"}, "key", "digest"); err != nil || twice.ID != mine.ID {
			t.Errorf("the same key made %s and %s: %v", mine.ID, twice.ID, err)
		}
		// With the store its sources go.
		if err := n.vectors.DeleteStore(t.Context(), n.me, store); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Get(t.Context(), n.me, store, src.ID); stead.KindOf(err) != stead.KindNotFound {
			t.Errorf("the source outlives its store: %v", err)
		}
		n.passages(db, store, 0)
	})
}

func second[T any](_ T, err error) error { return err }

func TestSpecsAreChecked(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "stead.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	n := newNode(t, db, t.TempDir(), &atomic.Int64{}, policy.AllowLocal{})
	store := n.store()
	many := make([]string, source.MaxPatterns+1)
	for i := range many {
		many[i] = "x"
	}
	for param, spec := range map[string]string{
		"type":                 `{"type":"ftp"}`,
		"directory":            `{"type":"directory","directory":"nowhere"}`,
		"interval_seconds":     `{"type":"directory","directory":"docs","interval":59}`,
		"include[1]":           `{"type":"directory","directory":"docs","include":["*","[a"]}`,
		"exclude[0]":           `{"type":"directory","directory":"docs","exclude":[""]}`,
		"access[0].paths":      `{"type":"directory","directory":"docs","access":[{"roles":["owner"]}]}`,
		"access[0]":            `{"type":"directory","directory":"docs","access":[{"paths":["*"]}]}`,
		"access[0].principals": `{"type":"directory","directory":"docs","access":[{"paths":["*"],"principals":["ada"]}]}`,
		"access[0].labels":     `{"type":"directory","directory":"docs","access":[{"paths":["*"],"labels":[""]}]}`,
		"access[0].everyone":   `{"type":"directory","directory":"docs","access":[{"paths":["*"],"everyone":true,"roles":["owner"]}]}`,
		"access_default":       `{"type":"directory","directory":"docs","access_default":"closed"}`,
	} {
		var s source.Spec
		if err := json.Unmarshal([]byte(spec), &s); err != nil {
			t.Fatal(err)
		}
		_, err := n.Create(t.Context(), n.me, store, s, "", "")
		if e, ok := err.(*stead.Error); !ok || e.Kind != stead.KindInvalid || e.Param != param {
			t.Errorf("%s: %v", spec, err)
		}
	}
	if _, err := n.Create(t.Context(), n.me, store, source.Spec{Type: source.Directory, Directory: "docs", Include: many}, "", ""); stead.KindOf(err) != stead.KindInvalid {
		t.Error(err)
	}
	for i := range source.MaxSources + 1 {
		_, err := n.Create(t.Context(), n.me, store, source.Spec{Type: source.Directory, Directory: "docs"}, "", "")
		if (err == nil) != (i < source.MaxSources) {
			t.Fatalf("source %d: %v", i, err)
		}
	}
}
