package sim

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

func user(text string) stead.Item {
	return stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser, Status: stead.ItemCompleted,
		Content: stead.TextContent(stead.ContentInputText, text)}
}

func output(callID, text string) stead.Item {
	return stead.Item{Type: stead.ItemFunctionCallOutput, CallID: callID, Status: stead.ItemCompleted,
		Output: stead.TextContent(stead.ContentInputText, text)}
}

// collect drains a stream into its deltas and its error.
func collect(ctx context.Context, req model.Request) ([]model.Delta, error) {
	var out []model.Delta
	for d, err := range New(Options{}).Generate(ctx, req) {
		if err != nil {
			return out, err
		}
		out = append(out, d)
	}
	return out, nil
}

// items drains a stream that must succeed.
func items(t *testing.T, req model.Request) ([]stead.Item, model.Delta) {
	t.Helper()
	ds, err := collect(t.Context(), req)
	if err != nil {
		t.Fatalf("generate: %v", err)
	}
	if len(ds) == 0 || ds[len(ds)-1].Kind != model.Done {
		t.Fatalf("stream does not end with Done: %+v", ds)
	}
	var out []stead.Item
	var text strings.Builder
	for _, d := range ds[:len(ds)-1] {
		switch d.Kind {
		case model.TextDelta:
			text.WriteString(d.Text)
		case model.ItemDone:
			if d.Index != len(out) {
				t.Fatalf("item %d came as index %d", len(out), d.Index)
			}
			if d.Item.Type == stead.ItemMessage && d.Item.Content[0].Text.Inline != text.String() {
				t.Fatalf("message %q is not the sum of its deltas %q", d.Item.Content[0].Text.Inline, text.String())
			}
			out = append(out, *d.Item)
		}
	}
	return out, ds[len(ds)-1]
}

// play runs a turn: every call is answered by tool. It returns the calls of each reply and the answer.
func play(t *testing.T, message string, tool func(name string) stead.Item) (calls [][]string, answer string) {
	t.Helper()
	req := model.Request{Model: "sim", Items: []stead.Item{user(message)}}
	seen := map[string]bool{}
	for range 10 {
		reply, done := items(t, req)
		if done.Finish != model.FinishToolCalls {
			return calls, reply[len(reply)-1].Content[0].Text.Inline
		}
		var names []string
		var outputs []stead.Item
		for _, it := range reply {
			req.Items = append(req.Items, it)
			if it.Type != stead.ItemFunctionCall {
				continue
			}
			if seen[it.CallID] {
				t.Fatalf("call id %s twice", it.CallID)
			}
			seen[it.CallID] = true
			names = append(names, it.Name+string(it.Arguments))
			out := tool(it.Name)
			out.Type, out.CallID = stead.ItemFunctionCallOutput, it.CallID
			outputs = append(outputs, out)
		}
		calls = append(calls, names)
		req.Items = append(req.Items, outputs...)
	}
	t.Fatal("the turn does not end")
	return nil, ""
}

func TestCalls(t *testing.T) {
	text := func(s string) func(string) stead.Item {
		return func(string) stead.Item {
			return stead.Item{Output: stead.TextContent(stead.ContentInputText, s)}
		}
	}
	for _, tc := range []struct {
		name, message string
		tool          func(string) stead.Item
		calls         [][]string
		answer        string
	}{
		{"one", `Call get_weather with {"city":"Paris"}`, text("21 degrees"),
			[][]string{{`get_weather{"city":"Paris"}`}}, "get_weather: 21 degrees"},
		{"parallel, then in steps, braces in strings",
			"Please:\nCall a with {\"x\":\"}{\"}\ncall b with {}\nThen call c with {\"n\":{\"m\":1}}\nthen call a with {}",
			text("ok"), [][]string{{`a{"x":"}{"}`, `b{}`}, {`c{"n":{"m":1}}`}, {`a{}`}}, "a: ok\nb: ok\nc: ok\na: ok"},
		{"only a following step", `Then call c with {}`, text("ok"), [][]string{{"c{}"}}, "c: ok"},
		{"garbled", `Call a with {"x":`, text("ok"), [][]string{{`a"{\"x\":"`}}, "a: ok"},
		{"error", `Call a with {}`, func(string) stead.Item { return stead.Item{Error: "no such tool"} },
			[][]string{{"a{}"}}, "a: error: no such tool"},
		{"images", `Call a with {}`, func(string) stead.Item {
			return stead.Item{Output: []stead.Content{
				{Type: stead.ContentInputText, Text: stead.NewText("here")},
				{Type: stead.ContentInputImage, Text: stead.NewText("data:image/png;base64,AA==")},
			}}
		}, [][]string{{"a{}"}}, "a: here [image]"},
		{"no output", `Call a with {}`, func(string) stead.Item { return stead.Item{} }, [][]string{{"a{}"}}, "a: no output"},
		{"say wins", "Call a with {}\nSay all done.", text("ok"), [][]string{{"a{}"}}, "all done."},
		{"no JSON is no call", `Call me with care`, nil, nil, `sim: you said "Call me with care".`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			calls, answer := play(t, tc.message, tc.tool)
			if d := cmp.Diff(tc.calls, calls); d != "" {
				t.Errorf("calls (-want +got):\n%s", d)
			}
			if answer != tc.answer {
				t.Errorf("answer %q, want %q", answer, tc.answer)
			}
		})
	}
}

// The same words in a later turn make new call ids, and only the last message counts.
func TestCallIDsDoNotRepeat(t *testing.T) {
	req := model.Request{Items: []stead.Item{user("Call a with {}")}, CacheKey: "s1"}
	first, _ := items(t, req)
	again, _ := items(t, req)
	if first[0].CallID != again[0].CallID {
		t.Errorf("the same request made %s, then %s", first[0].CallID, again[0].CallID)
	}
	req.Items = append(req.Items, first[0], output(first[0].CallID, "ok"), user("Call a with {}"))
	later, _ := items(t, req)
	if later[0].CallID == first[0].CallID {
		t.Errorf("call id %s repeats in a later turn", first[0].CallID)
	}
}

func TestAnswers(t *testing.T) {
	image := user("look")
	image.Content = append(image.Content, stead.Content{Type: stead.ContentInputImage, Text: stead.NewText("https://example.com/a.png")})
	for _, tc := range []struct {
		name   string
		items  []stead.Item
		most   int
		answer string
		finish model.Finish
	}{
		{"quote", []stead.Item{user("hello \n there")}, 0, `sim: you said "hello there".`, model.FinishStop},
		{"say", []stead.Item{user("Say  Grüße, 世界!")}, 0, "Grüße, 世界!", model.FinishStop},
		{"say lines", []stead.Item{user("Say a\nSay b")}, 0, "a\nb", model.FinishStop},
		{"refuse", []stead.Item{user("Refuse I will not.")}, 0, "I will not.", model.FinishRefusal},
		{"write", []stead.Item{user("Write 3 words")}, 0, "word1 word2 word3", model.FinishStop},
		{"cut off", []stead.Item{user("Write 3 words")}, 2, "word1 wo", model.FinishLength},
		{"images", []stead.Item{image}, 0, `sim: you said "look". Images: 1.`, model.FinishStop},
		{"nobody", nil, 0, "sim: there is no message to answer.", model.FinishStop},
		{"summary", []stead.Item{user("one"), user("Call a with {}"), user("Summarize this.\nCall a with {}")}, 0,
			`Summary: 2 messages (` + conversation("", []stead.Item{user("one"), user("Call a with {}")}) + `); the user said: "one", "Call a with {}".`, model.FinishStop},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, done := items(t, model.Request{Items: tc.items, MaxOutputTokens: tc.most})
			if a := got[len(got)-1].Content[0].Text.Inline; a != tc.answer {
				t.Errorf("answer %q, want %q", a, tc.answer)
			}
			if done.Finish != tc.finish {
				t.Errorf("finish %q, want %q", done.Finish, tc.finish)
			}
		})
	}
}

func TestThinkComesOnceAndFirst(t *testing.T) {
	req := model.Request{Items: []stead.Item{user("Think it over\nCall a with {}")}}
	got, done := items(t, req)
	if len(got) != 2 || got[0].Type != stead.ItemReasoning || got[0].Summary[0].Inline != "it over" || got[0].Provider != "sim" {
		t.Fatalf("first reply %+v", got)
	}
	if done.Usage.ReasoningTokens != 2 || done.Usage.InputTokens != 7 {
		t.Errorf("usage %+v", *done.Usage)
	}
	req.Items = append(req.Items, got[0], got[1], output(got[1].CallID, "ok"))
	if got, _ = items(t, req); len(got) != 1 || got[0].Type != stead.ItemMessage {
		t.Errorf("second reply %+v", got)
	}
}

func TestFail(t *testing.T) {
	for _, tc := range []struct {
		message, code string
		retry         bool
		streamed      int
	}{
		{"Fail with server_overloaded", model.CodeOverloaded, true, 0},
		{"Fail with usage_limit_exceeded.", model.CodeUsageLimit, false, 0},
		{"Write 3 words\nFail with connection_failed", model.CodeConnection, true, 3},
		{"Fail with nonsense", model.CodeInvalid, false, 0},
	} {
		ds, err := collect(t.Context(), model.Request{Items: []stead.Item{user(tc.message)}})
		e, ok := errors.AsType[*model.Error](err)
		if !ok || e.Code != tc.code || e.Retry != tc.retry || len(ds) != tc.streamed {
			t.Errorf("%q: %d deltas and %#v", tc.message, len(ds), err)
		}
	}
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for message, want := range map[string]time.Duration{
			"Say a b c":                                0,
			"Wait 2s\nWrite 11 words every 100ms":      3 * time.Second,
			"Stream slowly\nSay a b c":                 100 * time.Millisecond,
			"Stream slowly every 1s\nWrite 3 words":    2 * time.Second,
			"Wait 20h":                                 MaxWait,
			"Write 3 words every 1s\nFail with server": 2 * time.Second,
		} {
			start := time.Now()
			_, _ = collect(t.Context(), model.Request{Items: []stead.Item{user(message)}})
			if got := time.Since(start); got != want {
				t.Errorf("%q took %v, want %v", message, got, want)
			}
		}
	})
}

func TestCancel(t *testing.T) {
	for _, message := range []string{"Wait 5m", "Write 1000 words every 1s"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(2500*time.Millisecond, cancel)
			start := time.Now()
			_, err := collect(ctx, model.Request{Items: []stead.Item{user(message)}})
			if !errors.Is(err, context.Canceled) || time.Since(start) != 2500*time.Millisecond {
				t.Errorf("%q: %v after %v", message, err, time.Since(start))
			}
		})
	}
}

func TestStreamsWordByWord(t *testing.T) {
	ds, err := collect(t.Context(), model.Request{Items: []stead.Item{user("Say one  two\t" + strings.Repeat("é", 40))}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range ds {
		if d.Kind == model.TextDelta {
			got = append(got, d.Text)
		}
	}
	want := []string{"one  ", "two\t", strings.Repeat("é", 16), strings.Repeat("é", 16), strings.Repeat("é", 8)}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("pieces (-want +got):\n%s", d)
	}
}

func TestStructuredOutput(t *testing.T) {
	schemas := map[string]string{
		"flat":      `{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":18},"ok":{"type":"boolean"}},"required":["name","age","ok"],"additionalProperties":false}`,
		"enum":      `{"type":"object","properties":{"c":{"enum":["red","blue"]},"k":{"const":7}},"required":["c","k"]}`,
		"arrays":    `{"type":"array","items":{"type":"number","exclusiveMinimum":0,"maximum":0.4},"minItems":3}`,
		"tuple":     `{"type":"array","prefixItems":[{"type":"string"},{"type":"integer"}],"items":false}`,
		"at most":   `{"type":"array","items":{"type":"null"},"maxItems":0}`,
		"defs":      `{"$defs":{"p":{"type":"object","properties":{"x":{"type":"number","multipleOf":0.5,"minimum":0.7}},"required":["x"]}},"type":"object","properties":{"a":{"$ref":"#/$defs/p"},"b":{"$ref":"#/$defs/p"}},"required":["a","b"]}`,
		"tree":      `{"$defs":{"n":{"type":"object","properties":{"v":{"type":"string"},"kids":{"type":"array","items":{"$ref":"#/$defs/n"}}},"required":["v","kids"],"additionalProperties":false}},"$ref":"#/$defs/n"}`,
		"list":      `{"$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/n"},{"type":"null"}]}},"required":["v","next"],"additionalProperties":false}},"$ref":"#/$defs/n"}`,
		"itself":    `{"type":"object","properties":{"a":{"$ref":"#"},"b":{"$ref":"#"},"c":{"$ref":"#"}}}`,
		"allOf":     `{"allOf":[{"type":"object","properties":{"a":{"type":"string","minLength":60}},"required":["a"]},{"properties":{"b":{"type":["null","integer"]}},"required":["b"]}]}`,
		"oneOf":     `{"oneOf":[{"type":"object","properties":{"kind":{"const":"x"}},"required":["kind"]},{"type":"object","properties":{"kind":{"const":"y"}},"required":["kind"]}]}`,
		"lengths":   `{"type":"string","minLength":2,"maxLength":3}`,
		"negative":  `{"type":"integer","exclusiveMaximum":-3,"multipleOf":5}`,
		"anything":  `{}`,
		"true":      `true`,
		"open keys": `{"type":"object","required":["z"],"additionalProperties":{"type":"integer"}}`,
		"wide":      `{"$defs":{"w":{"type":"object","properties":{"a":{"type":"array","items":{"$ref":"#/$defs/w"},"minItems":0},"d":{"type":"string","format":"date-time"}},"required":["a","d"]}},"type":"array","items":{"$ref":"#/$defs/w"},"minItems":5}`,
	}
	for name, raw := range schemas {
		t.Run(name, func(t *testing.T) {
			var s jsonschema.Schema
			if err := json.Unmarshal([]byte(raw), &s); err != nil {
				t.Fatal(err)
			}
			resolved, err := s.Resolve(nil)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := items(t, model.Request{
				Items: []stead.Item{user("hi there")}, Format: &model.Format{Name: "f", Schema: json.RawMessage(raw)}})
			text := got[0].Content[0].Text.Inline
			var doc any
			if err := json.Unmarshal([]byte(text), &doc); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if err := resolved.Validate(doc); err != nil {
				t.Errorf("%s is not valid: %v", text, err)
			}
		})
	}
}

func TestDeterministic(t *testing.T) {
	req := model.Request{Items: []stead.Item{user("Think hm\nCall a with {}\nCall b with {}")}, CacheKey: "k"}
	a, _ := collect(t.Context(), req)
	b, _ := collect(t.Context(), req)
	if d := cmp.Diff(a, b); d != "" {
		t.Errorf("two streams of one request differ:\n%s", d)
	}
}

func FuzzScript(f *testing.F) {
	f.Add("Call a with {\"x\":1}\nThen call b with {}\nSay hi", `{"type":"object","properties":{"a":{"$ref":"#"}}}`)
	f.Add("Write 3 words every 1ns\nThink x", `{"type":"array","minItems":3}`)
	f.Fuzz(func(t *testing.T, message, schema string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		ds, err := collect(ctx, model.Request{Items: []stead.Item{user(message)}, Format: &model.Format{Schema: json.RawMessage(schema)}})
		if err == nil && (len(ds) == 0 || ds[len(ds)-1].Kind != model.Done) {
			t.Fatal("neither Done nor an error")
		}
	})
}
