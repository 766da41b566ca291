package server

import (
	"context"
	"testing"

	"github.com/stead-dev/stead/internal/model"
)

// TestWhatAProviderRunsIsNotMadeAgain: a call that has the provider run something, by whatever field, says so to whoever may send it twice; one whose tools are
// the client's does not.
func TestWhatAProviderRunsIsNotMadeAgain(t *testing.T) {
	refuses := func(context.Context, model.Forward) (*model.Answer, error) {
		return nil, &model.Error{Code: model.CodeInvalid, Message: "not this"}
	}
	m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){model.DialectChat: refuses, model.DialectResponses: refuses}}
	d, heard := gateway(t, m)
	const response = `{"model":"m","store":false,"input":"hi"`
	for _, c := range []struct {
		path, body string
		runs       bool
	}{
		{"/v1/chat/completions", chatHi + `}`, false},
		{"/v1/chat/completions", chatHi + `,"tools":[{"type":"function","function":{"name":"a"}},{"type":"custom","custom":{"name":"b"}}]}`, false},
		{"/v1/chat/completions", chatHi + `,"web_search_options":{}}`, true},
		{"/v1/chat/completions", chatHi + `,"web_search_options":null}`, false},
		{"/v1/chat/completions", chatHi + `,"search_parameters":{"mode":"on"}}`, true},
		{"/v1/chat/completions", chatHi + `,"enable_search":true}`, true},
		{"/v1/chat/completions", chatHi + `,"enable_search":false}`, false},
		{"/v1/chat/completions", chatHi + `,"plugins":[{"id":"web"}]}`, true},
		{"/v1/responses", response + `}`, false},
		{"/v1/responses", response + `,"prompt":{"id":"pmpt_1"}}`, true},
		{"/v1/responses", response + `,"plugins":[{"id":"file-parser"}]}`, true},
		{"/v1/responses", response + `,"tools":[{"type":"tool_search"}]}`, true},
		{"/v1/responses", response + `,"tools":[{"type":"tool_search","execution":"client"}]}`, false},
		{"/v1/responses", response + `,"tools":[{"type":"local_shell"},{"type":"namespace","name":"n","tools":[{"type":"function","name":"a"}]}]}`, false},
		{"/v1/responses", response + `,"tools":[{"type":"shell","environment":{"type":"container_auto"}}]}`, true},
		{"/v1/responses", response + `,"tools":[{"type":"mcp","server_label":"s","server_url":"https://s.example"}]}`, true},
		{"/v1/responses", response + `,"tools":[{"type":"mcp","server_label":"s","server_url":"https://s.example"}],"tools":[]}`, true},
		{"/v1/responses", `{"model":"m","store":false,"input":[{"type":"tool_search_output","call_id":"c","tools":[{"type":"web_search"}]}]}`, true},
	} {
		m.asked = nil
		if res, got := d.call("POST", c.path, c.body); res.StatusCode != 400 || len(m.asked) != 1 {
			t.Errorf("%s: %d %s, passed on %d times", c.body, res.StatusCode, got, len(m.asked))
			continue
		}
		if is := m.asked[0].Effects(); is != c.runs {
			t.Errorf("%s: effects %v, want %v", c.body, is, c.runs)
		}
		<-heard
	}
}
