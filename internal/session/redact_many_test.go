package session_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/session/sessiontest"
)

// redactors are those of items that have a place.
func redactors(items []session.Item) (out []*session.Redactor) {
	for _, it := range items {
		if r, ok := session.NewRedactor(sessiontest.Key.Session, it, func(text string) (stead.Text, error) {
			sum := sha256.Sum256([]byte(text))
			return stead.Text{Digest: hex.EncodeToString(sum[:]), Bytes: len(text)}, nil
		}); ok {
			out = append(out, r)
		}
	}
	return out
}

// oneByOne shows an event to each redactor by itself, which reads what the one before left.
func oneByOne(e stead.Event, items []*session.Redactor, changed func(item int, was, is []byte)) (stead.Event, error) {
	for i, r := range items {
		next, err := r.Next(e)
		if err != nil {
			return e, err
		}
		if !bytes.Equal(next.Data, e.Data) {
			changed(i, e.Data, next.Data)
		}
		e = next
	}
	return e, nil
}

type allOf func(stead.Event, []*session.Redactor, func(int, []byte, []byte)) (stead.Event, error)

// TestManyAreRedactedAsEachIs: reading an event once for all items leaves the same journal, and says the same of each, as reading it for each.
func TestManyAreRedactedAsEachIs(t *testing.T) {
	eachOf(t, fewSeeds, 80, func(t *testing.T, g *sessiontest.Gen) {
		items := pages(t, g, g.Events, session.ItemQuery{PageQuery: session.PageQuery{Limit: 100}})
		var said, left [2]string
		for way, all := range []allOf{oneByOne, session.RedactAll} {
			rs := redactors(items)
			for _, e := range g.Events {
				next, err := all(e, rs, func(item int, was, is []byte) {
					said[way] += fmt.Sprintf("%d of event %d: %s → %s\n", item, e.Seq, was, is)
				})
				if err != nil {
					t.Fatalf("event %d (%s): %v", e.Seq, e.Kind, err)
				}
				left[way] += mustJSON(t, next) + "\n"
			}
			for i, r := range rs {
				said[way] += fmt.Sprintf("about %d: %q\n", i, r.Said())
			}
		}
		if left[0] != left[1] || said[0] != said[1] {
			t.Fatalf("all at once:\n%s\n%s\none by one:\n%s\n%s", left[1], said[1], left[0], said[0])
		}
	})
}

// BenchmarkRedactMany takes what an agent said out of a journal of so many items, two of each model's call: all at once, and, as it was, each by itself.
func BenchmarkRedactMany(b *testing.B) {
	for _, n := range []int{500, 5000} {
		events, items := longJournal(b, n)
		for name, all := range map[string]allOf{"once": session.RedactAll, "each": oneByOne} {
			b.Run(fmt.Sprintf("%s/items=%d", name, n), func(b *testing.B) {
				for b.Loop() {
					rs, changes := redactors(items), 0
					for _, e := range events {
						if _, err := all(e, rs, func(int, []byte, []byte) { changes++ }); err != nil {
							b.Fatal(err)
						}
					}
					if len(rs) != n || changes < n {
						b.Fatalf("%d items, %d changes", len(rs), changes)
					}
				}
			})
		}
	}
}

// longJournal is a journal of n items of an agent: texts, and calls with their outputs.
func longJournal(b *testing.B, n int) ([]stead.Event, []session.Item) {
	b.Helper()
	var kinds []string
	var payloads []any
	for i := range n / 2 {
		call := stead.Seq(4*i + 1)
		id := fmt.Sprintf("call_%d", i)
		kinds = append(kinds, session.KindModelCalled, session.KindModelReplied, session.KindToolCalled, session.KindToolReturned)
		payloads = append(payloads, session.ModelCalled{}, session.ModelReplied{Call: call, Items: []session.ReplyItem{
			{Item: stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: []stead.Content{{Type: stead.ContentOutputText, Text: stead.NewText("The orders of today are these, of which none is late.")}}}},
			{Item: stead.Item{Type: stead.ItemFunctionCall, CallID: id, Name: "shell", Arguments: json.RawMessage(`{"command":"ls -l /srv/orders"}`)}},
		}}, session.ToolCalled{CallID: id}, session.ToolReturned{CallID: id, Output: []stead.Content{{Type: stead.ContentOutputText, Text: stead.NewText("4711 4712 4713")}}})
	}
	events := journalOf(b, kinds, payloads...)
	of := session.NewSaidSince(sessiontest.Key, 0)
	for _, e := range events {
		if err := of.Next(e); err != nil {
			b.Fatal(err)
		}
	}
	return events, of.Items()
}
