package gemini_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/gemini"
	"github.com/stead-dev/stead/internal/model/modeltest"
)

const key = "AIza-secret-of-the-test"

func provider(t testing.TB, url string) *gemini.Provider {
	t.Helper()
	p, err := gemini.New(gemini.Config{Name: "up", BaseURL: url + "/v1beta", APIKey: key})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSuite(t *testing.T) {
	modeltest.Suite(t, func(t *testing.T, s *modeltest.Script) model.Model {
		s.Words = map[string][]string{
			"tool choice: one":  {`"functionCallingConfig":{"allowedFunctionNames":["get_weather"],"mode":"ANY"}`},
			"tool choice: some": {`"functionCallingConfig":{"mode":"ANY"}`},
			"tool choice: none": {`"functionCallingConfig":{"mode":"NONE"}`},
		}[s.Case]
		return provider(t, modeltest.Serve(t, s, modeltest.Wire{Events: wire(t, s), Fail: fail, Check: func(r *http.Request) {
			if r.URL.String() != "/v1beta/models/test-model:streamGenerateContent?alt=sse" || r.Header.Get("X-Goog-Api-Key") != key {
				t.Errorf("%s with %v", r.URL, r.Header)
			}
		}}))
	}, modeltest.Skips{
		"refusal":      "the wire does not tell a refusal from an answer",
		"serial tools": "the wire has no such field: TestUnsayable",
		"service tier": "the wire has none",
		"cache writes": "caching is the provider's own affair: writes are not told",
	})
}

type object = map[string]any

// fail writes an error reply of the wire.
func fail(w http.ResponseWriter, f *modeltest.Failure) {
	status, message, details := map[string]string{
		model.CodeUsageLimit:     "RESOURCE_EXHAUSTED",
		model.CodeRateLimit:      "RESOURCE_EXHAUSTED",
		model.CodeContextLength:  "INVALID_ARGUMENT",
		model.CodeInvalid:        "INVALID_ARGUMENT",
		model.CodeOverloaded:     "UNAVAILABLE",
		model.CodeServer:         "INTERNAL",
		model.CodeAuthentication: "UNAUTHENTICATED",
		model.CodeNotFound:       "NOT_FOUND",
	}[f.Code], "it failed", "[]"
	switch {
	case f.Code == model.CodeContextLength:
		message = "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576)."
	case f.Code == model.CodeUsageLimit:
		details = `[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel"}]}]`
	case f.RetryAfter > 0:
		details = fmt.Sprintf(`[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"%gs"}]`, f.RetryAfter.Seconds())
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.Status)
	_, _ = fmt.Fprintf(w, `{"error":{"code":%d,"message":%q,"status":%q,"details":%s}}`, f.Status, message, status, details)
}

// wire writes a script as the chunks of an answer.
func wire(t *testing.T, s *modeltest.Script) []string {
	var out []string
	send := func(o object) {
		o["modelVersion"] = "up-model"
		out = append(out, "data: "+modeltest.JSON(t, o)+"\r\n\r\n")
	}
	part := func(p object) {
		send(object{"candidates": []object{{"index": 0, "content": object{"role": "model", "parts": []object{p}}}}})
	}
	pieces, signature := s.Pieces, s.Sealed
	for _, it := range s.Items {
		switch it.Type {
		case stead.ItemReasoning:
			for _, p := range pieces {
				part(object{"text": p, "thought": true})
			}
			pieces = nil
		case stead.ItemMessage:
			if pieces == nil {
				pieces = []string{it.Content[0].Text.Inline}
			}
			for _, p := range pieces {
				part(object{"text": p})
			}
		case stead.ItemFunctionCall:
			p := object{"functionCall": object{"name": it.Name, "args": it.Arguments}}
			if signature != "" {
				p["thoughtSignature"] = signature
			}
			signature = ""
			part(p)
		}
	}
	if s.Failure != nil {
		send(object{"error": object{"code": 503, "status": "UNAVAILABLE", "message": "The model is overloaded."}})
		return out
	}
	if s.Cut || s.Hang {
		return out
	}
	end := object{"candidates": []object{{"index": 0, "content": object{"role": "model", "parts": []object{{"text": ""}}},
		"finishReason": map[model.Finish]string{model.FinishStop: "STOP", model.FinishToolCalls: "STOP",
			model.FinishLength: "MAX_TOKENS", model.FinishFilter: "SAFETY"}[s.Finish]}}}
	if u := s.Usage; u != nil {
		end["usageMetadata"] = object{"promptTokenCount": u.InputTokens, "cachedContentTokenCount": u.CachedTokens,
			"candidatesTokenCount": u.OutputTokens - u.ReasoningTokens, "thoughtsTokenCount": u.ReasoningTokens}
	}
	send(end)
	return out
}
