package responses_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/responses"
)

func TestRequestsAreRefusedByField(t *testing.T) {
	for _, tc := range []struct{ body, param, says string }{
		{`{"input":"hi"}`, "model", "required"},
		{`{"model":"m"}`, "input", "at least one item"},
		{`{"model":"m","input":"hi","temperature":3}`, "temperature", "from 0 to 2"},
		{`{"model":"m","input":"hi","max_output_tokens":0}`, "max_output_tokens", "from 1"},
		{`{"model":"m","input":"hi","previous_response_id":"resp_1","conversation":"conv_1"}`, "conversation", "exclude each other"},
		{`{"model":"m","input":"hi","prompt":{"id":"p"}}`, "prompt", "not here"},
		{`{"model":"m","input":"hi","include":["message.output_text.logprobs"]}`, "include[0]", "log probabilities"},
		{`{"model":"m","input":"hi","include":["web_search_call.results","bogus"]}`, "include[1]", "bogus"},
		{`{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":"https://a/b.png","detail":"huge"}]}]}`, "input[0].content[0].detail", "low"},
		{`{"model":"m","input":"hi","truncation":"auto"}`, "truncation", "summed up"},
		{`{"model":"m","input":"hi","truncation":"some"}`, "truncation", "disabled"},
		{`{"model":"m","input":"hi","context_management":[{"type":"compaction"}]}`, "context_management", "summed up"},
		{`{"model":"m","input":"hi","top_logprobs":2}`, "top_logprobs", "log probabilities"},
		{`{"model":"m","input":"hi","tools":[{"type":"web_search"}]}`, "tools[0].type", "web_search"},
		{`{"model":"m","input":"hi","tools":[{"type":"mcp","server_label":"s","server_url":"https://x","authorization":"secret"}]}`, "tools[0].authorization", "can't be kept"},
		{`{"model":"m","input":"hi","tool_choice":{"type":"function","name":"f"}}`, "tool_choice.name", "does not have"},
		{`{"model":"m","input":[{"role":"user"}]}`, "input[0].content", "required"},
		{`{"model":"m","input":[{"role":"nobody","content":"x"}]}`, "input[0].role", "role"},
		{`{"model":"m","input":[{"type":"item_reference","id":"x"}]}`, "input[0].type", "looked up by reference only"},
		{`{"model":"m","input":[{"type":"function_call_output","call_id":"","output":"x"}]}`, "input[0].call_id", "1 to 256"},
		{`{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":"http://x/a.png"}]}]}`, "input[0].content[0].image_url", "https"},
		{`{"model":"m","input":"hi","text":{"format":{"type":"json_schema","name":"x"}}}`, "text.format.schema", "required"},
	} {
		o, err := param.Body([]byte(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		_, err = responses.Parse(o, agent.Rules{})
		e, ok := errors.AsType[*stead.Error](err)
		if !ok || e.Kind != stead.KindInvalid || e.Param != tc.param || !strings.Contains(e.Message, tc.says) {
			t.Errorf("%s\n%v (param %q), want %q with %q", tc.body, err, e.Param, tc.param, tc.says)
		}
	}
}

func TestUnknownFieldsAreLeftOut(t *testing.T) {
	r := parse(t, `{"model":"m","input":[{"role":"user","content":"hi","x":1}],"client_metadata":{"a":"b"},"stream_options":{"include_obfuscation":false}}`)
	if len(r.Items) != 1 || r.Items[0].Content[0].Text.Inline != "hi" {
		t.Errorf("items %+v", r.Items)
	}
}

// How closely to look at an image is kept with it, and shown as it was asked for.
func TestImageDetail(t *testing.T) {
	r := parse(t, `{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":"https://example.com/a.png","detail":"low"},
		{"type":"input_image","image_url":"https://example.com/b.png"}]}]}`)
	parts := responses.Parts(r.Items[0].Content)
	if r.Items[0].Content[0].Detail != "low" || parts[0].Detail != "low" || parts[1].Detail != "auto" {
		t.Errorf("%+v, shown as %+v", r.Items, parts)
	}
}

func TestReasoningGoesBackToItsProvider(t *testing.T) {
	secret := stead.NewText("opaque")
	it := stead.Item{Type: stead.ItemReasoning, Provider: "openai", Encrypted: &secret}
	r := parse(t, `{"model":"m","input":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"`+responses.Seal(it)+`"},
		{"type":"reasoning","summary":[],"encrypted_content":"of another server"},{"role":"user","content":"hi"}]}`)
	if len(r.Items) != 2 || r.Items[0].Provider != "openai" || r.Items[0].Encrypted.Inline != "opaque" {
		t.Errorf("items %+v", r.Items)
	}
}

func TestAllowedTools(t *testing.T) {
	r := parse(t, `{"model":"m","input":"hi","tools":[{"type":"function","name":"a"},{"type":"function","name":"b"}],
		"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"b"}]}}`)
	if len(r.Tools) != 1 || r.Tools[0].Name != "b" || r.ToolChoice != "required" {
		t.Errorf("tools %+v, choice %q", r.Tools, r.ToolChoice)
	}
}

// Of a history that is sent again, a question comes through with the answer behind it, until its call is
// among the items, and not without one.
func TestQuestionsAndAnswers(t *testing.T) {
	const question = `{"type":"mcp_approval_request","id":"q","server_label":"s","name":"f","arguments":"{\"a\":1}"}`
	const answer = `{"type":"mcp_approval_response","approval_request_id":"q","approve":true}`
	const call = `{"type":"mcp_call","id":"c","server_label":"s","name":"f","arguments":"{}","output":"1","approval_request_id":"q"}`
	const user = `{"role":"user","content":"x"}`
	for input, want := range map[string]string{
		question + "," + answer:                           "mcp_call mcp_approval_response",
		user + "," + question + "," + answer + "," + user: "message mcp_call mcp_approval_response message",
		question + "," + answer + "," + call:              "message",
		user + "," + question:                             "message",
		answer + "," + question:                           "mcp_approval_response", // of a question that is elsewhere, if anywhere
		answer:                                            "mcp_approval_response",
	} {
		var got []string
		for _, it := range parse(t, `{"model":"m","input":[`+input+`]}`).Items {
			got = append(got, string(it.Type))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s\n%v, want %s", input, got, want)
		}
	}
	o, err := param.Body([]byte(`{"model":"m","input":[` + strings.Replace(question, `{\"a\":1}`, "[1]", 1) + "," + answer + `]}`))
	if err == nil {
		_, err = responses.Parse(o, agent.Rules{})
	}
	if e, ok := errors.AsType[*stead.Error](err); !ok || e.Param != "input[0].arguments" {
		t.Errorf("arguments that are no object: %v", err)
	}
}
