package server

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/sim"
)

// leaked has a form that GitHub gives tokens; it is nobody's.
var leaked = "ghp_" + strings.Repeat("a1B2", 9)

const aKey = `-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----`

// guarded are rules in front of those that come with Stead.
func guarded(t testing.TB, own ...guardrail.Rule) *guardrail.Guard {
	t.Helper()
	builtin, _ := guardrail.Builtin(guardrail.BuiltinSecrets)
	set, err := guardrail.Compile(append(own, builtin), nil)
	if err != nil {
		t.Fatal(err)
	}
	g := guardrail.New(nil, nil)
	g.Replace(set)
	return g
}

// TestOnlySecretsThatToolsReturnedAreReplaced: in each text by itself, and the rest is passed on byte for byte.
func TestOnlySecretsThatToolsReturnedAreReplaced(t *testing.T) {
	refuse := func(context.Context, model.Forward) (*model.Answer, error) {
		return nil, &model.Error{Code: model.CodeInvalid, Message: "no"}
	} // what is sent is looked at alone
	m := &scripted{forward: map[string]func(context.Context, model.Forward) (*model.Answer, error){model.DialectChat: refuse, model.DialectResponses: refuse}}
	d, heard := gateway(t, m, func(c *Config) { c.Guardrails = guarded(t) })
	const chat, response = "/v1/chat/completions", "/v1/responses"
	body := func(door, entries string) string {
		if door == chat {
			return `{"model":"m", "n": 2, "top_k":5,"chat_template_kwargs":{"a":1e30},"messages":[{"role":"user","content":"db is postgres://bob:hunter22@db/x, ` + leaked + `"},` + entries + `  ],"logprobs":true}`
		}
		return `{"model":"m","store":false, "what":{"a":1e30},"instructions":"` + leaked + `","input":[{"role":"user","content":"it is ` + leaked + `"},` + entries + ` ]}`
	}
	for name, tc := range map[string]struct{ door, entry, want string }{
		"a text":               {chat, `{"role":"tool","tool_call_id":"c1","content":"x ` + leaked + `"}`, `{"role":"tool","tool_call_id":"c1","content":"x [redacted github_token]"}`},
		"its role behind it":   {chat, `{"content":"x ` + leaked + `","role":"to\u006fl"}`, `{"content":"x [redacted github_token]","role":"to\u006fl"}`},
		"a function of old":    {chat, `{"role":"function","name":"f","content":"` + leaked + `"}`, `{"role":"function","name":"f","content":"[redacted github_token]"}`},
		"a second line":        {chat, `{"role":"tool","content":"token\n` + leaked + `\t<é>\u00e9"}`, `{"role":"tool","content":"token\n[redacted github_token]\t<é>é"}`},
		"behind a certificate": {chat, `{"role":"tool","content":"-----END CERTIFICATE-----\n` + aKey + `\n"}`, `{"role":"tool","content":"-----END CERTIFICATE-----\n[redacted private_key]\n"}`},
		"slashes of PHP":       {chat, `{"role":"tool","content":"https:\/\/bob:hunter22@db.example\/x"}`, `{"role":"tool","content":"https[redacted url_password]db.example/x"}`},
		"JSON in a text":       {chat, `{"role":"tool","content":"{\"a\":\"https:\\\/\\\/bob:hunter22@db\",\"b\":\"\\n` + leaked + `\"}"}`, `{"role":"tool","content":"{\"a\":\"https[redacted url_password]db\",\"b\":\"\\n[redacted github_token]\"}"}`},
		"parts": {chat, `{"role":"tool","content":[ {"type":"text","text":"fine \u00e9"},{"text":"` + leaked + `","type":"text"},{"type":"image_url","image_url":{"url":"https://bob:hunter22@x/y.png"}},7]}`,
			`{"role":"tool","content":[ {"type":"text","text":"fine \u00e9"},{"text":"[redacted github_token]","type":"text"},{"type":"image_url","image_url":{"url":"https://bob:hunter22@x/y.png"}},7]}`},
		"nothing":               {chat, `{"role":"tool","content":"f\u0069ne"}`, `{"role":"tool","content":"f\u0069ne"}`},
		"what a model said":     {chat, `{"role":"assistant","content":"` + leaked + `","tool_calls":[{"id":"` + leaked + `","type":"function","function":{"name":"f","arguments":"{\"a\":\"` + leaked + `\"}"}}]}`, ""},
		"an output":             {response, `{"type":"function_call_output","call_id":"` + leaked + `","output":"x\n` + leaked + `"}`, `{"type":"function_call_output","call_id":"` + leaked + `","output":"x\n[redacted github_token]"}`},
		"parts of an output":    {response, `{"type":"custom_tool_call_output","output":[{"type":"input_text","text":"` + leaked + `"}]}`, `{"type":"custom_tool_call_output","output":[{"type":"input_text","text":"[redacted github_token]"}]}`},
		"a tool server's call":  {response, `{"type":"mcp_call","arguments":"{}","output":"` + leaked + `","error":null,"name":"f"}`, `{"type":"mcp_call","arguments":"{}","output":"[redacted github_token]","error":null,"name":"f"}`},
		"one that failed":       {response, `{"type":"mcp_call","error":{"content":[{"text":"` + leaked + `"}]}}`, `{"type":"mcp_call","error":{"content":[{"text":"[redacted github_token]"}]}}`},
		"a search":              {response, `{"type":"file_search_call","queries":["` + leaked + `"],"results":[{"file_id":"f","text":"a\n` + leaked + `","score":0.5}]}`, `{"type":"file_search_call","queries":["` + leaked + `"],"results":[{"file_id":"f","text":"a\n[redacted github_token]","score":0.5}]}`},
		"a shell's output":      {response, `{"type":"shell_call_output","output":[{"stdout":"` + leaked + `","outcome":{"type":"exit","exit_code":0}}]}`, `{"type":"shell_call_output","output":[{"stdout":"[redacted github_token]","outcome":{"type":"exit","exit_code":0}}]}`},
		"code's output":         {response, `{"type":"code_interpreter_call","outputs":[{"type":"logs","logs":"` + leaked + `"}],"code":"` + leaked + `"}`, `{"type":"code_interpreter_call","outputs":[{"type":"logs","logs":"[redacted github_token]"}],"code":"` + leaked + `"}`},
		"a message of the user": {response, `{"role":"user","content":[{"type":"input_text","text":"` + leaked + `"}]}`, ""},
	} {
		if tc.want == "" {
			tc.want = tc.entry
		}
		res, got := d.call("POST", tc.door, body(tc.door, tc.entry))
		if <-heard; len(m.asked) == 0 {
			t.Fatalf("%s: %d %s", name, res.StatusCode, got)
		}
		if sent := string(m.asked[len(m.asked)-1].Body); sent != body(tc.door, tc.want) {
			t.Errorf("%s: sent was\n%s\nwant\n%s", name, sent, body(tc.door, tc.want))
		} else if !json.Valid([]byte(sent)) {
			t.Errorf("%s: no JSON", name)
		}
	}
}

// listener keeps what it is asked.
type listener struct {
	model.Model
	heard *model.Request
}

func (l listener) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	*l.heard = req
	return l.Model.Generate(ctx, req)
}

// TestSecretsAreReplacedWhereACallIsTranslated: what is passed on to nobody is read as it was left, by every door.
func TestSecretsAreReplacedWhereACallIsTranslated(t *testing.T) {
	var heard model.Request
	d, _ := gateway(t, &scripted{Model: listener{sim.New(sim.Options{}), &heard}}, func(c *Config) { c.Guardrails = guarded(t) })
	const input = `"input":[{"type":"mcp_call","id":"c","server_label":"s","name":"f","arguments":"{}","output":"x\nLEAKED"},{"type":"file_search_call","id":"fs","queries":["q"],"results":[{"text":"y\nLEAKED"}]},{"role":"user","content":"Say ok"}]`
	for door, body := range map[string]string{
		"/v1/chat/completions":  `{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"x\nLEAKED"}]}`,
		"/v1/responses":         `{"model":"m","store":false,` + input + `}`,
		"/v1/responses/compact": `{"model":"m",` + input + `}`,
	} {
		res, got := d.call("POST", door, strings.ReplaceAll(body, "LEAKED", leaked))
		sent, err := json.Marshal(heard.Items)
		if err != nil || res.StatusCode != http.StatusOK || strings.Contains(string(sent), leaked) || !strings.Contains(string(sent), `x\n[redacted github_token]`) {
			t.Errorf("%s: sent was %s; %d %s", door, sent, res.StatusCode, got)
		}
	}
}

// TestTheOperatorsRulesSeeWhatToolsReturnedAsItCame: they are asked first, and about the call as it is read.
func TestTheOperatorsRulesSeeWhatToolsReturnedAsItCame(t *testing.T) {
	m := &scripted{}
	d, _ := gateway(t, m, func(c *Config) {
		c.Guardrails = guarded(t, guardrail.Rule{Name: "mine", On: []guardrail.Point{guardrail.ToolResult}, Action: guardrail.Block, Check: guardrail.Check{Secrets: true}})
	})
	for door, body := range map[string]string{
		"/v1/chat/completions": `{"model":"m","messages":[{"role":"user","content":"hi"},{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"` + leaked + `"}]}`,
		"/v1/responses":        `{"model":"m","store":false,"input":[{"type":"mcp_call","id":"c","server_label":"s","name":"f","arguments":"{}","output":"` + leaked + `"}]}`,
	} {
		if res, got := d.call("POST", door, body); res.StatusCode != http.StatusBadRequest || !strings.Contains(got, "guardrail mine") || len(m.asked) > 0 {
			t.Errorf("%s: %d %s; %d were passed on", door, res.StatusCode, got, len(m.asked))
		}
	}
}

// TestToolsThatACallBringsAreChecked: what is said of them, by both dialects.
func TestToolsThatACallBringsAreChecked(t *testing.T) {
	var heard model.Request
	rule := guardrail.Rule{Name: "mails", On: []guardrail.Point{guardrail.Input}, Check: guardrail.Check{PII: []string{"email"}}, Action: guardrail.Redact}
	const tool = `"name":"f","description":"Asks ada@example.com","parameters":{"type":"object","properties":{"a":{"description":"as bob@example.com"}}}}`
	for door, body := range map[string]string{
		"/v1/chat/completions": `{"model":"m","messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{` + tool + `}]}`,
		"/v1/responses":        `{"model":"m","store":false,"input":"hi","tools":[{"type":"function",` + tool + `]}`,
	} {
		rule.Action = guardrail.Redact
		d, _ := gateway(t, &scripted{Model: listener{sim.New(sim.Options{}), &heard}}, func(c *Config) { c.Guardrails = guarded(t, rule) })
		res, got := d.call("POST", door, body)
		sent, err := json.Marshal(heard.Tools)
		if err != nil || res.StatusCode != http.StatusOK || strings.Contains(string(sent), "@example") || strings.Count(string(sent), "[redacted email]") != 2 {
			t.Errorf("%s: sent was %s; %d %s", door, sent, res.StatusCode, got)
		}
		rule.Action = guardrail.Block
		d, _ = gateway(t, &scripted{}, func(c *Config) { c.Guardrails = guarded(t, rule) })
		d.says("POST "+door, body, 400, `"param":"tools[0]"`)
	}
}

// BenchmarkMasked is what a call costs of which nothing changes: a long conversation, of which most is what tools returned.
func BenchmarkMasked(b *testing.B) {
	checks := guarded(b).Of(guardrail.Subject{})
	text := strings.Repeat(`It was a bright cold day in April,\nand the clocks: striking \"thirteen\" - 13. `, 60)
	body := []byte(`{"model":"m","messages":[` + strings.Repeat(`{"role":"user","content":"`+text+`"},{"role":"tool","content":"`+text+`"},`, 12) + `{"role":"user","content":"go on"}]}`)
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		c := call{checks: checks, door: model.DialectChat}
		if req, err := c.masked(b.Context(), request{raw: body}); err != nil || len(req.raw) != len(body) {
			b.Fatal(err)
		}
	}
}
