package model_test

import (
	"encoding/json"
	"testing"

	"github.com/stead-dev/stead/internal/model"
)

func TestEffects(t *testing.T) {
	for _, tc := range []struct {
		dialect, body string
		want          bool
	}{
		{model.DialectChat, `{"messages":[]}`, false},
		{model.DialectChat, `{"store":false,"tools":[{"type":"function"},{"type":"custom"}]}`, false},
		{model.DialectChat, `{"store":true}`, true},
		{model.DialectChat, `{"web_search_options":{}}`, true},
		{model.DialectChat, `{"web_search_options":null}`, false},
		{model.DialectChat, `{"tools":"x"}`, true}, // unreadable: nobody knows
		{model.DialectResponses, `{"store":false}`, false},
		{model.DialectResponses, `{}`, true}, // stored by default
		{model.DialectResponses, `{"store":false,"background":true}`, true},
		{model.DialectResponses, `{"store":false,"previous_response_id":"resp_1"}`, true},
		{model.DialectResponses, `{"store":false,"conversation":{"id":"c"}}`, true},
		{model.DialectResponses, `{"store":false,"tools":[{"type":"function"},{"type":"web_search"}]}`, true},
		{model.DialectResponses, `{"store":false,"prompt":{"id":"pmpt_1"}}`, true},
		{model.DialectResponses, `{"store":false,"prompt":null}`, false},
		{model.DialectResponses, `{"store":false,"tools":[{"type":"mcp"}]}`, true},
		{model.DialectEmbeddings, `{"input":"x"}`, false},
	} {
		f := model.Forward{Dialect: tc.dialect, Body: json.RawMessage(tc.body)}
		if got := f.Effects(); got != tc.want {
			t.Errorf("%s %s: %v", tc.dialect, tc.body, got)
		}
	}
}
