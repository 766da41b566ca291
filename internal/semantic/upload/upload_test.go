package upload

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/semantic"
	"github.com/stead-dev/stead/internal/sqlite"
)

const books = "name: books\ndescription: d%d\nsources: {s: {database: db}}\nentities: {order: {table: orders, key: [id], attributes: {id: {type: text}}}}\nmetrics: {orders: {description: x, entity: order, aggregate: count}}\n"

func text1(n int) string { return fmt.Sprintf(books, n) }

type desk struct {
	*testing.T
	*Service
	store  *breaking
	later  atomic.Int64 // how much the clock is ahead
	tables atomic.Pointer[[]string]
}

// breaking is a store whose writes of heads can fail without an answer, before or after they are made.
type breaking struct {
	document.Store
	before, after atomic.Bool
	// Each runs once: before the next head is created or updated, or behind the next one that is deleted.
	created, updating, deleted atomic.Pointer[func()]
}

func (b *breaking) CreateDocument(ctx context.Context, d document.Document, key, digest string) (document.Document, error) {
	if d.Kind == kindHead {
		if then := b.created.Swap(nil); then != nil {
			(*then)()
		}
	}
	return b.Store.CreateDocument(ctx, d, key, digest)
}

func (b *breaking) DeleteDocument(ctx context.Context, k document.Key, version int64) error {
	err := b.Store.DeleteDocument(ctx, k, version)
	if k.Kind == kindHead && err == nil {
		if then := b.deleted.Swap(nil); then != nil {
			(*then)()
		}
	}
	return err
}

func (b *breaking) UpdateDocument(ctx context.Context, d document.Document) (document.Document, error) {
	if then := b.updating.Swap(nil); then != nil {
		(*then)()
	}
	if b.before.Load() {
		return d, stead.Errorf(stead.KindUnavailable, "away")
	}
	out, err := b.Store.UpdateDocument(ctx, d)
	if b.after.Load() {
		return d, stead.Errorf(stead.KindUnavailable, "away")
	}
	return out, err
}

var ada = stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: "ada"}

func onBoth(t *testing.T, test func(d *desk)) {
	run := func(t *testing.T, store document.Store) {
		d := &desk{T: t, store: &breaking{Store: store}}
		d.tables.Store(&[]string{"orders"})
		d.Service = NewService(Config{Documents: d.store, Policy: policy.AllowLocal{}, Schema: func(json.RawMessage) error { return nil }, Now: func() time.Time { return time.Now().Add(time.Duration(d.later.Load())) },
			Taken: func(_ stead.ProjectID, name string) bool { return name == "configured" },
			Grants: func(database string, project stead.ProjectID) []string {
				if database != "db" || project == "two" {
					return nil
				}
				return *d.tables.Load()
			}})
		test(d)
	}
	t.Run("SQLite", func(t *testing.T) {
		s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "stead.db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		run(t, s)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		s, err := postgres.Open(t.Context(), pgtest.URL(t), postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		run(t, s)
	})
}

func (d *desk) fails(err error, kind stead.Kind, want ...string) {
	d.Helper()
	if stead.KindOf(err) != kind {
		d.Errorf("%v is %q, not %q", err, stead.KindOf(err), kind)
		return
	}
	e := err.(*stead.Error)
	for _, w := range want {
		if text := e.Message + " " + e.Hint; !strings.Contains(text, w) {
			d.Errorf("it says %q, not %q", text, w)
		}
	}
}

func (d *desk) texts() int {
	d.Helper()
	all, err := d.store.ListDocuments(d.Context(), document.Query{Project: ada.Project, Kind: kindText, Limit: 100})
	if err != nil {
		d.Fatal(err)
	}
	return len(all)
}

func TestVersions(t *testing.T) {
	onBoth(t, func(d *desk) {
		ctx := d.Context()
		made, err := d.Create(ctx, ada, text1(1), Write{Key: "k", Digest: "1"})
		if err != nil || made.ID != "smod_books" || made.Version != 1 || made.Metrics != 1 || made.By != "ada" || made.Text != text1(1) {
			d.Fatalf("made %+v, %v", made, err)
		}
		if again, err := d.Create(ctx, ada, text1(1), Write{Key: "k", Digest: "1"}); err != nil || again.Version != 1 || d.texts() != 1 {
			d.Errorf("again: %+v, %v, %d texts", again, err, d.texts())
		}
		_, err = d.Create(ctx, ada, text1(1), Write{Key: "k", Digest: "2"})
		d.fails(err, stead.KindConflict)
		_, err = d.Create(ctx, ada, text1(1), Write{})
		d.fails(err, stead.KindConflict, "already", "next version")
		_, err = d.Create(ctx, ada, strings.Replace(text1(1), "name: books", "name: configured", 1), Write{})
		d.fails(err, stead.KindConflict, "configuration")
		if d.texts() != 1 {
			d.Errorf("what was refused left %d texts", d.texts())
		}
		_, err = d.Update(ctx, ada, "books", text1(2), Write{Over: 2})
		d.fails(err, stead.KindConflict, "at version 1, not 2")
		_, err = d.Update(ctx, ada, "books", "version: 7\n"+text1(2), Write{Over: 1})
		d.fails(err, stead.KindInvalid, "line 1: version: it says 7, and this is version 2")
		_, err = d.Update(ctx, ada, "books", strings.Replace(text1(2), "name: books", "name: other", 1), Write{Over: 1})
		d.fails(err, stead.KindInvalid, "the model's name is other, not books")
		for range 2 { // the second is the first again
			if v, err := d.Update(ctx, ada, "smod_books", "version: 2\n"+text1(2), Write{Over: 1, Key: "u", Digest: "u"}); err != nil || v.Version != 2 || v.Description != "d2" {
				d.Errorf("updated: %+v, %v", v, err)
			}
		}
		_, err = d.Update(ctx, ada, "books", text1(3), Write{Over: 2, Key: "u", Digest: "other"})
		d.fails(err, stead.KindConflict)
		if v, err := d.Version(ctx, ada, "books", 1); err != nil || v.Text != text1(1) || v.Version != 1 {
			d.Errorf("version 1 is %+v, %v", v, err)
		}
		if all, more, err := d.Versions(ctx, ada, "books", 0, true, 1); err != nil || len(all) != 1 || all[0].Version != 2 || !more {
			d.Errorf("versions: %+v, %v, %v", all, more, err)
		}
		if all, _, err := d.List(ctx, ada, "", false, 10); err != nil || len(all) != 1 || all[0].Text != "" || all[0].Version != 2 {
			d.Errorf("listed: %+v, %v", all, err)
		}
		if in, err := d.Models(ctx, "one"); err != nil || len(in) != 1 || in[0].Model.Version != 2 || in[0].Model.Description != "d2" {
			d.Errorf("in force: %+v, %v", in, err)
		}
		d.fails(d.Delete(ctx, ada, "books", 1), stead.KindConflict)
		if err := d.Delete(ctx, ada, "books", 2); err != nil || d.texts() != 0 {
			d.Errorf("deleted: %v, %d texts", err, d.texts())
		}
		_, err = d.Get(ctx, ada, "books")
		d.fails(err, stead.KindNotFound)
	})
}

// Of many that write over one version, one does; whatever a store that goes away leaves unsaid, the next write is right.
func TestWritersMeet(t *testing.T) {
	onBoth(t, func(d *desk) {
		ctx := d.Context()
		if _, err := d.Create(ctx, ada, text1(1), Write{}); err != nil {
			d.Fatal(err)
		}
		const writers = 8
		var won atomic.Int32
		var all sync.WaitGroup
		for i := range writers {
			all.Go(func() {
				if _, err := d.Update(ctx, ada, "books", text1(10+i), Write{Over: 1}); err == nil {
					won.Add(1)
				} else if stead.KindOf(err) != stead.KindConflict {
					d.Errorf("a writer: %v", err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 || d.texts() != 2 {
			d.Errorf("%d writers won, %d texts", won.Load(), d.texts())
		}
		d.store.before.Store(true)
		_, err := d.Update(ctx, ada, "books", text1(3), Write{Over: 2, Key: "k", Digest: "k"})
		d.fails(err, stead.KindUnavailable)
		d.store.before.Store(false)
		if v, err := d.Get(ctx, ada, "books"); err != nil || v.Version != 2 {
			d.Errorf("what was not written is there: %+v, %v", v, err)
		}
		d.store.after.Store(true) // it is stored, and nobody is told
		_, err = d.Update(ctx, ada, "books", text1(3), Write{Over: 2, Key: "k", Digest: "k"})
		d.fails(err, stead.KindUnavailable)
		d.store.after.Store(false)
		if v, err := d.Update(ctx, ada, "books", text1(3), Write{Over: 2, Key: "k", Digest: "k"}); err != nil || v.Version != 3 || v.Text != text1(3) {
			d.Errorf("the same request again: %+v, %v", v, err)
		}
	})
}

// TestDeletionTakesItsOwnTextsAlone: a model of the same name that is created while one is deleted is whole, wherever the two meet, and
// nothing of either is left behind.
func TestDeletionTakesItsOwnTextsAlone(t *testing.T) {
	onBoth(t, func(d *desk) {
		ctx := d.Context()
		create := func(n int) {
			d.Helper()
			if made, err := d.Create(ctx, ada, text1(n), Write{}); err != nil || made.Text != text1(n) {
				d.Errorf("created: %+v, %v", made, err)
			}
		}
		remove := func() {
			d.Helper()
			if err := d.Delete(ctx, ada, "books", AnyVersion); err != nil {
				d.Errorf("deleted: %v", err)
			}
		}
		whole := func(n int) {
			d.Helper()
			if v, err := d.Get(ctx, ada, "books"); err != nil || v.Text != text1(n) || v.Problem != "" || d.texts() != 1 {
				d.Errorf("it is %+v, %v, %d texts", v, err, d.texts())
			}
		}
		create(1)
		behind := func() { create(2) }
		d.store.deleted.Store(&behind) // the head is gone, the texts are not
		remove()
		whole(2)

		before := func() { remove() }
		d.store.created.Store(&before) // the text is written, the head is not
		create(3)
		whole(3)

		// The next version of a model that is deleted meanwhile leaves nothing.
		if _, err := d.Update(ctx, ada, "books", text1(4), Write{Over: 1}); err != nil {
			d.Fatal(err)
		}
		elsewhere := NewService(d.cfg) // on another node
		before = func() {
			if err := elsewhere.Delete(ctx, ada, "books", AnyVersion); err != nil {
				d.Errorf("deleted: %v", err)
			}
		}
		d.store.updating.Store(&before)
		_, err := d.Update(ctx, ada, "books", text1(5), Write{Over: 2})
		d.fails(err, stead.KindNotFound)
		if d.texts() != 0 {
			d.Errorf("%d texts are left", d.texts())
		}
		d.storm()
	})
}

// storm has many create and delete at once.
func (d *desk) storm() {
	d.Helper()
	ctx := d.Context()
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 8 {
				n := 10*i + j
				if _, err := d.Create(ctx, ada, text1(n), Write{}); err != nil && stead.KindOf(err) != stead.KindConflict && stead.KindOf(err) != stead.KindNotFound {
					d.Errorf("creating: %v", err)
				}
				if v, err := d.Get(ctx, ada, "books"); err == nil && v.Problem != "" {
					d.Errorf("a model is there without its text: %s", v.Problem)
				}
				if err := d.Delete(ctx, ada, "books", AnyVersion); err != nil && stead.KindOf(err) != stead.KindNotFound {
					d.Errorf("deleting: %v", err)
				}
			}
		})
	}
	all.Wait()
	if d.texts() != 0 {
		d.Errorf("the storm left %d texts", d.texts())
	}
	// A text whose head never came goes with the next model of the name, and not before it is surely a stray.
	if _, err := d.begin(ctx, ada, document.Document{Key: document.Key{ID: "smod_books"}, Version: 1, UpdatedAt: d.cfg.Now().UnixMilli()}, head{Life: "crashed"}, new(semantic.Model), "x"); err != nil {
		d.Fatal(err)
	}
	d.again(1, 0)
	d.again(0, 2*strayAfter)
}

// again creates a model and deletes it, and says how many texts are left then.
func (d *desk) again(want int, ahead time.Duration) {
	d.Helper()
	d.later.Store(int64(ahead))
	if _, err := d.Create(d.Context(), ada, text1(99), Write{}); err != nil {
		d.Error(err)
	}
	if err := d.Delete(d.Context(), ada, "books", AnyVersion); err != nil || d.texts() != want {
		d.Errorf("%v, %d texts are left, want %d", err, d.texts(), want)
	}
}

// A project reads what the operator grants it, and sees no other project's models.
func TestGrants(t *testing.T) {
	onBoth(t, func(d *desk) {
		ctx := d.Context()
		for name, c := range map[string]struct{ old, with, want string }{
			"another table":    {"table: orders", "table: order", "Did you mean orders?"},
			"another schema":   {"table: orders", "table: secret.orders", `"secret.orders"`},
			"a query":          {"table: orders", "query: SELECT * FROM salaries", "an uploaded model names tables"},
			"another database": {"database: db", "database: main", `may not read the database "main"`},
			"of freshness":     {"key: [id]", "key: [id], freshness: {table: salaries, column: paid, within: 24h}", `"salaries"`},
		} {
			_, err := d.Create(ctx, ada, strings.Replace(text1(1), c.old, c.with, 1), Write{})
			d.fails(err, stead.KindInvalid, c.want)
			_, err = d.Validate(ctx, ada, strings.Replace(text1(1), c.old, c.with, 1))
			if d.fails(err, stead.KindInvalid, c.want); d.Failed() {
				d.Log(name)
			}
		}
		bob := stead.Principal{Project: "two", Kind: stead.PrincipalUser, ID: "bob"}
		_, err := d.Create(ctx, bob, text1(1), Write{})
		d.fails(err, stead.KindInvalid, "may not read the database")
		if _, err := d.Create(ctx, ada, text1(1), Write{}); err != nil {
			d.Fatal(err)
		}
		_, err = d.Get(ctx, bob, "books")
		d.fails(err, stead.KindNotFound)
		_, err = d.Update(ctx, bob, "books", text1(1), Write{})
		d.fails(err, stead.KindNotFound)
		d.fails(d.Delete(ctx, bob, "books", 0), stead.KindNotFound)
		if in, err := d.Models(ctx, "two"); err != nil || len(in) != 0 {
			d.Errorf("project two has %+v, %v", in, err)
		}
		d.tables.Store(&[]string{"*"})
		for _, own := range []string{"pg_authid", "pg_catalog.pg_authid", "SQLite_Schema", "information_schema.tables"} {
			_, err := d.Validate(ctx, ada, strings.Replace(text1(1), "table: orders", "table: "+own, 1))
			d.fails(err, stead.KindInvalid, own)
		}
		if in, err := d.Models(ctx, "one"); err != nil || in[0].Model == nil {
			d.Errorf("with all tables there is %+v, %v", in, err)
		}
		d.tables.Store(&[]string{"nothing"}) // the operator thinks again
		if in, err := d.Models(ctx, "one"); err != nil || len(in) != 1 || in[0].Model != nil || in[0].Err == nil {
			d.Errorf("without the grant there is %+v, %v", in, err)
		}
		if v, err := d.Get(ctx, ada, "books"); err != nil || !strings.Contains(v.Problem, "orders") {
			d.Errorf("it says %+v, %v", v, err)
		}
	})
}

// Who may not upload a model has none of its text read but its name.
func TestWhoMayNotUploadIsRefusedFirst(t *testing.T) {
	onBoth(t, func(d *desk) {
		asked, read := "", false
		d.cfg.Policy = refusing{&asked}
		d.cfg.Schema = func(json.RawMessage) error { read = true; return nil }
		const action = "actions: {refund: {description: x, tool: erp/refund}}\n"
		_, err := d.Create(d.Context(), ada, text1(1)+action, Write{})
		d.fails(err, stead.KindForbidden)
		if asked != "books" || read {
			d.Errorf("asked about %q, and the model was read: %v", asked, read)
		}
	})
}

// refusing refuses, and notes what it was asked about.
type refusing struct{ asked *string }

func (r refusing) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	*r.asked = req.Resource
	return policy.Decision{By: "test"}, nil
}
