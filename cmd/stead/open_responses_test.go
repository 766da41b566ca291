package main

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/responses/responsestest"
)

// The cases of the compliance suite of openresponses.org (basic, streaming, system prompt, tool calling whole and streamed,
// image, several turns), each at both doors, kept and not: what is answered has the published shape, every event too, and
// says what the case asks for. The suite itself is a web page with a runner of its own; its cases are made anew here.
func TestOpenResponsesCompliance(t *testing.T) {
	n := openConfigured(t, "providers: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n", io.Discard)
	const (
		tool  = `,"tools":[{"type":"function","name":"get_weather","description":"The weather of a place","parameters":{"type":"object","properties":{"location":{"type":"string"}},"required":["location"]}}]`
		asks  = `[{"type":"message","role":"user","content":"Call get_weather with {\"location\":\"Rome\"}"}]` + tool
		pixel = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
	)
	all := responsestest.Load(t)
	type object struct {
		Status string
		Output []struct{ Type, Name string }
	}
	for name, c := range map[string]struct {
		input  string
		stream bool
		output string   // the type of one of its items
		events []string // that are streamed
	}{
		"basic":     {input: `[{"type":"message","role":"user","content":"Say one two three"}]`, output: "message"},
		"streaming": {input: `[{"type":"message","role":"user","content":"Say one two three"}]`, stream: true, output: "message", events: []string{"response.created", "response.output_item.added", "response.content_part.added", "response.output_text.delta", "response.output_text.done", "response.content_part.done", "response.output_item.done", "response.completed"}},
		"system":    {input: `[{"type":"message","role":"system","content":"Be brief."},{"type":"message","role":"user","content":"Say hi"}]`, output: "message"},
		"tools":     {input: asks, output: "function_call"},
		"tools, streaming": {input: asks, stream: true, output: "function_call", events: []string{"response.output_item.added", "response.function_call_arguments.delta",
			"response.function_call_arguments.done", "response.output_item.done", "response.completed"}},
		"image": {input: `[{"type":"message","role":"user","content":[{"type":"input_text","text":"Say red"},{"type":"input_image","image_url":"` + pixel + `"}]}]`, output: "message"},
		"turns": {input: `[{"type":"message","role":"user","content":"I am Mia."},{"type":"message","role":"assistant","content":"Hello Mia."},{"type":"message","role":"user","content":"Say Mia"}]`, output: "message"},
	} {
		for _, store := range []string{"true", "false"} {
			t.Run(name+", store "+store, func(t *testing.T) {
				d := all.For(t)
				stream := "false"
				if c.stream {
					stream = "true"
				}
				res, body := ask(t, n, "POST", "/v1/responses", `{"model":"sim","store":`+store+`,"stream":`+stream+`,"input":`+c.input+`}`)
				if res.StatusCode != 200 {
					t.Fatalf("%d %s", res.StatusCode, body)
				}
				whole := json.RawMessage(body)
				if c.stream {
					whole = streamed(t, d, body, c.events)
				}
				d.Check("ResponseResource", whole)
				var o object
				if err := json.Unmarshal(whole, &o); err != nil || o.Status != "completed" {
					t.Fatalf("%v: %s", err, whole)
				}
				if !slices.ContainsFunc(o.Output, func(it struct{ Type, Name string }) bool { return it.Type == c.output }) {
					t.Errorf("no %s in %s", c.output, whole)
				}
			})
		}
	}
}

// streamed checks each event of a stream, that those which are wanted are there in their order, and gives the last one's response.
func streamed(t *testing.T, d *responsestest.Description, body string, want []string) json.RawMessage {
	t.Helper()
	var last json.RawMessage
	for _, block := range strings.Split(strings.TrimSpace(body), "\n\n") {
		_, data, ok := strings.Cut(block, "data: ")
		if !ok || data == "[DONE]" {
			continue
		}
		var event struct {
			Type     string
			Response json.RawMessage
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			t.Fatalf("%v: %s", err, block)
		}
		schema, known := d.Events[event.Type]
		if !known {
			t.Errorf("%s is no event of Open Responses", event.Type)
			continue
		}
		d.Check(schema, json.RawMessage(data))
		if last = event.Response; len(want) > 0 && event.Type == want[0] {
			want = want[1:]
		}
	}
	if len(want) > 0 {
		t.Errorf("there is no %s, or not in its order:\n%s", want[0], body)
	}
	return last
}
