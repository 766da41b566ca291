package main

import (
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
)

// Every record of a call says the region of its provider, also where there was but one way: no router, no rule.
func TestEachRecordSaysTheRegion(t *testing.T) {
	n := openConfigured(t, `
providers: [{name: a, api: sim, region: us}]
models: [{name: plain, routes: [{provider: a, model: sim}]}, {name: own, routes: [{provider: a, model: sim, region: eu}]}]
`, io.Discard)
	want := map[string]string{"plain": "us", "own": "eu", "a/sim": "us"}
	for m := range want {
		for path, body := range map[string]string{
			"chat/completions": `"messages":[{"role":"user","content":"Say hi"}]`, "embeddings": `"input":"hi"`,
			"responses": `"store":false,"service_tier":"flex","input":"Say hi"`, "responses?": `"input":"Say hi"`,
			"agents/sessions": `"environment":{"type":"none"},"input":"Say hi","agent":{"model":"` + m + `"}`,
		} {
			body = `{"model":"` + m + `",` + body + `}`
			if path == "agents/sessions" {
				body = strings.Replace(body, `"model":"`+m+`",`, "", 1)
			}
			if res, got := ask(t, n, "POST", "/v1/"+strings.TrimSuffix(path, "?"), body); res.StatusCode >= 300 {
				t.Fatalf("%s %s: %d %s", path, body, res.StatusCode, got)
			}
		}
	}
	const doors = 5
	var records struct {
		Data []struct{ Model, Region, Provider string }
	}
	for deadline := time.Now().Add(20 * time.Second); len(records.Data) < doors*len(want); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d records: %+v", len(records.Data), records.Data)
		}
		_, got := ask(t, n, "GET", "/v1/usage_records?kind=model_call&limit=100", "")
		if err := json.Unmarshal([]byte(got), &records); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range records.Data {
		if r.Region != want[r.Model] || r.Provider != "a" {
			t.Errorf("%+v, want the region %s", r, want[r.Model])
		}
	}
	if _, got := ask(t, n, "POST", "/v1/usage/verify", "{}"); !strings.Contains(got, `"ok":true`) {
		t.Errorf("verify: %s", got)
	}
}
