package openai_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/openai"
)

// A request is counted as it would be sent, without what the endpoint does not know.
func TestCountInput(t *testing.T) {
	var path string
	var body map[string]any
	status := http.StatusOK
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body = nil
		if err := json.Unmarshal(b, &body); err != nil {
			t.Errorf("body %q: %v", b, err)
		}
		path = r.URL.Path
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"object":"response.input_tokens","input_tokens":17}`)
	}))
	defer srv.Close()
	req := model.Request{
		Model: "m", Instructions: "be brief", MaxOutputTokens: 9, CacheKey: "k", User: "u", ServiceTier: "flex",
		Items: []stead.Item{{Type: stead.ItemMessage, Role: stead.RoleUser, Content: stead.TextContent(stead.ContentInputText, "hi")}},
		Tools: []model.ToolSpec{{Name: "f", Parameters: json.RawMessage(`{"type":"object"}`)}},
	}
	p := chat(t, func(c *openai.Config) { c.API, c.BaseURL = openai.APIResponses, srv.URL+"/v1" })
	if n, err := p.CountInput(t.Context(), req); n != 17 || err != nil || path != "/v1/responses/input_tokens" {
		t.Errorf("%d tokens by %s, %v", n, path, err)
	}
	for _, name := range []string{"stream", "store", "max_output_tokens", "prompt_cache_key", "service_tier", "include", "safety_identifier", "user"} {
		if _, has := body[name]; has {
			t.Errorf("%s is sent", name)
		}
	}
	if body["model"] != "m" || body["instructions"] != "be brief" || !reflect.DeepEqual(body["tools"].([]any)[0].(map[string]any)["name"], "f") || len(body["input"].([]any)) != 1 {
		t.Errorf("sent %v", body)
	}
	code := func(err error) string {
		e, _ := errors.AsType[*model.Error](err)
		if e == nil {
			return ""
		}
		return e.Code
	}
	status = http.StatusNotFound
	if _, err := p.CountInput(t.Context(), req); code(err) != model.CodeNotFound {
		t.Errorf("a server without the endpoint: %v", err)
	}
	path = ""
	if _, err := chat(t, func(c *openai.Config) { c.API, c.BaseURL = openai.APIChat, srv.URL+"/v1" }).CountInput(t.Context(), req); code(err) != model.CodeDialect || path != "" {
		t.Errorf("a provider of api chat: %v, asked %q", err, path)
	}
}
