package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// TestStreamFromNow: what happens after ready is shown from its first event, what was before is not.
func TestStreamFromNow(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("first").ID
		n.idle(id)
		var types []string
		end := errors.New("end")
		err := n.Stream(context.Background(), me, id, nil, func() { n.send(id, says("Say second")) }, func(e session.StreamEvent) error {
			types = append(types, strings.TrimPrefix(e.Type, "agent.session."))
			if body, err := json.Marshal(e.Body); err != nil || strings.Contains(string(body), "first") {
				t.Errorf("an event of the past: %s, %v", body, err)
			}
			if strings.HasSuffix(e.Type, "turn.completed") {
				return end
			}
			return nil
		})
		if !errors.Is(err, end) || !slices.Contains(types, "turn.created") || !slices.Contains(types, "turn.output_text.done") {
			t.Errorf("%v after %q", err, types)
		}
	})
}

func TestStreamEndsWithItsSession(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		n.idle(id)
		other := n.second("node-2")
		ended := make(chan error, 2)
		for _, at := range []*node{n, other} {
			go func() {
				ended <- at.Stream(context.Background(), me, id, nil, nil, func(session.StreamEvent) error { return nil })
			}()
		}
		synctest.Wait()
		if err := n.Delete(context.Background(), me, id); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			isKind(t, <-ended, stead.KindNotFound)
		}
	})
}

func TestStreamEndsWithItsContextAndItsReader(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		n.idle(id)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		err := n.Stream(ctx, me, id, nil, nil, func(session.StreamEvent) error { return nil })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		enough := errors.New("enough")
		err = n.Stream(context.Background(), me, id, &stead.Cursor{}, nil, func(session.StreamEvent) error { return enough })
		if !errors.Is(err, enough) {
			t.Errorf("error %v", err)
		}
		err = n.Stream(context.Background(), me, id, &stead.Cursor{Seq: 1000}, nil, nil)
		isKind(t, err, stead.KindInvalid)
	})
}

// shown is one event of a stream, as a watcher keeps it.
type shown struct {
	cursor     stead.Cursor
	id         string // event_id; "" for text
	item, text string // a piece of an item's text
	final      string // the whole text of an item that is done
	status     string // of an item that is done
}

func see(e session.StreamEvent) shown {
	s := shown{cursor: e.Cursor}
	if s.item, s.text = deltaOf(e); s.item != "" {
		return s
	}
	var body struct {
		EventID string `json:"event_id"`
		Item    struct {
			ID      string `json:"id"`
			Status  string `json:"status"`
			Role    string `json:"role"`
			Content []struct {
				Text string `json:"text"`
			} `json:"content"`
		} `json:"item"`
	}
	data, err := json.Marshal(e.Body)
	if err == nil {
		err = json.Unmarshal(data, &body)
	}
	if err != nil {
		panic(err)
	}
	s.id = body.EventID
	if strings.HasSuffix(e.Type, "turn.item.done") && body.Item.Role == stead.RoleAssistant {
		s.item, s.status, s.final = body.Item.ID, body.Item.Status, body.Item.Content[0].Text
	}
	return s
}

// watch collects a stream in the background until the test ends it.
func (n *node) watch(id stead.SessionID, from stead.Cursor) (collect func() []shown) {
	ctx, cancel := context.WithCancel(context.Background())
	var got []shown
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.Stream(ctx, me, id, &from, nil, func(e session.StreamEvent) error {
			got = append(got, see(e))
			return nil
		})
	}()
	return func() []shown {
		synctest.Wait()
		cancel()
		<-done
		return got
	}
}

// TestStreamResumesAtEveryCursor: a watcher of a node that crashed goes on at another node from
// wherever it stood, over text that only it had seen. Every event comes once and in order; a
// finished text is the sum of its pieces, a cut-off one never contradicts them.
func TestStreamResumesAtEveryCursor(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("Say hello\nCall read with {}", mcpServer()).ID
		n.idle(id)
		live := n.watch(id, stead.Cursor{})
		n.send(id, says("Think about it for a while, in many words\nWrite 60 words every 10ms"))
		time.Sleep(400 * time.Millisecond)
		before := live() // what the watcher had when the node died in mid-sentence
		n.crash("node-2")
		n.idle(id)
		n.send(id, says("Write 5 words"))
		n.idle(id)
		all := n.watch(id, stead.Cursor{})()
		n.second("node-3")
		for i := range before {
			rest := n.watch(id, before[i].cursor)()
			consistent(t, fmt.Sprintf("resumed at %s", before[i].cursor), all, append(before[:i+1:i+1], rest...))
		}
		for i := range all {
			rest := n.watch(id, all[i].cursor)()
			consistent(t, fmt.Sprintf("replayed from %s", all[i].cursor), all, append(all[:i+1:i+1], rest...))
		}
		if len(before) < 30 {
			t.Errorf("only %d events before the crash", len(before))
		}
	})
}

// consistent compares what a watcher saw with a replay of the whole.
func consistent(t *testing.T, name string, all, got []shown) {
	t.Helper()
	var want, have []string
	for _, s := range all {
		if s.id != "" {
			want = append(want, s.id)
		}
	}
	text := map[string]string{} // item id → the pieces so far
	for _, s := range got {
		if s.id != "" {
			have = append(have, s.id)
		}
		text[s.item] += s.text
		switch {
		case s.status == string(stead.ItemCompleted) && text[s.item] != s.final:
			t.Fatalf("%s: item %s is %q, its pieces make %q", name, s.item, s.final, text[s.item])
		case s.status == string(stead.ItemIncomplete) && !strings.HasPrefix(text[s.item], s.final):
			t.Fatalf("%s: incomplete item %s is %q, its pieces make %q", name, s.item, s.final, text[s.item])
		}
	}
	if strings.Join(want, "\n") != strings.Join(have, "\n") {
		t.Fatalf("%s: events\n%s\nwant\n%s", name, strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
}

// TestReadsSeeWhatWasAcknowledged: whatever node acknowledged a write, every node shows it at once.
func TestReadsSeeWhatWasAcknowledged(t *testing.T) {
	ctx := context.Background()
	slow := does{"nap", tool.Pure, (&naps{}).run}
	bubble(t, func(t *testing.T, n *node) {
		other := n.second("node-2")
		nodes := []*node{n, other}
		var want int
		for i := range 6 {
			writer := nodes[i%2]
			s := writer.create(`Call nap with {"s":1}`, mcpServer())
			want++
			everywhere := func(what string, ok func(s session.Session) bool) {
				t.Helper()
				for _, at := range nodes {
					page, err := at.List(ctx, me, session.ListQuery{PageQuery: session.PageQuery{Desc: true}})
					if err != nil || len(page.Data) != want || page.Data[0].ID != s.ID || !ok(page.Data[0]) {
						t.Fatalf("%s: list of %d, %v", what, len(page.Data), err)
					}
					if got, err := at.Get(ctx, me, s.ID); err != nil || !ok(got) {
						t.Fatalf("%s: session %+v, %v", what, got, err)
					}
				}
			}
			everywhere("create", func(s session.Session) bool { return s.Status == session.StatusInProgress })
			metadata := map[string]string{"n": fmt.Sprint(i)}
			if _, err := writer.Update(ctx, me, s.ID, session.Updated{Metadata: &metadata}); err != nil {
				t.Fatal(err)
			}
			everywhere("update", func(s session.Session) bool { return s.Metadata["n"] == metadata["n"] })
			for _, at := range nodes {
				page, err := at.List(ctx, me, session.ListQuery{Filter: session.Filter{Metadata: metadata}})
				if err != nil || len(page.Data) != 1 || page.Data[0].ID != s.ID {
					t.Fatalf("by metadata: %d sessions, %v", len(page.Data), err)
				}
			}
			if _, err := writer.Pause(ctx, me, s.ID); err != nil {
				t.Fatal(err)
			}
			everywhere("pause", func(s session.Session) bool { return s.Paused })
			if _, err := writer.Resume(ctx, me, s.ID); err != nil {
				t.Fatal(err)
			}
			everywhere("resume", func(s session.Session) bool { return !s.Paused })
			n.idle(s.ID)
			writer.send(s.ID, says(`Call nap with {"s":1}`))
			everywhere("send", func(s session.Session) bool { return s.Status == session.StatusInProgress })
			for _, at := range nodes {
				turns := at.turns(s.ID)
				said := slices.DeleteFunc(at.items(s.ID), func(line string) bool { return !strings.HasPrefix(line, "user") })
				if len(turns) != 2 || len(said) != 2 {
					t.Fatalf("%d turns, messages %q", len(turns), said)
				}
			}
			n.idle(s.ID)
		}
	}, withTools(having(slow)))
}

var _ journal.Full = (*journalWithCounts)(nil)
