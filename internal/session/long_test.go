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

// long is a journal of n turns of some steps each; a step is a call and its result.
func long(t *testing.T, turns, steps int) []stead.Event {
	t.Helper()
	var events []stead.Event
	add := func(kind string, payload any) stead.Seq {
		seq := stead.Seq(len(events) + 1)
		e, err := session.NewEvent(int64(seq), kind, payload)
		if err != nil {
			t.Fatal(err)
		}
		e.Seq = seq
		events = append(events, e)
		return seq
	}
	add(session.KindSessionCreated, session.Created{})
	for range turns {
		add(session.KindInputMessage, session.Message{Input: []session.InputMessage{{Content: stead.TextContent(stead.ContentInputText, "go")}}})
		add(session.KindTurnStarted, session.TurnStarted{})
		for range steps {
			call := add(session.KindModelCalled, session.ModelCalled{Attempt: 1})
			id := fmt.Sprint("call_", call)
			item := stead.Item{Type: stead.ItemFunctionCall, CallID: id, Name: "f", Arguments: []byte(`{}`)}
			add(session.KindModelReplied, session.ModelReplied{Call: call, Items: []session.ReplyItem{{Item: item}}})
			add(session.KindInputToolResult, session.ToolResult{CallID: id, Success: true})
		}
		add(session.KindTurnCompleted, session.TurnEnded{})
	}
	return events
}

// TestLongJournals: a page of a long session reads what is near it only; in one endless turn also,
// once, the turn's earlier events, to find its name. seqs of the cursors are in the middle.
func TestLongJournals(t *testing.T) {
	for _, c := range []struct {
		name         string
		turns, steps int
		maxRead      int // events a page
	}{
		{"many turns", 12_000, 2, 3 * 1024},
		{"one endless turn", 1, 33_000, 100_000 + 3*1024},
	} {
		t.Run(c.name, func(t *testing.T) {
			events := long(t, c.turns, c.steps)
			read := 0
			reader := func(after stead.Seq, limit int, desc bool) ([]stead.Event, error) {
				out, err := sessiontest.Reader(events)(after, limit, desc)
				read += len(out)
				return out, err
			}
			mid := events[slices.IndexFunc(events[len(events)/2:], func(e stead.Event) bool { return e.Kind == session.KindModelCalled })+len(events)/2]
			texts := func(x stead.Text) string { return x.Inline }
			for _, after := range []string{"", stead.DerivedID("fc", sessiontest.Key.Session, mid.Seq, 0)} {
				for _, desc := range []bool{false, true} {
					read = 0
					q := session.ItemQuery{PageQuery: session.PageQuery{After: after, Limit: 100, Desc: desc}}
					p, err := session.ListItems(sessiontest.Key, reader, q, texts)
					if err != nil || len(p.Data) != 100 || !p.HasMore {
						t.Fatalf("after %q, desc %v: %d items, %v", after, desc, len(p.Data), err)
					}
					if read > c.maxRead {
						t.Errorf("after %q, desc %v: %d events read, at most %d are allowed", after, desc, read, c.maxRead)
					}
				}
			}
		})
	}
}

// TestEventOrder: the frame of every turn is as the Agents API has it: created, in progress, the
// session in progress, items, one end, and the session idle (or failed) right after.
func TestEventOrder(t *testing.T) {
	each(t, 200, func(t *testing.T, g *sessiontest.Gen) {
		state := "idle"
		for i, ev := range stream(t, g, g.Events) {
			name := strings.TrimPrefix(ev.Type, "agent.session.")
			allowed := map[string]string{} // event → next state
			switch state {
			case "idle":
				allowed["created"], allowed["turn.created"] = "idle", "queued"
			case "queued":
				allowed["turn.in_progress"] = "begun"
				allowed["turn.item.added"] = "queued" // a turn that is cancelled before it began
				allowed["turn.cancelled"], allowed["turn.failed"] = "ended", "ended"
			case "begun":
				allowed["in_progress"] = "running"
			case "running", "waiting":
				allowed["turn.completed"], allowed["turn.cancelled"], allowed["turn.failed"] = "ended", "ended", "ended"
				allowed["requires_action"] = "waiting" // or another question
				if state == "waiting" {
					allowed["in_progress"] = "running"
				}
				for _, n := range []string{"item.added", "item.done", "content_part.added", "content_part.done", "output_text.delta", "output_text.done", "refusal.delta", "refusal.done",
					"reasoning_summary_part.added", "reasoning_summary_part.done", "reasoning_summary_text.delta", "reasoning_summary_text.done"} {
					allowed["turn."+n] = state
				}
			case "ended":
				allowed["idle"], allowed["failed"] = "idle", "over"
			}
			next, ok := allowed[name]
			if !ok && name == "failed" && state == "idle" {
				next, ok = "over", true // it failed between turns
			}
			if !ok {
				t.Fatalf("event %d: %s while %s", i, ev.Type, state)
			}
			state = next
		}
	})
}
