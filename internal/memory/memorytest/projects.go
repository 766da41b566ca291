package memorytest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

// side is one of two projects that have the same people, sessions and words, and whose entries say which they are of.
type side struct {
	by      stead.Principal
	mark    string // is in every text
	store   string
	entries []memory.Entry
}

// leaksToProjects fuzzes: whatever one project asks with ids, stores, sessions and filters of another one that looks like it, it
// gets at nothing of it, is not told that it is there, and changes nothing there.
func leaksToProjects(f *serviceFixture) {
	m := &thesaurus{calls: map[string]int{}, now: time.Now()}
	n, e := f.with(m, f.s)
	sides := []*side{{by: f.me, mark: "zinnober"}, {by: stead.Principal{Project: "other", Kind: f.me.Kind, ID: f.me.ID}, mark: "karmesin"}}
	for _, s := range sides {
		info, err := n.CreateStore(f.ctx, s.by, memory.StoreFields{Name: "notes"}, "")
		if err != nil {
			f.Fatal(err)
		}
		s.store = info.ID
		var all []memory.New
		for i := range 60 {
			one := labelled(fmt.Sprintf("car number%d %s", i, s.mark), memory.Scope{Type: memory.ScopeUser, ID: "anna"})
			one.Source = memory.Source{Session: "sess_1", Item: fmt.Sprint("item_", i), Index: int64(i)}
			all = append(all, one)
		}
		if s.entries, err = n.Add(f.ctx, s.by, s.store, all, ""); err != nil {
			f.Fatal(err)
		}
	}
	f.work(e)
	before := texts(f, n, sides[1])
	rng := rand.New(rand.NewPCG(7, 11))
	for range 400 {
		probe(f, n, rng, sides[0], sides[1])
	}
	// The people and the sessions of both have the same ids.
	if gone, err := n.ForgetSession(f.ctx, sides[0].by, "sess_1", ""); err != nil || gone.Removed == 0 {
		f.Fatalf("of the session %+v is forgotten, %v", gone, err)
	}
	if _, _, err := n.ForgetEverywhere(f.ctx, sides[0].by, memory.Filter{Scopes: []memory.Scope{{Type: memory.ScopeUser, ID: "anna"}}}); err != nil {
		f.Fatal(err)
	}
	if after := texts(f, n, sides[1]); !slices.Equal(before, after) {
		f.Errorf("another project changed what is here: %d entries, and they were %d", len(after), len(before))
	}
}

// probe makes one call of a project with what is another's.
func probe(f *serviceFixture, n *memory.Service, rng *rand.Rand, mine, theirs *side) {
	f.Helper()
	store := []string{mine.store, theirs.store}[rng.IntN(2)]
	id := theirs.entries[rng.IntN(len(theirs.entries))].ID
	var shown any
	var err error
	nowhere := true // nothing is there for them
	what := rng.IntN(11)
	switch what {
	case 0:
		shown, err = n.Get(f.ctx, mine.by, store, id)
	case 1:
		shown, err = n.History(f.ctx, mine.by, store, id)
	case 2:
		shown, err = n.Update(f.ctx, mine.by, store, id, memory.AnyVersion, func(c *memory.Content) error {
			shown, c.Text = *c, "taken over"
			return nil
		})
	case 3:
		shown, err = n.Redact(f.ctx, mine.by, store, id, memory.AnyVersion)
	case 4:
		err = n.Forget(f.ctx, mine.by, store, id, memory.AnyVersion)
	case 5:
		shown, _, err = n.List(f.ctx, mine.by, store, id, 1+rng.IntN(100), rng.IntN(2) == 0) // its id as a cursor
		nowhere = store == theirs.store
	case 6:
		shown, err = n.GetStore(f.ctx, mine.by, theirs.store)
		store = theirs.store
	case 7:
		shown, err = n.Search(f.ctx, mine.by, store, memory.Search{Query: theirs.mark + " automobile", Limit: 1 + rng.IntN(100)})
		nowhere = store == theirs.store
	case 8:
		shown, err = n.SearchMany(f.ctx, mine.by, memory.Many{Stores: []string{store}, Search: memory.Search{Query: theirs.mark + " car", Around: rng.IntN(3)}})
		nowhere = store == theirs.store
	case 9:
		one := note("an heir")
		one.Supersedes = id
		shown, err = n.Add(f.ctx, mine.by, store, []memory.New{one}, "")
	case 10:
		err = n.DeleteStore(f.ctx, mine.by, theirs.store)
		store = theirs.store
	}
	if said := fmt.Sprintf("%+v %v", shown, err); strings.Contains(said, theirs.mark) && !strings.Contains(fmt.Sprint(err), theirs.store) {
		f.Fatalf("call %d says %s", what, said)
	}
	if nowhere && err == nil {
		f.Fatalf("call %d with %s of another project finds %+v", what, store, shown)
	}
}

// texts are all that a project has.
func texts(f *serviceFixture, n *memory.Service, s *side) (out []string) {
	f.Helper()
	all, more, err := n.List(f.ctx, s.by, s.store, "", 100, false)
	if err != nil || more {
		f.Fatal(err, more)
	}
	for _, e := range all {
		out = append(out, fmt.Sprintf("%s %d %s", e.ID, e.Version, e.Text))
	}
	return out
}
