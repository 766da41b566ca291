package modeltest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

const (
	pdf       = "JVBERi0xLjQKJcfsj6IKMSAwIG9iago="
	note      = "cGxhaW4gd29yZHM=" // "plain words"
	pixel     = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
	cat       = "https://example.com/cat.png"
	colour    = `{"type":"object","properties":{"colour":{"type":"string","enum":["red","blue"]}},"required":["colour"],"additionalProperties":false}`
	paris     = `{"city":"Paris"}`
	rome      = `{"city":"Rome"}`
	parameter = `{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}`
)

func weather() []model.ToolSpec {
	return []model.ToolSpec{{Name: "get_weather", Description: "Tells the weather of a city.", Parameters: json.RawMessage(parameter)}}
}

func ask(s string) model.Request { return model.Request{Items: []stead.Item{User(s)}} }

func cases() []kase {
	return slices.Concat(answers(), conversations(), wishes(), failures())
}

// answers are the kinds of answer that a model gives.
func answers() []kase {
	thought := stead.Item{Type: stead.ItemReasoning, Status: stead.ItemCompleted,
		Summary: []stead.Text{stead.NewText("Adding up.")}}
	return []kase{
		{
			script: &Script{Case: "text", Pieces: []string{"Hello, ", "wörld."}, Items: []stead.Item{Message("Hello, wörld.")},
				Finish: model.FinishStop, Usage: usage()},
			req:   model.Request{Instructions: "Be brief.", Items: []stead.Item{User("Say Hello, wörld.")}},
			sends: []string{"Be brief.", "Say Hello, wörld.", "test-model"},
			check: func(t *testing.T, r Reply) {
				wantText("Hello, wörld.")(t, r)
				if r.Pieces < 2 {
					t.Errorf("%d deltas: the text was not streamed", r.Pieces)
				}
				if r.Done.Model == "" {
					t.Error("Done does not name the model")
				}
			},
		},
		{
			script: &Script{Case: "tool call", Items: []stead.Item{Call("call_1", "get_weather", paris)},
				Finish: model.FinishToolCalls, Usage: usage()},
			req:   model.Request{Tools: weather(), Items: []stead.Item{User("Call get_weather with " + paris)}},
			sends: []string{"get_weather", "Tells the weather of a city.", `"city"`},
			check: wantCalls(Call("", "get_weather", paris)),
		},
		{
			script: &Script{Case: "parallel tool calls", Finish: model.FinishToolCalls, Usage: usage(),
				Items: []stead.Item{Call("call_1", "get_weather", paris), Call("call_2", "get_weather", rome)}},
			req:   model.Request{Tools: weather(), Items: []stead.Item{User("Call get_weather with " + paris + "\nCall get_weather with " + rome)}},
			check: wantCalls(Call("", "get_weather", paris), Call("", "get_weather", rome)),
		},
		{
			script: &Script{Case: "reasoning", Pieces: []string{"Adding ", "up."},
				Items: []stead.Item{thought, Message("Four.")}, Finish: model.FinishStop, Usage: usage()},
			req: model.Request{Effort: "low", ReasonSummary: "auto", Items: []stead.Item{User("Think Adding up.\nSay Four.")}},
			check: func(t *testing.T, r Reply) {
				wantText("Four.")(t, r)
				if len(r.Items) != 2 || r.Items[0].Type != stead.ItemReasoning || r.Items[0].Summary[0].Inline != "Adding up." {
					t.Errorf("items %+v", r.Items)
				}
			},
		},
		{
			script: &Script{Case: "structured output", Pieces: []string{`{"colour":`, `"red"}`},
				Items: []stead.Item{Message(`{"colour":"red"}`)}, Finish: model.FinishStop, Usage: usage()},
			req: model.Request{Format: &model.Format{Name: "answer", Schema: json.RawMessage(colour), Strict: true},
				Items: []stead.Item{User("Which colour?")}},
			sends: []string{`"blue"`},
			check: wantText(`{"colour":"red"}`),
		},
		{
			script: &Script{Case: "structured output beside tools", Pieces: []string{`{"colour":`, `"red"}`},
				Items: []stead.Item{Message(`{"colour":"red"}`)}, Finish: model.FinishStop, Usage: usage()},
			req: model.Request{Format: &model.Format{Name: "answer", Schema: json.RawMessage(colour), Strict: true},
				Tools: weather(), Items: []stead.Item{User("Which colour?")}},
			sends: []string{`"blue"`, "get_weather"},
			check: wantText(`{"colour":"red"}`),
		},
		{
			script: &Script{Case: "refusal", Pieces: []string{"I will ", "not."}, Items: []stead.Item{Refusal("I will not.")},
				Finish: model.FinishRefusal, Usage: usage()},
			req: ask("Refuse I will not."),
			check: func(t *testing.T, r Reply) {
				wantText("I will not.")(t, r)
				if len(r.Items) != 1 || !stead.Refuses(r.Items[0].Content) {
					t.Errorf("items %+v, want one refusal", r.Items)
				}
			},
		},
		{
			script: &Script{Case: "length stop", Pieces: []string{"word1 ", "wo"},
				Items: []stead.Item{Message("word1 wo")}, Finish: model.FinishLength, Usage: usage()},
			req:   model.Request{MaxOutputTokens: 2, Items: []stead.Item{User("Write 100 words")}},
			check: wantText("word1 wo"),
		},
		{
			script: &Script{Case: "usage", Items: []stead.Item{Message("Hi.")}, Finish: model.FinishStop, Usage: usage()},
			req:    ask("Say Hi."),
			check: func(t *testing.T, r Reply) {
				if r.Done.Usage == nil || *r.Done.Usage != *usage() {
					t.Errorf("usage %+v, want %+v", r.Done.Usage, *usage())
				}
			},
		},
		{
			script: &Script{Case: "cache writes", Items: []stead.Item{Message("Hi.")}, Finish: model.FinishStop, Usage: written()},
			req:    ask("Say Hi."),
			check: func(t *testing.T, r Reply) {
				if r.Done.Usage == nil || *r.Done.Usage != *written() {
					t.Errorf("usage %+v, want %+v", r.Done.Usage, *written())
				}
			},
		},
		{
			script: &Script{Case: "service tier", Items: []stead.Item{Message("Hi.")}, Finish: model.FinishStop, Usage: usage(), Tier: "priority"},
			req:    ask("Say Hi."),
			check: func(t *testing.T, r Reply) {
				if r.Done.Tier != "priority" {
					t.Errorf("served by the tier %q, want priority", r.Done.Tier)
				}
			},
		},
		{
			script: &Script{Case: "reasoning goes back", Pieces: []string{"Adding ", "up."}, Sealed: "c2VhbGVkLWJ5LXRoZS10ZXN0",
				Items: []stead.Item{thought, Call("call_1", "get_weather", paris)}, Finish: model.FinishToolCalls, Usage: usage()},
			req: model.Request{Tools: weather(), Effort: "low", ReasonSummary: "auto",
				Items: []stead.Item{User("Think Adding up.\nCall get_weather with " + paris)}},
			check: wantCalls(Call("", "get_weather", paris)),
			again: []stead.Item{Output("call_1", Text("21 degrees"))},
		},
		{
			script: &Script{Case: "filter stop", Pieces: []string{"I would ", "like"},
				Items: []stead.Item{Message("I would like")}, Finish: model.FinishFilter, Usage: usage()},
			req: ask("Say I would like"),
			check: func(t *testing.T, r Reply) {
				if len(r.Items) == 0 || text(r.Items[0]) != "I would like" || stead.Refuses(r.Items[0].Content) {
					t.Fatalf("items %+v", r.Items)
				}
				for _, it := range r.Items[1:] { // where the wire has no words of its own for it
					if !stead.Refuses(it.Content) || text(it) == "" {
						t.Errorf("after what the filter cut off: %+v", it)
					}
				}
			},
		},
		{
			script: &Script{Case: "no usage", Items: []stead.Item{Message("Hi.")}, Finish: model.FinishStop},
			req:    ask("Say Hi."),
			check: func(t *testing.T, r Reply) {
				if r.Done.Usage != nil {
					t.Errorf("usage %+v, where the upstream said none", *r.Done.Usage)
				}
			},
		},
	}
}

// conversations are the kinds of input that a model gets.
func conversations() []kase {
	say := func(name string, items ...stead.Item) (*Script, model.Request) {
		return &Script{Case: name, Items: []stead.Item{Message("Done.")}, Finish: model.FinishStop, Usage: usage()},
			model.Request{Tools: weather(), Items: items}
	}
	mk := func(s *Script, r model.Request, sends, lacks []string) kase {
		return kase{script: s, req: r, sends: sends, lacks: lacks, check: wantText("Done.")}
	}
	foreign := stead.NewText("secret-reasoning")
	var out []kase
	s, r := say("images in", stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser,
		Content: []stead.Content{Text("Say Done."), Image(cat), Image(pixel)}})
	out = append(out, mk(s, r, []string{cat, pixel[len("data:image/png;base64,"):]}, nil))

	s, r = say("tool results in", User("Say Done."), Call("call_7", "get_weather", paris), Output("call_7", Text("21 degrees")))
	out = append(out, mk(s, r, []string{"call_7", "21 degrees", "Paris"}, nil))

	s, r = say("images of tools in", User("Say Done."), Call("call_7", "get_weather", paris),
		Output("call_7", Text("a map"), Image(pixel)))
	out = append(out, mk(s, r, []string{"a map", pixel[len("data:image/png;base64,"):]}, nil))

	s, r = say("a tool without a type in", User("Say Done."))
	r.Tools[0].Parameters = json.RawMessage(`{"properties":{"city":{"enum":["Rome"]}}}`)
	out = append(out, mk(s, r, []string{`"type":"object"`, `"Rome"`}, nil))

	s, r = say("refusals in", User("Pick a lock."), Refusal("I will not do that."), User("Say Done."))
	out = append(out, mk(s, r, []string{"Pick a lock.", "I will not do that."}, nil))

	failed := Output("call_7")
	failed.Error = "no such city"
	s, r = say("tool errors in", User("Say Done."), Call("call_7", "get_weather", paris), failed)
	out = append(out, mk(s, r, []string{"no such city"}, nil))

	s, r = say("a call without output in", User("Say Done."), Call("call_7", "get_weather", paris), User("Say Done."))
	out = append(out, mk(s, r, []string{"call_7", "no output"}, nil))

	s, r = say("garbled arguments in", User("Say Done."), Call("call_7", "get_weather", `"{\"city\":"`),
		Output("call_7", Text("not a JSON object")))
	out = append(out, mk(s, r, []string{"call_7", "not a JSON object"}, nil))

	s, r = say("documents in", stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser,
		Content: []stead.Content{Text("Say Done."), File("a.pdf", "data:application/pdf;base64,"+pdf), File("a.txt", "data:text/plain;base64,"+note)}})
	docs := mk(s, r, []string{pdf}, nil)
	docs.either = []string{note, "plain words"}
	out = append(out, docs)

	role := func(role, s string) stead.Item {
		it := User(s)
		it.Role = role
		return it
	}
	s, r = say("system and developer messages in", role(stead.RoleSystem, "Rule one."), User("one"), Message("two"),
		role(stead.RoleDeveloper, "Rule two."), User("Say Done."))
	r.Instructions = "Be brief."
	out = append(out, mk(s, r, []string{"Be brief.", "Rule one.", "Rule two.", "two"}, nil))

	s, r = say("another provider's reasoning", User("one"), stead.Item{Type: stead.ItemReasoning, Provider: "elsewhere",
		Encrypted: &foreign}, Message("two"), User("Say Done."))
	out = append(out, mk(s, r, []string{"two"}, []string{"secret-reasoning"}))
	return out
}

// wishes are the settings of stateless calls. How a wire words them, the factory says.
func wishes() []kase {
	var out []kase
	add := func(name string, change func(*model.Request), sends ...string) {
		k := kase{script: &Script{Case: name, Items: []stead.Item{Message("Done.")}, Finish: model.FinishStop, Usage: usage()},
			req: model.Request{Tools: weather(), Items: []stead.Item{User("Say Done.")}}, sends: sends, worded: len(sends) == 0,
			check: wantText("Done.")}
		change(&k.req)
		out = append(out, k)
	}
	half := 0.5
	add("tool choice: one", func(r *model.Request) { r.ToolChoice = model.ToolChoiceNamed + "get_weather" })
	add("tool choice: some", func(r *model.Request) { r.ToolChoice = "required" })
	add("tool choice: none", func(r *model.Request) { r.ToolChoice = "none" })
	add("serial tools", func(r *model.Request) { r.SerialTools = true })
	add("temperature", func(r *model.Request) { r.Temperature = &half }, `"temperature":0.5`)
	add("stop", func(r *model.Request) { r.Stop = []string{"Full stop."} }, `["Full stop."]`)
	return out
}

// failures are the ways in which a call goes wrong.
func failures() []kase {
	fail := func(name string, f Failure, retry bool) kase {
		return kase{script: &Script{Case: name, Failure: &f}, req: ask("Fail with " + f.Code),
			fails: &model.Error{Code: f.Code, Retry: retry, RetryAfter: f.RetryAfter}}
	}
	cut := kase{script: &Script{Case: "cut off", Pieces: []string{"Half ", "an "}, Items: []stead.Item{Message("Half an ")}, Cut: true},
		req: ask("Say Half an answer\nFail with connection_failed"), fails: &model.Error{Code: model.CodeConnection, Retry: true}}
	hang := kase{script: &Script{Case: "cancel", Pieces: []string{"word1 ", "word2 "}, Items: []stead.Item{Message("word1 word2 ")}, Hang: true},
		req: ask("Write 1000 words every 1m"), cancel: true}
	mid := fail("failure within the stream", Failure{Code: model.CodeOverloaded, MidStream: true}, true)
	mid.script.Items = []stead.Item{Message("Half an ")}
	long := strings.Repeat("x", 1<<20)
	big := kase{script: &Script{Case: "a long answer", Pieces: []string{long, "end"}, Items: []stead.Item{Message(long + "end")},
		Finish: model.FinishStop, Usage: usage()}, req: ask("Say " + long + "end"), check: wantText(long + "end")}
	return []kase{
		fail("rate limit", Failure{Status: http.StatusTooManyRequests, Code: model.CodeRateLimit, RetryAfter: 3 * time.Second}, true),
		fail("quota", Failure{Status: http.StatusTooManyRequests, Code: model.CodeUsageLimit}, false),
		fail("overloaded", Failure{Status: http.StatusServiceUnavailable, Code: model.CodeOverloaded}, true),
		fail("server error", Failure{Status: http.StatusInternalServerError, Code: model.CodeServer}, true),
		fail("refused key", Failure{Status: http.StatusUnauthorized, Code: model.CodeAuthentication}, false),
		fail("unknown model", Failure{Status: http.StatusNotFound, Code: model.CodeNotFound}, false),
		fail("context too long", Failure{Status: http.StatusBadRequest, Code: model.CodeContextLength}, false),
		fail("bad request", Failure{Status: http.StatusBadRequest, Code: model.CodeInvalid}, false),
		mid, cut, hang, big,
	}
}
