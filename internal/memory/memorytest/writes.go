package memorytest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/policy"
)

// writtenByPolicy: what is written is decided by its scope, kind and labels, in whatever way it is written; what may not be written stays as
// it is.
func writtenByPolicy(f *serviceFixture) {
	mine := memory.Scope{Type: memory.ScopeUser, ID: "ada"}
	asked := 0
	n := f.ruled(func(r policy.Request) bool {
		if r.Effect != policy.MemoryEntryWrite {
			return true
		}
		asked++
		return r.Entry.ScopeType != memory.ScopeProject && r.Entry.Kind != string(memory.KindProcedure) && !slices.Contains(r.Entry.Labels, "board")
	})
	shared, board := f.add(note("what all know"))[0], f.add(labelled("what the board knows", mine, "board"))[0]
	refused := func(what string, err error) {
		f.Helper()
		if stead.KindOf(err) != stead.KindForbidden {
			f.Errorf("%s: %v", what, err)
		}
	}
	many := make([]memory.New, 20)
	for i := range many {
		many[i] = labelled("something of one's own", mine)
	}
	made, err := n.Add(f.ctx, f.me, f.store, many, "")
	if err != nil || asked != 1 {
		f.Errorf("%v; policies were asked %d times about one sort of entries", err, asked)
	}
	_, err = n.Add(f.ctx, f.me, f.store, []memory.New{labelled("one's own", mine), note("for all")}, "")
	refused("one of two for all", err)
	over := labelled("not what the board knows", mine)
	over.Supersedes = board.ID
	_, err = n.Add(f.ctx, f.me, f.store, []memory.New{over}, "")
	refused("what supersedes another's", err)
	say := func(text string) func(*memory.Content) error {
		return func(c *memory.Content) error { c.Text = text; return nil }
	}
	_, err = n.Update(f.ctx, f.me, f.store, shared.ID, memory.AnyVersion, say("what nobody knows"))
	refused("changed", err)
	_, err = n.Update(f.ctx, f.me, f.store, made[0].ID, memory.AnyVersion, func(c *memory.Content) error { c.Labels = []string{"board"}; return nil })
	refused("changed to what may not be written", err)
	_, err = n.Redact(f.ctx, f.me, f.store, shared.ID, memory.AnyVersion)
	refused("redacted", err)
	refused("forgotten", n.Forget(f.ctx, f.me, f.store, shared.ID, memory.AnyVersion))
	_, err = n.Ingest(f.ctx, f.me, f.store, []memory.Content{{Kind: memory.KindItem, Text: "said to all", Source: memory.Source{Session: string(sessionA), Item: "1"}}})
	refused("taken in", err)
	procedure := lesson(sessionA, "", "Refunds are made by the desk.", "1")
	procedure.Kind, procedure.Scope = memory.KindProcedure, mine
	fact, said := lesson(sessionA, "", "The desk is on the third floor.", "2"), lesson(sessionA, "", "What the board knows is old.", "3")
	fact.Scope, said.Scope, said.Supersedes = mine, mine, board.ID
	if done, err := n.Learn(f.ctx, f.me, f.store, sessionA, 7, []memory.Lesson{procedure, fact, said}); err != nil || done.Added != 2 || done.Superseded != 0 || len(done.Refused) != 1 || done.Refused[0].Kind != memory.KindProcedure || !strings.Contains(done.Refused[0].Why, "policy") {
		f.Errorf("learned %+v, %v: what may be written is kept", done, err)
	}
	if gone, err := n.ForgetMatching(f.ctx, f.me, f.store, memory.Filter{Kinds: []memory.Kind{memory.KindFact}}); err != nil || gone != len(many)+2 {
		f.Errorf("%d were forgotten, %v", gone, err)
	}
	for _, was := range []memory.Entry{shared, board} {
		if e, err := f.Get(f.ctx, f.me, f.store, was.ID); err != nil || e.Version != was.Version || e.Text != was.Text || e.SupersededBy != "" {
			f.Errorf("what may not be written is %+v, %v", e, err)
		}
	}
}

// reading notes how many memories are listed at once.
type reading struct {
	memory.Store
	most int
}

func (r *reading) ListMemories(ctx context.Context, q memory.Query) ([]memory.Record, error) {
	r.most = max(r.most, q.Limit)
	return r.Store.ListMemories(ctx, q)
}

// forgetMany: what a filter selects is counted, listed and forgotten, and nothing else.
func forgetMany(f *serviceFixture) {
	var in []memory.New
	for i := range 450 {
		n := note(fmt.Sprintf("remark %d", i))
		n.Scope = memory.Scope{Type: "user", ID: fmt.Sprint("user", i%3)}
		in = append(in, n)
	}
	f.add(in...)
	of := memory.Filter{Scopes: []memory.Scope{{Type: "user", ID: "user1"}}}
	if n, stores, err := f.WouldForget(f.ctx, f.me, "", of); err != nil || n != 150 || stores != 1 {
		f.Fatalf("it would forget %d in %d stores, %v", n, stores, err)
	}
	hidden := f.ruled(func(q policy.Request) bool { return q.Effect != policy.MemoryEntryWrite })
	if n, _, err := hidden.WouldForget(f.ctx, f.me, f.store, of); err != nil || n != 0 {
		f.Fatalf("of what may not be written it would forget %d, %v", n, err)
	}
	after := ""
	for page := range 4 { // of 40 each, and the last one of 30
		found, more, err := f.ListMatching(f.ctx, f.me, f.store, of, 0, after, 40, false)
		if err != nil || len(found) != min(40, 150-page*40) || more != (page < 3) || found[0].Scope.ID != "user1" {
			f.Fatalf("page %d has %d, more %t, %v", page, len(found), more, err)
		}
		after = found[len(found)-1].ID
	}
	read := &reading{Store: f.s}
	door := memory.NewService(memory.Config{Documents: f.s, Store: read, Policy: all{}, Now: time.Now})
	if found, more, err := door.ListMatching(f.ctx, f.me, f.store, memory.Filter{Superseded: true}, 0, "", 20, false); err != nil || len(found) != 20 || !more || read.most != 21 {
		f.Fatalf("a page of %d, more %t, reads %d at once, %v", len(found), more, read.most, err)
	}
	n, err := f.ForgetMatching(f.ctx, f.me, f.store, of)
	if err != nil || n != 150 {
		f.Fatalf("forgot %d, %v", n, err)
	}
	found, err := f.Search(f.ctx, f.me, f.store, memory.Search{Query: "remark", Limit: 100})
	hits := found.Hits
	if err != nil || len(hits) == 0 || slices.ContainsFunc(hits, func(h memory.Hit) bool { return h.Scope.ID == "user1" }) {
		f.Fatalf("%d found, %v", len(hits), err)
	}
	if _, err := f.ForgetMatching(f.ctx, f.me, f.store, memory.Filter{}); stead.KindOf(err) != stead.KindInvalid {
		f.Fatalf("everything by an empty filter: %v", err)
	}
}
