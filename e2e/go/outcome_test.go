package e2e

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	openai "github.com/openai/openai-go/v3"
)

type charge struct {
	Cents int `json:"cents"`
}

// cashier is a tool server whose one tool has an effect that nobody may repeat: it takes the money
// and then answers when it is told to.
func cashier(t *testing.T) (url string, calls *atomic.Int64, called chan struct{}) {
	t.Helper()
	calls, called = &atomic.Int64{}, make(chan struct{}, 8)
	release := make(chan struct{})
	s := mcp.NewServer(&mcp.Implementation{Name: "cashier", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "charge", Description: "Takes money"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ charge) (*mcp.CallToolResult, any, error) {
		calls.Add(1)
		called <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "charged"}}}, nil, nil
	})
	srv := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil))
	t.Cleanup(func() { close(release); srv.CloseClientConnections(); srv.Close() })
	return srv.URL, calls, called
}

// TestOutcomeUnknown kills the server while a tool with an effect is at work: the call is never
// repeated, somebody says what became of it, and the turn goes on with that.
func TestOutcomeUnknown(t *testing.T) {
	for decision, want := range map[string]struct {
		calls  int64
		status string
	}{"happened": {1, "completed"}, "give_up": {1, "incomplete"}} {
		t.Run(decision, func(t *testing.T) {
			n, client, ctx := setup(t)
			url, calls, called := cashier(t)
			tool := openai.AgentToolParamOfParamMcp("cashier", openai.McpTransportParamHTTP{ServerURL: url})
			s, err := client.Beta.Agents.Sessions.New(ctx, params(`Call charge with {"cents":100}`, tool))
			if err != nil {
				t.Fatal(err)
			}
			select {
			case <-called:
			case <-ctx.Done():
				t.Fatal("the tool was never called")
			}
			n.kill()
			n.start()
			client = n.client()
			action := settled(t, ctx, client, s.ID, "requires_action").RequiredActions[0]
			if action.Type != "outcome_unknown" || action.RequestID == "" {
				t.Fatalf("required %s", action.RawJSON())
			}
			response := map[string]any{"decision": decision}
			if decision == "happened" {
				response["output"] = "charged, says the bank"
			}
			body := map[string]any{"events": []any{map[string]any{
				"type": "agent.session.input.outcome_unknown_result", "request_id": action.RequestID, "response": response,
			}}}
			if err := client.Post(ctx, "agents/sessions/"+s.ID+"/events", body, nil); err != nil {
				t.Fatal(err)
			}
			settled(t, ctx, client, s.ID, "idle")
			items, err := client.Beta.Agents.Sessions.Items.List(ctx, s.ID, openai.BetaAgentSessionItemListParams{})
			if err != nil {
				t.Fatal(err)
			}
			status := ""
			for _, i := range items.Data {
				if i.Type == "mcp_call" {
					status = string(i.Status)
				}
			}
			if status != want.status || calls.Load() != want.calls {
				t.Errorf("the call is %s after %d calls, want %s after %d", status, calls.Load(), want.status, want.calls)
			}
		})
	}
}

// TestForkExportImport copies a session in every way there is, and pauses it.
func TestForkExportImport(t *testing.T) {
	n, client, ctx := setup(t)
	s, err := client.Beta.Agents.Sessions.New(ctx, params("Say hello"))
	if err != nil {
		t.Fatal(err)
	}
	settled(t, ctx, client, s.ID, "idle")
	var forked openai.AgentSession
	if err := client.Post(ctx, "agents/sessions/"+s.ID+"/fork", map[string]any{}, &forked); err != nil || forked.ID == s.ID {
		t.Fatalf("fork: %v %s", err, forked.ID)
	}
	res, err := http.Get(n.base + "/v1/agents/sessions/" + s.ID + "/export")
	if err != nil {
		t.Fatal(err)
	}
	file, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.Header.Get("Content-Type") != "application/jsonl" {
		t.Fatalf("export: %v %v", err, res.Header)
	}
	res, err = http.Post(n.base+"/v1/agents/sessions/import", "application/jsonl", bytes.NewReader(file))
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("import: %v %v", err, res)
	}
	res.Body.Close()
	if res, err := http.Post(n.base+"/v1/agents/sessions/import", "application/jsonl", bytes.NewReader(file[:len(file)/2])); err != nil || res.StatusCode != http.StatusBadRequest {
		t.Errorf("half a file: %v %v", err, res)
	}
	list, err := client.Beta.Agents.Sessions.List(ctx, openai.BetaAgentSessionListParams{})
	if err != nil || len(list.Data) != 3 {
		t.Fatalf("sessions: %v %v", list, err)
	}
	for _, one := range list.Data {
		items, err := client.Beta.Agents.Sessions.Items.List(ctx, one.ID, openai.BetaAgentSessionItemListParams{})
		if err != nil || len(items.Data) != 2 || items.Data[0].AsMessage().OutputText() != "hello" {
			t.Errorf("items of %s: %v %v", one.ID, items, err)
		}
	}
	for _, act := range []string{"pause", "resume"} {
		if err := client.Post(ctx, "agents/sessions/"+s.ID+"/"+act, nil, nil); err != nil {
			t.Errorf("%s: %v", act, err)
		}
	}
}
