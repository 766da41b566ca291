package server

import (
	"context"
	"fmt"
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

// repeated are members of one name with as many values.
func repeated(name, value string, times int) string {
	var b strings.Builder
	for i := range times {
		fmt.Fprintf(&b, `,"%s":"%s%d"`, name, value, i+1)
	}
	return b.String()
}

// TestOffered: whatever way a request says of what the client or its model's provider would do, and however often. What the provider does is written
// behind a star, with where it goes.
func TestOffered(t *testing.T) {
	for _, c := range []struct {
		door, body string
		want       []string
	}{
		{model.DialectChat, `{"tools":[{"type":"function","function":{"name":"a","parameters":{"name":"x"}}},{"type":"custom","custom":{"name":"b"}}],"functions":[{"name":"c"}]}`, []string{"function/a", "function/b", "function/c"}},
		{model.DialectChat, `{"tools":[{"function":{"name":"a","\u006eame":"A"}}],"tools":[{"type":"function","function":{"name":"d"}}]}`, []string{"function/a", "function/A", "function/d"}},
		{model.DialectChat, `{"messages":[{"tools":[{"function":{"name":"a"}}]}]}`, nil},
		{model.DialectResponses, `{"tools":[{"type":"function","name":"a"},{"type":"custom","name":"b"},{"type":"local_shell"},{"type":"namespace","name":"n","tools":[{"type":"function","name":"c"}]}]}`, []string{"function/a", "function/b", "function/local_shell", "function/n", "function/c"}},
		{model.DialectResponses, `{"prompt":{"id":"p"},"tools":null}`, []string{""}},
		{model.DialectResponses, `{"prompt":null,"tools":"x"}`, nil},
		{model.DialectEmbeddings, `{"tools":[{"name":"a"}]}`, nil},
		// What the provider runs.
		{model.DialectResponses, `{"tools":[{"type":"web_search"},{"type":"web_search_preview_2025_03_11"},{"type":"code_interpreter","name":"x"},{"type":"image_generation"}]}`, []string{"*provider/web_search", "*provider/code_interpreter", "*provider/image_generation"}},
		{model.DialectResponses, `{"tools":[{"type":"function","\u0074ype":"web_search","name":"a"}]}`, []string{"*provider/web_search", "function/a"}},
		{model.DialectResponses, `{"tools":[{"type":"mcp","server_label":"s","server_url":"https://Shop.example/mcp","allowed_tools":["a","b"]},{"type":"mcp","server_label":"t","server_url":"https://t.example:8443","allowed_tools":{"read_only":true}}]}`, []string{"*s/a@shop.example:443", "*s/b@shop.example:443", "*t@t.example:8443"}},
		{model.DialectResponses, `{"tools":[{"type":"mcp","server_label":"s","server_label":"t","server_url":"https://a.example","allowed_tools":["a"],"allowed_tools":[]}]}`, []string{"*s@a.example:443", "*t@a.example:443"}},
		{model.DialectResponses, `{"tools":[{"type":"mcp","server_label":"mail","connector_id":"connector_gmail","server_url":null}]}`, []string{"*provider/connector_gmail", "*mail"}},
		{model.DialectResponses, `{"tools":[{"type":"mcp","server_label":"s","allowed_tools":{"tool_names":["pay"],"TOOL_NAMES":["look"]}}]}`, []string{"*s/pay"}},
		// What has no name is refused: where it is can't be told, or it is said too often.
		{model.DialectResponses, `{"tools":[{"type":"mcp","server_label":"s","server_url":" https://shop.example/mcp"},{"type":"mcp","server_label":"s","server_url":"https://ｓhop.example"}]}`, []string{"*"}},
		{model.DialectResponses, `{"tools":[{"type":"mcp"` + repeated("server_label", "s", 300) + repeated("server_url", "https://s.example:", 300) + `}]}`, []string{"*"}},
		{model.DialectResponses, `{"tools":[{"type":"shell"},{"type":"shell","environment":{"type":"local"}}]}`, []string{"function/shell"}},
		{model.DialectResponses, `{"tools":[{"type":"shell","environment":{"type":"container_auto"}}]}`, []string{"function/shell", "*provider/shell"}},
		{model.DialectResponses, `{"input":[{"type":"tool_search_output","tools":[{"type":"function","name":"late"},{"type":"web_search"}]},{"type":"mcp_list_tools","tools":[{"name":"x"}]}]}`, []string{"function/late", "*provider/web_search"}},
		{model.DialectResponses, `{"input":"{\"tools\":[{\"type\":\"web_search\"}]}"}`, nil},
		{model.DialectChat, `{"web_search_options":{}}`, []string{"*provider/web_search"}},
		{model.DialectChat, `{"web_search_options":null,"enable_search":false}`, nil},
		{model.DialectChat, `{"search_parameters":{"mode":"auto"},"plugins":[{"id":"web"},{"id":"file-parser"}]}`, []string{"*provider/web_search", "*provider/web", "*provider/file-parser"}},
		{model.DialectChat, `{"tools":[{"type":"browser_search"}]}`, []string{"*provider/browser_search"}},
	} {
		o, err := param.Skim([]byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		_, late := heard(c.door, []byte(c.body))
		for _, o := range offered(c.door, request{Object: o, raw: []byte(c.body)}, late) {
			text := o.Resource
			if o.Provider {
				text = "*" + text
			}
			if o.Destination != "" {
				text += "@" + o.Destination
			}
			got = append(got, text)
		}
		slices.Sort(got)
		slices.Sort(c.want)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s %s offers %q, want %q", c.door, c.body, got, c.want)
		}
	}
}
