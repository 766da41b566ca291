package runner_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// shownHidden is an agent's memory that tells of a mountain and of tea; forgotten is the first.
func shownHidden() *memories {
	return &memories{answers: []session.MemoryRecalled{{Entries: []session.Recalled{
		{ID: "mem_1", Store: "memstore_1", Text: "It is " + hidden, Author: hidden, Explain: &session.RecallParts{Terms: map[string]float64{strings.ToLower(hidden): 1}}},
		{ID: "mem_2", Store: "memstore_1", Text: "Ada likes tea"}, {ID: "mem_1", Store: "memstore_2", Text: "another store's"},
	}}, {}}}
}

var forgotten = []string{"memstore_1/mem_1"}

// unshow takes what is forgotten out of a session.
func (n *node) unshow(id stead.SessionID) (time.Duration, error) {
	return n.Unshow(context.Background(), n.key(id), runner.Unshowing{Names: forgotten, Wait: 20 * time.Second})
}

// TestWhatWasRecalledGoesFromTheJournal, and from other nodes' memory, and nothing else does; while a turn runs it waits.
func TestWhatWasRecalledGoesFromTheJournal(t *testing.T) {
	m := script(reply("ok"), after(time.Minute, reply("ok")), reply("ok"))
	bubble(t, func(t *testing.T, n *node) {
		other := n.second("node-b")
		id := n.begin("Which mountain?", remembering).ID
		n.idle(id)
		if _, err := other.Get(context.Background(), me, id); err != nil {
			t.Fatal(err)
		}
		if err := n.store.SaveSnapshot(context.Background(), n.key(id), stead.Seq(len(n.events(id))), []byte("of before: "+hidden)); err != nil {
			t.Fatal(err)
		}
		n.send(id, says("go on"))
		if _, err := n.unshow(id); stead.KindOf(err) != stead.KindConflict {
			t.Fatalf("while a turn runs: %v", err)
		}
		n.idle(id)
		if later, err := other.unshow(id); err != nil || later != 0 {
			t.Fatal(later, err)
		}
		n.holds(id, hidden)
		tail := len(n.events(id))
		if _, err := n.unshow(id); err != nil || len(n.events(id)) != tail {
			t.Errorf("again it adds %d events, %v", len(n.events(id))-tail, err)
		}
		n.send(id, says("and now?"))
		n.idle(id)
		given := strings.Join(seen(m.last()), "\n")
		for _, want := range []string{"Ada likes tea", "another store's", "[redacted]"} {
			if !strings.Contains(given, want) {
				t.Errorf("the model is not given %q: %s", want, given)
			}
		}
		n.holds(id, hidden)
		if strings.Contains(given, hidden) {
			t.Errorf("the model is given %s", given)
		}
		done, err := n.Unshown(context.Background(), n.key(id), forgotten)
		if err != nil || len(done) != 1 || len(done[0].Events) != 1 || done[0].Item != n.ids(id)[0] && done[0].Item != n.ids(id)[1] {
			t.Errorf("on record is %+v, %v", done, err)
		}
	}, withModel(m), withMemory(shownHidden()))
}

// dying ends the node's work at the n-th step of what is written, before it is or (late) behind it.
type dying struct {
	journal.Full
	left int // steps
	late bool
}

var errDied = errors.New("it died")

func (d *dying) step(do func() error) error {
	if d.left == 0 {
		return do()
	}
	if d.left--; d.left > 0 {
		return do()
	}
	if d.late {
		if err := do(); err != nil {
			return err
		}
	}
	return errDied
}

func (d *dying) Rewrite(ctx context.Context, key stead.SessionKey, changes []journal.Change) error {
	return d.step(func() error { return d.Full.Rewrite(ctx, key, changes) })
}

func (d *dying) Send(ctx context.Context, key stead.SessionKey, in journal.Input) (out journal.Receipt, err error) {
	err = d.step(func() error { out, err = d.Full.Send(ctx, key, in); return err })
	return out, err
}

// TestANodeThatDiesWhileItTakesOut leaves it to the next one, at whichever step: nothing is left, in no node's memory, and it is on record.
func TestANodeThatDiesWhileItTakesOut(t *testing.T) {
	for at := 1; at <= 3; at++ {
		for _, late := range []bool{false, true} {
			m := script(reply("ok"))
			d := &dying{late: late}
			bubble(t, func(t *testing.T, n *node) {
				other := n.second("node-b")
				id := n.begin("Which mountain?", remembering).ID
				n.idle(id)
				if _, err := other.Get(context.Background(), me, id); err != nil {
					t.Fatal(err)
				}
				d.left = at
				if _, err := n.unshow(id); !errors.Is(err, errDied) {
					t.Fatalf("step %d, late %v: %v", at, late, err)
				}
				if _, err := other.unshow(id); err != nil {
					t.Fatal(err)
				}
				n.holds(id, hidden)
				if done, err := n.Unshown(context.Background(), n.key(id), forgotten); err != nil || len(done) != 1 {
					t.Errorf("step %d, late %v: on record is %+v, %v", at, late, done, err)
				}
				for _, by := range []*node{n, other} {
					page, err := by.Items(context.Background(), me, id, session.ItemQuery{})
					if text := mustJSON(t, page); err != nil || strings.Contains(text, hidden) || !strings.Contains(text, "Ada likes tea") {
						t.Errorf("step %d, late %v: %s, %v", at, late, text, err)
					}
				}
			}, withModel(m), withMemory(shownHidden()), with(func(c *runner.Config) { d.Full = c.Store; c.Store = d }))
		}
	}
}

// TestWhatAToolFoundGoesFromTheJournal: its line, and no other; also of a text beside the journal, whose bytes go when they are old enough; and a summary
// that may have it. What another tool says stays.
func TestWhatAToolFoundGoesFromTheJournal(t *testing.T) {
	said := "mem_1 · fact · 2026-01-01 · " + hidden + ": It is " + hidden + "\n  context · mem_1 · item: near " + hidden + "\nmem_2 · fact: Ada likes tea\n"
	search := does{"memory_search", tool.Pure, func(_ context.Context, c tool.Call) (tool.Result, error) {
		if strings.Contains(string(c.Arguments), "much") {
			return outputs(said + filled("mem_3 · fact: "))
		}
		return outputs(said)
	}}
	m := script(calls("memory_search", `{"query":"x"}`), calls("memory_search", `{"query":"much"}`), reply("ok"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin("Which mountain?", func(s *agent.Spec) { remembering(s); s.Tools[0].Recall = nil }).ID
		n.idle(id)
		later, err := n.unshow(id)
		if err != nil || later < blob.Grace {
			t.Fatalf("later is %v, %v", later, err)
		}
		n.holds(id, hidden)
		items := strings.Join(n.items(id), "\n")
		n.send(id, says("and now?"))
		n.idle(id)
		given := strings.Join(seen(m.last()), "\n")
		for _, text := range []string{given} {
			if strings.Contains(text, hidden) || strings.Count(text, "Ada likes tea") != 2 || strings.Count(text, "mem_1 · [redacted]") != 4 {
				t.Errorf("it says %s", text)
			}
		}
		if strings.Contains(items, hidden) {
			t.Errorf("listed is %s", items)
		}
		time.Sleep(later)
		if later, err := n.unshow(id); err != nil || later != 0 {
			t.Errorf("an hour later: %v, %v", later, err)
		}
		for _, d := range session.Digests(n.events(id)) {
			if data, err := n.cfg.Blobs.Get(context.Background(), n.key(id), d); err != nil || strings.Contains(string(data), hidden) {
				t.Errorf("a text beside the journal has it, %v", err)
			}
		}
		if done, err := n.Unshown(context.Background(), n.key(id), forgotten); err != nil || len(done) != 2 || done[0].Blobs+done[1].Blobs != 1 || slices.Contains(forgotten, done[0].Item) {
			t.Errorf("on record is %+v, %v", done, err)
		}
	}, withModel(m), withTools(box{"memory": {tools: []tool.Tool{search}}}), withMemory(&memories{}))
}
