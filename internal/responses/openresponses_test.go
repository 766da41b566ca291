package responses_test

import (
	"encoding/json"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/responses"
	"github.com/stead-dev/stead/internal/responses/responsestest"
)

func parse(t *testing.T, body string) *responses.Request {
	t.Helper()
	o, err := param.Body([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r, err := responses.Parse(o, agent.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestObjectsAreOpenResponses(t *testing.T) {
	o := responsestest.Load(t)
	at := int64(1_790_000_000)
	message := stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.TextContent(stead.ContentOutputText, "hi")}
	thought := stead.Item{Type: stead.ItemReasoning, Summary: []stead.Text{stead.NewText("hm")}}
	call := stead.Item{Type: stead.ItemFunctionCall, CallID: "call_1", Name: "f", Arguments: json.RawMessage(`{"a":1}`)}
	for _, body := range []string{
		`{"model":"m","input":"hi"}`,
		`{"model":"m","input":"hi","instructions":"be kind","temperature":0.2,"top_p":0.5,"metadata":{"a":"b"},"max_output_tokens":5,
		  "tools":[{"type":"function","name":"f","description":"d","parameters":{"type":"object"},"strict":true}],"tool_choice":"required",
		  "text":{"format":{"type":"json_schema","name":"x","schema":{"type":"object"},"strict":true}},"reasoning":{"effort":"low"}}`,
	} {
		obj := &responses.Object{
			Echo: parse(t, body).Echo, ID: "resp_1", CreatedAt: at, CompletedAt: &at, Status: responses.StatusCompleted, Model: "m",
			Output: []any{responses.Encode("rs_1", thought, stead.ItemCompleted, true), responses.Encode("msg_1", message, stead.ItemCompleted, false), responses.Encode("fc_1", call, stead.ItemCompleted, false)},
			Usage:  responses.NewUsage(&stead.Usage{InputTokens: 10, CachedTokens: 4, OutputTokens: 3, ReasoningTokens: 1}),
		}
		o.Check("ResponseResource", obj)
		obj.Status, obj.Output, obj.Usage, obj.CompletedAt = responses.StatusFailed, nil, nil, nil
		obj.Error = responses.FailureOf("rate_limit_exceeded", "slow down")
		o.Check("ResponseResource", obj)
		obj.Status, obj.Error, obj.Incomplete = responses.StatusIncomplete, nil, &responses.Incomplete{Reason: "max_output_tokens"}
		o.Check("ResponseResource", obj)
	}
}

func TestEventsAreOpenResponses(t *testing.T) {
	o := responsestest.Load(t)
	known := 0
	s := responses.NewStream(-1, func(kind string, e any) error {
		if name, ok := o.Events[kind]; ok {
			known++
			o.Check(name, e)
		}
		return nil
	})
	obj := &responses.Object{Echo: parse(t, `{"model":"m","input":"hi"}`).Echo, ID: "resp_1", CreatedAt: 1, Status: responses.StatusInProgress, Model: "m"}
	item := func(id string, it stead.Item, status stead.ItemStatus) any {
		return responses.Encode(id, it, status, false)
	}
	message := stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant}
	refusal := stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.SaidContent("no", true)}
	call := stead.Item{Type: stead.ItemFunctionCall, CallID: "call_1", Name: "f", Arguments: json.RawMessage(`{}`)}
	for _, err := range []error{
		s.Whole("response.created", obj), s.Whole("response.queued", obj), s.Whole("response.in_progress", obj),
		s.Added(0, item("rs_1", stead.Item{Type: stead.ItemReasoning}, stead.ItemInProgress)), s.SummaryAdded(0, "rs_1", 0), s.Summary(0, "rs_1", 0, "hm"), s.SummaryDone(0, "rs_1", 0, "hm", false),
		s.Done(0, item("rs_1", stead.Item{Type: stead.ItemReasoning}, stead.ItemCompleted)),
		s.Added(1, item("msg_1", message, stead.ItemInProgress)), s.TextAdded(1, "msg_1", false), s.Text(1, "msg_1", "hi", false), s.TextDone(1, "msg_1", "hi", nil, false, false),
		s.Done(1, item("msg_1", message, stead.ItemCompleted)),
		s.Added(1, item("msg_2", message, stead.ItemInProgress)), s.TextAdded(1, "msg_2", true), s.Text(1, "msg_2", "no", true), s.TextDone(1, "msg_2", "no", nil, true, false),
		s.Done(1, item("msg_2", refusal, stead.ItemCompleted)),
		s.Added(2, item("fc_1", call, stead.ItemInProgress)), s.Arguments("function_call", 2, "fc_1", "f", `{}`), s.Done(2, item("fc_1", call, stead.ItemCompleted)),
		s.Whole("response.completed", obj), s.Whole("response.incomplete", obj), s.Whole("response.failed", obj),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if known != 28 {
		t.Errorf("%d events have a schema, want 28: the names differ", known)
	}
}
