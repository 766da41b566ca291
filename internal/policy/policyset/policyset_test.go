package policyset_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
	"github.com/stead-dev/stead/internal/policy/policyset"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/sqlite"
)

// node is one of those that share a database: what decides there, and what writes.
type node struct {
	*policyset.Service
	*cedar.Authorizer
	live *policyset.Live
}

func newNode(documents document.Store) *node {
	live := policyset.NewLive(documents, identity.Approvers(), time.Now, nil)
	a := cedar.New(identity.Authorizer{}, time.Now, slog.New(slog.DiscardHandler)).With(live.Project)
	return &node{policyset.NewService(policyset.Config{Documents: documents, Policy: a, Live: live, Approvers: identity.Approvers(), Now: time.Now}), a, live}
}

// bothDatabases runs a test on either, with two ways into it.
func bothDatabases(t *testing.T, test func(t *testing.T, here, there document.Store)) {
	t.Run("SQLite", func(t *testing.T) {
		s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "stead.db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		test(t, s, s)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		var stores [2]*postgres.Store
		url := pgtest.URL(t)
		for i := range stores {
			s, err := postgres.Open(t.Context(), url, postgres.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			stores[i] = s
		}
		test(t, stores[0], stores[1])
	})
}

func owner(project string) stead.Principal {
	return stead.Principal{Project: stead.ProjectID(project), Kind: stead.PrincipalUser, ID: "olga", Role: identity.Owner}
}

func refund(project string) policy.Request {
	return policy.Request{Principal: owner(project), Acting: true, Agent: "agent_1", Effect: policy.ToolCall, Resource: "shop/refund", Arguments: []byte(`{"amount":5}`)}
}

const (
	forbids = `@id("no-refunds") forbid(principal, action == Action::"tool.call", resource == Tool::"shop/refund");`
	asks    = `@id("ask") @approval("approver") forbid(principal, action == Action::"tool.call", resource == Tool::"shop/refund");`
	others  = `@id("other") forbid(principal, action == Action::"tool.call", resource == Tool::"shop/other");`
)

func text(s string) policyset.Change { return policyset.Change{Text: &s} }

func (n *node) create(t *testing.T, project, name, mode, text string) policyset.Set {
	t.Helper()
	s, err := n.Create(t.Context(), owner(project), policyset.New{Name: name, Mode: mode, Text: text}, policyset.Write{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (n *node) decides(t *testing.T, req policy.Request) policy.Decision {
	t.Helper()
	d, err := n.Decide(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// within waits until a node decides so: for a second on a quiet machine, of which CacheFor is a quarter.
func (n *node) within(t *testing.T, req policy.Request, want policy.Outcome) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		d := n.decides(t, req)
		if d.Outcome() == want {
			return
		}
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("20 seconds later it is %s (%s), not %s", d.Outcome(), d.Reason, want)
		}
	}
}

func fails(t *testing.T, what string, err error, kind stead.Kind, words string) {
	t.Helper()
	if stead.KindOf(err) != kind || !strings.Contains(err.Error(), words) {
		t.Errorf("%s: %v (%s), want %s with %q", what, err, stead.KindOf(err), kind, words)
	}
}

// What is pushed at one node holds there at once, and at another within a second; in its own project alone.
func TestASetHoldsAtEveryNode(t *testing.T) {
	bothDatabases(t, func(t *testing.T, here, there document.Store) {
		a, b := newNode(here), newNode(there)
		b.within(t, refund("one"), policy.Allowed) // it has looked, and knows of nothing
		made := a.create(t, "one", "shop", policy.Enforce, forbids)
		if made.ID != "pset_shop" || made.Version != 1 || made.Policies != 1 || made.Bytes != len(forbids) || made.By != "olga" || len(made.Digest) != 64 {
			t.Errorf("made %+v", made)
		}
		d := a.decides(t, refund("one"))
		if d.Allow || len(d.Policies) != 1 || d.Policies[0] != "shop/no-refunds" || d.By != cedar.By || !strings.HasPrefix(d.Version, "+") {
			t.Errorf("where it was pushed: %+v", d)
		}
		b.within(t, refund("one"), policy.Denied)
		if other := b.decides(t, refund("two")); !other.Allow || other.Version != "" {
			t.Errorf("another project's set was asked: %+v", other)
		}

		second, err := b.Update(t.Context(), owner("one"), made.ID, text(asks), policyset.Write{Over: 1})
		if err != nil || second.Version != 2 {
			t.Fatalf("%+v, %v", second, err)
		}
		a.within(t, refund("one"), policy.Approval)
		shadow := policy.Shadow
		if _, err := b.Update(t.Context(), owner("one"), made.ID, policyset.Change{Mode: &shadow}, policyset.Write{Over: 2}); err != nil {
			t.Fatal(err)
		}
		a.within(t, refund("one"), policy.Allowed)
		if d := a.decides(t, refund("one")); d.Shadow == nil || d.Shadow.Outcome != policy.Approval || d.Shadow.Policies[0] != "shop/ask" {
			t.Errorf("on trial: %+v", d.Shadow)
		}
		back, err := a.Rollback(t.Context(), owner("one"), made.ID, 1, policyset.Write{Over: 3})
		if err != nil || back.Version != 4 || back.Restored != 1 || back.Text != forbids || back.Mode != policy.Enforce {
			t.Fatalf("%+v, %v", back, err)
		}
		b.within(t, refund("one"), policy.Denied)
		if again := b.decides(t, refund("one")); again.Version != d.Version {
			t.Errorf("the same policies have the versions %s and %s", d.Version, again.Version)
		}

		if err := a.Delete(t.Context(), owner("one"), made.ID, 4); err != nil {
			t.Fatal(err)
		}
		b.within(t, refund("one"), policy.Allowed)
		_, err = a.Get(t.Context(), owner("one"), made.ID)
		fails(t, "a deleted set", err, stead.KindNotFound, "pset_shop")
		anew := a.create(t, "one", "shop", policy.Enforce, others)
		if anew.Version != 6 {
			t.Errorf("its versions began again: %d", anew.Version)
		}
		versions, more, err := b.Versions(t.Context(), owner("one"), made.ID, 0, true, 10)
		said := ""
		for _, v := range versions {
			said += fmt.Sprintf("%d:%v:%d ", v.Version, v.Deleted, v.Restored)
		}
		if err != nil || more || said != "6:false:0 5:true:0 4:false:1 3:false:0 2:false:0 1:false:0 " {
			t.Errorf("its versions are %s, %v", said, err)
		}
		if old, err := b.Version(t.Context(), owner("one"), made.ID, 2); err != nil || old.Text != asks {
			t.Errorf("version 2: %+v, %v", old, err)
		}
	})
}

// Of many who write over one version one wins, and the others leave nothing behind.
func TestOneOfManyWritersWins(t *testing.T) {
	bothDatabases(t, func(t *testing.T, here, there document.Store) {
		nodes := []*node{newNode(here), newNode(there)}
		nodes[0].create(t, "one", "shop", policy.Enforce, forbids)
		const writers = 12
		var won atomic.Int64
		var winner atomic.Value
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				mine := fmt.Sprintf(`@id("w%d") forbid(principal, action == Action::"tool.call", resource);`, i)
				_, err := nodes[i%2].Update(t.Context(), owner("one"), "pset_shop", text(mine), policyset.Write{Over: 1})
				switch {
				case err == nil:
					won.Add(1)
					winner.Store(mine)
				case stead.KindOf(err) != stead.KindConflict:
					t.Errorf("a loser is told %v", err)
				}
			})
		}
		wg.Wait()
		now, err := nodes[1].Get(t.Context(), owner("one"), "pset_shop")
		if err != nil || won.Load() != 1 || now.Version != 2 || now.Text != winner.Load() {
			t.Errorf("%d won; stored is %+v, %v", won.Load(), now, err)
		}
		for _, kind := range []document.Kind{"policy_set_version", "policy_set_text"} {
			if docs, err := here.ListDocuments(t.Context(), document.Query{Project: "one", Kind: kind, Limit: 100}); err != nil || len(docs) != 2 {
				t.Errorf("%d documents of kind %s, %v", len(docs), kind, err)
			}
		}
		made := make([]error, writers)
		for i := range writers {
			wg.Go(func() {
				_, made[i] = nodes[i%2].Create(t.Context(), owner("one"), policyset.New{Name: "new", Mode: policy.Enforce, Text: others}, policyset.Write{})
			})
		}
		wg.Wait()
		n := 0
		for _, err := range made {
			if err == nil {
				n++
			} else if stead.KindOf(err) != stead.KindConflict {
				t.Errorf("a loser is told %v", err)
			}
		}
		if n != 1 {
			t.Errorf("%d made it", n)
		}
	})
}

// dying is a database that a process stops writing to, as a killed one does.
type dying struct {
	document.Store
	left atomic.Int64 // writes
}

var errKilled = errors.New("killed")

func (d *dying) alive() bool { return d.left.Add(-1) >= 0 }

func (d *dying) CreateDocument(ctx context.Context, doc document.Document, key, digest string) (document.Document, error) {
	if !d.alive() {
		return doc, errKilled
	}
	return d.Store.CreateDocument(ctx, doc, key, digest)
}

func (d *dying) UpdateDocument(ctx context.Context, doc document.Document) (document.Document, error) {
	if !d.alive() {
		return doc, errKilled
	}
	return d.Store.UpdateDocument(ctx, doc)
}

func (d *dying) DeleteDocument(ctx context.Context, k document.Key, version int64) error {
	if !d.alive() {
		return errKilled
	}
	return d.Store.DeleteDocument(ctx, k, version)
}

// A process that is killed between any two writes leaves the old version or the new one, and the next write sweeps the rest.
func TestKilledBetweenWrites(t *testing.T) {
	bothDatabases(t, func(t *testing.T, here, there document.Store) {
		for project, act := range map[string]func(*node, stead.Principal) error{
			"update": func(n *node, p stead.Principal) error {
				_, err := n.Update(t.Context(), p, "pset_shop", text(asks), policyset.Write{Over: 1})
				return err
			},
			"rollback": func(n *node, p stead.Principal) error {
				_, err := n.Rollback(t.Context(), p, "pset_shop", 1, policyset.Write{Over: 1})
				return err
			},
			"delete": func(n *node, p stead.Principal) error { return n.Delete(t.Context(), p, "pset_shop", 1) },
		} {
			for writes := range int64(5) {
				name := fmt.Sprintf("%s-%d", project, writes)
				p := owner(name)
				after := newNode(there)
				after.create(t, name, "shop", policy.Enforce, forbids)
				disk := &dying{Store: here}
				disk.left.Store(writes)
				err := act(newNode(disk), p)
				versions, _, listed := after.Versions(t.Context(), p, "pset_shop", 0, true, 10)
				if listed != nil {
					t.Fatal(listed)
				}
				want := policy.Denied // the old version, and what is restored of it
				if err == nil {
					want = map[string]policy.Outcome{"update": policy.Approval, "rollback": policy.Denied, "delete": policy.Allowed}[project]
				}
				after.within(t, refund(name), want)
				if n := len(versions); err == nil && n != 2 || err != nil && n != 1 {
					t.Errorf("%s, killed at write %d (%v): %d versions", project, writes, err, n)
				}
				over := versions[0].Version
				if project == "delete" && err == nil {
					after.create(t, name, "shop", policy.Enforce, others)
				} else if _, err := after.Update(t.Context(), p, "pset_shop", text(others), policyset.Write{Over: over}); err != nil {
					t.Fatalf("%s, killed at write %d: the next write: %v", project, writes, err)
				}
				after.within(t, refund(name), policy.Allowed)
				left, err := there.ListDocuments(t.Context(), document.Query{Project: p.Project, Kind: "policy_set_version", Limit: 100})
				if err != nil || len(left) != len(versions)+1 {
					t.Errorf("%s, killed at write %d: %d records of %d versions, %v", project, writes, len(left), len(versions)+1, err)
				}
			}
		}
	})
}

// Who locks everybody out can still mend it; so can who has a set that nobody can read, which refuses meanwhile.
func TestALockOutIsUndone(t *testing.T) {
	bothDatabases(t, func(t *testing.T, here, there document.Store) {
		n := newNode(here)
		const all = `@id("all") forbid(principal, action, resource);`
		reads := policy.Request{Principal: owner("one"), Effect: policy.SessionRead}
		n.create(t, "one", "shut", policy.Enforce, all)
		n.within(t, reads, policy.Denied)
		if _, err := n.Get(t.Context(), owner("one"), "pset_shut"); err != nil {
			t.Errorf("who is locked out can't see by what: %v", err)
		}
		if _, err := n.Update(t.Context(), owner("one"), "pset_shut", text(others), policyset.Write{Over: 1}); err != nil {
			t.Fatalf("who is locked out can't mend it: %v", err)
		}
		n.within(t, reads, policy.Allowed)

		for what, spoil := range map[string]func(document.Document) document.Document{
			"a head":       func(d document.Document) document.Document { d.Data = []byte(`{`); return d },
			"another kind": func(d document.Document) document.Document { d.Data = []byte(`{"mode":"maybe"}`); return d },
			"another text": func(d document.Document) document.Document {
				return spoilText(t, there, d, `{"text":"permit(principal, action, resource);"}`)
			},
			"no text":       func(d document.Document) document.Document { return spoilText(t, there, d, "") },
			"text, no JSON": func(d document.Document) document.Document { return spoilText(t, there, d, `{"te`) },
		} {
			project := strings.ReplaceAll(what, " ", "-")
			p := owner(project)
			n.create(t, project, "shop", policy.Enforce, others)
			key := document.Key{Project: p.Project, Kind: "policy_set", ID: "pset_shop"}
			d, err := there.GetDocument(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			d = spoil(d)
			if d.Version++; d.Version == 2 {
				if d, err = there.UpdateDocument(t.Context(), d); err != nil {
					t.Fatal(err)
				}
			}
			fresh := newNode(here)
			got := fresh.decides(t, policy.Request{Principal: p, Effect: policy.SessionRead})
			if got.Allow || len(got.Policies) != 1 || got.Policies[0] != "shop" {
				t.Errorf("%s that can't be read: %+v", what, got)
			}
			shown, err := fresh.Get(t.Context(), p, "pset_shop")
			if err != nil || shown.Problem == "" {
				t.Errorf("%s: %+v, %v", what, shown, err)
			}
			if list, _, err := fresh.List(t.Context(), p, policyset.Query{Limit: 10}); err != nil || len(list) != 1 {
				t.Errorf("%s: %+v, %v", what, list, err)
			}
			_, err = fresh.Update(t.Context(), p, "pset_shop", policyset.Change{Description: new(string)}, policyset.Write{})
			fails(t, what+" is written without a text", err, stead.KindInvalid, "text is required")
			if _, err := fresh.Update(t.Context(), p, "pset_shop", text(others), policyset.Write{Over: shown.Version}); err != nil {
				t.Errorf("%s can't be mended: %v", what, err)
			}
			fresh.within(t, policy.Request{Principal: p, Effect: policy.SessionRead}, policy.Allowed)
			if err := fresh.Delete(t.Context(), p, "pset_shop", policyset.AnyVersion); err != nil {
				t.Errorf("%s can't be deleted: %v", what, err)
			}
		}
	})
}

// spoilText puts something else where a set's text is; "": nothing.
func spoilText(t *testing.T, db document.Store, head document.Document, data string) document.Document {
	t.Helper()
	docs, err := db.ListDocuments(t.Context(), document.Query{Project: head.Project, Kind: "policy_set_text", Limit: 10})
	if err != nil || len(docs) != 1 {
		t.Fatalf("%d texts, %v", len(docs), err)
	}
	if data == "" {
		err = db.DeleteDocument(t.Context(), docs[0].Key, 0)
	} else {
		docs[0].Version, docs[0].Data = 2, []byte(data)
		_, err = db.UpdateDocument(t.Context(), docs[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// racing lets somebody else come in between a look and a write.
type racing struct {
	document.Store
	between func()
}

func (r *racing) raced(d document.Document) {
	if between := r.between; between != nil && d.Kind == "policy_set" {
		r.between = nil
		between()
	}
}

func (r *racing) CreateDocument(ctx context.Context, d document.Document, key, digest string) (document.Document, error) {
	r.raced(d)
	return r.Store.CreateDocument(ctx, d, key, digest)
}

func (r *racing) UpdateDocument(ctx context.Context, d document.Document) (document.Document, error) {
	r.raced(d)
	return r.Store.UpdateDocument(ctx, d)
}

// The same request twice at once writes one version, and both are told of it; another one at that moment is told that it came second.
func TestAKeyWritesOnceAtOnce(t *testing.T) {
	db := documenttest.NewMemory()
	slow := &racing{Store: db}
	here, there := newNode(slow), newNode(db)
	for i, do := range []func(n *node, w policyset.Write) (policyset.Set, error){
		func(n *node, w policyset.Write) (policyset.Set, error) {
			return n.Create(t.Context(), owner("one"), policyset.New{Name: "shop", Mode: policy.Enforce, Text: others}, w)
		},
		func(n *node, w policyset.Write) (policyset.Set, error) {
			return n.Update(t.Context(), owner("one"), "pset_shop", text(asks), w)
		},
	} {
		w := policyset.Write{Over: int64(i), Key: fmt.Sprint("k", i), Digest: "d"}
		slow.between = func() {
			if _, err := do(there, w); err != nil {
				t.Error(err)
			}
		}
		if got, err := do(here, w); err != nil || got.Version != int64(i+1) || got.Text == "" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	w := policyset.Write{Over: 2, Key: "k2", Digest: "d"}
	slow.between = func() {
		if _, err := there.Update(t.Context(), owner("one"), "pset_shop", text(forbids), policyset.Write{Over: 2, Key: "k3", Digest: "d"}); err != nil {
			t.Error(err)
		}
	}
	_, err := here.Update(t.Context(), owner("one"), "pset_shop", text(others), w)
	fails(t, "another request", err, stead.KindConflict, "")
}
