package server

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity"
)

// executors is a fake: one token is right.
type executors struct{}

func (executors) ServeExecutor(w http.ResponseWriter, r *http.Request, id string) error {
	if id != "env_1" || r.Header.Get("Authorization") != "Bearer right" {
		return &stead.Error{Kind: stead.KindUnauthenticated, Code: "executor_token_invalid", Message: "the token is wrong"}
	}
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return nil
	}
	_ = c.Write(r.Context(), websocket.MessageText, []byte("hello "+id))
	return c.Close(websocket.StatusNormalClosure, "")
}

// An executor shows its own token: API keys neither are needed nor help.
func TestExecutorRoute(t *testing.T) {
	d := open(t, &fake{}, func(c *Config) {
		c.Executors = executors{}
		c.Authenticate = func(*http.Request) (identity.Caller, error) {
			return identity.Caller{}, stead.Errorf(stead.KindUnauthenticated, "no API key")
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dial := func(id, token string) (*websocket.Conn, *http.Response, error) {
		return websocket.Dial(ctx, d.url+"/v1/agents/environments/"+id+"/executor", &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
		})
	}
	c, _, err := dial("env_1", "right")
	if err != nil {
		t.Fatal(err)
	}
	if _, b, err := c.Read(ctx); err != nil || string(b) != "hello env_1" {
		t.Errorf("got %q, %v", b, err)
	}
	if _, answer, err := dial("env_1", "wrong"); err == nil || answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("a wrong token: %v", err)
	} else {
		var b strings.Builder
		_ = answer.Write(&b)
		if !strings.Contains(b.String(), `"code":"executor_token_invalid"`) {
			t.Errorf("answered %s", b.String())
		}
	}
	// A web page of another origin has no token, and is not even asked for one.
	if _, answer, err := websocket.Dial(ctx, d.url+"/v1/agents/environments/env_1/executor", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer right"}, "Origin": {"https://evil.example"}},
	}); err == nil || answer.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign page: %v", err)
	}
}

func TestExecutorRouteWithoutExecutors(t *testing.T) {
	d := open(t, &fake{})
	answer, err := d.client.Get(d.url + "/v1/agents/environments/env_1/executor")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusNotImplemented {
		t.Errorf("status %d", answer.StatusCode)
	}
}
