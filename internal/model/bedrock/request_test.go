package bedrock_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/modeltest"
)

const pixel = "iVBORw0KGgo="

// What a request says, by what it must hold and must not.
func TestRequest(t *testing.T) {
	said := func(items ...stead.Item) []stead.Item { return append([]stead.Item{modeltest.User("hi")}, items...) }
	tool := []model.ToolSpec{{Name: "f", Description: "does", Parameters: []byte(`{"type":"object"}`)}}
	failed := modeltest.Output("t 1")
	failed.Error = "broken"
	sealed := stead.NewText("redacted.REFUQQ==")
	half := 0.5
	const sonnet = "eu.anthropic.claude-sonnet-4-6-v1:0"
	for name, tc := range map[string]struct {
		req          model.Request
		holds, lacks []string
	}{
		"limits": {model.Request{MaxOutputTokens: 9, TopP: &half, Stop: []string{"x"}, ServiceTier: "flex", Items: said()},
			[]string{`"inferenceConfig":{"maxTokens":9,"stopSequences":["x"],"topP":0.5}`, `"serviceTier":{"type":"flex"}`}, []string{"cachePoint", "toolConfig", "thinking"}},
		"Claude thinks, and caches": {model.Request{Model: sonnet, Effort: "high", ReasonSummary: "auto", Instructions: "Be brief.", Tools: tool, Items: said()},
			[]string{`"additionalModelRequestFields":{"output_config":{"effort":"high"},"thinking":{"display":"summarized","type":"adaptive"}}`, `"maxTokens":32000`,
				`"system":[{"text":"Be brief."},{"cachePoint":{"type":"default"}}]`, `{"text":"hi"},{"cachePoint":{"type":"default"}}`,
				`{"toolSpec":{"description":"does","inputSchema":{"json":{"type":"object"}},"name":"f"}},{"cachePoint":{"type":"default"}}`}, nil},
		"an older one has a budget": {model.Request{Model: "anthropic.claude-3-7-sonnet-20250219-v1:0", Effort: "low", Items: said()},
			[]string{`"thinking":{"budget_tokens":2048,"type":"enabled"}`}, nil},
		"forced tools exclude thinking": {model.Request{Model: sonnet, Effort: "high", Tools: tool, ToolChoice: "required", Items: said()}, []string{`"any":{}`}, []string{"adaptive"}},
		"Nova thinks":                   {model.Request{Model: "eu.amazon.nova-2-lite-v1:0", Effort: "xhigh", Items: said()}, []string{`"reasoningConfig":{"maxReasoningEffort":"high","type":"enabled"}`}, []string{"cachePoint"}},
		"gpt-oss thinks":                {model.Request{Model: "openai.gpt-oss-120b-1:0", Effort: "minimal", Items: said()}, []string{`"reasoning_effort":"low"`}, nil},
		"a failed call": {model.Request{Tools: tool, Items: said(modeltest.Call("t 1", "f", `{"a":1}`), failed)},
			[]string{`"toolUse":{"input":{"a":1},"name":"f","toolUseId":"toolu_`, `"content":[{"text":"broken"}],"status":"error","toolUseId":"toolu_`}, nil},
		"calls, and no tools": {model.Request{Items: said(modeltest.Call("t1", "f", `{"a":1}`), modeltest.Output("t1", modeltest.Text("21")))},
			[]string{`(Called f with {\"a\":1})`, `{"text":"21"}`}, []string{"toolUse", "toolResult", "toolConfig"}},
		"redacted reasoning": {model.Request{Tools: tool, Items: said(stead.Item{Type: stead.ItemReasoning, Provider: "up", Encrypted: &sealed}, modeltest.Call("t1", "f", `{}`))},
			[]string{`{"reasoningContent":{"redactedContent":"REFUQQ=="}},{"toolUse"`, `"content":[{"text":"no output"}]`}, nil},
		"pictures and documents": {model.Request{Items: []stead.Item{{Type: stead.ItemMessage, Role: stead.RoleUser, Content: []stead.Content{
			modeltest.Image("data:image/png;base64," + pixel), modeltest.File("a_b.pdf", "data:application/pdf;base64,QUJD"), modeltest.File("a.b pdf", "data:text/csv;base64,QUJD")}}}},
			[]string{`{"image":{"format":"png","source":{"bytes":"` + pixel + `"}}}`, `{"document":{"format":"pdf","name":"a b pdf","source":{"bytes":"QUJD"}}}`,
				`{"document":{"format":"csv","name":"a b pdf (2)"`, `{"text":"(See the attached document.)"}`}, nil},
		"pictures of tools": {model.Request{Tools: tool, Items: said(modeltest.Call("t1", "f", `{}`), modeltest.Output("t1", modeltest.Image("data:image/webp;base64,"+pixel)))},
			[]string{`"content":[{"image":{"format":"webp"`}, nil},
		"structured output": {model.Request{Format: &model.Format{Name: "answer", Schema: []byte(`{"type":"object"}`)}, Items: said()},
			[]string{`"toolChoice":{"tool":{"name":"answer"}}`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.req.Model == "" {
				tc.req.Model = "m"
			}
			body := sent(t, tc.req)
			for _, s := range tc.holds {
				if !strings.Contains(body, s) {
					t.Errorf("the request lacks %s:\n%s", s, body)
				}
			}
			for _, s := range tc.lacks {
				if strings.Contains(body, s) {
					t.Errorf("the request has %s:\n%s", s, body)
				}
			}
		})
	}
}

// A wish that the wire has no field for fails the call and is named; nothing is sent.
func TestUnsayable(t *testing.T) {
	one, two, half, seed := 1.0, 2.0, 0.5, int64(1)
	picture := func(address string) []stead.Item {
		return []stead.Item{{Type: stead.ItemMessage, Role: stead.RoleUser, Content: []stead.Content{modeltest.Image(address)}}}
	}
	for name, req := range map[string]model.Request{
		"presence_penalty":           {PresencePenalty: &one},
		"frequency_penalty":          {FrequencyPenalty: &one},
		"seed":                       {Seed: &seed},
		"parallel_tool_calls: false": {SerialTools: true},
		"temperature above 1":        {Temperature: &two},
		"service_tier fast":          {ServiceTier: "fast"},
		"takes no temperature":       {Model: "eu.anthropic.claude-opus-4-7-v1:0", Temperature: &half},
		"while it reasons":           {Model: "eu.anthropic.claude-sonnet-4-6-v1:0", Effort: "low", TopP: &half},
		"begun for it":               {Model: "eu.anthropic.claude-opus-4-7-v1:0", Items: []stead.Item{modeltest.User("hi"), modeltest.Message("Half an")}},
		"by its URL":                 {Items: picture("https://example.com/cat.png")},
		"image/tiff":                 {Items: picture("data:image/tiff;base64,QUJD")},
	} {
		_, err := modeltest.Gather(t, t.Context(), provider(t, "http://127.0.0.1:1"), req)
		if e, ok := errors.AsType[*model.Error](err); !ok || e.Code != model.CodeInvalid || !strings.Contains(e.Message, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An ARN is one segment of the path: its colons and slashes are escaped on the wire.
func TestModelInPath(t *testing.T) {
	got := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.EscapedPath()
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer srv.Close()
	_, _ = modeltest.Gather(t, t.Context(), provider(t, srv.URL+"/gateway/"), model.Request{Model: "arn:aws:bedrock:eu-central-1:1:inference-profile/x"})
	if want := "/gateway/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A1%3Ainference-profile%2Fx/converse-stream"; got != want {
		t.Errorf("path %s, want %s", got, want)
	}
}
