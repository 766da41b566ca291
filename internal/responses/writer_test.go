package responses_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/responses"
	"github.com/stead-dev/stead/internal/responses/responsestest"
)

// Whatever a model streams, each event is one of Open Responses, their numbers rise, and the last one
// shows the items that were told.
func TestWriterTellsOpenResponses(t *testing.T) {
	o := responsestest.Load(t)
	sealed := stead.NewText("id.secret")
	thought := &stead.Item{Type: stead.ItemReasoning, Summary: []stead.Text{stead.NewText("hm"), stead.NewText("so")}, Encrypted: &sealed, Provider: "p"}
	bare := &stead.Item{Type: stead.ItemReasoning, Encrypted: &sealed, Provider: "p"}
	said := &stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.TextContent(stead.ContentOutputText, "hé")}
	silent := &stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.TextContent(stead.ContentOutputText, "")}
	no := &stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.SaidContent("no", true)}
	half := &stead.Item{Type: stead.ItemMessage, Status: stead.ItemIncomplete, Role: stead.RoleAssistant, Content: said.Content}
	refuse := func(index int, text string) model.Delta {
		return model.Delta{Kind: model.TextDelta, Index: index, Text: text, Refusal: true}
	}
	call := &stead.Item{Type: stead.ItemFunctionCall, CallID: "c", Name: "f", Arguments: json.RawMessage(`"{oops"`)}
	think := func(part int, text string) model.Delta {
		return model.Delta{Kind: model.ReasoningDelta, Part: part, Text: text}
	}
	item := func(index int, it *stead.Item) model.Delta {
		return model.Delta{Kind: model.ItemDone, Index: index, Item: it}
	}
	text := func(index int, text string) model.Delta {
		return model.Delta{Kind: model.TextDelta, Index: index, Text: text}
	}
	for name, tc := range map[string]struct {
		deltas []model.Delta
		finish model.Finish
		status string // "": it fails
		last   stead.ItemStatus
	}{
		"everything":  {[]model.Delta{think(0, "hm"), think(1, "s"), think(1, "o"), item(0, thought), text(1, "h"), text(1, "é"), item(1, said), item(2, call), item(3, call)}, model.FinishToolCalls, "completed", "completed"},
		"no deltas":   {[]model.Delta{item(0, bare), item(1, silent)}, model.FinishStop, "completed", "completed"},
		"nothing":     {nil, model.FinishStop, "completed", ""},
		"cut off":     {[]model.Delta{text(0, "hé"), item(0, said)}, model.FinishLength, "incomplete", "incomplete"},
		"refused":     {[]model.Delta{refuse(0, "n"), refuse(0, "o"), item(0, no)}, model.FinishRefusal, "completed", "completed"},
		"filtered":    {[]model.Delta{text(0, "hé"), item(0, half), refuse(1, "no"), item(1, no)}, model.FinishFilter, "incomplete", "completed"},
		"failed":      {[]model.Delta{text(0, "h")}, "", "", ""},
		"interleaved": {[]model.Delta{text(0, "h"), text(1, "hé"), text(0, "é"), item(1, said), item(0, said)}, model.FinishStop, "completed", "completed"},
	} {
		t.Run(name, func(t *testing.T) {
			var types []string
			last, ids := int64(-1), 0
			var final json.RawMessage
			w := &responses.Writer{
				Object:    &responses.Object{Echo: parse(t, `{"model":"m","store":false,"input":"x"}`).Echo, ID: "resp_1", CreatedAt: 1, Status: responses.StatusInProgress},
				Encrypted: true, NewID: func(prefix string) string { ids++; return fmt.Sprint(prefix, ids) },
			}
			w.Out = responses.NewStream(-1, func(kind string, event any) error {
				if o.Events[kind] == "" {
					t.Errorf("%s is no event of Open Responses", kind)
				}
				o.For(t).Check(o.Events[kind], event)
				raw, err := json.Marshal(event)
				var e struct {
					Number   int64 `json:"sequence_number"`
					Response json.RawMessage
				}
				if err == nil {
					err = json.Unmarshal(raw, &e)
				}
				if err != nil || e.Number <= last {
					t.Errorf("%s: %v, number %d after %d", kind, err, e.Number, last)
				}
				last, final, types = e.Number, e.Response, append(types, kind)
				return nil
			})
			for _, d := range tc.deltas {
				if err := w.Delta(d); err != nil {
					t.Fatal(err)
				}
			}
			if tc.status == "" {
				if err := w.Fail("server_error", "broke", 2); err != nil || types[len(types)-1] != "response.failed" {
					t.Errorf("%v: %v", err, types)
				}
				return
			}
			if err := w.Done(model.Delta{Kind: model.Done, Finish: tc.finish, Usage: &stead.Usage{InputTokens: 1, OutputTokens: 2}}, 2); err != nil {
				t.Fatal(err)
			}
			var r struct {
				Status string
				Output []struct{ Status stead.ItemStatus }
			}
			if err := json.Unmarshal(final, &r); err != nil || r.Status != tc.status || types[len(types)-1] != "response."+tc.status {
				t.Errorf("%v: ended as %s with %s", err, r.Status, types[len(types)-1])
			}
			if n := len(r.Output); n > 0 && r.Output[n-1].Status != tc.last {
				t.Errorf("the last item is %s", r.Output[n-1].Status)
			}
		})
	}
}
