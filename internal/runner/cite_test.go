package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/citation"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// streams says a text in pieces, and finishes its item with whole.
func streams(whole string, pieces ...string) answer {
	return func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
		for _, p := range pieces {
			if !lasts(ctx, time.Second) || !yield(model.Delta{Kind: model.TextDelta, Text: p}, nil) {
				return
			}
		}
		yield(model.Delta{Kind: model.ItemDone, Item: messageItem(whole)}, nil)
		ends(req, yield, model.FinishStop)
	}
}

// tearsOff says a piece of a text and no more.
func tearsOff(piece string) answer {
	return func(ctx context.Context, _ model.Request, yield func(model.Delta, error) bool) {
		if yield(model.Delta{Kind: model.TextDelta, Text: piece}, nil) && lasts(ctx, time.Second) {
			yield(model.Delta{}, &model.Error{Code: model.CodeConnection, Message: "gone", Retry: true})
		}
	}
}

// citable is a source with a file_search that finds one passage, under a mark that the test knows.
func citable() (box, string) {
	mark := citation.Mark("the call", 0)
	found := fmt.Sprintf(`{"results":[{"cite":%q,"file_id":"file_1","filename":"shop.md","text":"Refunds take thirty days."}]}`, mark)
	search := does{tool.FileSearchName, tool.Pure, func(context.Context, tool.Call) (tool.Result, error) { return outputs(found) }}
	return box{tool.FileSearchName: {tools: []tool.Tool{search}}, "box": {tools: []tool.Tool{does{"lookup", tool.Pure, search.run}}}}, mark
}

func searches(s *agent.Spec) {
	s.Tools = []agent.Tool{{Type: agent.ToolFileSearch, ServerLabel: tool.FileSearchName, VectorStoreIDs: []string{"vs_1"}}, server("box")}
}

// told is a session's stream from its begin to the end of its turns: its events, and the texts of deltas put together.
func (n *node) told(id stead.SessionID, turns int) (events []string, text string) {
	n.t.Helper()
	end := errors.New("end")
	err := n.Stream(context.Background(), me, id, &stead.Cursor{}, nil, func(e session.StreamEvent) error {
		body, err := json.Marshal(e.Body)
		if err != nil {
			n.t.Fatal(err)
		}
		if p := session.PieceOf(e); p.Kind == session.PieceText {
			text += p.Text
			return nil // how a text is cut may differ
		}
		events = append(events, e.Type+" "+string(body))
		if strings.HasSuffix(e.Type, "turn.completed") {
			if turns--; turns == 0 {
				return end
			}
		}
		return nil
	})
	if !errors.Is(err, end) {
		n.t.Fatal(err)
	}
	return events, text
}

// said is the last message of a session, with its citations as "index filename".
func (n *node) said(id stead.SessionID) string {
	n.t.Helper()
	page, err := n.Items(context.Background(), me, id, session.ItemQuery{PageQuery: session.PageQuery{Limit: 1, Desc: true}})
	if err != nil {
		n.t.Fatal(err)
	}
	m, ok := page.Data[0].(*session.MessageItem)
	if !ok {
		n.t.Fatalf("the last item is %T", page.Data[0])
	}
	out := m.Text()
	for _, a := range m.Content[0].Annotations {
		out += fmt.Sprint(" | ", a.Index, " ", a.Filename)
	}
	return out
}

// TestMarksNeverShow: a mark that comes in pieces, from a call that broke off in one, and from a provider whose end is another than
// its stream.
func TestMarksNeverShow(t *testing.T) {
	tools, mark := citable()
	for name, tc := range map[string]struct {
		answers []answer
		want    string
	}{
		"in pieces":            {[]answer{streams("Thirty days "+mark+". "+mark, "Thirty days ", mark[:3], mark[3:9], mark[9:]+". ", mark)}, "Thirty days. | 11 shop.md | 12 shop.md"},
		"not streamed":         {[]answer{reply("Thirty days " + mark + ".")}, "Thirty days. | 11 shop.md"},
		"broken off in a mark": {[]answer{tearsOff("Thirty days " + mark[:9]), streams("Thirty "+mark, "Thirty "+mark)}, "Thirty | 6 shop.md"},
		"another end":          {[]answer{streams("Never "+mark, "Thirty days "+mark+" it is")}, "Thirty days it is | 11 shop.md"},
		"a longer end":         {[]answer{streams("Thirty days "+mark+" it is "+mark, "Thirty days "+mark)}, "Thirty days it is | 11 shop.md | 17 shop.md"},
		"nearly a mark":        {[]answer{streams("Days "+mark[:12], "Days ", mark[:12])}, "Days " + mark[:12]},
		"unknown":              {[]answer{streams("Days "+citation.Mark("x", 0), "Days "+citation.Mark("x", 0))}, "Days " + citation.Mark("x", 0)},
	} {
		t.Run(name, func(t *testing.T) {
			m := script(append([]answer{calls(tool.FileSearchName, `{"queries":["refunds"]}`)}, tc.answers...)...)
			bubble(t, func(t *testing.T, n *node) {
				id := n.begin("go", searches).ID
				live, text := n.told(id, 1)
				if got := n.said(id); got != tc.want {
					t.Errorf("it said %q, want %q", got, tc.want)
				}
				if strings.Contains(text, mark[:len(mark)-1]) {
					t.Errorf("watchers saw %q", text)
				}
				if !strings.HasSuffix(text, strings.SplitN(tc.want, " | ", 2)[0]) {
					t.Errorf("watchers saw %q, and it is %q", text, tc.want)
				}
				other := n.second("node-2")
				if again, same := other.told(id, 1); same != text || strings.Join(again, "\n") != strings.Join(live, "\n") {
					t.Errorf("another node tells\n%s\n%s", strings.Join(again, "\n"), strings.Join(live, "\n"))
				}
			}, withModel(m), withTools(tools))
		})
	}
}

// TestModelsReadTheirMarks: a model sees what it cited before as it wrote it, as long as the passages are before it; what is left of
// them in a summary is none. A tool that is not the search gives no passages.
func TestModelsReadTheirMarks(t *testing.T) {
	tools, mark := citable()
	m := script(calls("lookup", `{}`), reply("Not from there "+mark), calls(tool.FileSearchName, `{"queries":["refunds"]}`), reply("Thirty days "+mark+"."), reply("As I said "+mark))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin("go", searches).ID
		n.idle(id)
		if got := n.said(id); got != "Not from there "+mark {
			t.Errorf("of a tool that is no search it said %q", got)
		}
		n.send(id, says("search"))
		n.idle(id)
		n.send(id, says("again"))
		n.idle(id)
		if got := n.said(id); got != "As I said | 9 shop.md" {
			t.Errorf("later it said %q", got)
		}
		if got := strings.Join(seen(m.last()), "\n"); !strings.Contains(got, "assistant: Thirty days "+mark+".\n") {
			t.Errorf("the model reads\n%s", got)
		}
	}, withModel(m), withTools(tools))
}

// TestGuardrailsSeeNoMarks: what is shown is what they have seen, and citations stay with their words.
func TestGuardrailsSeeNoMarks(t *testing.T) {
	tools, mark := citable()
	secret := rail("secret", guardrail.Output, guardrail.Redact, guardrail.Check{Patterns: []string{"4711"}})
	m := script(calls(tool.FileSearchName, `{"queries":["refunds"]}`), streams("First "+mark+" then 47"+mark+"11 and last "+mark, "First "))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin("go", searches).ID
		n.idle(id)
		got := n.said(id)
		text, cited, _ := strings.Cut(got, " | ")
		if strings.Contains(text, "47") || strings.Contains(text, mark) || !strings.HasPrefix(text, "First then [") {
			t.Errorf("it said %q", got)
		}
		if want := fmt.Sprint("5 shop.md | ", strings.Index(text, "] and")+1, " shop.md | ", len(text), " shop.md"); cited != want {
			t.Errorf("it cited %q, want %q", cited, want)
		}
	}, withModel(m), withTools(tools), withGuardrails(&notes{}, nil, secret))
}
