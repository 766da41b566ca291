package memorytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

var errDied = errors.New("the node died")

// mortal is a store whose node dies behind one of the calls that erasing makes: that one is made and not answered, no other is made.
type mortal struct {
	memory.Store
	calls, dieAt int
}

func (m *mortal) step(do func() error) error {
	if m.dieAt > 0 && m.calls >= m.dieAt {
		return errDied
	}
	err := do()
	if m.calls++; m.calls == m.dieAt {
		return errDied
	}
	return err
}

func (m *mortal) WriteMemories(ctx context.Context, p memory.Place, c []memory.Change) (out []memory.Record, err error) {
	err = m.step(func() (err error) { out, err = m.Store.WriteMemories(ctx, p, c); return err })
	return out, err
}

func (m *mortal) FollowedShowing(ctx context.Context, s memory.Showing, due int64) error {
	return m.step(func() error { return m.Store.FollowedShowing(ctx, s, due) })
}

// ledger is a Book that is kept when the node dies.
type ledger struct {
	begun, made, gone []memory.Ref
	n                 int
}

func (l *ledger) book(m *mortal) memory.Book {
	return memory.Book{
		Means: func(refs []memory.Ref) error { return m.step(func() error { l.begun = refs; return nil }) },
		Went: func(gone []memory.Ref) error {
			return m.step(func() error { l.begun, l.gone, l.n = nil, append(l.gone, gone...), l.n+len(gone); return nil })
		},
		Counting: *l.counting(m),
	}
}

func (l *ledger) counting(m *mortal) *memory.Counting {
	return &memory.Counting{
		Makes: func(refs []memory.Ref) error { return m.step(func() error { l.made = refs; return nil }) },
		Made:  func(n int) error { return m.step(func() error { l.made, l.n = nil, l.n+n; return nil }) },
	}
}

// erasedWhole: wherever the node dies that erases a scope, or an entry, whoever goes on has a list of all that was meant, each once, what
// was made of it is gone as well, and all of it is counted.
func erasedWhole(f *serviceFixture) {
	for at, calls := 0, 0; at <= calls; at++ { // 0: nobody dies, to know how many calls there are
		for i, left := range []string{"Nine is blue.; Nine.; Red stays.; The budget of blue is nine.", "Red stays."} {
			x := f.blue(2*at + i)[i]
			l, m := &ledger{}, &mortal{Store: f.s, dieAt: at}
			n := memory.NewService(memory.Config{Documents: f.s, Store: m, Policy: all{}, Now: time.Now})
			want := f.meant(x)
			err := n.EraseNow(f.ctx, f.me, x, nil, nil, l.book(m))
			if calls = max(calls, m.calls); at == 0 && err != nil {
				f.Fatalf("%s: %v", x, err)
			}
			m.dieAt = 0
			for range 2 { // a second time, as by a node that was slow
				if err := n.EraseNow(f.ctx, f.me, x, l.begun, l.made, l.book(m)); err != nil {
					f.Fatal(err)
				}
			}
			var got []string
			for _, r := range l.gone {
				got = append(got, r.ID)
			}
			if slices.Sort(got); !slices.Equal(got, want) || l.n != []int{3, 6}[i] {
				f.Errorf("death at %d: erasing %s has %q on its list, not %q, and counts %d", at, x, got, want, l.n)
			}
			f.left(fmt.Sprintf("Behind a death at %d, erasing %s,", at, x), left)
		}
	}
}

// forgottenWhole: wherever the node dies that forgets an item, with or without what it is cited by, or what a filter selects, whoever asks for it
// again leaves nothing that was made of it; and of what is erased of a user all is counted.
func forgottenWhole(f *serviceFixture) {
	blue := []memory.Scope{{Type: memory.ScopeTeam, ID: "blue"}}
	const beside = "Nine is blue.; Nine.; Red stays.; The budget of blue is nine."
	ways := []struct {
		name, left string
		counts     int
		do         func(n *memory.Service, l *ledger, m *mortal, item, lesson string) error
	}{
		{"a deletion", beside, 0, func(n *memory.Service, _ *ledger, _ *mortal, item, _ string) error {
			return n.Forget(f.ctx, f.me, f.store, item, memory.AnyVersion)
		}},
		{"a deletion with what is cited", beside, 0, func(n *memory.Service, _ *ledger, _ *mortal, _, lesson string) error {
			_, err := n.ForgetSaid(f.ctx, f.me, f.store, lesson, memory.AnyVersion)
			return err
		}},
		{"a filter", "Red stays.", 0, func(n *memory.Service, _ *ledger, _ *mortal, _, _ string) error {
			_, err := n.ForgetMatching(f.ctx, f.me, f.store, memory.Filter{Scopes: blue})
			return err
		}},
		{"a filter in all stores", "Red stays.", 0, func(n *memory.Service, _ *ledger, _ *mortal, _, _ string) error {
			_, _, err := n.ForgetEverywhere(f.ctx, f.me, memory.Filter{Scopes: blue})
			return err
		}},
		{"an erasure of whose they are", "Red stays.", 6, func(n *memory.Service, l *ledger, m *mortal, _, _ string) error {
			if err := n.Counted(f.ctx, f.me.Project, l.made, *l.counting(m)); err != nil {
				return err
			}
			return n.Erase(f.ctx, f.me, memory.Filter{Scopes: blue}, l.counting(m))
		}},
	}
	run := 1 << 12
	for _, way := range ways {
		for at, calls := 0, 0; at <= calls; at++ { // 0: nobody dies
			run++
			item := f.blue(run)[0].ID
			lesson, l, m := f.id("The user is of blue."), &ledger{}, &mortal{Store: f.s, dieAt: at}
			n := memory.NewService(memory.Config{Documents: f.s, Store: m, Policy: all{}, Now: time.Now})
			err := way.do(n, l, m, item, lesson)
			if calls = max(calls, m.calls); at == 0 && err != nil {
				f.Fatalf("%s: %v", way.name, err)
			}
			m.dieAt = 0
			if err := way.do(n, l, m, item, lesson); err != nil && stead.KindOf(err) != stead.KindNotFound {
				f.Fatalf("%s, again behind a death at %d: %v", way.name, at, err)
			}
			if err := n.Follow(f.ctx, f.me.Project); err != nil { // as nodes do by themselves
				f.Fatal(err)
			}
			if l.n != way.counts {
				f.Errorf("%s, with a death at %d, counts %d", way.name, at, l.n)
			}
			f.left(fmt.Sprintf("Behind a death at %d, by %s,", at, way.name), way.left)
		}
	}
}

// blue fills a store, of which an entry and then a scope is to be erased.
func (f *serviceFixture) blue(run int) []memory.Erasing {
	f.Helper()
	f.store = f.another()
	blue := memory.Scope{Type: memory.ScopeTeam, ID: "blue"}
	said, heard := stead.SessionID(fmt.Sprintf("sess_%031xa", run)), stead.SessionID(fmt.Sprintf("sess_%031xb", run))
	of := func(s memory.Scope, c memory.Content) memory.Content { c.Scope = s; return c }
	f.ingest(of(blue, spoken(said, 3, stead.RoleUser, "Blue meets on Monday.")))
	mine, other := made(said, 4, "The user is of blue.", 3), made(said, 4, "Somebody meets on Monday.", 3)
	mine.Scope = blue
	f.learn(said, 4, mine, other)
	f.add(memory.New{Content: of(blue, note("The budget of blue is nine.").Content)}, note("Red stays."))
	f.show(heard, 1, f.id("The budget of blue is nine."))
	f.ingest(spoken(heard, 2, stead.RoleAssistant, "Nine."), of(blue, spoken(heard, 3, stead.RoleAssistant, "Nine is blue.")))
	return []memory.Erasing{{Store: f.store, ID: f.id("Blue meets on Monday.")}, {Store: f.store, Scope: blue}}
}

// meant are the ids of what is to be erased.
func (f *serviceFixture) meant(x memory.Erasing) (ids []string) {
	for _, e := range f.entries() {
		if e.ID == x.ID || x.ID == "" && e.Scope == x.Scope {
			ids = append(ids, e.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// hasty is a store in which a memory goes before its versions are read.
type hasty struct{ memory.Store }

func (h hasty) MemoryVersions(ctx context.Context, p memory.Place, id string) ([]memory.Record, error) {
	gone := memory.Change{Record: memory.Record{Place: p, ID: id, UpdatedAt: time.Now().UnixMilli()}, Expected: memory.AnyVersion}
	if _, err := h.WriteMemories(ctx, p, []memory.Change{gone}); err != nil {
		return nil, err
	}
	return h.Store.MemoryVersions(ctx, p, id)
}

// forgottenTwice: what two forget at once is forgotten, and no error of either.
func forgottenTwice(f *serviceFixture) {
	f.ingest(spoken(sessionA, 3, stead.RoleUser, "Okapi is cancelled."))
	n := memory.NewService(memory.Config{Documents: f.s, Store: hasty{f.s}, Policy: all{}, Now: time.Now})
	if got, err := n.ForgetSession(f.ctx, f.me, string(sessionA), ""); err != nil || got != (memory.Forgotten{}) {
		f.Errorf("what another one has forgotten by then: %+v, %v", got, err)
	}
	f.left("Behind both", "")
}

// forgottenWithSaid: with a memory go the messages that it cites, where that is wanted, of the version that was seen.
func forgottenWithSaid(f *serviceFixture) {
	for _, said := range []bool{false, true} {
		f.store = f.another()
		f.ingest(spoken(sessionA, 3, stead.RoleUser, "My locker is seventy."), spoken(sessionA, 4, stead.RoleUser, "I like tea."))
		f.learn(sessionA, 5, made(sessionA, 5, "The locker is seventy.", 3))
		fact := f.id("The locker is seventy.")
		if n, err := f.ForgetSaid(f.ctx, f.me, f.store, fact, 7); n != 0 || stead.KindOf(err) != stead.KindConflict {
			f.Errorf("of another version: %d, %v", n, err)
		}
		left := "I like tea."
		if said {
			if n, err := f.ForgetSaid(f.ctx, f.me, f.store, fact, 1); n != 1 || err != nil {
				f.Errorf("with what was said: %d, %v", n, err)
			}
		} else {
			left += "; My locker is seventy."
			if err := f.Forget(f.ctx, f.me, f.store, fact, 1); err != nil {
				f.Error(err)
			}
		}
		f.left(fmt.Sprintf("With what was said: %t,", said), left)
	}
}
