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
		{model.DialectChat, `{"store":false,"tools":[{"type":"function"}]}`, false},
		{model.DialectChat, `{"store":true}`, true},
		{model.DialectChat, `{"store":"x"}`, true}, // unreadable: nobody knows
		{model.DialectResponses, `{"store":false}`, false},
		{model.DialectResponses, `{}`, true}, // stored by default
		{model.DialectResponses, `{"store":false,"background":true}`, true},
		{model.DialectResponses, `{"store":false,"previous_response_id":"resp_1"}`, true},
		{model.DialectResponses, `{"store":false,"conversation":{"id":"c"}}`, true},
		{model.DialectEmbeddings, `{"input":"x"}`, false},
	} {
		f := model.Forward{Dialect: tc.dialect, Body: json.RawMessage(tc.body)}
		if got := f.Effects(); got != tc.want {
			t.Errorf("%s %s: %v", tc.dialect, tc.body, got)
		}
		if f.Runs = true; f.Effects() != (tc.dialect != model.DialectEmbeddings) {
			t.Errorf("%s %s, with tools that the provider runs: %v", tc.dialect, tc.body, f.Effects())
		}
	}
}
