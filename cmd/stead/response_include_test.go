package main

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
)

// A response that is kept shows what reasoning can be sent back with to those who ask, when it is made, streamed or looked
// at, and what it shows is read again, in a call that keeps nothing and through a reference.
func TestKeptReasoningCanBeSentBack(t *testing.T) {
	n := openConfigured(t, "providers: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n", io.Discard)
	sealed := func(body string) (id, content string) {
		t.Helper()
		var o struct {
			ID     string
			Output []struct {
				Type    string
				Content string `json:"encrypted_content"`
			}
		}
		if err := json.Unmarshal([]byte(body), &o); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		for _, it := range o.Output {
			if it.Type == "reasoning" {
				return o.ID, it.Content
			}
		}
		t.Fatalf("no reasoning: %s", body)
		return "", ""
	}
	const prompt = `"model":"sim","input":"Think Well.\nSay one two"`
	_, body := ask(t, n, "POST", "/v1/responses", `{`+prompt+`}`)
	id, content := sealed(body)
	if content != "" {
		t.Errorf("nobody asked, and is shown %q", content)
	}
	_, body = ask(t, n, "GET", "/v1/responses/"+id+"?include[]=reasoning.encrypted_content", "")
	_, asked := sealed(body)
	if !strings.HasPrefix(asked, "stead.sim:") {
		t.Fatalf("looked at: %q in %s", asked, body)
	}
	_, body = ask(t, n, "POST", "/v1/responses", `{`+prompt+`,"include":["reasoning.encrypted_content"]}`)
	made, content := sealed(body)
	if content != asked {
		t.Errorf("made: %q, want %q", content, asked)
	}
	if _, body = ask(t, n, "GET", "/v1/responses/"+made, ""); !strings.Contains(body, asked) {
		t.Errorf("looked at again: %s", body)
	}
	if _, body = ask(t, n, "GET", "/v1/responses/"+made+"?stream=true", ""); strings.Count(body, asked) != 2 {
		t.Errorf("streamed again, want it in the item's end and in the whole: %s", body)
	}
	_, body = ask(t, n, "POST", "/v1/responses", `{"model":"sim","previous_response_id":"`+made+`","input":"Say three"}`)
	var next struct{ ID string }
	if err := json.Unmarshal([]byte(body), &next); err != nil {
		t.Fatal(err)
	}
	if _, body = ask(t, n, "GET", "/v1/responses/"+next.ID+"/input_items?include=reasoning.encrypted_content&order=asc", ""); !strings.Contains(body, asked) {
		t.Errorf("in what the next was made of: %s", body)
	}
}
