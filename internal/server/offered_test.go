package server

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
)

// deciding is a gate that is asked about functions, and refuses those of a name.
type deciding struct {
	gate
	refuses string
}

func (g deciding) Function(_ context.Context, _ stead.Principal, _ string, _ stead.Labels, function string, arguments []byte) error {
	if function == g.refuses || strings.Contains(string(arguments), g.refuses) {
		return stead.Errorf(stead.KindForbidden, "no %s", function)
	}
	return nil
}

func (g deciding) Unasked(context.Context, stead.Principal, string, stead.Labels, string) bool {
	return false
}

// talkative says something, asks for two functions, and says more.
type talkative struct{ model.Model }

func (talkative) Generate(context.Context, model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		call := func(index int, name string) model.Delta {
			return model.Delta{Kind: model.ItemDone, Index: index, Item: &stead.Item{Type: stead.ItemFunctionCall, CallID: name, Name: name, Arguments: []byte(`{}`)}}
		}
		message := func(index int, text string) model.Delta {
			return model.Delta{Kind: model.ItemDone, Index: index, Item: &stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.SaidContent(text, false)}}
		}
		for _, d := range []model.Delta{
			{Kind: model.TextDelta, Text: "before"}, message(0, "before"), call(1, "one"), call(2, "two"),
			{Kind: model.TextDelta, Index: 3, Text: "behind"}, message(3, "behind"), {Kind: model.Done, Finish: model.FinishToolCalls},
		} {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// TestCallsAreHeldUntilAllAreDecided: what is said in front of them is not, and stays; one that is refused takes all others along.
func TestCallsAreHeldUntilAllAreDecided(t *testing.T) {
	ask := chatHi + `,"stream":true,"tools":[{"type":"function","function":{"name":"one"}}]}`
	for refuses, want := range map[string][]string{
		"function/none": {`"before"`, `"name":"one"`, `"name":"two"`, `"behind"`, `"finish_reason":"tool_calls"`},
		"function/two":  {`"before"`, `"refusal":"The call of function/two was withheld: no function/two."`, `"finish_reason":"content_filter"`},
	} {
		m := &scripted{Model: talkative{}}
		d, heard := gateway(t, m, func(c *Config) { c.Gate = deciding{refuses: refuses} })
		_, got := d.call("POST", "/v1/chat/completions", ask)
		at := 0
		for _, w := range want {
			i := strings.Index(got[at:], w)
			if i < 0 {
				t.Fatalf("%s: %s is not in, or not behind the others in\n%s", refuses, w, got)
			}
			at += i
		}
		if refuses == "function/two" && (strings.Contains(got, `"one"`) || strings.Contains(got, "behind")) {
			t.Errorf("handed out all the same:\n%s", got)
		}
		if len(m.asked) > 0 {
			t.Errorf("it was passed on: %+v", m.asked)
		}
		if c := <-heard; (c.Finish == model.FinishFilter) != (refuses == "function/two") || !c.Whole {
			t.Errorf("metered %+v", c)
		}
	}
}

// TestOffered: whatever way a request says of what the client would do, and however often.
func TestOffered(t *testing.T) {
	for _, c := range []struct {
		door, body string
		want       []string
	}{
		{model.DialectChat, `{"tools":[{"type":"function","function":{"name":"a","parameters":{"name":"x"}}},{"type":"custom","custom":{"name":"b"}}],"functions":[{"name":"c"}]}`, []string{"function/a", "function/b", "function/c"}},
		{model.DialectChat, `{"tools":[{"function":{"name":"a","\u006eame":"A"}}],"tools":[{"type":"function","function":{"name":"d"}}]}`, []string{"function/a", "function/A", "function/d"}},
		{model.DialectChat, `{"messages":[{"tools":[{"function":{"name":"a"}}]}]}`, nil},
		{model.DialectResponses, `{"tools":[{"type":"function","name":"a"},{"type":"custom","name":"b"},{"type":"web_search"},{"type":"mcp","server_label":"s"},{"type":"local_shell"},{"type":"namespace","name":"n","tools":[{"type":"function","name":"c"}]}]}`, []string{"function/a", "function/b", "function/local_shell", "function/n", "function/c"}},
		{model.DialectResponses, `{"prompt":{"id":"p"},"tools":null}`, []string{""}},
		{model.DialectResponses, `{"prompt":null,"tools":"x"}`, nil},
		{model.DialectEmbeddings, `{"tools":[{"name":"a"}]}`, nil},
	} {
		o, err := param.Skim([]byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		got := offered(c.door, request{Object: o, raw: []byte(c.body)})
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %s offers %q, want %q", c.door, c.body, got, c.want)
		}
	}
}
