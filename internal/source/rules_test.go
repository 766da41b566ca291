package source_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/source/directory"
	"github.com/stead-dev/stead/internal/vectorstore"
)

var (
	developer = stead.Principal{Project: stead.DefaultProject, Kind: stead.PrincipalUser, ID: "ada", Role: "developer"}
	bosses    = []source.Rule{{Paths: []string{"hr/"}, Readers: vectorstore.Readers{Roles: []string{"owner"}}}}
)

// readBy makes a node that reads sources of one type.
func readBy(t *testing.T, db database, kind string, r source.Reader, ahead *atomic.Int64) *node {
	n := newNode(t, db, t.TempDir(), ahead, only(func(policy.Request) bool { return true }))
	n.Service = source.NewService(source.Config{Documents: db, Stores: n.vectors, Readers: map[string]source.Reader{kind: r}, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	return n
}

// TestRulesHoldWhileWhatTheyAreForIsAway: whoever closes a document need not wait until it can be read: neither for one page, nor for the source.
func TestRulesHoldWhileWhatTheyAreForIsAway(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		t.Run("source", func(t *testing.T) {
			f := newTree(t)
			f.write("hr/pay.md", "Bonus of the boss.")
			f.write("all.md", "Bonus for all.")
			n := readBy(t, db, source.Directory, directory.New([]directory.Root{{Name: "docs", Path: f.dir}}, time.Now), &atomic.Int64{}).begin()
			store := n.store()
			src := n.source(store, source.Spec{})
			n.ended(src, 1)
			check(t, os.Rename(f.dir, f.dir+".away"))
			changed, err := n.Update(t.Context(), n.me, store, src.ID, &bosses, nil)
			check(t, err)
			n.want("at once", n.finds(developer, store, "bonus"), "all.md")
			now := n.ended(changed, 2)
			if now.Error == nil {
				t.Error("the source is there")
			}
			n.want("did", did(now), "+0 ~1 -0 =0 !0")
			n.want("found", n.finds(developer, store, "bonus"), "all.md")
			n.want("found by whom it is for", n.finds(n.me, store, "bonus"), "all.md")
			check(t, os.Rename(f.dir+".away", f.dir))
			n.want("there again", n.again(src), "+0 ~0 -0 =2 !0")
			n.want("found then", n.finds(developer, store, "bonus"), "all.md")
		})
		t.Run("page", func(t *testing.T) {
			s := newSite(t)
			s.html("/", "Nothing.", "/hr/pay", "/hr/more")
			s.html("/hr/pay", "Bonus of the boss.")
			s.html("/hr/more", "Bonus of others.")
			n := readBy(t, db, source.Web, reading(&names{}, s.local("/")), &atomic.Int64{}).begin()
			store := n.store()
			src, err := n.Create(t.Context(), n.me, store, source.Spec{Type: source.Web, Site: "docs"}, "", "")
			check(t, err)
			n.ended(src, 1)
			n.want("before", n.finds(developer, store, "bonus"), "hr/more hr/pay")
			s.answers("/hr/pay", http.StatusInternalServerError)
			changed, err := n.Update(t.Context(), n.me, store, src.ID, &bosses, nil)
			check(t, err)
			n.want("at once", n.finds(developer, store, "bonus"), "")
			n.want("did", did(n.ended(changed, changed.Run+1)), "+0 ~1 -0 =1 !1")
			n.want("found", n.finds(developer, store, "bonus"), "")
		})
	})
}

// TestANodeDiesWhileRulesChange: wherever it does, they hold once another node has taken the source, which is away all the while; or the
// change was refused, and nothing of it holds.
func TestANodeDiesWhileRulesChange(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		for i := range memory.MaxChanges + 1 { // more than one write
			f.write(fmt.Sprintf("hr/%03d.md", i), "Bonus.")
		}
		ahead := &atomic.Int64{}
		reader := directory.New([]directory.Root{{Name: "docs", Path: f.dir}}, time.Now)
		first := readBy(t, db, source.Directory, reader, ahead).begin()
		store := first.store()
		src := first.source(store, source.Spec{})
		run := first.ended(src, 1).Run
		check(t, os.Rename(f.dir, f.dir+".away"))
		first.stop()
		open, deaths := []source.Rule{}, 0
		for at, survived := int64(0), false; !survived; at++ {
			mortal := &dying{database: db}
			mortal.left.Store(at)
			dies := readBy(t, mortal, source.Directory, reader, ahead)
			_, err := dies.Update(t.Context(), dies.me, store, src.ID, &bosses, nil)
			if survived = err == nil; !survived {
				deaths++
			}
			next := readBy(t, db, source.Directory, reader, ahead)
			if at == 0 { // it died before the first write
				next.want("refused", fmt.Sprint(len(next.finds(developer, store, "bonus")) > 0), "true")
				continue
			}
			if !survived {
				next.begin()
				run = next.ended(src, run+1).Run
			}
			next.want(fmt.Sprint("killed at write ", at), next.finds(developer, store, "bonus"), "")
			next.stop()
			_, err = next.Update(t.Context(), next.me, store, src.ID, &open, nil)
			check(t, err)
			next.want(fmt.Sprint("opened, at write ", at), fmt.Sprint(len(next.finds(developer, store, "bonus")) > 0), "true")
		}
		if deaths < 3 {
			t.Errorf("it died %d times", deaths)
		}
	})
}

// TestOfRulesThatChangeAtOnceTheLastHold, for all documents, and without any synchronisation.
func TestOfRulesThatChangeAtOnceTheLastHold(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		for i := range 20 {
			f.write(fmt.Sprintf("hr/%02d.md", i), "Bonus.")
		}
		n := newNode(t, db, f.dir, &atomic.Int64{}, only(func(policy.Request) bool { return true })).begin()
		store := n.store()
		src := n.source(store, source.Spec{})
		n.ended(src, 1)
		n.stop()
		open := []source.Rule{}
		var changing sync.WaitGroup
		for i := range 8 {
			changing.Go(func() {
				if _, err := n.Update(context.Background(), n.me, store, src.ID, []*[]source.Rule{&bosses, &open}[i%2], nil); err != nil {
					t.Error(err)
				}
			})
		}
		changing.Wait()
		now, err := n.Get(t.Context(), n.me, store, src.ID)
		check(t, err)
		want := 20
		if len(now.Access) > 0 {
			want = 0
		}
		files, _, err := n.vectors.ListFiles(t.Context(), developer, store, vectorstore.FileQuery{Page: vectorstore.Page{Limit: 100}})
		if err != nil || len(files) != want {
			t.Errorf("a developer sees %d of 20 documents, with %d rules: %v", len(files), len(now.Access), err)
		}
	})
}

// TestRulesHoldForWhatIsReadBehindTheirChange, in the synchronisation that was under way.
func TestRulesHoldForWhatIsReadBehindTheirChange(t *testing.T) {
	both(t, func(t *testing.T, db database) {
		f := newTree(t)
		for i := range 120 {
			f.write(fmt.Sprintf("hr/%03d.md", i), "Bonus.")
		}
		n := newNode(t, db, f.dir, &atomic.Int64{}, only(func(policy.Request) bool { return true }))
		met, goOn, later, end := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
		var first, last sync.Once
		n.reader.hook = func(path string) {
			switch path {
			case "hr/070.md": // 50 are written, and 20 more on their way
				first.Do(func() { close(met); <-goOn })
			case "hr/110.md": // 100
				last.Do(func() { close(later); <-end })
			}
		}
		store := n.store()
		src := n.source(store, source.Spec{})
		n.begin()
		<-met
		_, err := n.Update(t.Context(), n.me, store, src.ID, &bosses, nil)
		check(t, err)
		seen := func(when string) {
			t.Helper()
			files, _, err := n.vectors.ListFiles(t.Context(), developer, store, vectorstore.FileQuery{Page: vectorstore.Page{Limit: 100}})
			if err != nil || len(files) > 0 {
				t.Errorf("%s a developer sees %d documents: %v", when, len(files), err)
			}
		}
		seen("at once")
		close(goOn)
		<-later
		seen("later")
		close(end)
		n.want("in the end", did(n.ended(src, 2)), "+0 ~50 -0 =70 !0") // those that were there
		seen("in the end")
	})
}
