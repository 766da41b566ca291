package e2e

import (
	"encoding/json"
	"testing"

	openai "github.com/openai/openai-go/v3"
)

// TestTraces: the SDK pages through the traces of a session's turns.
func TestTraces(t *testing.T) {
	_, client, ctx := setup(t)
	sessions := client.Beta.Agents.Sessions
	res, err := openai.BetaAgentSessionFinalResult(sessions.NewStreaming(ctx, params("Say hello")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sessions.Stream(ctx, res.SessionID(), openai.AgentSessionStreamParams{Input: "Say more"}).FinalResult(); err != nil {
		t.Fatal(err)
	}
	pages, names := sessions.Traces.ListAutoPaging(ctx, res.SessionID(), openai.BetaAgentSessionTraceListParams{Limit: openai.Int(1), Order: "asc"}), 0
	for pages.Next() {
		tr := pages.Current()
		data, err := json.Marshal(tr.Otlp)
		if err != nil {
			t.Fatal(err)
		}
		var otlp struct {
			ResourceSpans []struct {
				ScopeSpans []struct{ Spans []struct{ Name string } }
			}
		}
		if err := json.Unmarshal(data, &otlp); err != nil {
			t.Fatal(err)
		}
		spans := otlp.ResourceSpans[0].ScopeSpans[0].Spans
		if tr.SessionID != res.SessionID() || spans[0].Name != "chat sim" || spans[len(spans)-1].Name != "invoke_agent" {
			t.Errorf("trace %s of %s: %+v", tr.ID, tr.SessionID, spans)
		}
		names++
	}
	if pages.Err() != nil || names != 2 {
		t.Errorf("%d traces, %v", names, pages.Err())
	}
}
