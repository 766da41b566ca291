package main

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/trace"
)

// traceList is an answer of the route.
type traceList struct {
	Data []struct {
		ID   string
		OTLP trace.ExportRequest
	}
	HasMore bool `json:"has_more"`
}

func (l traceList) spans(i int) []trace.Span {
	return l.Data[i].OTLP.ResourceSpans[0].ScopeSpans[0].Spans
}

// TestDecisionTimeIsInTheTrace: a turn's trace says which policies decided about its calls, and how long that took; it is a part of the
// trace that the request came in, and another node tells the same from the same journal.
func TestDecisionTimeIsInTheTrace(t *testing.T) {
	const config = "policies: {inline: '@id(\"all-may\") permit(principal, action, resource);'}\n" + registryConfig
	n := openConfigured(t, config, io.Discard)
	h := &house{t: t, base: n.base}
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	req, err := http.NewRequestWithContext(t.Context(), "POST", n.base+"/v1/agents/sessions", strings.NewReader(`{"agent":{"model":"mine","name":"Ada"},"environment":{"type":"none"},"input":"Say the-secret-word"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("traceparent", parent)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var s struct{ ID string }
	if err := json.NewDecoder(res.Body).Decode(&s); err != nil || s.ID == "" {
		t.Fatal(res.StatusCode, err)
	}
	h.idle("", s.ID)
	path := "/v1/agents/sessions/" + s.ID
	if status, body := h.call("", "POST", path+"/events", `{"events":[{"type":"agent.session.input.message","input":"Say more"}]}`); status != http.StatusAccepted {
		t.Fatal(status, string(body))
	}
	h.idle("", s.ID)

	_, before := h.call("", "GET", path+"/traces?order=asc", "")
	var list traceList
	if err := json.Unmarshal(before, &list); err != nil || len(list.Data) != 2 || list.HasMore {
		t.Fatalf("%s %v", before, err)
	}
	if strings.Contains(string(before), "the-secret-word") {
		t.Error("what was said is in the trace")
	}
	for i, traced := range []string{"0af7651916cd43dd8448eb211c80319c", ""} {
		spans := list.spans(i)
		root := spans[len(spans)-1]
		if root.Name != "invoke_agent Ada" || (root.Parent == "b7ad6b7169203331") != (i == 0) || traced != "" && root.TraceID != traced || root.Attribute("stead.turn.status").Text() != "completed" {
			t.Errorf("the turn's span is %+v", root)
		}
		call := spans[slices.IndexFunc(spans, func(s trace.Span) bool { return s.Attribute("gen_ai.operation.name").Text() == "chat" })]
		if len(call.Events) != 1 || call.Parent != root.SpanID || call.TraceID != root.TraceID {
			t.Fatalf("the call's span is %+v", call)
		}
		decision := trace.Span{Attributes: call.Events[0].Attributes}
		if decision.Attribute("stead.policy.ids").Text() != "all-may" || decision.Attribute("stead.policy.verdict").Text() != "allow" || decision.Attribute("stead.policy.us") == nil {
			t.Errorf("the decision is %+v", decision)
		}
	}
	// The cursor is the turn's id; a malformed one, and a session that there is not, are refused.
	var page traceList
	if h.get("", "GET", path+"/traces?limit=1", "", &page); len(page.Data) != 1 || !page.HasMore || page.Data[0].ID != list.Data[1].ID {
		t.Errorf("the newest is %+v", page)
	}
	if h.get("", "GET", path+"/traces?limit=1&after="+page.Data[0].ID, "", &page); len(page.Data) != 1 || page.HasMore || page.Data[0].ID != list.Data[0].ID {
		t.Errorf("the one before is %+v", page)
	}
	for call, want := range map[string]int{path + "/traces?after=turn_x": http.StatusBadRequest, "/v1/agents/sessions/sess_x/traces": http.StatusNotFound} {
		if status, body := h.call("", "GET", call, ""); status != want {
			t.Errorf("%s: %d %s", call, status, body)
		}
	}
	n.stop()
	h.base = openAgain(t, n, config).base
	if _, after := h.call("", "GET", path+"/traces?order=asc", ""); string(after) != string(before) {
		t.Errorf("another node says\n%s\nand the first said\n%s", after, before)
	}
}
