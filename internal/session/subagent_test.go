package session_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
)

// eachWithAgents runs a test of journals with subagents.
func eachWithAgents(t *testing.T, seeds uint64, n int, test func(t *testing.T, g *sessiontest.Gen)) {
	made := 0
	for seed := range seeds {
		g := sessiontest.Subagents(seed, n)
		made += len(g.State.Subagents)
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { test(t, g) })
	}
	if made < int(seeds) {
		t.Errorf("only %d subagents in %d journals", made, seeds)
	}
}

// folded is the state of a journal.
func folded(t *testing.T, events []stead.Event) *session.State {
	t.Helper()
	s := session.NewState(sessiontest.Key)
	for _, e := range events {
		if err := s.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// threadsOf are the threads of a session, the root's first.
func threadsOf(v *session.View) []stead.Seq {
	threads := []stead.Seq{0}
	for _, s := range v.Subagents {
		threads = append(threads, s.ID)
	}
	return threads
}

// itemsOf are the first items of a thread.
func itemsOf(t *testing.T, g *sessiontest.Gen, events []stead.Event, thread stead.Seq) []session.Item {
	t.Helper()
	q := session.ItemQuery{Thread: thread, PageQuery: session.PageQuery{Limit: stead.MaxPageSize}}
	page, err := session.ListItems(sessiontest.Key, sessiontest.Reader(events), q, g.Texts)
	if err != nil {
		t.Fatal(err)
	}
	return page.Data
}

// TestThreadsSurviveSnapshots: a state with subagents that was saved and loaded decides the same, and goes on to the same end.
func TestThreadsSurviveSnapshots(t *testing.T) {
	eachWithAgents(t, fewSeeds, 150, func(t *testing.T, g *sessiontest.Gen) {
		straight, loaded := session.NewState(sessiontest.Key), session.NewState(sessiontest.Key)
		for _, e := range g.Events {
			for _, s := range []*session.State{straight, loaded} {
				if err := s.Apply(e); err != nil {
					t.Fatal(err)
				}
			}
			data, err := loaded.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			if loaded, err = session.LoadState(sessiontest.Key, data); err != nil {
				t.Fatal(err)
			}
			want := straight.Next(g.Window)
			for _, s := range []*session.State{straight, loaded} {
				if got := s.Next(g.Window); !reflect.DeepEqual(got, want) {
					t.Fatalf("after event %d: next is %s, want %s", e.Seq, mustJSON(t, got), mustJSON(t, want))
				}
			}
			if again := mustJSON(t, straight); again != mustJSON(t, loaded) {
				t.Fatalf("after event %d:\n loaded %s\nwant %s", e.Seq, mustJSON(t, loaded), again)
			}
		}
	})
}

// TestNothingWorksOutsideOfATurnOfItsParent: what Next asks for ends the turns of subagents before their parent's, and lets no parent's turn complete
// while they work.
func TestNothingWorksOutsideOfATurnOfItsParent(t *testing.T) {
	eachWithAgents(t, fewSeeds, 300, func(t *testing.T, g *sessiontest.Gen) {
		s := session.NewState(sessiontest.Key)
		for _, e := range g.Events {
			if err := s.Apply(e); err != nil {
				t.Fatal(err)
			}
			for _, sub := range s.Subagents {
				parent := &s.Thread
				if up := s.Subagent(sub.Parent); up != nil {
					parent = &up.Thread
				}
				if sub.Turn != nil && parent.Turn == nil {
					t.Fatalf("after event %d (%s) subagent %d works, and its parent does not", e.Seq, e.Kind, sub.ID)
				}
				if s.Depth(sub.ID) > stead.MaxSubagentDepth {
					t.Fatalf("subagent %d is %d deep", sub.ID, s.Depth(sub.ID))
				}
			}
			if n := s.Working(); n > stead.DefaultConcurrentSubagents {
				t.Fatalf("after event %d, %d subagents work", e.Seq, n)
			}
			if s.Status() == session.StatusIdle && s.Working() > 0 {
				t.Fatalf("after event %d the session is idle, and a subagent works", e.Seq)
			}
		}
	})
}

// TestSubagentsReplayFromEveryCursor: who comes back with a cursor sees the rest of the stream, of all threads, and each item and turn of it has an end.
func TestSubagentsReplayFromEveryCursor(t *testing.T) {
	eachWithAgents(t, fewSeeds, 100, func(t *testing.T, g *sessiontest.Gen) {
		all := stream(t, g, g.Events)
		want := lines(t, all)
		ids := map[string]bool{}
		open := map[string]string{} // item → its turn
		for i, ev := range all {
			w := wire(t, ev)
			if ids[w.EventID] {
				t.Fatalf("event id %s was used before", w.EventID)
			}
			ids[w.EventID] = true
			if i%7 == 0 {
				diff(t, "after "+ev.Cursor.String(), lines(t, replay(t, g, ev.Cursor)), want[i+1:])
			}
			switch strings.TrimPrefix(w.Type, "agent.session.turn.") {
			case "item.added":
				if it := decodeItem(t, w.Item); it.Status == "in_progress" {
					open[it.ID] = turnIn(t, ev)
				}
			case "item.done":
				delete(open, decodeItem(t, w.Item).ID)
			case "completed", "failed", "cancelled":
				for id, turn := range open {
					if turn == turnIn(t, ev) {
						t.Fatalf("turn %s has ended, and its item %s is open", turn, id)
					}
				}
			}
		}
	})
}

func turnIn(t *testing.T, ev session.StreamEvent) string {
	t.Helper()
	var w struct {
		TurnID string `json:"turn_id"`
	}
	if err := json.Unmarshal([]byte(mustJSON(t, ev.Body)), &w); err != nil {
		t.Fatal(err)
	}
	return w.TurnID
}

// TestListsOfThreads: the items and turns that are listed of each thread are those that the stream shows of it, in their order, whatever the page.
func TestListsOfThreads(t *testing.T) {
	eachWithAgents(t, fewSeeds, 120, func(t *testing.T, g *sessiontest.Gen) {
		turns := map[string]string{} // turn → subagent; "": the root's
		last := map[string]string{}  // item → as the stream showed it last
		turnOf := map[string]string{}
		for _, ev := range stream(t, g, g.Events) {
			w := wire(t, ev)
			switch w.Type {
			case "agent.session.turn.created":
				var made struct {
					Turn session.Turn `json:"turn"`
				}
				if err := json.Unmarshal([]byte(mustJSON(t, ev.Body)), &made); err != nil {
					t.Fatal(err)
				}
				turns[made.Turn.ID] = ""
				if id := made.Turn.SubagentID; id != nil {
					turns[made.Turn.ID] = *id
				}
			case "agent.session.turn.item.added", "agent.session.turn.item.done":
				it := decodeItem(t, w.Item)
				last[it.ID], turnOf[it.ID] = string(w.Item), turnIn(t, ev)
			}
		}
		view := &folded(t, g.Events).View
		for _, thread := range threadsOf(view) {
			agent := ""
			if thread != 0 {
				agent = view.AgentOf(thread)
			}
			listThread(t, g, view, thread, agent, turns, last, turnOf)
		}
	})
}

func listThread(t *testing.T, g *sessiontest.Gen, view *session.View, thread stead.Seq, agent string, turns, last, turnOf map[string]string) {
	t.Helper()
	seen := map[string]bool{}
	var up []string
	for after := ""; ; {
		page, err := session.ListItems(sessiontest.Key, g.Read, session.ItemQuery{Thread: thread, PageQuery: session.PageQuery{After: after, Limit: 3}}, g.Texts)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Data {
			id := item.ItemID()
			after, seen[id] = id, true
			up = append(up, id)
			if turn, ok := turnOf[id]; ok && turns[turn] != agent {
				t.Fatalf("item %s of %q is listed for %q", id, turns[turn], agent)
			}
			if shown, ok := last[id]; ok && !strings.Contains(shown, `"in_progress"`) && shown != mustJSON(t, item) {
				t.Fatalf("item %s of thread %d is listed as\n%s\nand was shown as\n%s", id, thread, mustJSON(t, item), shown)
			}
		}
		if !page.HasMore {
			break
		}
	}
	for id, turn := range turnOf {
		if turns[turn] == agent && !seen[id] {
			t.Fatalf("item %s of thread %d was shown, and is not listed", id, thread)
		}
	}
	down, err := session.ListItems(sessiontest.Key, g.Read, session.ItemQuery{Thread: thread, PageQuery: session.PageQuery{Desc: true, Limit: stead.MaxPageSize}}, g.Texts)
	if err != nil {
		t.Fatal(err)
	}
	for i, item := range down.Data {
		if want := up[len(up)-1-i]; item.ItemID() != want {
			t.Fatalf("item %d of thread %d, the newest first, is %s, want %s", i, thread, item.ItemID(), want)
		}
	}
	page, err := session.ListTurns(view.At(thread), g.Read, session.PageQuery{Limit: stead.MaxPageSize})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, of := range turns {
		if of == agent {
			n++
		}
	}
	if len(page.Data) != min(n, stead.MaxPageSize) {
		t.Fatalf("%d turns of thread %d are listed, %d were shown", len(page.Data), thread, n)
	}
	for _, turn := range page.Data {
		if of, ok := turns[turn.ID]; !ok || of != agent {
			t.Fatalf("turn %s of %q is listed for %q", turn.ID, of, agent)
		}
		if found, err := session.FindTurn(view.At(thread), g.Read, turn.ID); err != nil || mustJSON(t, found) != mustJSON(t, turn) {
			t.Fatalf("turn %s is found as %s (%v), want %s", turn.ID, mustJSON(t, found), err, mustJSON(t, turn))
		}
	}
}

// TestAThreadIsAFoldOfItsOwnEvents: what the model of a thread sees is what it would see if there were no others.
func TestAThreadIsAFoldOfItsOwnEvents(t *testing.T) {
	eachWithAgents(t, 3*fewSeeds, 200, func(t *testing.T, g *sessiontest.Gen) {
		for _, thread := range threadsOf(&g.State.View) {
			events, err := session.OfThread(g.Read, thread)(0, stead.MaxReadEvents, false)
			if err != nil {
				t.Fatal(err)
			}
			alone := folded(t, events)
			want, got := &alone.Context, &g.State.Context
			if thread != 0 {
				got = g.State.Contexts[thread]
			}
			if mustJSON(t, got) != mustJSON(t, want) {
				t.Fatalf("the context of thread %d is\n%s\nand would be\n%s", thread, mustJSON(t, got), mustJSON(t, want))
			}
		}
	})
}

// TestWhatAgentsSaidIsRedactedOnBothSides: a message between agents is redacted with what it repeats, and then says nothing either.
func TestWhatAgentsSaidIsRedactedOnBothSides(t *testing.T) {
	messages := 0
	eachWithAgents(t, fewSeeds, 150, func(t *testing.T, g *sessiontest.Gen) {
		for _, thread := range threadsOf(&g.State.View) {
			for i, item := range itemsOf(t, g, g.Events, thread) {
				m, ok := item.(*session.AgentMessageItem)
				if !ok || m.Source == "" || len(says(t, item)) == 0 {
					continue
				}
				source, err := session.FindItem(sessiontest.Key, g.Read, m.Source, nil, g.Texts)
				if err != nil {
					t.Fatalf("what %s repeats, %s: %v", m.ID, m.Source, err)
				}
				events := redact(t, g, g.Events, source)
				after := itemsOf(t, g, events, thread)
				if w := says(t, after[i]); after[i].ItemID() != m.ID || len(w) > 0 {
					t.Fatalf("%s is redacted, and %s says %q", m.Source, mustJSON(t, after[i]), w)
				}
				if found, err := session.FindItem(sessiontest.Key, sessiontest.Reader(events), m.Source, nil, g.Texts); err != nil || len(says(t, found)) > 0 {
					t.Fatalf("redacted, %s says %q (%v)", m.Source, says(t, found), err)
				}
				messages++
			}
		}
	})
	if messages < 20 {
		t.Errorf("only %d messages were redacted", messages)
	}
}

// TestLiveTextBesideSubagents: who is shown text of the root before it is journaled sees each byte once, whatever subagents say meanwhile.
func TestLiveTextBesideSubagents(t *testing.T) {
	for seed := range uint64(fewSeeds) {
		g := sessiontest.NewWithSubagents(seed)
		g.Keep = true
		got := live(t, g, 150)
		want := said(t, replay(t, g, stead.Cursor{}))
		diff(t, fmt.Sprint("live, seed ", seed), said(t, got), want)
		tried := 0
		for i, ev := range got {
			if i > 0 && !before(got[i-1].Cursor, ev.Cursor) {
				t.Fatalf("seed %d: cursor %s follows %s", seed, ev.Cursor, got[i-1].Cursor)
			}
			if tried++; tried%31 == 0 {
				rest := append(slices.Clone(got[:i+1]), replay(t, g, ev.Cursor)...)
				diff(t, fmt.Sprint("seed ", seed, ", live, then after ", ev.Cursor), said(t, rest), want)
			}
		}
	}
}

// TestThreadsAreExported: an export has all threads, and what is read of it folds to the same.
func TestThreadsAreExported(t *testing.T) {
	eachWithAgents(t, fewSeeds, 100, func(t *testing.T, g *sessiontest.Gen) {
		_, events, err := session.ReadExport(bytes.NewReader(export(t, g)), nil, func(string, []byte) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		s := folded(t, events)
		if mustJSON(t, s) != mustJSON(t, g.State) {
			t.Fatalf("of the export it is\n%s\nand was\n%s", mustJSON(t, s), mustJSON(t, g.State))
		}
	})
}

// TestACopyHasTheSubagentsThatItsCallsMade: whatever item it ends with, and no call says that it made one which is not there.
func TestACopyHasTheSubagentsThatItsCallsMade(t *testing.T) {
	forks := 0
	eachWithAgents(t, fewSeeds, 150, func(t *testing.T, g *sessiontest.Gen) {
		for _, item := range itemsOf(t, g, g.Events, 0) {
			if _, ok := item.(*session.SubagentCallItem); !ok {
				continue
			}
			events, err := session.Fork(sessiontest.Key, g.Events, item.ItemID(), 1_900_000_000_000, session.Origin{Session: "sess_of"}, nil)
			if err != nil {
				t.Fatalf("up to %s: %v", item.ItemID(), err)
			}
			s, made, said := folded(t, events), 0, 0
			for _, own := range itemsOf(t, g, events, 0) {
				if c, ok := own.(*session.SubagentCallItem); ok && c.Type == stead.ItemCreateSubagent && c.Status == stead.ItemCompleted {
					said++
				}
			}
			for _, sub := range s.Subagents {
				if sub.Parent == 0 {
					made++
				}
			}
			if made != said || s.Working() > 0 {
				t.Fatalf("up to %s the copy has %d subagents, of which %d work, and says that it made %d", item.ItemID(), made, s.Working(), said)
			}
			forks++
		}
	})
	if forks < 20 {
		t.Errorf("only %d copies", forks)
	}
}

// TestForksOfThreadsAreIdle: a copy of any part of a session with subagents has no thread at work.
func TestForksOfThreadsAreIdle(t *testing.T) {
	eachWithAgents(t, fewSeeds, 100, func(t *testing.T, g *sessiontest.Gen) {
		for n := 1; n <= len(g.Events); n += 9 {
			events, err := session.Fork(sessiontest.Key, g.Events[:n], "", 1_900_000_000_000, session.Origin{Session: "sess_of"}, nil)
			if err != nil {
				t.Fatalf("of %d events: %v", n, err)
			}
			s := folded(t, events)
			if s.Status() != session.StatusIdle || s.InFlight() || s.Working() > 0 || len(s.Next(g.Window)) > 0 {
				t.Fatalf("the copy of %d events is %s, %d work, next %s", n, s.Status(), s.Working(), mustJSON(t, s.Next(g.Window)))
			}
		}
	})
}
