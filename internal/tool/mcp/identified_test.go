package mcp_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/mcp"
)

// asker serves a tool that says what it was told of who asks.
func asker(t *testing.T) string {
	t.Helper()
	s := sdk.NewServer(&sdk.Implementation{Name: "asker", Version: "1"}, nil)
	sdk.AddTool(s, &sdk.Tool{Name: "who"}, func(_ context.Context, r *sdk.CallToolRequest, _ struct{}) (*sdk.CallToolResult, any, error) {
		told, _ := json.Marshal(r.Params.Meta)
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: string(told)}}}, nil, nil
	})
	srv := httptest.NewServer(sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, nil))
	t.Cleanup(srv.Close)
	return srv.URL
}

// The operator's servers are told who asks and for whom; those that an agent names learn of the session, and of nobody. What
// an agent's own metadata says of these is never sent.
func TestWhoAsksIsToldToTheOperatorsServers(t *testing.T) {
	url := asker(t)
	m := open(t, mcp.Config{Servers: []mcp.Configured{{Label: "asker", URL: url}}})
	forged := map[string]any{"team": "blue", "stead.dev/principal": "somebody else", "stead.dev/agent": "another"}
	for name, c := range map[string]struct {
		server tool.Server
		knows  bool
	}{"the operator's": {tool.Server{Label: "asker", Metadata: forged}, true}, "an agent's": {tool.Server{Label: "x", URL: url, Metadata: forged}, false}} {
		tools, err := m.Tools(t.Context(), c.server)
		if err != nil {
			t.Fatal(err)
		}
		r, err := tools[0].Call(t.Context(), tool.Call{
			Key: "k", Session: stead.SessionKey{Project: "one", Session: "sess_1"}, Turn: "turn_1_2", Agent: "agent_1",
			Principal: stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: "ada", Role: "owner"},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := `{"stead.dev/idempotency-key":"k","stead.dev/session":"sess_1","stead.dev/turn":"turn_1_2","team":"blue"}`
		if c.knows {
			want = `{"stead.dev/agent":"agent_1","stead.dev/idempotency-key":"k","stead.dev/principal":{"id":"ada","kind":"user"},"stead.dev/project":"one","stead.dev/session":"sess_1","stead.dev/turn":"turn_1_2","team":"blue"}`
		}
		if got := r.Content[0].Text.Inline; got != want {
			t.Errorf("%s was told %s", name, got)
		}
	}
}

// A server that wants to know who asks gets a token with each request, over a connection that no other session has; nobody's
// agent gets nothing from it.
func TestAConfiguredServerThatKnowsWhoAsks(t *testing.T) {
	d, url := openDoor(t, "ada's")
	m := open(t, mcp.Config{Servers: []mcp.Configured{{Label: "door", URL: url, Identified: true}}})
	call := func(c tool.Credential) error {
		tools, err := m.Tools(t.Context(), tool.Server{Label: "door", Credential: c})
		if err != nil {
			return err
		}
		_, err = tools[0].Call(t.Context(), tool.Call{Key: "k"})
		return err
	}
	for _, who := range []string{"ada", "bob", "ada"} {
		d.accept(who + "'s")
		if err := call(&purse{key: who, tokens: []string{who + "'s"}}); err != nil {
			t.Errorf("%s: %v", who, err)
		}
	}
	d.mu.Lock()
	if d.opened["Bearer ada's"] != 1 || d.opened["Bearer bob's"] != 1 || d.calls != 3 {
		t.Errorf("%d calls over %v", d.calls, d.opened)
	}
	d.mu.Unlock()
	if err := call(nil); stead.KindOf(err) != stead.KindForbidden {
		t.Errorf("nobody: %v", err)
	}
}
