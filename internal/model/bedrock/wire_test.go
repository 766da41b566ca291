package bedrock_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/bedrock"
	"github.com/stead-dev/stead/internal/model/modeltest"
)

// replies are what upstreams send, and the deltas that come of them.
func replies() map[string]struct{ reply, want string } {
	const (
		hi   = `{"contentBlockIndex":0,"delta":{"text":"Hi"}}`
		said = `text 0 "Hi"` + "\n" + `item 0 {"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}` + "\n"
		used = `{"usage":{"inputTokens":10,"outputTokens":7,"cacheReadInputTokens":5,"cacheWriteInputTokens":3}}`
		done = ` {"input_tokens":18,"cached_tokens":5,"cache_write_tokens":3,"output_tokens":7} "m"` + "\n"
	)
	no := func(i int, words string) string {
		return fmt.Sprintf("refusal %d %q\nitem %d "+`{"type":"message","status":"completed","role":"assistant","content":[{"type":"refusal","text":%q}]}`+"\n", i, words, i, words)
	}
	text := frame("messageStart", `{"role":"assistant"}`) + frame("contentBlockDelta", hi) + frame("contentBlockStop", `{"contentBlockIndex":0}`)
	end := func(reason string) string {
		return frame("messageStop", `{"stopReason":"`+reason+`"}`) + frame("metadata", used)
	}
	fails := func(kind, message string) string {
		return bedrock.Frame(message, ":message-type", "exception", ":exception-type", kind)
	}
	return map[string]struct{ reply, want string }{
		"end_turn":              {text + end("end_turn"), said + "done stop" + done},
		"stop_sequence":         {text + end("stop_sequence"), said + "done stop" + done},
		"max_tokens":            {text + end("max_tokens"), said + "done length" + done},
		"window":                {text + end("model_context_window_exceeded"), said + "done length" + done},
		"guardrail_intervened":  {text + end("guardrail_intervened"), said + no(1, "A guardrail stopped the answer.") + "done filter" + done},
		"content_filtered":      {text + end("content_filtered"), said + no(1, "The provider's content filter stopped the answer.") + "done filter" + done},
		"refusal without words": {end("refusal"), no(0, "The model declined to answer.") + "done refusal" + done},
		"malformed":             {text + end("malformed_tool_use"), said + `error server_error status=0 retry=true after=0s "the model's answer was malformed"` + "\n"},
		"no metadata":           {text + frame("messageStop", `{"stopReason":"end_turn"}`), said + `done stop none "m"` + "\n"},
		"no end":                {text, said + `error connection_failed status=0 retry=true after=0s "the model provider's reply was cut off"` + "\n"},
		"unknown events":        {frame("news", `{}`) + text + end("end_turn"), said + "done stop" + done},
		"redacted thinking": {frame("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"redactedContent":"REFUQQ=="}}}`) +
			frame("contentBlockStop", `{"contentBlockIndex":0}`) + end("end_turn"),
			`item 0 {"type":"reasoning","status":"completed","encrypted":"redacted.REFUQQ==","provider":"up"}` + "\n" +
				`item 1 {"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":""}]}` + "\n" + "done stop" + done},
		"throttled within": {text + fails("throttlingException", `{"message":"slow"}`),
			said + `error rate_limit_exceeded status=0 retry=true after=0s "the model provider limits the rate of calls: slow"` + "\n"},
		"failed within": {text + fails("modelStreamErrorException", `{"message":"oops","originalStatusCode":500}`),
			said + `error server_error status=0 retry=true after=0s "the model provider failed: oops"` + "\n"},
		"invalid within": {fails("validationException", `{"message":"Input is too long"}`),
			`error context_length_exceeded status=0 retry=false after=0s "the conversation is too long for the model: Input is too long"` + "\n"},
		"an unmodelled error": {bedrock.Frame("", ":message-type", "error", ":error-code", "InternalFailure", ":error-message", "od\x01d"),
			`error server_error status=0 retry=true after=0s "the model provider failed: od d"` + "\n"},
		"rubbish": {"no frame at all, but long enough", `error connection_failed status=0 retry=true after=0s "the model provider's reply is garbled"` + "\n"},
		"a document": {`{"output":{"message":{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"Hm","signature":"S"}}},` +
			`{"toolUse":{"toolUseId":"t1","name":"f","input":{"a":1}}}]}},"stopReason":"tool_use","usage":{"inputTokens":10,"outputTokens":7,"cacheReadInputTokens":5,"cacheWriteInputTokens":3}}`,
			`reasoning 0.0 "Hm"` + "\n" + `item 0 {"type":"reasoning","status":"completed","summary":["Hm"],"encrypted":"thinking.S","provider":"up"}` + "\n" +
				`item 1 {"type":"function_call","status":"completed","call_id":"t1","name":"f","arguments":{"a":1}}` + "\n" + "done tool_calls" + done},
	}
}

func TestWire(t *testing.T) {
	for name, tc := range replies() {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, tc.reply)
			}))
			defer srv.Close()
			var got strings.Builder
			for d, err := range provider(t, srv.URL).Generate(t.Context(), model.Request{Model: "m", Items: []stead.Item{modeltest.User("hi")}}) {
				got.WriteString(modeltest.Line(d, err) + "\n")
			}
			if d := cmp.Diff(tc.want, got.String()); d != "" {
				t.Errorf("deltas (-want +got):\n%s", d)
			}
		})
	}
}

// Errors are told apart by their exception, in the header or the body, and no secret is in any of them.
func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		status       int
		header, body string
		code         string
		retry        bool
		after        time.Duration
	}{
		{400, "ValidationException", `{"message":"malformed input"}`, model.CodeInvalid, false, 0},
		{400, "", `{"__type":"com.amazon.coral.validate#ValidationException","Message":"prompt is too long: 2 > 1"}`, model.CodeContextLength, false, 0},
		{400, "ServiceQuotaExceededException", `{}`, model.CodeUsageLimit, false, 0},
		{403, "AccessDeniedException", `{"Message":"no"}`, model.CodeAuthentication, false, 0},
		{403, "ExpiredTokenException:", `{"message":"old"}`, model.CodeAuthentication, false, 0},
		{404, "ResourceNotFoundException", `{}`, model.CodeNotFound, false, 0},
		{408, "ModelTimeoutException", `{}`, model.CodeTimeout, true, 3 * time.Second},
		{424, "ModelErrorException", `{}`, model.CodeServer, true, 3 * time.Second},
		{429, "ThrottlingException", `{}`, model.CodeRateLimit, true, 3 * time.Second},
		{429, "ModelNotReadyException", `{}`, model.CodeOverloaded, true, 3 * time.Second},
		{503, "", `<html>`, model.CodeOverloaded, true, 3 * time.Second},
		{400, "ValidationException", `{"message":"` + secretKey + ` ` + session + ` key-of-bedrock"}`, model.CodeInvalid, false, 0},
	} {
		for _, bearer := range []string{"", "key-of-bedrock"} {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Authorization"); bearer != "" && got != "Bearer "+bearer {
					t.Errorf("authorization %q", got)
				}
				w.Header().Set("X-Amzn-Errortype", tc.header)
				w.Header().Set("Retry-After", "3")
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			}))
			cfg := bedrock.Config{Name: "up", Region: "eu-central-1", BaseURL: srv.URL, APIKey: bearer}
			if bearer == "" {
				cfg.AccessKey, cfg.SecretKey, cfg.SessionToken = accessKey, secretKey, session
			}
			p, err := bedrock.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			_, err = modeltest.Gather(t, t.Context(), p, model.Request{Model: "m", Items: []stead.Item{modeltest.User("hi")}})
			srv.Close()
			e, ok := errors.AsType[*model.Error](err)
			if !ok || e.Code != tc.code || e.Retry != tc.retry || e.RetryAfter != tc.after || e.Status != tc.status {
				t.Errorf("%d %s: %#v", tc.status, tc.header, err)
			}
			for _, secret := range []string{cfg.SecretKey, cfg.SessionToken, cfg.APIKey} {
				if secret != "" && strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows a secret: %v", err)
				}
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		param string
		cfg   bedrock.Config
	}{
		{"name", bedrock.Config{}},
		{"region", bedrock.Config{Name: "a", APIKey: "k"}},
		{"region", bedrock.Config{Name: "a", APIKey: "k", Region: "evil.example/"}},
		{"access_key", bedrock.Config{Name: "a", Region: "eu-west-1", AccessKey: "k"}},
		{"api_key", bedrock.Config{Name: "a", Region: "eu-west-1", APIKey: "k", AccessKey: "a", SecretKey: secretKey}},
		{"api_key", bedrock.Config{Name: "a", Region: "eu-west-1", APIKey: secretKey + "\n"}},
		{"base_url", bedrock.Config{Name: "a", Region: "eu-west-1", APIKey: "k", BaseURL: "https://u:" + secretKey + "@example.com"}},
	} {
		_, err := bedrock.New(tc.cfg)
		if e, ok := errors.AsType[*stead.Error](err); !ok || e.Param != tc.param || strings.Contains(e.Error(), secretKey) {
			t.Errorf("%s: %v", tc.param, err)
		}
	}
}
