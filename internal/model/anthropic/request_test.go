package anthropic_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/modeltest"
)

// part is what the wire's JSON holds under a path of keys.
func part(t *testing.T, body string, keys ...string) string {
	t.Helper()
	raw := json.RawMessage(body)
	for _, k := range keys {
		var o map[string]json.RawMessage
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		raw = o[k]
	}
	return string(raw)
}

func sealed(kind, s, provider string, summary ...string) stead.Item {
	text := stead.NewText(kind + "." + s)
	it := stead.Item{Type: stead.ItemReasoning, Encrypted: &text, Provider: provider}
	for _, p := range summary {
		it.Summary = append(it.Summary, stead.NewText(p))
	}
	return it
}

// What led to calls goes back before them, whole and in its order; results come first in the user's message.
func TestConversation(t *testing.T) {
	failed := modeltest.Output("call.2")
	failed.Error = "no such city"
	system := modeltest.User("Now in French.")
	system.Role = stead.RoleSystem
	got := sent(t, model.Request{Model: "claude-sonnet-4-6", Instructions: "Be brief.", Tools: []model.ToolSpec{{Name: "f"}}, Items: []stead.Item{
		modeltest.User("hi"),
		sealed("thinking", "SIG", "up", "Hm."), sealed("redacted", "DATA", "up"), sealed("thinking", "OTHER", "elsewhere", "Not ours."),
		modeltest.Message("Let me see."),
		modeltest.Call("call_1", "f", `{"a":1}`), modeltest.Call("call.2", "f", `"{\"b\":"`),
		modeltest.User("Hurry."),
		modeltest.Output("call_1", modeltest.Text("one"), modeltest.Image("https://example.com/a.png")), failed,
		sealed("thinking", "LONELY", "up", "Nothing follows."),
		system,
	}})
	want := `[{"role":"user","content":[{"cache_control":{"type":"ephemeral"},"text":"hi","type":"text"}]},` +
		`{"role":"assistant","content":[{"signature":"SIG","thinking":"Hm.","type":"thinking"},{"data":"DATA","type":"redacted_thinking"},` +
		`{"text":"Let me see.","type":"text"},{"id":"call_1","input":{"a":1},"name":"f","type":"tool_use"},` +
		`{"id":"toolu_ID","input":{"unparsable_arguments":"{\"b\":"},"name":"f","type":"tool_use"}]},` +
		`{"role":"user","content":[{"content":[{"text":"one","type":"text"},{"source":{"type":"url","url":"https://example.com/a.png"},"type":"image"}],"tool_use_id":"call_1","type":"tool_result"},` +
		`{"content":[{"text":"no such city","type":"text"}],"is_error":true,"tool_use_id":"toolu_ID","type":"tool_result"},` +
		`{"text":"Hurry.","type":"text"},{"cache_control":{"type":"ephemeral"},"text":"<system>\nNow in French.\n</system>","type":"text"}]}]`
	messages := part(t, got, "messages")
	if i := strings.Index(messages, "toolu_"); i > 0 {
		messages = strings.ReplaceAll(messages, messages[i:i+len("toolu_")+32], "toolu_ID")
	}
	messages = strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(messages)
	if d := cmp.Diff(want, messages); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
	if s := part(t, got, "system"); s != `[{"cache_control":{"type":"ephemeral"},"text":"Be brief.","type":"text"}]` {
		t.Errorf("system %s", s)
	}
	if n := strings.Count(got, "cache_control"); n != 4 {
		t.Errorf("%d breakpoints, want 4", n)
	}
}

// The effort is worded as the model's version takes it.
func TestEffort(t *testing.T) {
	for _, tc := range []struct {
		model, effort, summary    string
		most                      int
		thinking, config, maxToks string
	}{
		{"claude-opus-4-7", "", "", 0, "", "", "32000"},
		{"claude-opus-4-7", "xhigh", "", 0, `{"type":"adaptive"}`, `{"effort":"xhigh"}`, "32000"},
		{"claude-sonnet-4-6-20260101", "xhigh", "auto", 100, `{"display":"summarized","type":"adaptive"}`, `{"effort":"high"}`, "100"},
		{"claude-mythos-preview", "minimal", "", 0, `{"type":"adaptive"}`, `{"effort":"low"}`, "32000"},
		{"claude-sonnet-5", "none", "", 0, "", "", "32000"},
		{"claude-haiku-4-5-20251001", "low", "", 0, `{"budget_tokens":2048,"type":"enabled"}`, "", "32000"},
		{"claude-opus-4-20250514", "max", "", 10000, `{"budget_tokens":5000,"type":"enabled"}`, "", "10000"},
		{"claude-3-7-sonnet-latest", "high", "", 2000, "", "", "2000"},
		{"claude-3-5-sonnet-20241022", "high", "", 0, "", "", "8192"},
		{"claude-3-haiku-20240307", "", "", 0, "", "", "4096"},
		{"something-else", "high", "", 0, `{"type":"adaptive"}`, `{"effort":"high"}`, "32000"},
	} {
		got := sent(t, model.Request{Model: tc.model, Effort: tc.effort, ReasonSummary: tc.summary, MaxOutputTokens: tc.most,
			Items: []stead.Item{modeltest.User("hi")}})
		if th, c, m := part(t, got, "thinking"), part(t, got, "output_config"), part(t, got, "max_tokens"); th != tc.thinking || c != tc.config || m != tc.maxToks {
			t.Errorf("%s %q: thinking %s, config %s, max_tokens %s", tc.model, tc.effort, th, c, m)
		}
	}
}

// A budget is refused amid calls that were made without thinking, and so is thinking with a forced tool.
func TestNoThinking(t *testing.T) {
	loop := []stead.Item{modeltest.User("hi"), modeltest.Call("c1", "f", "{}"), modeltest.Output("c1", modeltest.Text("x"))}
	tools := []model.ToolSpec{{Name: "f"}}
	for name, req := range map[string]model.Request{
		"a loop of another model": {Model: "claude-sonnet-4-5", Effort: "high", Tools: tools, Items: loop},
		"a forced tool":           {Model: "claude-sonnet-5", Effort: "high", Tools: tools, ToolChoice: "required", Items: loop[:1]},
	} {
		if got := sent(t, req); part(t, got, "thinking") != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
	loop = append([]stead.Item{loop[0], sealed("thinking", "S", "up", "Hm.")}, loop[1:]...)
	if got := sent(t, model.Request{Model: "claude-sonnet-4-5", Effort: "high", Tools: tools, Items: loop}); part(t, got, "thinking") == "" {
		t.Errorf("no thinking in its own loop: %s", got)
	}
}

func TestDetails(t *testing.T) {
	half, items := 0.5, []stead.Item{modeltest.User("hi")}
	format := &model.Format{Name: "answer", Schema: json.RawMessage(`{"type":"object"}`)}
	for _, tc := range []struct {
		req  model.Request
		key  string
		want string
	}{
		{model.Request{Model: "claude-sonnet-4-5", Format: format}, "output_config", `{"format":{"schema":{"type":"object"},"type":"json_schema"}}`},
		{model.Request{Model: "claude-sonnet-4-0", Format: format}, "output_config", ``},
		{model.Request{Model: "claude-sonnet-4-0", Format: format}, "tool_choice", `{"name":"answer","type":"tool"}`},
		{model.Request{Model: "claude-sonnet-4-0", Format: format, Tools: []model.ToolSpec{{Name: "f"}}}, "tool_choice", `{"type":"any"}`},
		{model.Request{ServiceTier: "auto"}, "service_tier", ``},
		{model.Request{ServiceTier: "default"}, "service_tier", `"standard_only"`},
		{model.Request{ServiceTier: "priority"}, "service_tier", `"auto"`},
		{model.Request{User: "u1"}, "metadata", `{"user_id":"u1"}`},
		{model.Request{TopP: &half}, "top_p", `0.5`},
		{model.Request{SerialTools: true}, "tool_choice", ``},
		{model.Request{Items: []stead.Item{modeltest.Message("Hello.")}}, "messages",
			`[{"role":"user","content":[{"cache_control":{"type":"ephemeral"},"text":"(The conversation goes on.)","type":"text"}]},{"role":"assistant","content":[{"text":"Hello.","type":"text"}]}]`},
	} {
		if tc.req.Items == nil {
			tc.req.Items = items
		}
		if got := part(t, sent(t, tc.req), tc.key); got != tc.want {
			t.Errorf("%+v: %s is %s, want %s", tc.req, tc.key, got, tc.want)
		}
	}
	// Where calls were made and no tools are left, the wire still wants them declared.
	got := sent(t, model.Request{Items: []stead.Item{modeltest.User("hi"), modeltest.Call("c1", "f", "{}"), modeltest.Output("c1"), modeltest.User("Sum up.")}})
	if part(t, got, "tool_choice") != `{"type":"none"}` || !strings.Contains(part(t, got, "tools"), `"name":"f"`) {
		t.Errorf("calls without their tools: %s", got)
	}
}

// A message that a crash broke off is not taken for one that the caller has begun.
func TestBrokenOff(t *testing.T) {
	half := modeltest.Message("Half an")
	half.Status = stead.ItemIncomplete
	got := part(t, sent(t, model.Request{Model: "claude-opus-4-7", Items: []stead.Item{modeltest.User("hi"), half}}), "messages")
	if !strings.HasSuffix(got, `{"role":"user","content":[{"text":"(Your message was broken off here. Go on from there.)","type":"text"}]}]`) {
		t.Errorf("messages %s", got)
	}
}

// What the wire has no field for, or the model does not take, fails the call; nothing is sent.
func TestUnsayable(t *testing.T) {
	one, hot, half, seed := 1.0, 1.5, 0.5, int64(1)
	for name, req := range map[string]model.Request{
		"presence_penalty": {PresencePenalty: &one}, "frequency_penalty": {FrequencyPenalty: &one},
		"seed": {Seed: &seed}, "temperature above 1": {Temperature: &hot}, "service_tier flex": {ServiceTier: "flex"},
		"takes no temperature": {Model: "claude-opus-4-7", Temperature: &half}, "while it reasons": {Model: "claude-sonnet-4-6", Effort: "low", TopP: &half},
		"openxmlformats": {Items: []stead.Item{{Type: stead.ItemMessage, Role: stead.RoleUser, Content: []stead.Content{
			modeltest.File("a.docx", "data:application/vnd.openxmlformats-officedocument.wordprocessingml.document;base64,QUJD")}}}},
		"begun for it": {Model: "claude-opus-4-7", Items: []stead.Item{modeltest.User("hi"), modeltest.Message("Half an")}},
		"no base64":    {Items: []stead.Item{{Type: stead.ItemMessage, Role: stead.RoleUser, Content: []stead.Content{modeltest.Image("data:image/png;base64,*")}}}},
	} {
		_, err := modeltest.Gather(t, t.Context(), provider(t, "http://127.0.0.1:1"), req)
		if e, ok := errors.AsType[*model.Error](err); !ok || e.Code != model.CodeInvalid || !strings.Contains(e.Message, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
