package chat

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
)

func parse(t *testing.T, body string) (*Request, error) {
	t.Helper()
	o, err := param.Body([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return Parse(o)
}

// A whole conversation becomes items, in their order, and every wish arrives.
func TestParse(t *testing.T) {
	r, err := parse(t, `{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[
		{"role":"system","content":"Be brief."},
		{"role":"user","content":[{"type":"text","text":"Look"},{"type":"image_url","image_url":{"url":"https://x/y.png"}},{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,AA=="}}]},
		{"role":"assistant","content":"","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"c2","type":"function","function":{"name":"f","arguments":"{oops"}}]},
		{"role":"tool","tool_call_id":"c1","content":"1"},{"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"2"}]},
		{"role":"assistant","content":null,"refusal":"No."}],
		"tools":[{"type":"function","function":{"name":"f","parameters":{"z":1,"a":2}}},{"type":"function","function":{"name":"g"}}],
		"tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"f"}}]}},
		"parallel_tool_calls":false,"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"z":1,"a":2}}},
		"temperature":0,"top_p":1,"presence_penalty":-2,"frequency_penalty":2,"seed":-3,"stop":"END","max_tokens":5,"max_completion_tokens":6,
		"reasoning_effort":"low","verbosity":"high","service_tier":"flex","prompt_cache_key":"k","user":"u","n":1,"logprobs":false,"store":false,"logit_bias":{},"unknown":{}}`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, it := range r.Items {
		s := string(it.Type) + ":" + it.Role + it.CallID + string(it.Arguments)
		for _, c := range append(it.Content, it.Output...) {
			s += "," + c.Type + "=" + c.Text.Inline + c.Name
		}
		got = append(got, s)
	}
	want := []string{
		"message:system,input_text=Be brief.",
		"message:user,input_text=Look,input_image=https://x/y.png,input_file=data:application/pdf;base64,AA==a.pdf",
		`function_call:c1{"a":1}`, `function_call:c2"{oops"`,
		"function_call_output:c1,input_text=1", "function_call_output:c2,input_text=2",
		"message:assistant,refusal=No.",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("items\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	switch {
	case r.Model != "m", !r.Stream, !r.IncludeUsage, len(r.Tools) != 1, r.Tools[0].Name != "f", string(r.Tools[0].Parameters) != `{"z":1,"a":2}`,
		r.ToolChoice != "required", !r.SerialTools, r.Format.Name != "n", !r.Format.Strict, string(r.Format.Schema) != `{"z":1,"a":2}`,
		*r.Temperature != 0, *r.TopP != 1, *r.PresencePenalty != -2, *r.FrequencyPenalty != 2, *r.Seed != -3, r.Stop[0] != "END",
		r.MaxOutputTokens != 6, r.Effort != "low", r.Verbosity != "high", r.ServiceTier != "flex", r.CacheKey != "k", r.User != "u":
		t.Errorf("got %+v", r)
	}
}

func TestParseNamesTheField(t *testing.T) {
	const messages = `"model":"m","messages":[{"role":"user","content":"x"}]`
	for body, param := range map[string]string{
		`{"messages":[]}`: "model", `{"model":"m","messages":[]}`: "messages",
		`{"model":"m","messages":[{"role":"function","content":"x"}]}`:                                                    "messages[0].role",
		`{"model":"m","messages":[{"role":"tool","content":"x"}]}`:                                                        "messages[0].tool_call_id",
		`{"model":"m","messages":[{"role":"user"}]}`:                                                                      "messages[0].content",
		`{"model":"m","messages":[{"role":"assistant","function_call":{}}]}`:                                              "messages[0].function_call",
		`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc/x"}}]}]}`: "messages[0].content[0].image_url.url",
		`{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]}`:                   "messages[0].content[0].file.file_id",
		`{` + messages + `,"function_call":"auto"}`:                                                                       "function_call",
		`{` + messages + `,"store":true}`:                                                                                 "store",
		`{` + messages + `,"logit_bias":{"1":2}}`:                                                                         "logit_bias",
		`{` + messages + `,"modalities":["audio"]}`:                                                                       "modalities",
		`{` + messages + `,"stream_options":{}}`:                                                                          "stream_options",
		`{` + messages + `,"stop":["a","b","c","d","e"]}`:                                                                 "stop",
		`{` + messages + `,"tools":[{"type":"function","function":{}}]}`:                                                  "tools[0].function.name",
		`{` + messages + `,"tool_choice":{"type":"function","function":{"name":"f"}}}`:                                    "tool_choice.function.name",
		`{` + messages + `,"response_format":{"type":"grammar"}}`:                                                         "response_format.type",
	} {
		_, err := parse(t, body)
		if e, ok := errors.AsType[*stead.Error](err); !ok || e.Kind != stead.KindInvalid || e.Param != param {
			t.Errorf("%s: %v, want %s", body, err, param)
		}
	}
}

func TestFinishReasons(t *testing.T) {
	call := &stead.Item{Type: stead.ItemFunctionCall, CallID: "c", Name: "f"}
	for _, tc := range []struct {
		item   *stead.Item
		finish model.Finish
		want   string
	}{
		{nil, model.FinishStop, "stop"}, {nil, model.FinishRefusal, "stop"}, {nil, model.FinishLength, "length"},
		{nil, model.FinishFilter, "content_filter"}, {call, model.FinishToolCalls, "tool_calls"}, {call, model.FinishStop, "tool_calls"},
	} {
		var chunks []string
		s := Stream{Head: Head{ID: "1"}, Send: func(c *Chunk) error {
			b, err := json.Marshal(c)
			chunks = append(chunks, string(b))
			return err
		}}
		var items []stead.Item
		if tc.item != nil {
			items = append(items, *tc.item)
			if err := s.Delta(model.Delta{Kind: model.ItemDone, Item: tc.item}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Delta(model.Delta{Kind: model.Done, Finish: tc.finish}); err != nil {
			t.Fatal(err)
		}
		whole := s.Whole(items, model.Delta{Finish: tc.finish})
		if last := chunks[len(chunks)-1]; !strings.Contains(last, `"finish_reason":"`+tc.want+`"`) || whole.Choices[0].FinishReason != tc.want {
			t.Errorf("%s: %s and %+v, want %s", tc.finish, last, whole, tc.want)
		}
		if strings.Contains(strings.Join(chunks, ""), "usage") {
			t.Errorf("usage that nobody asked for: %s", chunks)
		}
	}
}
