package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/mcp"
)

// purse is a credential whose tokens are given out in their order, the next one when one is refused.
type purse struct {
	key    string
	mu     sync.Mutex
	tokens []string
	err    error
}

func (p *purse) Key() string { return p.key }

func (p *purse) Consents() bool { return false }

func (p *purse) Token(_ context.Context, refused string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if refused != "" && refused == p.tokens[0] && len(p.tokens) > 1 {
		p.tokens = p.tokens[1:]
	}
	return p.tokens[0], p.err
}

// doorkeeper is a tool server that lets one token in, and counts the sessions that each opened.
type doorkeeper struct {
	mu      sync.Mutex
	accepts string
	opened  map[string]int
	calls   int
}

func openDoor(t *testing.T, accepts string) (*doorkeeper, string) {
	t.Helper()
	d := &doorkeeper{accepts: accepts, opened: map[string]int{}}
	s := sdk.NewServer(&sdk.Implementation{Name: "door", Version: "1"}, nil)
	sdk.AddTool(s, &sdk.Tool{Name: "echo"}, func(_ context.Context, r *sdk.CallToolRequest, _ struct{}) (*sdk.CallToolResult, any, error) {
		d.mu.Lock()
		d.calls++
		d.mu.Unlock()
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: r.Extra.Header.Get("Authorization")}}}, nil, nil
	})
	inner := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, nil)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		ok := r.Header.Get("Authorization") == "Bearer "+d.accepts
		if ok && r.Header.Get("Mcp-Session-Id") == "" {
			d.opened[r.Header.Get("Authorization")]++
		}
		d.mu.Unlock()
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return d, srv.URL
}

func (d *doorkeeper) accept(token string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.accepts = token
}

func TestARefusedTokenIsRenewedOnceAndTheCallMadeOnce(t *testing.T) {
	d, at := openDoor(t, "token-1")
	m := open(t, mcp.Config{})
	c := &purse{key: "a", tokens: []string{"token-1", "token-2"}}
	server := tool.Server{Label: "door", URL: at, Credential: c}
	if got := allText(callOne(t, m, server, "echo", `{}`)); got != "Bearer [redacted]" {
		t.Fatalf("%q", got)
	}
	d.accept("token-2") // between two calls
	if got := allText(callOne(t, m, server, "echo", `{}`)); got != "Bearer [redacted]" || d.calls != 2 {
		t.Errorf("%q after %d calls", got, d.calls)
	}
	d.accept("token-3") // which nobody has
	_, err := find(t, m, server, "echo").Call(t.Context(), tool.Call{Key: "k", Arguments: json.RawMessage(`{}`)})
	e, ok := errors.AsType[*stead.Error](err)
	_, unsent := errors.AsType[*tool.NotSentError](err)
	if !ok || e.Code != tool.CodeCredential || !unsent || d.calls != 2 || strings.Contains(err.Error(), "token-") {
		t.Errorf("%v after %d calls", err, d.calls)
	}
}

func TestACredentialThatCannotBeUsedIsSaidInItsOwnWords(t *testing.T) {
	_, at := openDoor(t, "token-1")
	m := open(t, mcp.Config{})
	why := &stead.Error{Kind: stead.KindForbidden, Code: tool.CodeCredential, Message: "it was deleted"}
	c := &purse{key: "a", tokens: []string{"token-1"}, err: why}
	if _, err := m.Tools(t.Context(), tool.Server{Label: "door", URL: at, Credential: c}); !errors.Is(err, why) {
		t.Errorf("to connect: %v", err)
	}
	c.err = nil
	one := find(t, m, tool.Server{Label: "door", URL: at, Credential: c}, "echo")
	c.err = why
	if _, err := one.Call(t.Context(), tool.Call{Key: "k", Arguments: json.RawMessage(`{}`)}); !errors.Is(err, why) {
		t.Errorf("to call: %v", err)
	}
}

// What one session's credential opened is not another's to use.
func TestCredentialsShareNoConnections(t *testing.T) {
	d, at := openDoor(t, "token-1")
	m := open(t, mcp.Config{})
	for range 2 {
		for _, key := range []string{"a", "b"} {
			callOne(t, m, tool.Server{Label: "door", URL: at, Credential: &purse{key: key, tokens: []string{"token-1"}}}, "echo", `{}`)
		}
	}
	if _, err := m.Tools(t.Context(), tool.Server{Label: "door", URL: at}); err == nil {
		t.Error("who has no credential got in over the connection of one who has")
	}
	if d.opened["Bearer token-1"] != 2 {
		t.Errorf("%d sessions were opened for two credentials", d.opened["Bearer token-1"])
	}
}
