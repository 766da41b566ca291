package openai_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/modeltest"
	"github.com/stead-dev/stead/internal/model/openai"
)

// What a model thought goes back in the field in which it came, with the message that it led to, in
// turns that call tools. An upstream that thinks nothing meets no such field.
func TestChatReasoningGoesBack(t *testing.T) {
	for name, c := range map[string]struct {
		deltas []string // of the first reply, before its call
		want   string   // the fields that the assistant's message has beside its call
	}{
		"DeepSeek": {
			[]string{`{"reasoning_content":"Which "}`, `{"reasoning_content":"city?"}`, `{"content":"Let me see."}`},
			`{"reasoning_content":"Which city?"}`,
		},
		"vLLM": {[]string{`{"reasoning":"Which "}`, `{"reasoning":"city?"}`}, `{"reasoning":"Which city?"}`},
		"OpenRouter": {
			[]string{
				`{"reasoning":"Which ","reasoning_details":[{"type":"reasoning.text","text":"Which ","format":"f","index":0}]}`,
				`{"reasoning":"city?","reasoning_details":[{"type":"reasoning.text","text":"city?","signature":null,"index":0}]}`,
				`{"content":"","reasoning_details":[{"type":"reasoning.text","signature":"c2ln","index":0}]}`,
				`{"content":"Let me see."}`,
				`{"reasoning_details":[{"type":"reasoning.encrypted","data":"QQ==","id":"call_1","index":1}]}`,
			},
			`{"reasoning_details":[{"format":"f","index":0,"signature":"c2ln","text":"Which city?","type":"reasoning.text"},` +
				`{"data":"QQ==","id":"call_1","index":1,"type":"reasoning.encrypted"}]}`,
		},
		"Mistral": {[]string{`{"content":[{"type":"thinking","thinking":[{"type":"text","text":"Which city?"}]}]}`}, `{}`},
		"OpenAI":  {nil, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			var body []byte
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ = io.ReadAll(r.Body)
				w.Header().Set("Content-Type", "text/event-stream")
				call := `{"tool_calls":[{"index":0,"id":"call_1","function":{"name":"get_weather","arguments":"{}"}}]}`
				for _, d := range append(slices.Clone(c.deltas), call) {
					_, _ = io.WriteString(w, `data: {"choices":[{"index":0,"delta":`+d+`}]}`+"\n\n")
				}
				_, _ = io.WriteString(w, `data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`+"\n\ndata: [DONE]\n\n")
			}))
			defer srv.Close()
			p := provider(t, openai.APIChat, srv.URL)
			ask := []stead.Item{modeltest.User("The weather?")}
			r, err := modeltest.Gather(t, t.Context(), p, model.Request{Items: ask})
			if err != nil {
				t.Fatal(err)
			}
			back := slices.Concat(ask, r.Items, []stead.Item{modeltest.Output("call_1", modeltest.Text("21 degrees"))})
			if _, err := modeltest.Gather(t, t.Context(), p, model.Request{Items: back}); err != nil {
				t.Fatal(err)
			}
			got := assistant(t, body)
			if got["tool_calls"] == nil {
				t.Errorf("the message lost its call: %s", body)
			}
			delete(got, "tool_calls")
			delete(got, "content")
			delete(got, "role")
			if d := cmp.Diff(c.want, modeltest.JSON(t, got)); d != "" {
				t.Errorf("carried back (-want +got):\n%s", d)
			}
		})
	}
}

// assistant is the first message of the model in a request.
func assistant(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var req struct{ Messages []map[string]any }
	if err := json.Unmarshal(body, &req); err != nil {
		t.Fatal(err)
	}
	for _, m := range req.Messages {
		if m["role"] == stead.RoleAssistant {
			return m
		}
	}
	t.Fatalf("no message of the model: %s", body)
	return nil
}

// Thoughts of turns without calls stay here: DeepSeek's older models refuse them.
func TestChatReasoningOfOtherTurns(t *testing.T) {
	sealed := stead.NewText("reasoning_content.")
	thought := func(s string) stead.Item {
		return stead.Item{Type: stead.ItemReasoning, Provider: "up", Encrypted: &sealed, Summary: []stead.Text{stead.NewText(s)}}
	}
	req := model.Request{Model: "m", Items: []stead.Item{
		modeltest.User("one"), thought("idle"), modeltest.Message("Two."),
		modeltest.User("three"), thought("before"), modeltest.Call("call_1", "f", "{}"), modeltest.Output("call_1", modeltest.Text("ok")),
		thought("behind"), modeltest.Message("Four."), modeltest.User("five"),
	}}
	got, _ := body(t, req, func(*openai.Config) {})
	if strings.Contains(got, "idle") || !strings.Contains(got, `"reasoning_content": "before"`) || !strings.Contains(got, `"reasoning_content": "behind"`) {
		t.Errorf("the thoughts that go back:\n%s", got)
	}
	// Whoever turns a provider from chat to responses does not send its details as encrypted content.
	sealed = stead.NewText(`reasoning_details.[{"type":"reasoning.text"}]`)
	got, _ = body(t, req, func(c *openai.Config) { c.API = openai.APIResponses })
	if strings.Contains(got, "reasoning.text") {
		t.Errorf("details in another dialect:\n%s", got)
	}
}
