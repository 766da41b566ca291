package anthropic_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/anthropic"
)

// A request is counted as it would be sent, without what the endpoint does not know.
func TestCountInput(t *testing.T) {
	var path string
	var body map[string]any
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(b, &body); err != nil {
			t.Errorf("body %q: %v", b, err)
		}
		path = r.URL.Path
		_, _ = io.WriteString(w, `{"input_tokens":23}`)
	}))
	defer srv.Close()
	p, err := anthropic.New(anthropic.Config{Name: "a", BaseURL: srv.URL, APIKey: "key"})
	if err != nil {
		t.Fatal(err)
	}
	n, err := p.CountInput(t.Context(), model.Request{
		Model: "claude-sonnet-4-5", Instructions: "be brief", MaxOutputTokens: 9, User: "u",
		Items: []stead.Item{{Type: stead.ItemMessage, Role: stead.RoleUser, Content: stead.TextContent(stead.ContentInputText, "hi")}},
		Tools: []model.ToolSpec{{Name: "f", Parameters: json.RawMessage(`{"type":"object"}`)}},
	})
	if n != 23 || err != nil || path != "/v1/messages/count_tokens" {
		t.Errorf("%d tokens by %s, %v", n, path, err)
	}
	for _, name := range []string{"stream", "max_tokens", "metadata", "temperature", "service_tier"} {
		if _, has := body[name]; has {
			t.Errorf("%s is sent", name)
		}
	}
	if body["model"] != "claude-sonnet-4-5" || body["system"] == nil || len(body["tools"].([]any)) != 1 || len(body["messages"].([]any)) != 1 {
		t.Errorf("sent %v", body)
	}
}
