package session_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
)

// line writes a stream event so that two can be compared.
func line(t *testing.T, ev session.StreamEvent) string {
	t.Helper()
	return ev.Cursor.String() + " " + mustJSON(t, ev.Body)
}

func lines(t *testing.T, evs []session.StreamEvent) []string {
	t.Helper()
	out := make([]string, len(evs))
	for i, ev := range evs {
		out[i] = line(t, ev)
	}
	return out
}

// before reports whether cursor a comes before b.
func before(a, b stead.Cursor) bool {
	if a.Seq != b.Seq {
		return a.Seq < b.Seq
	}
	if a.Part != b.Part {
		return a.Part < b.Part
	}
	return a.Ahead < b.Ahead
}

// replay projects events after a cursor, as a watcher that comes back with it.
func replay(t *testing.T, g *sessiontest.Gen, after stead.Cursor) []session.StreamEvent {
	t.Helper()
	v := session.NewView(sessiontest.Key)
	for _, e := range g.Events[:after.Seq] {
		if err := v.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	p := session.NewProjector(v, after, g.Texts)
	var out []session.StreamEvent
	for _, e := range g.Events[after.Seq:] {
		evs, err := p.Step(e)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, evs...)
	}
	return out
}

func TestReplayFromEveryCursor(t *testing.T) {
	eachOf(t, fewSeeds, 80, func(t *testing.T, g *sessiontest.Gen) {
		all := stream(t, g, g.Events)
		ids := map[string]bool{}
		want := lines(t, all)
		for i, ev := range all {
			if i > 0 && !before(all[i-1].Cursor, ev.Cursor) {
				t.Fatalf("cursor %s follows %s", ev.Cursor, all[i-1].Cursor)
			}
			id := wire(t, ev).EventID
			if ids[id] {
				t.Fatalf("event id %s at cursor %s was used before", id, ev.Cursor)
			}
			ids[id] = true
			diff(t, "after "+ev.Cursor.String(), lines(t, replay(t, g, ev.Cursor)), want[i+1:])
		}
	})
}

// TestItemsAreClosed: every item that was announced is done, complete calls are announced with
// complete arguments, and no text is said after an item's end.
func TestItemsAreClosed(t *testing.T) {
	each(t, 150, func(t *testing.T, g *sessiontest.Gen) {
		state := map[string]string{} // item → "open" or "done"
		text := map[string]string{}
		parts := map[string]string{}
		refusal := map[string]bool{}
		for _, ev := range stream(t, g, g.Events) {
			w := wire(t, ev)
			switch name := strings.TrimPrefix(w.Type, "agent.session.turn."); name {
			case "item.added":
				it := decodeItem(t, w.Item)
				if state[it.ID] != "" {
					t.Fatalf("item %s is added twice", it.ID)
				}
				if (it.Type == "function_call" || it.Type == "mcp_call") && !strings.HasPrefix(string(it.Arguments), "{") {
					t.Fatalf("call %s is added with arguments %s", it.ID, it.Arguments)
				}
				state[it.ID] = "open"
				if it.Type == "function_call_output" || it.Type == "mcp_approval_response" || it.Status == "completed" { // input is whole when it is shown
					state[it.ID] = "done"
				}
			case "item.done":
				it := decodeItem(t, w.Item)
				rejected := state[it.ID] == "" && it.Status == "failed"
				if state[it.ID] != "open" && !rejected {
					t.Fatalf("item %s is done but was %q", it.ID, state[it.ID])
				}
				if it.Status == "in_progress" {
					t.Fatalf("item %s is done in progress", it.ID)
				}
				state[it.ID] = "done"
			case "output_text.delta", "refusal.delta", "reasoning_summary_text.delta":
				refuses := strings.HasPrefix(name, "refusal")
				if was, ok := refusal[w.ItemID]; ok && was != refuses {
					t.Fatalf("item %s is a refusal and is not", w.ItemID)
				}
				refusal[w.ItemID] = refuses
				if state[w.ItemID] != "open" || w.Delta == "" {
					t.Fatalf("delta %q of item %s, which is %q", w.Delta, w.ItemID, state[w.ItemID])
				}
				text[w.ItemID] += w.Delta
			case "output_text.done", "refusal.done", "reasoning_summary_text.done":
				if refusal[w.ItemID] != strings.HasPrefix(name, "refusal") && text[w.ItemID] != "" {
					t.Fatalf("item %s ends with %s", w.ItemID, name)
				}
				parts[w.ItemID] += w.Text + w.Refusal
				if !strings.HasPrefix(text[w.ItemID], parts[w.ItemID]) {
					t.Fatalf("item %s: its deltas say %q, its end %q", w.ItemID, text[w.ItemID], parts[w.ItemID])
				}
			case "completed", "failed", "cancelled":
				for id, s := range state {
					if s == "open" {
						t.Fatalf("the turn is %s but item %s is open", name, id)
					}
				}
				for id := range parts {
					if parts[id] != text[id] {
						t.Fatalf("item %s: its deltas say %q, its ends %q", id, text[id], parts[id])
					}
				}
			}
		}
	})
}

// TestLiveText: a watcher that is also shown text before it is journaled sees each byte once, and
// may come back with any cursor that it was given.
func TestLiveText(t *testing.T) {
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			g := sessiontest.New(seed)
			g.Keep = true // what a crash loses is another matter: see TestLiveTextLost
			got := live(t, g, 100)
			want := said(t, replay(t, g, stead.Cursor{}))
			diff(t, "live", said(t, got), want)
			tried := 0
			for i, ev := range got {
				if i > 0 && !before(got[i-1].Cursor, ev.Cursor) {
					t.Fatalf("cursor %s follows %s", ev.Cursor, got[i-1].Cursor)
				}
				if ev.Cursor.Ahead == 0 && ev.Cursor.Part == 0 {
					continue // TestReplayFromEveryCursor is about those
				}
				if tried++; tried%13 == 0 {
					rest := append(slices.Clone(got[:i+1]), replay(t, g, ev.Cursor)...)
					diff(t, "live, then after "+ev.Cursor.String(), said(t, rest), want)
				}
			}
		})
	}
}

// TestLiveTextLost: when a crash loses text that was shown, the item's end says what is left of it,
// and what comes after is as everybody sees it.
func TestLiveTextLost(t *testing.T) {
	lost := 0
	for seed := range uint64(seeds) {
		g := sessiontest.New(seed)
		got := said(t, live(t, g, 100))
		want := said(t, replay(t, g, stead.Cursor{}))
		if len(got) != len(want) {
			t.Fatalf("seed %d: %d entries, want %d", seed, len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				lost++
				if !strings.Contains(got[i], ".delta ") || !strings.HasPrefix(got[i], want[i]) {
					t.Fatalf("seed %d: entry %d\n got %s\nwant %s", seed, i, got[i], want[i])
				}
			}
		}
	}
	if lost == 0 {
		t.Fatal("no crash lost any text: the test shows nothing")
	}
}

// live steps a journal and follows it with live text now and then.
func live(t *testing.T, g *sessiontest.Gen, n int) []session.StreamEvent {
	t.Helper()
	p := session.NewProjector(session.NewView(sessiontest.Key), stead.Cursor{}, g.Texts)
	var out []session.StreamEvent
	shown := map[stead.Seq]int{}
	for done := 0; len(g.Events) < n && g.State.Failed == nil; {
		for _, e := range g.Events[done:] {
			evs, err := p.Step(e)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, evs...)
		}
		done = len(g.Events)
		if call, plan, flushed := g.Streaming(); call > 0 {
			// As far as is journaled, and a bit on: a growing prefix of the plan.
			shown[call] = min(max(shown[call], flushed)+len(g.Events)%4, len(plan))
			out = append(out, p.Live(call, plan[:shown[call]])...)
			g.Shown(shown[call])
		}
		g.Step()
	}
	g.Flush()
	for _, e := range g.Events[p.Tail():] {
		evs, err := p.Step(e)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, evs...)
	}
	return out
}

// said is a stream without cursors: its events in order, then the text of each item. Live text comes
// before what happens until it is journaled, so only its order within one text counts.
func said(t *testing.T, evs []session.StreamEvent) []string {
	t.Helper()
	var out, places []string
	texts := map[string]string{}
	for _, ev := range evs {
		w := wire(t, ev)
		if !strings.HasSuffix(w.Type, ".delta") {
			out = append(out, mustJSON(t, ev.Body)) // with its event_id: the same for everybody
			continue
		}
		place := fmt.Sprint(w.Type, " ", w.ItemID, " ", *w.OutputIndex, " ", w.SummaryIdx, " ")
		if _, ok := texts[place]; !ok {
			places = append(places, place)
		}
		texts[place] += w.Delta
	}
	slices.Sort(places)
	for _, p := range places {
		out = append(out, p+texts[p])
	}
	return out
}
