package gemini_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/modeltest"
)

// sent is the body that a request makes.
func sent(t *testing.T, req model.Request) string {
	t.Helper()
	s := &modeltest.Script{}
	url := modeltest.Serve(t, s, modeltest.Wire{Events: []string{"data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n"}})
	if req.Model == "" {
		req.Model = "gemini-3-pro"
	}
	if _, err := modeltest.Gather(t, t.Context(), provider(t, url), req); err != nil {
		t.Fatal(err)
	}
	return s.Body()
}

func part(t *testing.T, body string, keys ...string) string {
	t.Helper()
	raw := json.RawMessage(body)
	for _, k := range keys {
		var o map[string]json.RawMessage
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &o); err != nil {
				t.Fatalf("%v in %s", err, body)
			}
		}
		raw = o[k]
	}
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(raw))
}

func sealed(s, provider string, summary ...string) stead.Item {
	text := stead.NewText(s)
	it := stead.Item{Type: stead.ItemReasoning, Encrypted: &text, Provider: provider}
	for _, p := range summary {
		it.Summary = append(it.Summary, stead.NewText(p))
	}
	return it
}

// Each signature is on the part that it came on; the calls of this turn that have none are vouched for.
func TestConversation(t *testing.T) {
	failed := modeltest.Output("c2")
	failed.Error = "no such city"
	req := model.Request{Instructions: "Be brief.", Items: []stead.Item{
		modeltest.User("hi"), modeltest.Call("c0", "f", "{}"), modeltest.Output("c0", modeltest.Text("zero")),
		modeltest.Message("Hello there."), sealed("text:6.TEXTSIG", "up"), sealed("text:0.ALONE", "up"),
		modeltest.User("and?"),
		sealed("thought.THOUGHTSIG", "up", "Hm."), sealed("call.CALLSIG", "up", "Two calls."), sealed("call.OTHER", "elsewhere"),
		modeltest.Call("c1", "f", `{"a":1}`), modeltest.Call("c2", "g", `{}`),
		modeltest.Output("c1", modeltest.Text("one"), modeltest.Image("data:image/png;base64,AA=="), modeltest.Image("https://example.com/a.png?x=1")), failed,
		modeltest.Call("c3", "f", `{}`), modeltest.Output("c3"),
	}}
	got := sent(t, req)
	want := `[{"role":"user","parts":[{"text":"hi"}]},` +
		`{"role":"model","parts":[{"functionCall":{"args":{},"id":"c0","name":"f"}}]},` +
		`{"role":"user","parts":[{"functionResponse":{"id":"c0","name":"f","response":{"output":"zero"}}}]},` +
		`{"role":"model","parts":[{"text":"Hello "},{"text":"there.","thoughtSignature":"TEXTSIG"},{"text":"","thoughtSignature":"ALONE"}]},` +
		`{"role":"user","parts":[{"text":"and?"}]},` +
		`{"role":"model","parts":[{"text":"Hm.","thought":true,"thoughtSignature":"THOUGHTSIG"},` +
		`{"functionCall":{"args":{"a":1},"id":"c1","name":"f"},"thoughtSignature":"CALLSIG"},{"functionCall":{"args":{},"id":"c2","name":"g"}}]},` +
		`{"role":"user","parts":[{"functionResponse":{"id":"c1","name":"f","parts":[{"inlineData":{"data":"AA==","mimeType":"image/png"}}],"response":{"output":"one"}}},` +
		`{"functionResponse":{"id":"c2","name":"g","response":{"error":"no such city"}}},` +
		`{"text":"Returned by f:"},{"fileData":{"fileUri":"https://example.com/a.png?x=1","mimeType":"image/png"}}]},` +
		`{"role":"model","parts":[{"functionCall":{"args":{},"id":"c3","name":"f"},"thoughtSignature":"skip_thought_signature_validator"}]},` +
		`{"role":"user","parts":[{"functionResponse":{"id":"c3","name":"f","response":{"output":""}}}]}]`
	if d := cmp.Diff(want, part(t, got, "contents")); d != "" {
		t.Errorf("contents (-want +got):\n%s", d)
	}
	if s := part(t, got, "systemInstruction"); s != `{"parts":[{"text":"Be brief."}]}` {
		t.Errorf("system %s", s)
	}
	req.Model = "gemini-2.5-flash" // insists on nothing, and takes no pictures within a response
	if got := sent(t, req); strings.Contains(got, "skip_thought") || !strings.Contains(got, `{"inlineData":{"data":"AA==","mimeType":"image/png"}},{"text":"Returned by f:"}`) {
		t.Errorf("2.5: %s", got)
	}
}

func TestThinking(t *testing.T) {
	for _, tc := range []struct{ model, effort, summary, want string }{
		{"gemini-3-pro", "", "", ``},
		{"gemini-3-pro", "", "auto", `{"includeThoughts":true}`},
		{"gemini-3-pro", "none", "auto", `{"thinkingLevel":"low"}`},
		{"gemini-3-flash", "none", "", `{"thinkingLevel":"minimal"}`},
		{"gemini-3.1-flash", "xhigh", "", `{"thinkingLevel":"high"}`},
		{"gemini-2.5-flash", "none", "", `{"thinkingBudget":0}`},
		{"gemini-2.5-pro", "none", "", `{"thinkingBudget":128}`},
		{"gemini-2.5-pro", "medium", "detailed", `{"includeThoughts":true,"thinkingBudget":8192}`},
		{"gemini-2.0-flash", "high", "auto", ``},
		{"something-else", "low", "", `{"thinkingLevel":"low"}`},
	} {
		got := part(t, sent(t, model.Request{Model: tc.model, Effort: tc.effort, ReasonSummary: tc.summary, Items: []stead.Item{modeltest.User("hi")}}),
			"generationConfig", "thinkingConfig")
		if got != tc.want {
			t.Errorf("%s %q %q: %s, want %s", tc.model, tc.effort, tc.summary, got, tc.want)
		}
	}
}

func TestGenerationConfig(t *testing.T) {
	one, half, seed := 1.0, 0.5, int64(7)
	got := part(t, sent(t, model.Request{Items: []stead.Item{modeltest.Message("Hello.")}, Format: &model.Format{Schema: json.RawMessage(`{"type":"object"}`)},
		MaxOutputTokens: 9, TopP: &half, PresencePenalty: &one, FrequencyPenalty: &half, Seed: &seed, Stop: []string{"x"}}), "generationConfig")
	want := `{"frequencyPenalty":0.5,"maxOutputTokens":9,"presencePenalty":1,"responseJsonSchema":{"type":"object"},` +
		`"responseMimeType":"application/json","seed":7,"stopSequences":["x"],"topP":0.5}`
	if got != want {
		t.Errorf("config %s, want %s", got, want)
	}
}

// What the wire has no field for fails the call; nothing is sent. Nor does a name lead elsewhere.
func TestUnsayable(t *testing.T) {
	for name, req := range map[string]model.Request{
		"parallel_tool_calls": {Model: "m", SerialTools: true}, "service_tier flex": {Model: "m", ServiceTier: "flex"},
		"base64":             {Model: "m", Items: []stead.Item{{Type: stead.ItemMessage, Role: stead.RoleUser, Content: []stead.Content{modeltest.Image("data:image/png;base64,*")}}}},
		"no model":           {Model: "../../admin"},
		"model of that name": {Model: "m:countTokens?x="},
	} {
		_, err := modeltest.Gather(t, t.Context(), provider(t, "http://127.0.0.1:1"), req)
		if e, ok := errors.AsType[*model.Error](err); !ok || e.Retry || !strings.Contains(e.Message, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEmbed(t *testing.T) {
	texts := make([]string, 150)
	for i := range texts {
		texts[i] = "t"
	}
	calls := 0
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		var body struct {
			Requests []struct {
				Model                string
				OutputDimensionality int
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/v1beta/models/gemini-embedding-001:batchEmbedContents" || r.Header.Get("X-Goog-Api-Key") != key {
			t.Errorf("%v at %s", err, r.URL)
		}
		out := []object{}
		for i, q := range body.Requests {
			if q.Model != "models/gemini-embedding-001" || q.OutputDimensionality != 2 {
				t.Errorf("request %+v", q)
			}
			out = append(out, object{"values": []float64{float64(i), 1}})
		}
		_ = json.NewEncoder(w).Encode(object{"embeddings": out})
	})
	got, err := provider(t, srv).Embed(t.Context(), model.EmbedRequest{Model: "gemini-embedding-001", Texts: texts, Dimensions: 2})
	if err != nil || len(got.Vectors) != 150 || calls != 2 || got.Vectors[101][0] != 1 {
		t.Errorf("%d vectors in %d calls, %v", len(got.Vectors), calls, err)
	}
	lying := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(`{"embeddings":[]}`)) })
	_, err = provider(t, lying).Embed(t.Context(), model.EmbedRequest{Model: "m", Texts: texts[:1]})
	if e, ok := errors.AsType[*model.Error](err); !ok || e.Code != model.CodeConnection {
		t.Errorf("too few vectors: %v", err)
	}
}

// Before Gemini 3 the wire refuses functions beside an output format: a function stands for the
// format there, which one of the tools never shares its name with, and its arguments are the answer.
func TestAnswerTool(t *testing.T) {
	req := model.Request{Model: "gemini-2.5-flash", Items: []stead.Item{modeltest.User("Which colour?")},
		Format: &model.Format{Name: "f", Schema: json.RawMessage(`{"type":"object"}`)}, Tools: []model.ToolSpec{{Name: "f"}}}
	declared := `[{"functionDeclarations":[{"name":"f","parametersJsonSchema":{"type":"object","properties":{}}},` +
		`{"description":"Gives the answer.","name":"f_","parametersJsonSchema":{"type":"object"}}]}]`
	for wish, want := range map[string]string{
		"":         `{"functionCallingConfig":{"mode":"ANY"}}`,
		"required": `{"functionCallingConfig":{"allowedFunctionNames":["f"],"mode":"ANY"}}`,
		"tool:f":   `{"functionCallingConfig":{"allowedFunctionNames":["f"],"mode":"ANY"}}`,
		"none":     `{"functionCallingConfig":{"allowedFunctionNames":["f_"],"mode":"ANY"}}`,
	} {
		req.ToolChoice = wish
		body := sent(t, req)
		if got := part(t, body, "toolConfig"); got != want || part(t, body, "generationConfig") != "" {
			t.Errorf("%q: %s, want %s and no response format:\n%s", wish, got, want, body)
		}
		if d := cmp.Diff(declared, part(t, body, "tools")); d != "" {
			t.Errorf("tools (-want +got):\n%s", d)
		}
	}
	for name, change := range map[string]func(*model.Request){
		"gemini-3-flash": func(r *model.Request) { r.Model = "gemini-3-flash" },
		"without tools":  func(r *model.Request) { r.Tools = nil },
	} {
		plain := req
		plain.ToolChoice = ""
		change(&plain)
		if body := sent(t, plain); !strings.Contains(body, "responseJsonSchema") || strings.Contains(body, "Gives the answer") {
			t.Errorf("%s: %s", name, body)
		}
	}

	req.ToolChoice = ""
	url := modeltest.Serve(t, &modeltest.Script{}, modeltest.Wire{Events: []string{
		`data: {"candidates":[{"content":{"parts":[{"text":"Red, I think.","thought":true},` +
			`{"functionCall":{"name":"f_","args":{"colour":"red"}},"thoughtSignature":"U0lH"}]},"finishReason":"STOP"}]}` + "\n\n"}})
	r, err := modeltest.Gather(t, t.Context(), provider(t, url), req)
	if err != nil || r.Text != `{"colour":"red"}` || r.Done.Finish != model.FinishStop || len(r.Items) != 2 || r.Items[0].Encrypted != nil {
		t.Errorf("%v: %q, %s, %+v", err, r.Text, r.Done.Finish, r.Items)
	}
}

// The wire has one resolution for all pictures of a call.
func TestMediaResolution(t *testing.T) {
	for want, details := range map[string][]string{
		`"MEDIA_RESOLUTION_LOW"`:  {"low", "low"},
		`"MEDIA_RESOLUTION_HIGH"`: {"low", "high"},
		``:                        {"low", "auto"},
	} {
		it := stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser}
		for _, d := range details {
			c := modeltest.Image("https://example.com/a.png")
			c.Detail = d
			it.Content = append(it.Content, c)
		}
		if got := part(t, sent(t, model.Request{Items: []stead.Item{it}}), "generationConfig", "mediaResolution"); got != want {
			t.Errorf("%v: %s, want %s", details, got, want)
		}
	}
}
