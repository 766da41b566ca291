package server

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/policy"
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
		{model.DialectResponses, `{"tools":[{"type":5,"type":"web_search","name":"a"}]}`, []string{"*provider/web_search", "function/a"}},
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
		{model.DialectChat, `{"search_parameters":{"mode":"auto"},"plugins":[{"id":"web"},{"id":"file-parser"}]}`, []string{"*provider/web_search", "*provider/file-parser"}},
		// Whatever a search of the web is called.
		{model.DialectChat, `{"plugins":[{"id":"web","max_results":3}]}`, []string{"*provider/web_search"}},
		{model.DialectResponses, `{"plugins":[{"id":"web","enabled":true}]}`, []string{"*provider/web_search"}},
		{model.DialectChat, `{"plugins":[{"id":"web","enabled":false},{"id":"file-parser","enabled":false,"enabled":true}]}`, []string{"*provider/file-parser"}},
		{model.DialectChat, `{"tools":[{"type":"openrouter:web_search"}]}`, []string{"*provider/web_search"}},
		{model.DialectChat, `{"tools":[{"type":"openrouter:datetime"}]}`, []string{"*provider/datetime"}},
		{model.DialectChat, `{"tools":[{"type":"browser_search"}]}`, []string{"*provider/web_search"}},
		{model.DialectChat, `{"tools":[{"type":"builtin_function","function":{"name":"$web_search"}}]}`, []string{"*provider/web_search"}},
		{model.DialectChat, `{"tools":[{"type":"builtin_function"}]}`, []string{"*provider/builtin_function"}},
		{model.DialectChat, `{"web_search":{"enable":true}}`, []string{"*provider/web_search"}},
		{model.DialectChat, `{"web_search":{"enable":false}}`, nil},
		// A search among tools is the client's where it says so.
		{model.DialectResponses, `{"tools":[{"type":"tool_search"},{"type":"function","name":"a","defer_loading":true}]}`, []string{"*provider/tool_search", "function/a"}},
		{model.DialectResponses, `{"tools":[{"type":"tool_search","execution":"server"}]}`, []string{"*provider/tool_search"}},
		{model.DialectResponses, `{"tools":[{"type":"tool_search","execution":"client","parameters":{"type":"object"}}]}`, []string{"function/tool_search"}},
		{model.DialectResponses, `{"tools":[{"type":"tool_search","execution":"client","execution":"server"}]}`, []string{"function/tool_search", "*provider/tool_search"}},
	} {
		o, err := param.Skim([]byte(c.body))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		_, late := heard(c.door, []byte(c.body))
		offers, err := offered(c.door, request{Object: o, raw: []byte(c.body)}, late)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range offers {
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

// TestWhatIsOfferedHasLimits: in number, in length, in how deep lists stand in each other, and in how many places a tool server is; each says which field and
// which limit, before anybody is asked. Up to there all passes.
func TestWhatIsOfferedHasLimits(t *testing.T) {
	many := func(n int, one string) string {
		var all []string
		for i := range n {
			all = append(all, strings.ReplaceAll(one, "#", fmt.Sprint(i)))
		}
		return strings.Join(all, ",")
	}
	nested := func(n int) string {
		return strings.Repeat(`{"type":"namespace","name":"n","tools":[`, n) + `{"type":"function","name":"a","description":"` + strings.Repeat("x", 4<<20) + `"}` + strings.Repeat(`]}`, n)
	}
	function, provider, server := `{"type":"function","name":"f#"}`, `{"type":"t#"}`, `{"type":"mcp","server_label":"s","server_url":"https://s#.example"}`
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		fits, over, says string
	}{
		{many(1024, function), many(1025, function), "at most 1024 functions"},
		{many(1024, provider), many(1025, provider), "at most 1024 tools that the model's provider runs"},
		{`{"type":"function","name":"` + long(500) + `"}`, `{"type":"function","name":"` + long(512) + `"}`, "at most 512 bytes"},
		{`{"type":"mcp","server_label":"s","allowed_tools":["` + long(500) + `"]}`, `{"type":"mcp","server_label":"s","allowed_tools":["` + long(512) + `"]}`, "at most 512 bytes"},
		{many(16, server), many(17, server), `the tool server "s" may be at most at 16 places`},
		{"{" + many(16, `"name":"f#"`) + "}", "{" + many(17, `"name":"f#"`) + "}", "at most 16 names"},
		{"{" + many(16, `"type":"t#"`) + "}", "{" + many(300_000, `"name":"f#"`) + "}", "at most 16 names"},
		{"{" + many(16, `"type":"t#"`) + "}", "{" + many(300_000, `"type":"t#"`) + "}", "at most 16 names"},
		{nested(3), nested(4), "at most 4 deep"},
		{nested(3), nested(3000), "at most 4 deep"},
	} {
		for list, over := range map[string]bool{c.fits: false, c.over: true} {
			for _, body := range []string{`{"tools":[` + list + `]}`, `{"input":[{"type":"tool_search_output","tools":[` + list + `]}]}`} {
				o, err := param.Skim([]byte(body))
				if err != nil {
					t.Fatal(err)
				}
				_, late := heard(model.DialectResponses, []byte(body))
				began := time.Now()
				_, err = offered(model.DialectResponses, request{Object: o, raw: []byte(body)}, late)
				if over != (stead.KindOf(err) == stead.KindInvalid) || over && (!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "tools: ")) || !over && err != nil {
					t.Errorf("%.80s…: %v, want %q: %v", body, err, c.says, over)
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("%.80s…: it took %v", body, took)
				}
			}
		}
	}
	asked := false
	m := &scripted{Model: talkative{}}
	d, _ := gateway(t, m, func(c *Config) { c.Gate = asking{gate{}, &asked} })
	res, got := d.call("POST", "/v1/chat/completions", chatHi+`,"tools":[`+many(1025, `{"type":"function","function":{"name":"f#"}}`)+`]}`)
	if res.StatusCode != 400 || !strings.Contains(got, `"param":"tools"`) || asked || len(m.asked) > 0 {
		t.Errorf("%d %s, asked: %v, passed on: %d", res.StatusCode, got, asked, len(m.asked))
	}
}

// asking notes that it was asked.
type asking struct {
	gate
	was *bool
}

func (a asking) ModelCall(context.Context, stead.Principal, string, stead.Labels, []policy.Offer) error {
	*a.was = true
	return nil
}

// sparing is a gate for which no policy is about any tool.
type sparing struct {
	gate
	asked map[string]int
	any   bool
}

func (g sparing) Unasked(_ context.Context, _ stead.Principal, _ string, _ stead.Labels, function string) bool {
	g.asked[function]++
	return g.any || function != ""
}

// TestFunctionsAreLookedAtWherePoliciesAreAboutTools: one question is enough where none is; else each function is one.
func TestFunctionsAreLookedAtWherePoliciesAreAboutTools(t *testing.T) {
	for tools, want := range map[string][2]string{
		`{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"b"}}`: {"map[:1]", "map[:1 function/a:1 function/b:1]"},
		`{"type":"function","function":{"name":"a"}}`:                                             {"map[function/a:1]", "map[function/a:1]"},
		`{"type":"image_generation"}`:                                                             {"map[]", "map[]"},
	} {
		for i, any := range []bool{true, false} {
			g := sparing{asked: map[string]int{}, any: any}
			d, _ := gateway(t, &scripted{Model: talkative{}}, func(c *Config) { c.Gate = g })
			d.call("POST", "/v1/chat/completions", chatHi+`,"tools":[`+tools+`]}`)
			if got := fmt.Sprint(g.asked); got != want[i] {
				t.Errorf("%s: asked %s, want %s", tools, got, want[i])
			}
		}
	}
}

// TestWhatAKeptPromptBrings: nobody here knows which tools it has, so that what comes of it may be a stranger's.
func TestWhatAKeptPromptBrings(t *testing.T) {
	body := []byte(`{"prompt":{"id":"pmpt_1"},"tools":[{"type":"function","name":"a"}]}`)
	o, err := param.Skim(body)
	if err != nil {
		t.Fatal(err)
	}
	offers, err := offered(model.DialectResponses, request{Object: o, raw: body}, nil)
	if got := brought(offers); err != nil || !slices.Equal(got["untrusted"], []string{"provider"}) {
		t.Errorf("labelled %v, %v", got, err)
	}
	if got := brought(offers[1:]); got != nil {
		t.Errorf("a function brings %v", got)
	}
}
