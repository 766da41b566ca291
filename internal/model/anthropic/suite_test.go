package anthropic_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/anthropic"
	"github.com/stead-dev/stead/internal/model/modeltest"
)

const key = "sk-ant-secret-of-the-test"

func provider(t testing.TB, url string) *anthropic.Provider {
	t.Helper()
	p, err := anthropic.New(anthropic.Config{Name: "up", BaseURL: url, APIKey: key})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSuite(t *testing.T) {
	modeltest.Suite(t, func(t *testing.T, s *modeltest.Script) model.Model {
		s.Words = map[string][]string{
			"tool choice: one":  {`"tool_choice":{"name":"get_weather","type":"tool"}`},
			"tool choice: some": {`"tool_choice":{"type":"any"}`},
			"tool choice: none": {`"tool_choice":{"type":"none"}`},
			"serial tools":      {`"tool_choice":{"disable_parallel_tool_use":true,"type":"auto"}`},
		}[s.Case]
		return provider(t, modeltest.Serve(t, s, modeltest.Wire{Events: wire(t, s), Fail: fail, Check: func(r *http.Request) {
			if r.URL.Path != "/v1/messages" || r.Header.Get("X-Api-Key") != key || r.Header.Get("Anthropic-Version") != "2023-06-01" {
				t.Errorf("%s with %v", r.URL.Path, r.Header)
			}
		}}))
	}, modeltest.Skips{
		"filter stop": "what a filter stops is a refusal here",
	})
}

type object = map[string]any

// fail writes an error reply of the wire.
func fail(w http.ResponseWriter, f *modeltest.Failure) {
	kind, message := map[string]string{
		model.CodeUsageLimit:     "billing_error",
		model.CodeContextLength:  "invalid_request_error",
		model.CodeInvalid:        "invalid_request_error",
		model.CodeRateLimit:      "rate_limit_error",
		model.CodeOverloaded:     "overloaded_error",
		model.CodeServer:         "api_error",
		model.CodeAuthentication: "authentication_error",
		model.CodeNotFound:       "not_found_error",
	}[f.Code], "it failed"
	if f.Code == model.CodeContextLength {
		message = "prompt is too long: 210000 tokens > 200000 maximum"
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(f.RetryAfter.Seconds())))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.Status)
	_, _ = fmt.Fprintf(w, `{"type":"error","error":{"type":%q,"message":%q},"request_id":"req_1"}`, kind, message)
}

// writer makes the events of a message.
type writer struct {
	t      *testing.T
	events []string
	blocks int
}

func (w *writer) send(kind string, o object) {
	o["type"] = kind
	w.events = append(w.events, "event: "+kind+"\ndata: "+modeltest.JSON(w.t, o)+"\n\n")
}

func (w *writer) block(start object, deltas []object, open bool) {
	w.send("content_block_start", object{"index": w.blocks, "content_block": start})
	for _, d := range deltas {
		w.send("content_block_delta", object{"index": w.blocks, "delta": d})
	}
	if !open {
		w.send("content_block_stop", object{"index": w.blocks})
	}
	w.blocks++
}

// wire writes a script as the events of a message.
func wire(t *testing.T, s *modeltest.Script) []string {
	w := &writer{t: t}
	start := object{"id": "msg_1", "type": "message", "role": "assistant", "model": "up-model", "content": []any{}, "stop_reason": nil}
	if u := s.Usage; u != nil {
		start["usage"] = object{"input_tokens": u.InputTokens - u.CachedTokens - u.CacheWriteTokens,
			"cache_read_input_tokens": u.CachedTokens, "cache_creation_input_tokens": u.CacheWriteTokens, "output_tokens": 1, "service_tier": s.Tier}
	}
	w.send("message_start", object{"message": start})
	w.send("ping", object{})
	pieces := s.Pieces
	for _, it := range s.Items {
		switch it.Type {
		case stead.ItemReasoning:
			var ds []object
			for _, p := range pieces {
				ds = append(ds, object{"type": "thinking_delta", "thinking": p})
			}
			pieces = nil
			ds = append(ds, object{"type": "signature_delta", "signature": s.Sealed})
			w.block(object{"type": "thinking", "thinking": "", "signature": ""}, ds, false)
		case stead.ItemMessage:
			if stead.Refuses(it.Content) {
				continue // its words come with the reason to stop
			}
			if pieces == nil {
				pieces = []string{it.Content[0].Text.Inline}
			}
			var ds []object
			for _, p := range pieces {
				ds = append(ds, object{"type": "text_delta", "text": p})
			}
			w.block(object{"type": "text", "text": ""}, ds, s.Cut || s.Hang || s.Failure != nil)
		case stead.ItemFunctionCall:
			var ds []object
			for _, b := range strings.SplitAfter(string(it.Arguments), ":") {
				ds = append(ds, object{"type": "input_json_delta", "partial_json": b})
			}
			w.block(object{"type": "tool_use", "id": it.CallID, "name": it.Name, "input": object{}}, ds, false)
		}
	}
	if s.Failure != nil {
		w.send("error", object{"error": object{"type": "overloaded_error", "message": "Overloaded"}})
		return w.events
	}
	if s.Cut || s.Hang {
		return w.events
	}
	end := object{"delta": object{"stop_sequence": nil, "stop_reason": map[model.Finish]string{model.FinishStop: "end_turn",
		model.FinishToolCalls: "tool_use", model.FinishLength: "max_tokens", model.FinishRefusal: "refusal"}[s.Finish]}}
	if s.Finish == model.FinishRefusal {
		end["delta"].(object)["stop_details"] = object{"type": "refusal", "category": "cyber", "explanation": s.Items[0].Content[0].Text.Inline}
	}
	if u := s.Usage; u != nil {
		end["usage"] = object{"output_tokens": u.OutputTokens, "output_tokens_details": object{"thinking_tokens": u.ReasoningTokens}}
	}
	w.send("message_delta", end)
	w.send("message_stop", object{})
	return w.events
}

// sent is the body that a request makes.
func sent(t *testing.T, req model.Request) string {
	t.Helper()
	s := &modeltest.Script{}
	url := modeltest.Serve(t, s, modeltest.Wire{Events: []string{"data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n"}})
	if _, err := modeltest.Gather(t, t.Context(), provider(t, url+"/v1"), req); err != nil {
		t.Fatal(err)
	}
	return s.Body()
}
