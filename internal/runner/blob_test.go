package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// digestsOnly fails the test when an event holds a text that must be a blob.
func digestsOnly(t *testing.T, n *node, id stead.SessionID) {
	t.Helper()
	for _, e := range n.events(id) {
		if e.Kind == session.KindModelStreamed {
			continue
		}
		var walk func(v any)
		walk = func(v any) {
			switch v := v.(type) {
			case string:
				if len(v) > stead.MaxInlineBytes {
					t.Errorf("event %d (%s) holds a text of %d bytes", e.Seq, e.Kind, len(v))
				}
			case []any:
				for _, x := range v {
					walk(x)
				}
			case map[string]any:
				for _, x := range v {
					walk(x)
				}
			}
		}
		var v any
		if err := json.Unmarshal(e.Data, &v); err != nil {
			t.Fatal(err)
		}
		walk(v)
	}
}

// filled is a text above stead.MaxInlineBytes that begins with a word.
func filled(word string) string { return word + strings.Repeat(".", stead.MaxInlineBytes) }

// TestLargeTextsComeBackWhole: in items, in streams and to the model; the journal has digests only.
func TestLargeTextsComeBackWhole(t *testing.T) {
	sealed := stead.NewText(filled("sealed"))
	m := script(
		gives(model.FinishToolCalls,
			&stead.Item{Type: stead.ItemReasoning, Summary: []stead.Text{stead.NewText(filled("thought"))}, Encrypted: &sealed, Provider: "sim"},
			messageItem(filled("said")),
			&stead.Item{Type: stead.ItemFunctionCall, CallID: "c1", Name: "fetch", Arguments: json.RawMessage(`{}`)},
			&stead.Item{Type: stead.ItemFunctionCall, CallID: "c2", Name: "look", Arguments: json.RawMessage(`{}`)}),
		reply("ok"))
	image := filled("data:image/png;base64,")
	fetch := does{"fetch", tool.Pure, func(context.Context, tool.Call) (tool.Result, error) {
		return tool.Result{Content: []stead.Content{
			{Type: stead.ContentInputText, Text: stead.NewText(filled("fetched"))},
			{Type: stead.ContentInputImage, Text: stead.NewText(image)},
		}}, nil
	}}
	bubble(t, func(t *testing.T, n *node) {
		s, err := n.Create(context.Background(), me, session.CreateRequest{
			Override: specOf(mcpServer(), function("look")),
			Input: []session.InputMessage{{Content: []stead.Content{
				{Type: stead.ContentInputText, Text: stead.NewText(filled("asked"))},
				{Type: stead.ContentInputImage, Text: stead.NewText(image)},
			}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		w := n.until(s.ID, status(session.StatusRequiresAction))
		n.send(s.ID, answers(w.RequiredActions[0], filled("looked")))
		n.idle(s.ID)

		want := []string{
			"user: " + filled("asked") + "|" + image, "reasoning", "assistant: " + filled("said"), "call fetch {}", "call look {}",
			"output " + filled("fetched") + "|" + image, "output " + filled("looked"),
		}
		if got := seen(m.last()); !slices.Equal(got, want) {
			t.Errorf("the model saw %.60q", got)
		}
		if r := m.last().Items[1]; r.Summary[0].Inline != filled("thought") || r.Encrypted == nil || r.Encrypted.Inline != filled("sealed") {
			t.Error("the model got its reasoning back garbled")
		}
		digestsOnly(t, n, s.ID)
		page, err := n.Items(context.Background(), me, s.ID, session.ItemQuery{})
		if err != nil {
			t.Fatal(err)
		}
		listed, err := json.Marshal(page.Data)
		if err != nil {
			t.Fatal(err)
		}
		streamed, deltas := n.replay(s.ID)
		for _, word := range []string{"asked", "thought", "said", "fetched", "looked", "data:image/png;base64,"} {
			if !strings.Contains(string(listed), `"`+filled(word)+`"`) {
				t.Errorf("no item has the whole of %q", word)
			}
			if !strings.Contains(streamed, `"`+filled(word)+`"`) {
				t.Errorf("no stream event has the whole of %q", word)
			}
		}
		if !slices.Contains(deltas, filled("said")) {
			t.Errorf("the deltas of the message make %.40q", deltas)
		}
	}, withModel(m), withTools(having(fetch)))
}

// replay reads the whole stream: its events' JSON, and the deltas of each item put together.
func (n *node) replay(id stead.SessionID) (all string, deltas []string) {
	n.t.Helper()
	head, err := n.store.Head(context.Background(), n.key(id))
	if err != nil {
		n.t.Fatal(err)
	}
	var b strings.Builder
	text := map[string]string{} // item id → text
	end := errors.New("end")
	err = n.Stream(context.Background(), me, id, &stead.Cursor{}, nil, func(e session.StreamEvent) error {
		data, err := json.Marshal(e.Body)
		if err != nil {
			return err
		}
		b.Write(data)
		b.WriteByte('\n')
		if item, delta := deltaOf(e); delta != "" {
			text[item] += delta
		}
		if e.Cursor == (stead.Cursor{Seq: head.Tail}) {
			return end
		}
		return nil
	})
	if !errors.Is(err, end) {
		n.t.Fatal(err)
	}
	for _, s := range text {
		deltas = append(deltas, s)
	}
	return b.String(), deltas
}

// deltaOf is the text that a stream event adds, and to which item.
func deltaOf(e session.StreamEvent) (item, delta string) {
	if !strings.HasSuffix(e.Type, ".delta") {
		return "", ""
	}
	var d struct {
		ItemID string `json:"item_id"`
		Delta  string `json:"delta"`
	}
	data, err := json.Marshal(e.Body)
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	if err != nil {
		panic(err)
	}
	return d.ItemID, d.Delta
}

// TestManyParts: results of many parts, each of which an event could hold, come back whole.
func TestManyParts(t *testing.T) {
	for _, tc := range []struct{ parts, bytes int }{{200, 30_000}, {3000, 100}, {5000, 3000}} {
		t.Run(fmt.Sprintf("%d of %d bytes", tc.parts, tc.bytes), func(t *testing.T) {
			var content []stead.Content
			for i := range tc.parts {
				part := fmt.Sprintf("%06d", i)
				content = append(content, stead.Content{Type: stead.ContentInputText, Text: stead.NewText(part + strings.Repeat("p", tc.bytes-len(part)))})
			}
			m := script(calls("fetch", `{}`), reply("ok"))
			fetch := does{"fetch", tool.Pure, func(context.Context, tool.Call) (tool.Result, error) { return tool.Result{Content: content}, nil }}
			bubble(t, func(t *testing.T, n *node) {
				id := n.create("go", mcpServer()).ID
				n.idle(id)
				if turn := n.onlyTurn(id); turn.Status != session.TurnComplete {
					t.Fatalf("turn %s %+v", turn.Status, turn.Error)
				}
				got := seen(m.last())[2]
				next := 0
				for i := range tc.parts {
					at := strings.Index(got[next:], fmt.Sprintf("%06dp", i))
					if at < 0 {
						t.Fatalf("part %d is missing", i)
					}
					next += at
				}
				if len(got) < tc.parts*tc.bytes {
					t.Errorf("the model got %d bytes", len(got))
				}
				digestsOnly(t, n, id)
			}, withModel(m, func(i *model.Info) { i.ContextWindow = 0 }), withTools(having(fetch)))
		})
	}
}

func TestLargeTextThatIsStreamed(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("Write 8000 words every 1ms").ID
		n.idle(id)
		var words []string
		for i := range 8000 {
			words = append(words, fmt.Sprintf("word%d", i+1))
		}
		want := strings.Join(words, " ")
		if got := n.items(id); got[1] != "assistant completed: "+want {
			t.Errorf("item of %d bytes, want %d", len(got[1]), len(want))
		}
		if _, deltas := n.replay(id); len(deltas) != 1 || deltas[0] != want {
			t.Errorf("deltas of %d bytes, want %d", len(strings.Join(deltas, "")), len(want))
		}
		digestsOnly(t, n, id)
	})
}

func TestLargeArguments(t *testing.T) {
	args := `{"n":"` + strings.Repeat("a", 200_000) + `"}`
	m := script(calls("read", args), reply("ok"), calls("read", `{"n":"`+strings.Repeat("a", 300_000)+`"}`), reply("ok"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", mcpServer()).ID
		n.idle(id)
		if got := n.tools.log(); len(got) != 1 || string(got[0].Arguments) != args {
			t.Errorf("%d calls", len(got))
		}
		n.send(id, says("again"))
		n.idle(id)
		if got := n.tools.log(); len(got) != 1 {
			t.Error("arguments above the limit were sent")
		}
		if got := seen(m.last()); !strings.Contains(got[len(got)-1], "the limit is") {
			t.Errorf("the model saw %.100q", got[len(got)-1])
		}
	}, withModel(m))
}

// TestBlobsThatAreAway: the outcome is kept until it can be stored.
func TestBlobsThatAreAway(t *testing.T) {
	m := script(calls("fetch", `{}`), reply("ok"))
	runs := 0
	var n0 *node
	fetch := does{"fetch", tool.Unknown, func(context.Context, tool.Call) (tool.Result, error) {
		runs++
		n0.cfg.Blobs.(*memBlobs).fail(5)
		return outputs(filled("fetched"))
	}}
	bubble(t, func(t *testing.T, n *node) {
		n0 = n
		id := n.create("go", mcpServer()).ID
		n.idle(id)
		if got := seen(m.last()); got[2] != "output "+filled("fetched") || runs != 1 {
			t.Errorf("after %d calls the model saw %.40q", runs, got)
		}
	}, withModel(m), withTools(having(fetch)))
}
