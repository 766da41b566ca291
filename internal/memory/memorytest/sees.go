package memorytest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/policy"
)

// decider lets nobody see entries that a rule is about, and counts what it is asked. It is for one goroutine.
type decider struct {
	hides func(policy.Request) bool
	asked int
	down  bool
}

func (d *decider) Decide(_ context.Context, r policy.Request) (policy.Decision, error) {
	if r.Effect != policy.MemoryEntryRead {
		return policy.Decision{Allow: true, By: "test"}, nil
	}
	d.asked++
	if d.down {
		return policy.Decision{}, fmt.Errorf("no decision")
	}
	return policy.Decision{Allow: !d.hides(r), By: "test"}, nil
}

func (f *serviceFixture) governed(d *decider) *memory.Service {
	return memory.NewService(memory.Config{Documents: f.s, Store: f.s, Policy: d, Now: time.Now})
}

func labelled(text string, scope memory.Scope, labels ...string) memory.New {
	n := note(text)
	n.Scope, n.Labels = scope, labels
	return n
}

// hiddenByPolicy: what a policy hides is nowhere, and policies are asked once for all that look alike.
func hiddenByPolicy(f *serviceFixture) {
	d := &decider{hides: func(r policy.Request) bool { return slices.Contains(r.Entry.Labels, "salary") }}
	n := f.governed(d)
	var secret memory.Entry
	for i := range 40 {
		f.add(labelled(fmt.Sprintf("remark %d about the budget", i), memory.Scope{}))
		if i%10 == 0 {
			secret = f.add(labelled(fmt.Sprintf("remark %d about the budget of anna", i), memory.Scope{}, "salary"))[0]
		}
	}
	found, err := n.Search(f.ctx, f.me, f.store, memory.Search{Query: "remark about the budget of anna", Limit: 30})
	if err != nil || len(found.Hits) != 30 {
		f.Fatalf("%d hits, %v: what is hidden takes no place", len(found.Hits), err)
	}
	for _, h := range found.Hits {
		if strings.Contains(h.Text, "anna") {
			f.Errorf("found: %s", h.Text)
		}
	}
	if asked := d.asked; asked != 2 {
		f.Errorf("policies were asked %d times about two sorts of entries", asked)
	}
	if _, err := n.Get(f.ctx, f.me, f.store, secret.ID); stead.KindOf(err) != stead.KindNotFound {
		f.Errorf("read by its id: %v", err)
	}
	if _, err := n.History(f.ctx, f.me, f.store, secret.ID); stead.KindOf(err) != stead.KindNotFound {
		f.Errorf("its history: %v", err)
	}
	if _, err := n.Update(f.ctx, f.me, f.store, secret.ID, memory.AnyVersion, func(c *memory.Content) error { c.Labels = nil; return nil }); stead.KindOf(err) != stead.KindNotFound {
		f.Errorf("its label was taken off by somebody who does not see it: %v", err)
	}
	if err := n.Forget(f.ctx, f.me, f.store, secret.ID, memory.AnyVersion); stead.KindOf(err) != stead.KindNotFound {
		f.Errorf("forgotten by its id: %v", err)
	}
	over := note("nobody gets anything")
	over.Supersedes = secret.ID
	if _, err := n.Add(f.ctx, f.me, f.store, []memory.New{over}, ""); stead.KindOf(err) != stead.KindNotFound {
		f.Errorf("superseded: %v", err)
	}
	after, listed := "", 0
	for {
		page, more, err := n.List(f.ctx, f.me, f.store, after, 7, false)
		if err != nil || more && len(page) != 7 {
			f.Fatalf("a page of %d, %v", len(page), err)
		}
		for _, e := range page {
			if listed++; strings.Contains(e.Text, "anna") {
				f.Errorf("listed: %s", e.Text)
			}
			after = e.ID
		}
		if !more {
			break
		}
	}
	if listed != 40 {
		f.Errorf("%d of 40 entries are listed", listed)
	}
	d.down = true
	if found, err := n.Search(f.ctx, f.me, f.store, memory.Search{Query: "remark"}); stead.KindOf(err) != stead.KindUnavailable || len(found.Hits) > 0 {
		f.Errorf("without a decision: %d hits, %v", len(found.Hits), err)
	}
}

// boundToOneself: who comes with a key that is bound sees the memories of no other user, and writes none for another.
func boundToOneself(f *serviceFixture) {
	anna := stead.Principal{Project: f.me.Project, Kind: stead.PrincipalUser, ID: "anna", Bound: true}
	f.add(labelled("tea for anna", memory.Scope{Type: memory.ScopeUser, ID: "anna"}), labelled("tea for everybody", memory.Scope{}))
	bens := f.add(labelled("tea for ben", memory.Scope{Type: memory.ScopeUser, ID: "ben"}))[0]
	texts := func(n *memory.Service, p stead.Principal) string {
		found, err := n.Search(f.ctx, p, f.store, memory.Search{Query: "tea"})
		if err != nil {
			f.Fatal(err)
		}
		var out []string
		for _, h := range found.Hits {
			out = append(out, strings.TrimPrefix(h.Text, "tea for "))
		}
		slices.Sort(out)
		return strings.Join(out, " ")
	}
	if got := texts(f.Service, anna); got != "anna everybody" {
		f.Errorf("anna finds what is for %s", got)
	}
	if got := texts(f.Service, f.me); got != "anna ben everybody" {
		f.Errorf("who is not bound finds what is for %s", got)
	}
	agent := stead.Principal{Project: f.me.Project, Kind: stead.PrincipalAgent, ID: "sess_1", Bound: true}
	if got := texts(f.In(memory.For{Principal: anna}), agent); got != "anna everybody" {
		f.Errorf("an agent that acts for anna finds what is for %s", got)
	}
	if got := texts(f.Service, agent); got != "everybody" {
		f.Errorf("an agent that acts for nobody finds what is for %s", got)
	}
	if got := texts(f.In(memory.For{Principal: f.me, Scopes: memory.SessionScopes("ben", "agent_1", nil)}), agent); got != "everybody" {
		f.Errorf("an agent of ben's that acts for another, bound, finds what is for %s", got)
	}
	if _, err := f.Get(f.ctx, anna, f.store, bens.ID); stead.KindOf(err) != stead.KindNotFound {
		f.Errorf("ben's by its id: %v", err)
	}
	if err := f.Forget(f.ctx, anna, f.store, bens.ID, memory.AnyVersion); stead.KindOf(err) != stead.KindNotFound {
		f.Errorf("ben's is forgotten by anna: %v", err)
	}
	if _, err := f.Add(f.ctx, anna, f.store, []memory.New{labelled("a lie", memory.Scope{Type: memory.ScopeUser, ID: "ben"})}, ""); stead.KindOf(err) != stead.KindForbidden {
		f.Errorf("anna writes for ben: %v", err)
	}
	if n, err := f.ForgetMatching(f.ctx, anna, f.store, memory.Filter{Kinds: []memory.Kind{memory.KindFact}}); err != nil || n != 2 {
		f.Errorf("anna forgets %d, %v", n, err)
	}
	if got := texts(f.Service, f.me); got != "ben" {
		f.Errorf("left is what is for %s", got)
	}
}

// leaksPast fuzzes: whatever is asked, however, nothing comes that a policy hides, or that is out of an agent's scopes, by words or
// by vectors.
func leaksPast(f *serviceFixture) {
	m := &thesaurus{calls: map[string]int{}, now: time.Now()}
	_, e := f.with(m, f.s)
	d := &decider{hides: func(r policy.Request) bool {
		return slices.Contains(r.Entry.Labels, "hidden") || r.Entry.ScopeType == memory.ScopeTeam && r.Entry.ScopeID == "red" || r.Entry.Kind == "episode"
	}}
	n := memory.NewService(memory.Config{Documents: f.s, Store: f.s, Policy: d, Now: time.Now, Embedding: e})
	rng := rand.New(rand.NewPCG(3, 5))
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	scopes := []memory.Scope{{Type: "project"}, {Type: "user", ID: "anna"}, {Type: "user", ID: "ben"}, {Type: "agent", ID: "agent_1"}, {Type: "agent", ID: "agent_2"}, {Type: "team", ID: "red"}, {Type: "team", ID: "blue"}}
	var all []memory.New
	for i := range 300 {
		one := labelled(fmt.Sprintf("%s number%d %s", pick("car", "boat", "surgeon", "lilac"), i, pick("vessel", "doctor", "nothing")), scopes[rng.IntN(len(scopes))])
		one.Kind = memory.Kinds()[rng.IntN(3)]
		if rng.IntN(3) == 0 {
			one.Labels = []string{pick("hidden", "shown")}
		}
		all = append(all, one)
	}
	f.add(all...)
	f.work(e)
	for range 150 {
		user, agentID := pick("anna", "ben"), pick("agent_1", "agent_2")
		by := memory.For{Principal: stead.Principal{Project: f.me.Project, Kind: stead.PrincipalUser, ID: user, Bound: rng.IntN(2) == 0}, Agent: stead.AgentID(agentID)}
		if rng.IntN(3) > 0 {
			by.Scopes = memory.SessionScopes(user, by.Agent, [][]string{nil, {"red"}, {"blue"}}[rng.IntN(3)])
		}
		q := memory.Search{Query: pick("automobile", "ship", "physician", "violet", "car boat", "number7 nothing"), Limit: 1 + rng.IntN(100)}
		if rng.IntN(3) == 0 {
			q.Filter.Scopes = []memory.Scope{scopes[rng.IntN(len(scopes))]}
		}
		found, err := n.In(by).Search(f.ctx, stead.Principal{Project: f.me.Project, Kind: stead.PrincipalAgent, ID: "sess_1"}, f.store, q)
		if err != nil {
			f.Fatal(err)
		}
		for _, h := range found.Hits {
			switch {
			case d.hides(policy.Request{Entry: &policy.Entry{Kind: string(h.Kind), ScopeType: h.Scope.Type, ScopeID: h.Scope.ID, Labels: h.Labels}}):
				f.Fatalf("a policy hides %+v", h.Content)
			case len(by.Scopes) > 0 && !slices.Contains(by.Scopes, h.Scope), by.Principal.Bound && h.Scope.Type == "user" && h.Scope.ID != user:
				f.Fatalf("%+v is out of %+v", h.Content, by)
			case len(q.Filter.Scopes) > 0 && h.Scope != q.Filter.Scopes[0]:
				f.Fatalf("%+v is out of the filter", h.Content)
			}
		}
	}
}

// besideHidden: whoever may not see an item does not find what stands beside it by that one's words.
func besideHidden(f *serviceFixture) {
	d := &decider{hides: func(r policy.Request) bool {
		return r.Principal.ID == "eve" && slices.Contains(r.Entry.Labels, "salary")
	}}
	n := memory.NewService(memory.Config{Documents: f.s, Store: f.s, Policy: d, Now: time.Now})
	var items []memory.New
	for i, text := range []string{"Good morning everybody", "Anna is dismissed and earns ninetythousand", "Lunch is at noon"} {
		it := memory.New{Content: memory.Content{Kind: memory.KindItem, Text: text, Confidence: 1, Importance: .5, Source: memory.Source{Session: string(sessionA), Item: fmt.Sprint(i), Index: int64(i)}}}
		if i == 1 {
			it.Labels = []string{"salary"}
		}
		items = append(items, it)
	}
	f.add(items...)
	for _, tt := range []struct {
		who, query string
		want       int
	}{{"eve", "dismissed", 0}, {"eve", "ninetythousand", 0}, {"eve", "lunch", 1}, {"boss", "dismissed", 3}} {
		found, err := n.Search(f.ctx, f.user(tt.who), f.store, memory.Search{Query: tt.query})
		if err != nil {
			f.Fatal(err)
		}
		if tt.who == "eve" && tt.query == "lunch" {
			found.Hits = slices.DeleteFunc(found.Hits, func(h memory.Hit) bool { return h.Text != "Lunch is at noon" })
		}
		if len(found.Hits) != tt.want {
			f.Errorf("%s finds %d by %q, want %d", tt.who, len(found.Hits), tt.query, tt.want)
		}
	}
}
