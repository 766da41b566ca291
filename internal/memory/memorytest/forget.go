package memorytest

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/policy"
)

// rule decides by a function. It is for one goroutine.
type rule func(policy.Request) bool

func (r rule) Decide(_ context.Context, q policy.Request) (policy.Decision, error) {
	return policy.Decision{Allow: r(q), By: "test"}, nil
}

// ruled is a node whose policies are a rule.
func (f *serviceFixture) ruled(r rule) *memory.Service {
	return memory.NewService(memory.Config{Documents: f.s, Store: f.s, Policy: r, Now: time.Now})
}

func (f *serviceFixture) user(id string) stead.Principal {
	p := f.me
	p.Kind, p.ID = stead.PrincipalUser, id
	return p
}

// another makes a second store.
func (f *serviceFixture) another() string {
	f.Helper()
	made, err := f.CreateStore(f.ctx, f.me, memory.StoreFields{Name: "other"}, "")
	if err != nil {
		f.Fatal(err)
	}
	return made.ID
}

// is checks that reading an entry ends in a kind of error; "": in none.
func (f *serviceFixture) is(when string, want stead.Kind, store, id string) {
	f.Helper()
	if _, err := f.Get(f.ctx, f.me, store, id); stead.KindOf(err) != want {
		f.Errorf("%s the memory: %v, want %q", when, err, want)
	}
}

// writtenByHand: that a session says what a person wrote changes nothing about the person's memory, and the session takes it
// nowhere. Entries that got sessions as their sources before that was so stay too.
func writtenByHand(f *serviceFixture) {
	made := f.add(note("The deploy window is Tuesday."), note("The bank is closed on Friday."))
	if got := f.learn(sessionA, 7, lesson(sessionA, "", "The deploy window is Tuesday.", "1")); !reflect.DeepEqual(got, memory.Taught{Merged: 1}) {
		f.Errorf("a session that repeats it has %+v", got)
	}
	if e, err := f.Get(f.ctx, f.me, f.store, made[0].ID); err != nil || e.Version != 1 {
		f.Errorf("the person's memory is %+v, %v", e, err)
	}
	old := made[1].Content
	old.Sources = []memory.Source{{Session: string(sessionA), Item: "1"}, {Session: string(sessionB), Item: "1"}}
	data, err := json.Marshal(old)
	if err != nil {
		f.Fatal(err)
	}
	place := memory.Place{Project: f.me.Project, Store: f.store}
	if _, err := f.s.WriteMemories(f.ctx, place, []memory.Change{{Record: memory.Record{Place: place, ID: made[1].ID, UpdatedAt: 1, Data: data}, Expected: 1}}); err != nil {
		f.Fatal(err)
	}
	for _, session := range []stead.SessionID{sessionA, sessionB} {
		if got, err := f.ForgetSession(f.ctx, f.me, string(session), ""); err != nil || got != (memory.Forgotten{Changed: 1}) {
			f.Errorf("forgetting %s: %+v, %v", session, got, err)
		}
	}
	for _, e := range made {
		f.is("Without the sessions", "", f.store, e.ID)
	}
	if e, err := f.Get(f.ctx, f.me, f.store, made[1].ID); err != nil || len(e.Sources) != 0 {
		f.Errorf("it still says that it comes from %+v, %v", e.Sources, err)
	}
}

// derivedWithinReach: forgetting an item takes along what was derived from it, where whoever forgets it could forget that as
// well. An item that only says where it comes from takes nothing along.
func derivedWithinReach(f *serviceFixture) {
	other := f.another()
	n := f.ruled(func(r policy.Request) bool {
		return r.Principal.ID != "eve" || !(r.Effect == policy.MemoryWrite && r.Resource == other || r.Effect == policy.MemoryEntryRead && slices.Contains(r.Entry.Labels, "board"))
	})
	eve := f.user("eve")
	forged := memory.New{Content: memory.Content{Kind: memory.KindItem, Text: "x", Confidence: 1, Importance: 0.5, Source: memory.Source{Session: string(sessionA), Item: "1"}}}
	board := lesson(sessionA, "", "The board meets in Rome.", "1")
	board.Labels = []string{"board"}
	f.learn(sessionA, 7, lesson(sessionA, "", "The code changes on Mondays.", "1"), board)
	agent := f.user(string(sessionA))
	agent.Kind = stead.PrincipalAgent
	if _, err := f.Learn(f.ctx, agent, other, sessionA, 8, []memory.Lesson{lesson(sessionA, "", "The vault is in the cellar.", "1")}); err != nil {
		f.Fatal(err)
	}
	count := func(store string) int {
		list, _, err := f.List(f.ctx, f.me, store, "", 100, false)
		if err != nil {
			f.Fatal(err)
		}
		return len(list)
	}
	made, err := n.Add(f.ctx, eve, f.store, []memory.New{forged}, "")
	if err != nil {
		f.Fatal(err)
	}
	if err := n.Forget(f.ctx, eve, f.store, made[0].ID, memory.AnyVersion); err != nil || count(f.store) != 2 || count(other) != 1 {
		f.Fatalf("a forged item took along what was not its own: %d and %d are left, %v", count(f.store), count(other), err)
	}
	forget := func(p stead.Principal, n *memory.Service, left, leftOther int) {
		f.Helper()
		store := f.another()
		if _, err := n.Ingest(f.ctx, p, store, []memory.Content{forged.Content}); err != nil {
			f.Fatal(err)
		}
		list, _, err := f.List(f.ctx, f.me, store, "", 1, false)
		if err != nil || len(list) != 1 {
			f.Fatal(list, err)
		}
		if err := n.Forget(f.ctx, p, store, list[0].ID, memory.AnyVersion); err != nil {
			f.Fatal(err)
		}
		if a, b := count(f.store), count(other); a != left || b != leftOther {
			f.Errorf("when %s had forgotten an item, %d and %d memories are left, want %d and %d", p.ID, a, b, left, leftOther)
		}
	}
	forget(agent, f.Service, 2, 1) // an agent forgets in the stores that it was given
	forget(eve, n, 1, 1)           // not in a store that she may not write, and not what she does not see
	forget(f.me, f.Service, 0, 0)
}

// deletedByWhoSees: neither a store nor what a filter selects goes with what whoever deletes it does not see; erasing is another thing.
func deletedByWhoSees(f *serviceFixture) {
	ada := f.add(labelled("ada likes tea", memory.Scope{Type: memory.ScopeUser, ID: "ada"}))[0]
	bob := f.user("bob")
	bob.Bound = true
	if err := f.DeleteStore(f.ctx, bob, f.store); stead.KindOf(err) != stead.KindForbidden {
		f.Errorf("a bound key deletes a store with another user's memories: %v", err)
	}
	f.is("After a bound key", "", f.store, ada.ID)
	own := f.another()
	if _, err := f.Add(f.ctx, bob, own, []memory.New{labelled("bob likes milk", memory.Scope{Type: memory.ScopeUser, ID: "bob"})}, ""); err != nil {
		f.Fatal(err)
	}
	if err := f.DeleteStore(f.ctx, bob, own); err != nil {
		f.Errorf("a bound key deletes a store of its own: %v", err)
	}
	secret := f.add(labelled("anna earns much", memory.Scope{}, "salary"))[0]
	n := f.ruled(func(r policy.Request) bool {
		return r.Effect != policy.MemoryEntryRead || !slices.Contains(r.Entry.Labels, "salary")
	})
	if err := n.DeleteStore(f.ctx, f.me, f.store); stead.KindOf(err) != stead.KindForbidden {
		f.Errorf("a store is deleted by who does not see all of it: %v", err)
	}
	if done, err := n.ForgetMatching(f.ctx, f.me, f.store, memory.Filter{Labels: []string{"salary"}}); done != 0 || err != nil {
		f.Errorf("%d memories are forgotten by who does not see them, %v", done, err)
	}
	if done, _, err := n.ForgetEverywhere(f.ctx, f.me, memory.Filter{Labels: []string{"salary"}}); done != 0 || err != nil {
		f.Errorf("%d memories are forgotten everywhere by who does not see them, %v", done, err)
	}
	f.is("Afterwards", "", f.store, secret.ID)
	l := &ledger{}
	if err := n.Erase(f.ctx, f.me, memory.Filter{Labels: []string{"salary"}}, l.counting(&mortal{})); l.n != 1 || err != nil {
		f.Errorf("erased are %d, %v", l.n, err)
	}
}

// sortsApart: decisions about one sort of entries say nothing about another one, and no name holds a NUL.
func sortsApart(f *serviceFixture) {
	n := f.ruled(func(r policy.Request) bool {
		return r.Effect != policy.MemoryEntryRead || !slices.Contains(r.Entry.Labels, "salary")
	})
	hidden := f.add(labelled("anna earns much", memory.Scope{}, "hr", "salary"))[0]
	for field, c := range map[string]memory.New{
		"labels[0]": labelled("x", memory.Scope{}, "hr\x00salary"), "scope.id": labelled("x", memory.Scope{Type: memory.ScopeTeam, ID: "a\x00b"}),
		"source.item_id": {Content: memory.Content{Text: "x", Source: memory.Source{Item: "a\x00b"}}},
	} {
		if _, err := f.Add(f.ctx, f.me, f.store, []memory.New{c}, ""); stead.KindOf(err) != stead.KindInvalid {
			f.Errorf("%s with a NUL: %v", field, err)
		}
	}
	// One that is there since before they were refused.
	c := note("what anna earns").Content
	c.Kind, c.Labels = memory.KindFact, []string{"hr\x00salary"}
	data, err := json.Marshal(c)
	if err != nil {
		f.Fatal(err)
	}
	place := memory.Place{Project: f.me.Project, Store: f.store}
	if _, err := f.s.WriteMemories(f.ctx, place, []memory.Change{{Record: memory.Record{Place: place, ID: "mem_0", CreatedAt: 1, UpdatedAt: 1, Data: data}}}); err != nil {
		f.Fatal(err)
	}
	list, _, err := n.List(f.ctx, f.me, f.store, "", 10, false)
	if err != nil || len(list) != 1 || list[0].ID == hidden.ID {
		f.Errorf("listed are %+v, %v", list, err)
	}
	found, err := n.Search(f.ctx, f.me, f.store, memory.Search{Query: "anna earns"})
	if err != nil || len(found.Hits) != 1 || found.Hits[0].ID == hidden.ID {
		f.Errorf("found are %+v, %v", found.Hits, err)
	}
}

// forgottenLate: what a write that was under way leaves behind a deletion goes when it is looked again, by whichever node; of
// a session that is there after all nothing goes.
func forgottenLate(f *serviceFixture) {
	now := time.Now()
	alive := map[stead.SessionID]bool{"sess_2": true}
	n := memory.NewService(memory.Config{Documents: f.s, Store: f.s, Policy: all{}, Now: func() time.Time { return now },
		Gone: func(_ context.Context, _ stead.ProjectID, id stead.SessionID) (bool, error) { return !alive[id], nil }})
	said := func(session, text string) memory.New {
		c := note(text)
		c.Source = memory.Source{Session: session, Item: "msg_" + text}
		return c
	}
	for _, session := range []string{"sess_1", "sess_2"} {
		if _, err := n.ForgetSession(f.ctx, f.me, session, ""); err != nil {
			f.Fatal(err)
		}
	}
	f.add(said("sess_1", "late"), said("sess_2", "said when it was not deleted after all"))
	if done, err := n.SweepForgotten(f.ctx); done != 0 || err != nil {
		f.Fatalf("at once: %d, %v", done, err)
	}
	now = now.Add(time.Minute)
	if done, err := n.SweepForgotten(f.ctx); done != 2 || err != nil {
		f.Fatalf("a minute later: %d, %v", done, err)
	}
	if got := f.find(memory.Search{Query: "late said deleted"}); len(got) != 1 || !strings.HasPrefix(got[0], "said") {
		f.Errorf("left is %q", got)
	}
	f.add(said("sess_1", "later"))
	now = now.Add(time.Hour)
	if done, err := n.SweepForgotten(f.ctx); done != 1 || err != nil {
		f.Fatalf("an hour later: %d, %v", done, err)
	}
	if got := f.find(memory.Search{Query: "later"}); len(got) != 0 {
		f.Errorf("left is %q", got)
	}
	now = now.Add(24 * time.Hour)
	if done, err := n.SweepForgotten(f.ctx); done != 0 || err != nil {
		f.Errorf("a note stays: %d, %v", done, err)
	}
}
