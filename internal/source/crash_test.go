package source_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/source"
)

// dying is a database that a node has until it is killed: after so many writes it answers nothing any more.
type dying struct {
	database
	left atomic.Int64
}

func (d *dying) dead() error {
	if d.left.Add(-1) < 0 {
		return stead.Errorf(stead.KindUnavailable, "the node is dead")
	}
	return nil
}

func (d *dying) WriteMemories(ctx context.Context, p memory.Place, changes []memory.Change) ([]memory.Record, error) {
	if err := d.dead(); err != nil {
		return nil, err
	}
	return d.database.WriteMemories(ctx, p, changes)
}

func (d *dying) UpdateDocument(ctx context.Context, doc document.Document) (document.Document, error) {
	if err := d.dead(); err != nil {
		return doc, err
	}
	return d.database.UpdateDocument(ctx, doc)
}

func (d *dying) DeleteDocument(ctx context.Context, k document.Key, version int64) error {
	if err := d.dead(); err != nil {
		return err
	}
	return d.database.DeleteDocument(ctx, k, version)
}

// A node dies at each of its writes, in a synchronisation that adds, changes and removes; another one goes on: every document is
// found once, as it is now, nothing is left of what went, and what was done is counted once.
func TestANodeDiesAtEachWrite(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		done := false
		for at := int64(1); !done && !t.Failed(); at++ {
			if at > 40 {
				t.Fatal("it never ends")
			}
			done = dies(t, db, at)
		}
	})
}

// dies kills a node at a write, and reports whether there was none to die at.
func dies(t *testing.T, db database, at int64) bool {
	f := newTree(t)
	for i := range 4 {
		f.write(fmt.Sprintf("keep-%d.md", i), fmt.Sprint("Kept ", i))
		f.write(fmt.Sprintf("change-%d.md", i), fmt.Sprint("Older ", i))
		f.write(fmt.Sprintf("go-%d.md", i), fmt.Sprint("Going ", i))
	}
	ahead := &atomic.Int64{}
	first := newNode(t, db, f.dir, ahead, policy.AllowLocal{}).begin()
	store := first.store()
	src := first.source(store, source.Spec{})
	first.want("the first", did(first.ended(src, 1)), "+12 ~0 -0 =0 !0")
	first.stop()

	for i := range 4 {
		f.write(fmt.Sprintf("change-%d.md", i), fmt.Sprint("Newer text ", i))
		f.write(fmt.Sprintf("add-%d.md", i), fmt.Sprint("Added ", i))
		f.remove(fmt.Sprintf("go-%d.md", i))
	}
	if _, err := first.Sync(t.Context(), first.me, store, src.ID); err != nil {
		t.Fatal(err)
	}
	mortal := &dying{database: db}
	mortal.left.Store(at)
	second := newNode(t, mortal, f.dir, ahead, policy.AllowLocal{}).begin()
	for until := time.Now().Add(20 * time.Second); mortal.left.Load() >= 0; time.Sleep(2 * time.Millisecond) {
		if now, err := first.Get(t.Context(), first.me, store, src.ID); err != nil {
			t.Fatal(err)
		} else if now.Run == 2 && now.Holder == "" || time.Now().After(until) {
			break
		}
	}
	survived := mortal.left.Load() >= 0
	mortal.left.Store(-1)
	second.stop()
	ahead.Add(int64(time.Minute)) // its lease is over

	third := newNode(t, db, f.dir, ahead, policy.AllowLocal{}).begin()
	got := did(third.ended(src, 2))
	if want := "+4 ~4 -4 =4 !0"; got != want && got != "+4 ~4 -0 =4 !0" { // how many went may be lost with the node
		t.Errorf("killed at write %d: %s, want %s", at, got, want)
	}
	third.want(fmt.Sprint("killed at ", at, ": added"), third.finds(third.me, store, "added"), "add-0.md add-1.md add-2.md add-3.md")
	third.want(fmt.Sprint("killed at ", at, ": newer"), third.finds(third.me, store, "newer text"), "change-0.md change-1.md change-2.md change-3.md")
	third.want(fmt.Sprint("killed at ", at, ": older"), third.finds(third.me, store, "older going"), "")
	third.want(fmt.Sprint("killed at ", at, ": kept"), third.finds(third.me, store, "kept"), "keep-0.md keep-1.md keep-2.md keep-3.md")
	third.passages(db, store, 12)
	third.want("and then", third.again(src), "+0 ~0 -0 =12 !0")
	third.stop()
	return survived
}

// Two nodes look after one source: each synchronisation is made by one of them.
func TestTwoNodesSynchroniseOnce(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		for i := range 30 {
			f.write(fmt.Sprintf("%d.md", i), fmt.Sprint("Apples ", i))
		}
		ahead := &atomic.Int64{}
		one, two := newNode(t, db, f.dir, ahead, policy.AllowLocal{}).begin(), newNode(t, db, f.dir, ahead, policy.AllowLocal{}).begin()
		store := one.store()
		src := one.source(store, source.Spec{Interval: source.MinInterval})
		one.want("the first", did(one.ended(src, 1)), "+30 ~0 -0 =0 !0")
		if got := one.reader.read.Load() + two.reader.read.Load(); got != 30 {
			t.Errorf("%d documents were read", got)
		}
		f.write("new.md", "Pears.")
		ahead.Add(int64(source.MinInterval+1) * int64(time.Second)) // it is due
		two.want("the second", did(two.ended(src, 2)), "+1 ~0 -0 =30 !0")
		if got := one.reader.read.Load() + two.reader.read.Load(); got != 31 {
			t.Errorf("%d documents were read", got)
		}
		one.passages(db, store, 31)
	})
}

// A node is frozen while it reads, until its lease is over; another one does the work; then it comes back and changes nothing.
func TestAFrozenNodeComesBack(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		f.write("a.md", "Apples.")
		f.write("b.md", "Older bananas.")
		ahead := &atomic.Int64{}
		frozen := newNode(t, db, f.dir, ahead, policy.AllowLocal{})
		met, thaw := make(chan struct{}), make(chan struct{})
		var once atomic.Bool
		frozen.reader.hook = func(path string) {
			if path == "b.md" { // the node itself may take the source again when its lease is over
				if once.CompareAndSwap(false, true) {
					close(met)
					<-thaw
				}
			}
		}
		store := frozen.store()
		src := frozen.source(store, source.Spec{})
		frozen.begin()
		<-met
		f.write("b.md", "Newer bananas, of which there are more.")
		f.write("c.md", "Cherries.")
		ahead.Add(int64(time.Minute))
		other := newNode(t, db, f.dir, ahead, policy.AllowLocal{}).begin()
		other.want("the other", did(other.ended(src, 1)), "+3 ~0 -0 =0 !0")
		close(thaw)
		other.want("once more", other.again(src), "+0 ~0 -0 =3 !0")
		other.want("all", other.finds(other.me, store, "apples newer cherries"), "a.md b.md c.md")
		other.want("older", other.finds(other.me, store, "older"), "")
		other.passages(db, store, 3)
	})
}

// A source that is deleted while it is synchronised leaves nothing.
func TestASourceIsDeletedMeanwhile(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		for i := range 120 {
			f.write(fmt.Sprintf("%03d.md", i), fmt.Sprint("Apples ", i))
		}
		n := newNode(t, db, f.dir, &atomic.Int64{}, policy.AllowLocal{})
		met, goOn := make(chan struct{}), make(chan struct{})
		var once atomic.Bool
		n.reader.hook = func(path string) {
			if path == "070.md" {
				if once.CompareAndSwap(false, true) {
					close(met)
					<-goOn
				}
			}
		}
		store := n.store()
		src := n.source(store, source.Spec{})
		n.begin()
		<-met
		if err := n.Delete(t.Context(), n.me, store, src.ID); err != nil {
			t.Fatal(err)
		}
		n.want("deleted", n.finds(n.me, store, "apples"), "")
		close(goOn)
		n.passages(db, store, 0)
		for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if left, err := db.ListDocuments(t.Context(), document.Query{Project: n.me.Project, Kind: "vector store source", Limit: 1}); err != nil || len(left) == 0 {
				break
			} else if time.Now().After(until) {
				t.Fatal("the source stays")
			}
		}
		n.passages(db, store, 0)
		n.want("and then", n.finds(n.me, store, "apples"), "")
	})
}

// freezing is a database before whose next write of records a node is frozen.
type freezing struct {
	database
	armed     atomic.Bool
	met, thaw chan struct{}
	looks     atomic.Int64 // for sources that are due: one follows each work
}

func (d *freezing) ExpiredDocuments(ctx context.Context, k document.Kind, now int64, limit int) ([]document.Document, error) {
	if k == "vector store source" {
		d.looks.Add(1)
	}
	return d.database.ExpiredDocuments(ctx, k, now, limit)
}

func (d *freezing) WriteMemories(ctx context.Context, p memory.Place, changes []memory.Change) ([]memory.Record, error) {
	if d.armed.CompareAndSwap(true, false) {
		close(d.met)
		<-d.thaw
	}
	return d.database.WriteMemories(ctx, p, changes)
}

// A node is frozen before a write, its source is deleted meanwhile, and another node has seen to that: what it then writes goes.
func TestAFrozenNodesSourceIsDeleted(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		for i := range 3 {
			f.write(fmt.Sprintf("%d.md", i), fmt.Sprint("Apples ", i))
		}
		ahead := &atomic.Int64{}
		ice := &freezing{database: db, met: make(chan struct{}), thaw: make(chan struct{})}
		frozen := newNode(t, ice, f.dir, ahead, policy.AllowLocal{})
		other := newNode(t, db, f.dir, ahead, policy.AllowLocal{})
		store := other.store()
		src := other.source(store, source.Spec{})
		ice.armed.Store(true)
		frozen.begin()
		<-ice.met
		ahead.Add(int64(time.Minute)) // its lease is over
		if err := other.Delete(t.Context(), other.me, store, src.ID); err != nil {
			t.Fatal(err)
		}
		other.begin()
		for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if left, err := db.ListDocuments(t.Context(), document.Query{Project: other.me.Project, Kind: "vector store source", Limit: 1}); err != nil || time.Now().After(until) {
				t.Fatal("the source stays", err)
			} else if len(left) == 0 {
				break
			}
		}
		before := ice.looks.Load()
		close(ice.thaw)
		for ice.looks.Load() == before { // one follows when it is done; if this one is of its clock, it is stopped earlier
			time.Sleep(5 * time.Millisecond)
		}
		frozen.stop()
		if got, err := other.vectors.Documents(t.Context(), other.me.Project, store, src.ID); err != nil || len(got) > 0 {
			t.Errorf("its documents are %v, %v", got, err)
		}
		other.want("found", other.finds(other.me, store, "apples"), "")
		other.passages(db, store, 0)
	})
}

// A document that ends every process that reads it: after some of them it has failed, and the others, which were read together with
// it, have not.
func TestADocumentEndsWhoeverReadsIt(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		for i := range 5 {
			f.write(fmt.Sprintf("%d.md", i), fmt.Sprint("Apples ", i))
		}
		f.write("2-poison.md", "Poison.")
		ahead := &atomic.Int64{}
		well := newNode(t, db, f.dir, ahead, policy.AllowLocal{})
		store := well.store()
		src := well.source(store, source.Spec{})
		deaths := 0
		for ; deaths < 10; deaths++ {
			mortal := &dying{database: db}
			mortal.left.Store(1 << 30)
			n := newNode(t, mortal, f.dir, ahead, policy.AllowLocal{})
			over := make(chan struct{})
			var once atomic.Bool
			die := func(name string) {
				if name == "2-poison.md" && once.CompareAndSwap(false, true) {
					mortal.left.Store(0)
					close(over)
				}
			}
			n.convert.Store(&die)
			n.begin()
			ended := false
			for until := time.Now().Add(30 * time.Second); !ended && !once.Load(); time.Sleep(2 * time.Millisecond) {
				now, err := well.Get(t.Context(), well.me, store, src.ID)
				if err != nil || time.Now().After(until) {
					t.Fatal("it neither dies nor ends ", err)
				}
				ended = now.Ended != 0
			}
			if ended {
				n.stop()
				break
			}
			<-over
			n.stop()
			ahead.Add(int64(time.Minute))
		}
		if deaths != 3 {
			t.Errorf("%d nodes died over it", deaths)
		}
		now := well.ended(src, 1)
		well.want("in the end", did(now), "+5 ~0 -0 =0 !1")
		if len(now.Failures) != 1 || now.Failures[0].Path != "2-poison.md" || now.Failures[0].Code != "server_error" {
			t.Errorf("failures %+v", now.Failures)
		}
		well.want("apples", well.finds(well.me, store, "apples"), "0.md 1.md 2.md 3.md 4.md")
		well.begin()
		well.want("and then", well.again(src), "+0 ~0 -0 =5 !1")
		well.passages(db, store, 5)
	})
}
