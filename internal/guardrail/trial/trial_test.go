package trial

import (
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/guardrail"
)

func set(t *testing.T) *guardrail.Set {
	t.Helper()
	s, err := guardrail.Compile([]guardrail.Rule{
		{Name: "no-poems", On: []guardrail.Point{guardrail.Output}, Action: guardrail.Block, Check: guardrail.Check{Judge: &guardrail.JudgeBy{Model: "m", Criteria: "a poem", Within: time.Second}}},
		{Name: "mail", On: []guardrail.Point{guardrail.ToolCall}, Action: guardrail.Block, Check: guardrail.Check{Patterns: []string{"gmail"}}, Scope: guardrail.Scope{Tools: []string{"mail/*"}}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A case that leaves out what decides it passes for a reason that its author does not know: so it is a mistake, or fails.
func TestCasesThatSayTooLittle(t *testing.T) {
	for said, want := range map[string]string{
		`on: input, expect: pass`:                                                     "text is missing",
		`on: tool_call, arguments: {to: a@gmail.com}, expect: pass`:                   "tool is missing",
		`on: tool_result, text: x, expect: pass`:                                      "tool is missing",
		`on: output, text: a poem, expect: block`:                                     "", // it does not answer
		`on: output, text: a poem, judged: {no-peoms: true}, expect: block`:           `judged names "no-peoms", which is no guardrail`,
		`on: output, text: a poem, judged: {no-poems: true}, expect: block`:           "",
		`on: output, text: a poem, judged: {no-poems: false}, expect: pass`:           "",
		`on: tool_call, tool: mail/send, arguments: {to: a@gmail.com}, expect: block`: "",
	} {
		f, err := Parse([]byte(`cases: [{name: x, ` + said + `}]`))
		if err == nil {
			err = f.Cases[0].Run(t.Context(), set(t))
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", said, err, want)
		}
	}
	if _, err := Parse(nil); err == nil || !strings.Contains(err.Error(), "there are 0 cases") {
		t.Errorf("an empty file: %v", err)
	}
}
