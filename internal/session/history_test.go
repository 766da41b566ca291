package session_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
)

// seeds is how many random journals each property is shown on; fewSeeds where that takes long.
const (
	seeds    = 24
	fewSeeds = 10
)

// each runs a test on random journals; a failure names its seed.
func each(t *testing.T, n int, test func(t *testing.T, g *sessiontest.Gen)) {
	eachOf(t, seeds, n, test)
}

// rareSeeds are journals of what few have: calls that were asked about, and made by a later response.
var rareSeeds = []uint64{31, 283, 316}

func eachOf(t *testing.T, seeds uint64, n int, test func(t *testing.T, g *sessiontest.Gen)) {
	all := slices.Clone(rareSeeds)
	for seed := range seeds {
		all = append(all, seed)
	}
	for _, seed := range all {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { test(t, sessiontest.Journal(seed, n)) })
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wireEvent is a stream event as a client reads it.
type wireEvent struct {
	Type        string          `json:"type"`
	EventID     string          `json:"event_id"`
	Item        json.RawMessage `json:"item"`
	ItemID      string          `json:"item_id"`
	OutputIndex *int            `json:"output_index"`
	Delta       string          `json:"delta"`
	Text        string          `json:"text"`
	Refusal     string          `json:"refusal"`
	TurnID      string          `json:"turn_id"`
	Turn        json.RawMessage `json:"turn"`
	SummaryIdx  int             `json:"summary_index"`
	Session     json.RawMessage `json:"session"`
}

type wireItem struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Role      string          `json:"role"`
	Status    string          `json:"status"`
	TurnID    string          `json:"turn_id"`
	Arguments json.RawMessage `json:"arguments"`
}

func wire(t *testing.T, ev session.StreamEvent) wireEvent {
	t.Helper()
	var w wireEvent
	if err := json.Unmarshal([]byte(mustJSON(t, ev.Body)), &w); err != nil {
		t.Fatal(err)
	}
	if w.Type != ev.Type {
		t.Fatalf("event says %q outside and %q inside", ev.Type, w.Type)
	}
	return w
}

func decodeItem(t *testing.T, raw json.RawMessage) wireItem {
	t.Helper()
	var it wireItem
	if err := json.Unmarshal(raw, &it); err != nil {
		t.Fatal(err)
	}
	return it
}

// stream projects a whole journal.
func stream(t *testing.T, g *sessiontest.Gen, events []stead.Event) []session.StreamEvent {
	t.Helper()
	p := session.NewProjector(session.NewView(sessiontest.Key), stead.Cursor{}, g.Texts)
	var out []session.StreamEvent
	for _, e := range events {
		evs, err := p.Step(e)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, evs...)
	}
	return out
}

// streamedItems is what a client that followed the whole stream knows: items in the order in which
// they became certain, then those whose text is still streaming.
func streamedItems(t *testing.T, g *sessiontest.Gen, events []stead.Event) []string {
	t.Helper()
	var order, open []string
	last := map[string]string{}
	deltas := map[string]string{}
	for _, ev := range stream(t, g, events) {
		w := wire(t, ev)
		switch w.Type {
		case "agent.session.turn.output_text.delta", "agent.session.turn.refusal.delta", "agent.session.turn.reasoning_summary_text.delta":
			deltas[w.ItemID] += w.Delta
		case "agent.session.turn.item.added", "agent.session.turn.item.done":
			it := decodeItem(t, w.Item)
			streams := it.Status == "in_progress" && (it.Type == "message" || it.Type == "reasoning")
			if streams {
				open = append(open, it.ID)
				continue
			}
			if _, ok := last[it.ID]; !ok {
				order = append(order, it.ID)
			}
			last[it.ID] = string(w.Item)
			open = slices.DeleteFunc(open, func(id string) bool { return id == it.ID })
		}
	}
	var out []string
	for _, id := range order {
		out = append(out, last[id])
	}
	for _, id := range open {
		out = append(out, "streaming "+id+" "+deltas[id])
	}
	return out
}

// tailAs writes listed items as streamedItems does.
func tailAs(t *testing.T, items []session.Item) []string {
	var out []string
	for _, it := range items {
		switch m := it.(type) {
		case *session.MessageItem:
			if m.Status == stead.ItemInProgress {
				c := m.Content[0]
				if c.Type == stead.ContentRefusal {
					c.Text = c.Refusal
				}
				out = append(out, "streaming "+m.ID+" "+*c.Text)
				continue
			}
		case *session.ReasoningItem:
			if *m.Status == stead.ItemInProgress {
				s := "streaming " + m.ID + " "
				for _, p := range m.Summary {
					s += p.Text
				}
				out = append(out, s)
				continue
			}
		}
		out = append(out, mustJSON(t, it))
	}
	return out
}

// pages reads a whole list page by page.
func pages(t *testing.T, g *sessiontest.Gen, events []stead.Event, q session.ItemQuery) []session.Item {
	t.Helper()
	var out []session.Item
	for {
		p, err := session.ListItems(sessiontest.Key, sessiontest.Reader(events), q, g.Texts)
		if err != nil {
			t.Fatalf("list after %q: %v", q.After, err)
		}
		if len(p.Data) > q.Limit || p.HasMore && len(p.Data) < q.Limit {
			t.Fatalf("a page of %d items, has_more %v, with limit %d", len(p.Data), p.HasMore, q.Limit)
		}
		out = append(out, p.Data...)
		if !p.HasMore {
			return out
		}
		q.After = p.Data[len(p.Data)-1].ItemID()
	}
}

func diff(t *testing.T, what string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		g, w := "(none)", "(none)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Fatalf("%s: entry %d of %d (want %d)\n got %s\nwant %s", what, i, len(got), len(want), g, w)
		}
	}
}

// queued are the messages of a turn that waits to begin: lists show them, the stream does not yet.
func queued(t *testing.T, g *sessiontest.Gen, items []session.Item, events []stead.Event) []session.Item {
	t.Helper()
	v := session.NewView(sessiontest.Key)
	for _, e := range events {
		if err := v.Apply(e); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	if v.Turn != nil {
		for _, q := range v.Turn.Inputs {
			n += len(q.Input) + len(q.Items)
		}
	}
	for _, it := range items[len(items)-n:] {
		w := decodeItem(t, json.RawMessage(mustJSON(t, it)))
		if w.Role == stead.RoleAssistant || w.TurnID != session.TurnID(sessiontest.Key.Session, v.Turn.Seq) {
			t.Fatalf("item %s is not one of the waiting messages", w.ID)
		}
	}
	return withTurn(t, items[:len(items)-n])
}

// withTurn leaves out the items that were added without a turn, which the stream does not show, and
// checks that they are whole.
func withTurn(t *testing.T, items []session.Item) []session.Item {
	t.Helper()
	return slices.DeleteFunc(slices.Clone(items), func(it session.Item) bool {
		w := decodeItem(t, json.RawMessage(mustJSON(t, it)))
		if w.TurnID == "" && w.Status != "completed" {
			t.Fatalf("item %s was added and is %s", w.ID, w.Status)
		}
		return w.TurnID == ""
	})
}

func TestListsAgreeWithStream(t *testing.T) {
	each(t, 120, func(t *testing.T, g *sessiontest.Gen) {
		for _, n := range []int{len(g.Events), len(g.Events) * 2 / 3, len(g.Events) / 3, 1} {
			events := g.Events[:n]
			want := streamedItems(t, g, events)
			for _, limit := range []int{1, 3, 100} {
				q := session.ItemQuery{PageQuery: session.PageQuery{Limit: limit}}
				up := pages(t, g, events, q)
				diff(t, fmt.Sprintf("%d events up by %d", n, limit), tailAs(t, queued(t, g, up, events)), want)
				q.Desc = true
				down := pages(t, g, events, q)
				slices.Reverse(down)
				diff(t, fmt.Sprintf("%d events down by %d", n, limit), tailAs(t, down), tailAs(t, up))
			}
		}
	})
}

func TestItemsOfTurn(t *testing.T) {
	each(t, 120, func(t *testing.T, g *sessiontest.Gen) {
		all := pages(t, g, g.Events, session.ItemQuery{PageQuery: session.PageQuery{Limit: 100}})
		turns := map[string][]string{}
		for _, it := range all {
			turn := decodeItem(t, json.RawMessage(mustJSON(t, it))).TurnID
			if turn == "" {
				continue // added without one
			}
			turns[turn] = append(turns[turn], mustJSON(t, it))
		}
		for turn, want := range turns {
			for _, limit := range []int{1, 3, 100} {
				q := session.ItemQuery{Turn: turn, PageQuery: session.PageQuery{Limit: limit}}
				var got []string
				for _, it := range pages(t, g, g.Events, q) {
					got = append(got, mustJSON(t, it))
				}
				diff(t, turn+" up", got, want)
				q.Desc, got = true, nil
				for _, it := range pages(t, g, g.Events, q) {
					got = append(got, mustJSON(t, it))
				}
				slices.Reverse(got)
				diff(t, turn+" down", got, want)
			}
		}
	})
}

// A cursor that is no item of the list is refused, in both orders; so is a turn that is none.
func TestListRefusesForeignCursors(t *testing.T) {
	g := sessiontest.Journal(3, 120)
	all := pages(t, g, g.Events, session.ItemQuery{PageQuery: session.PageQuery{Limit: 100}})
	first := decodeItem(t, json.RawMessage(mustJSON(t, all[0])))
	last := decodeItem(t, json.RawMessage(mustJSON(t, all[len(all)-1])))
	if first.TurnID == last.TurnID {
		t.Fatal("the journal has one turn only")
	}
	s := sessiontest.Key.Session
	far := stead.DerivedID("msg", s, 100_000, 0)
	for _, desc := range []bool{false, true} {
		for _, after := range []string{"x", "msg_x_2_0", far, stead.DerivedID("msg", s, 1, 0), stead.DerivedID("turn", s, 2, -1), first.ID + "9", stead.DerivedID("msg", "sess_other", 2, 0)} {
			q := session.ItemQuery{PageQuery: session.PageQuery{After: after, Desc: desc}}
			_, err := session.ListItems(sessiontest.Key, g.Read, q, g.Texts)
			if stead.KindOf(err) != stead.KindInvalid {
				t.Errorf("after %q (desc %v): %v", after, desc, err)
			}
		}
		for turn, after := range map[string]string{first.TurnID: last.ID, last.TurnID: first.ID} {
			q := session.ItemQuery{Turn: turn, PageQuery: session.PageQuery{After: after, Desc: desc}}
			_, err := session.ListItems(sessiontest.Key, g.Read, q, g.Texts)
			if stead.KindOf(err) != stead.KindInvalid {
				t.Errorf("after %q of another turn (desc %v): %v", after, desc, err)
			}
		}
	}
	for _, turn := range []string{"x", stead.DerivedID("turn", s, 1, -1), stead.DerivedID("turn", s, 100_000, -1), first.ID} {
		_, err := session.ListItems(sessiontest.Key, g.Read, session.ItemQuery{Turn: turn}, g.Texts)
		if stead.KindOf(err) != stead.KindNotFound {
			t.Errorf("turn %q: %v", turn, err)
		}
	}
}

// streamedTurns is the last that a stream said about each turn.
func streamedTurns(t *testing.T, g *sessiontest.Gen) []string {
	t.Helper()
	var order []string
	last := map[string]json.RawMessage{}
	for _, ev := range stream(t, g, g.Events) {
		w := wire(t, ev)
		if w.Turn == nil {
			continue
		}
		if last[w.TurnID] == nil {
			order = append(order, w.TurnID)
		}
		last[w.TurnID] = w.Turn
	}
	var out []string
	for _, id := range order {
		out = append(out, string(last[id]))
	}
	return out
}

func TestTurnsAgreeWithStream(t *testing.T) {
	each(t, 150, func(t *testing.T, g *sessiontest.Gen) {
		want := streamedTurns(t, g)
		if now, ok := g.State.CurrentTurn(); ok {
			want[len(want)-1] = mustJSON(t, now) // the stream says only when turns begin and end
		}
		for _, limit := range []int{1, 2, 100} {
			for _, desc := range []bool{false, true} {
				got := allTurns(t, g, session.PageQuery{Limit: limit, Desc: desc})
				if desc {
					slices.Reverse(got)
				}
				var texts []string
				for _, turn := range got {
					texts = append(texts, mustJSON(t, turn))
					one, err := session.FindTurn(&g.State.View, g.Read, turn.ID)
					if err != nil || !reflect.DeepEqual(one, turn) {
						t.Fatalf("find turn %s: %v, %+v", turn.ID, err, one)
					}
				}
				diff(t, fmt.Sprintf("by %d, desc %v", limit, desc), texts, want)
			}
		}
		for _, id := range []string{"turn_x", stead.DerivedID("turn", sessiontest.Key.Session, 1, -1), stead.DerivedID("msg", sessiontest.Key.Session, 2, -1)} {
			if _, err := session.FindTurn(&g.State.View, g.Read, id); stead.KindOf(err) != stead.KindNotFound {
				t.Errorf("find turn %s: %v", id, err)
			}
			if _, err := session.ListTurns(&g.State.View, g.Read, session.PageQuery{After: id}); stead.KindOf(err) != stead.KindInvalid {
				t.Errorf("turns after %s: %v", id, err)
			}
		}
	})
}

func allTurns(t *testing.T, g *sessiontest.Gen, q session.PageQuery) []session.Turn {
	t.Helper()
	var out []session.Turn
	for {
		p, err := session.ListTurns(&g.State.View, g.Read, q)
		if err != nil {
			t.Fatal(err)
		}
		if p.HasMore && len(p.Data) < q.Limit {
			t.Fatalf("a page of %d turns with limit %d", len(p.Data), q.Limit)
		}
		out = append(out, p.Data...)
		if !p.HasMore {
			return out
		}
		q.After = p.Data[len(p.Data)-1].ID
	}
}
