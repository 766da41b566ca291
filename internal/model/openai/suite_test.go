package openai_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/modeltest"
	"github.com/stead-dev/stead/internal/model/openai"
)

func TestSuite(t *testing.T) {
	for api, skips := range map[string]modeltest.Skips{
		openai.APIResponses: {
			"stop": "the Responses API has no such field: TestUnsayable",
		},
		openai.APIChat: {},
	} {
		t.Run(api, func(t *testing.T) {
			modeltest.Suite(t, func(t *testing.T, s *modeltest.Script) model.Model {
				wire := responsesWire
				if api == openai.APIChat {
					wire = chatWire
				}
				s.Words = words(api)[s.Case]
				return provider(t, api, modeltest.Serve(t, s, modeltest.Wire{Events: wire(s), Fail: writeFailure,
					Check: func(r *http.Request) {
						if got := r.Header.Get("Authorization"); got != "Bearer sk-secret-of-the-test" {
							t.Errorf("authorization %q", got)
						}
					}}))
			}, skips)
		})
	}
}

func words(api string) map[string][]string {
	one := `"tool_choice":{"name":"get_weather","type":"function"}`
	if api == openai.APIChat {
		one = `"tool_choice":{"function":{"name":"get_weather"},"type":"function"}`
	}
	return map[string][]string{
		"tool choice: one":  {one},
		"tool choice: some": {`"tool_choice":"required"`},
		"tool choice: none": {`"tool_choice":"none"`},
		"serial tools":      {`"parallel_tool_calls":false`},
	}
}

// A wish that the Responses API has no field for fails the call and is named; nothing is sent.
func TestUnsayable(t *testing.T) {
	one, seed := 1.0, int64(1)
	for name, req := range map[string]model.Request{
		"stop":              {Stop: []string{"x"}},
		"presence_penalty":  {PresencePenalty: &one},
		"frequency_penalty": {FrequencyPenalty: &one},
		"seed":              {Seed: &seed},
	} {
		_, err := modeltest.Gather(t, t.Context(), provider(t, openai.APIResponses, "http://127.0.0.1:1"), req)
		if e, ok := errors.AsType[*model.Error](err); !ok || e.Code != model.CodeInvalid || !strings.Contains(e.Message, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func provider(t testing.TB, api, url string) *openai.Provider {
	t.Helper()
	p, err := openai.New(openai.Config{Name: "up", API: api, BaseURL: url + "/v1", APIKey: "sk-secret-of-the-test"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func writeFailure(w http.ResponseWriter, f *modeltest.Failure) {
	code := map[string]string{
		model.CodeUsageLimit:    "insufficient_quota",
		model.CodeContextLength: "context_length_exceeded",
	}[f.Code]
	w.Header().Set("Content-Type", "application/json")
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(f.RetryAfter.Seconds())))
	}
	w.WriteHeader(f.Status)
	_, _ = io.WriteString(w, asJSON(map[string]any{"error": map[string]any{"message": "it failed", "type": "x", "code": code}}))
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

type object = map[string]any

// chatWire writes a script as chunks of a chat completion.
func chatWire(s *modeltest.Script) []string {
	var out []string
	send := func(delta object, finish any) {
		out = append(out, "data: "+asJSON(object{"id": "c1", "object": "chat.completion.chunk", "model": "up-model",
			"choices": []object{{"index": 0, "delta": delta, "finish_reason": finish}}})+"\n\n")
	}
	send(object{"role": "assistant", "content": ""}, nil)
	pieces := s.Pieces
	calls := 0
	for _, it := range s.Items {
		switch it.Type {
		case stead.ItemReasoning:
			for _, p := range pieces {
				send(object{"reasoning_content": p}, nil)
			}
			if s.Sealed != "" { // OpenRouter: beside the text, and the sealed part behind it
				send(object{"reasoning_details": []object{{"type": "reasoning.encrypted", "data": s.Sealed, "index": 1}}}, nil)
			}
			pieces = nil
		case stead.ItemMessage:
			key := "content"
			if s.Finish == model.FinishRefusal {
				key = "refusal"
			}
			if pieces == nil {
				pieces = []string{it.Content[0].Text.Inline}
			}
			for _, p := range pieces {
				send(object{key: p}, nil)
			}
		case stead.ItemFunctionCall:
			send(object{"tool_calls": []object{{"index": calls, "id": it.CallID, "type": "function",
				"function": object{"name": it.Name, "arguments": ""}}}}, nil)
			for _, b := range strings.SplitAfter(string(it.Arguments), ":") {
				send(object{"tool_calls": []object{{"index": calls, "function": object{"arguments": b}}}}, nil)
			}
			calls++
		}
	}
	if s.Failure != nil {
		return append(out, `data: {"error":{"message":"too busy","code":"server_is_overloaded"}}`+"\n\n")
	}
	if s.Cut || s.Hang {
		return out
	}
	finish := string(s.Finish)
	if s.Finish == model.FinishFilter {
		finish = "content_filter"
	}
	if s.Finish == model.FinishRefusal {
		finish = "stop"
	}
	send(object{}, finish)
	if u := s.Usage; u != nil {
		out = append(out, "data: "+asJSON(object{"choices": []object{}, "model": "up-model", "service_tier": s.Tier, "usage": object{
			"prompt_tokens": u.InputTokens, "completion_tokens": u.OutputTokens,
			"prompt_tokens_details":     object{"cached_tokens": u.CachedTokens, "cache_write_tokens": u.CacheWriteTokens},
			"completion_tokens_details": object{"reasoning_tokens": u.ReasoningTokens}}})+"\n\n")
	}
	return append(out, "data: [DONE]\n\n")
}

// responsesWire writes a script as the events of a response.
func responsesWire(s *modeltest.Script) []string {
	w := &responsesWriter{}
	w.send("response.created", object{"response": object{"status": "in_progress", "model": "up-model", "output": []any{}}})
	pieces := s.Pieces
	for i, it := range s.Items {
		switch it.Type {
		case stead.ItemReasoning:
			w.reasoning(i, it, pieces, s.Sealed)
			pieces = nil
		case stead.ItemMessage:
			if pieces == nil {
				pieces = []string{it.Content[0].Text.Inline}
			}
			w.message(i, it, pieces, s)
		case stead.ItemFunctionCall:
			w.call(i, it)
		}
	}
	if s.Failure != nil {
		w.send("error", object{"code": "server_is_overloaded", "message": "too busy", "param": nil})
		return w.events
	}
	if s.Cut || s.Hang {
		return w.events
	}
	r := object{"status": "completed", "model": "up-model", "output": w.output, "usage": nil, "service_tier": s.Tier}
	if u := s.Usage; u != nil {
		r["usage"] = object{"input_tokens": u.InputTokens, "output_tokens": u.OutputTokens,
			"input_tokens_details":  object{"cached_tokens": u.CachedTokens, "cache_write_tokens": u.CacheWriteTokens},
			"output_tokens_details": object{"reasoning_tokens": u.ReasoningTokens}}
	}
	if s.Finish == model.FinishLength || s.Finish == model.FinishFilter {
		reason := map[model.Finish]string{model.FinishLength: "max_output_tokens", model.FinishFilter: "content_filter"}[s.Finish]
		r["status"], r["incomplete_details"] = "incomplete", object{"reason": reason}
		w.send("response.incomplete", object{"response": r})
	} else {
		w.send("response.completed", object{"response": r})
	}
	return w.events
}

type responsesWriter struct {
	events []string
	output []object
}

func (w *responsesWriter) send(kind string, o object) {
	o["type"], o["sequence_number"] = kind, len(w.events)
	w.events = append(w.events, "event: "+kind+"\ndata: "+asJSON(o)+"\n\n")
}

func (w *responsesWriter) item(i int, added, done object, between func()) {
	w.send("response.output_item.added", object{"output_index": i, "item": added})
	between()
	if done != nil {
		w.send("response.output_item.done", object{"output_index": i, "item": done})
		w.output = append(w.output, done)
	}
}

func (w *responsesWriter) reasoning(i int, it stead.Item, pieces []string, sealed string) {
	done := object{"type": "reasoning", "id": "rs_1", "encrypted_content": cmp.Or(sealed, "c2VhbGVk"),
		"summary": []object{{"type": "summary_text", "text": it.Summary[0].Inline}}}
	w.item(i, object{"type": "reasoning", "id": "rs_1", "summary": []any{}}, done, func() {
		for _, p := range pieces {
			w.send("response.reasoning_summary_text.delta", object{"output_index": i, "item_id": "rs_1", "summary_index": 0, "delta": p})
		}
	})
}

func (w *responsesWriter) message(i int, it stead.Item, pieces []string, s *modeltest.Script) {
	part, kind := object{"type": "output_text", "text": it.Content[0].Text.Inline}, "response.output_text.delta"
	if s.Finish == model.FinishRefusal {
		part, kind = object{"type": "refusal", "refusal": it.Content[0].Text.Inline}, "response.refusal.delta"
	}
	done := object{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": []object{part}}
	if s.Cut || s.Hang || s.Failure != nil {
		done = nil
	}
	if s.Finish == model.FinishLength || s.Finish == model.FinishFilter {
		done["status"] = "incomplete"
	}
	w.item(i, object{"type": "message", "id": "msg_1", "role": "assistant", "content": []any{}}, done, func() {
		for _, p := range pieces {
			w.send(kind, object{"output_index": i, "item_id": "msg_1", "content_index": 0, "delta": p})
		}
	})
}

func (w *responsesWriter) call(i int, it stead.Item) {
	id := "fc_" + it.CallID
	done := object{"type": "function_call", "id": id, "call_id": it.CallID, "name": it.Name, "arguments": string(it.Arguments)}
	added := object{"type": "function_call", "id": id, "call_id": it.CallID, "name": it.Name, "arguments": ""}
	w.item(i, added, done, func() {
		for _, b := range strings.SplitAfter(string(it.Arguments), ":") {
			w.send("response.function_call_arguments.delta", object{"output_index": i, "item_id": id, "delta": b})
		}
		w.send("response.function_call_arguments.done", object{"output_index": i, "item_id": id, "arguments": string(it.Arguments)})
	})
}
