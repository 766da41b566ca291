package main

import (
	"io"
	"strings"
	"testing"
)

// A kept response that fails before it said anything is an error of the request, as with any other door;
// it can be looked at, and its code never says that trying again would help where it does not.
func TestFailedResponsesAreErrors(t *testing.T) {
	n := openConfigured(t, registryConfig, io.Discard)
	for _, test := range []struct {
		code, want string
		status     int
	}{
		{"usage_limit_exceeded", "insufficient_quota", 429},
		{"context_length_exceeded", "context_length_exceeded", 400},
		{"invalid_request", "invalid_prompt", 400},
		{"resource_not_found", "model_not_found", 404},
	} {
		res, body := ask(t, n, "POST", "/v1/responses", `{"model":"mine","input":"Fail with `+test.code+`"}`)
		if res.StatusCode != test.status || !strings.Contains(body, `"code":"`+test.want+`"`) || res.Header.Get("X-Should-Retry") != "false" {
			t.Errorf("%s: %d %s %v", test.code, res.StatusCode, body, res.Header)
		}
	}
	for body, want := range map[string]string{
		`{"model":"mine","stream":true,"input":"Fail with usage_limit_exceeded"}`:     `"code":"insufficient_quota"`,
		`{"model":"mine","max_output_tokens":1,"input":"Write 9 words"}`:              `"status":"incomplete"`,
		`{"model":"mine","background":true,"input":"Fail with usage_limit_exceeded"}`: `"status":"queued"`,
		`{"model":"mine","store":false,"input":"Say what is asked for"}`:              `"status":"completed"`,
	} {
		if res, got := ask(t, n, "POST", "/v1/responses", body); res.StatusCode != 200 || !strings.Contains(got, want) {
			t.Errorf("%s: %d %s", body, res.StatusCode, got)
		}
	}
}
