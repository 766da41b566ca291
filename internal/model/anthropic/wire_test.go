package anthropic_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/anthropic"
	"github.com/stead-dev/stead/internal/model/modeltest"
)

// replies are what upstreams send, and the deltas that come of them.
func replies() map[string]struct{ model, reply, want string } {
	sse := func(events ...string) string {
		var b strings.Builder
		for _, e := range events {
			b.WriteString("data: " + e + "\n\n")
		}
		return b.String()
	}
	const (
		start = `{"type":"message_start","message":{"model":"m-1","usage":{"input_tokens":10,"cache_read_input_tokens":5,"cache_creation_input_tokens":3,"output_tokens":1}}}`
		stop  = `{"type":"message_stop"}`
	)
	end := func(reason string) string {
		return `{"type":"message_delta","delta":{"stop_reason":"` + reason + `"},"usage":{"output_tokens":7}}`
	}
	text := []string{`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}`, `{"type":"content_block_stop","index":0}`}
	const (
		done = `{"input_tokens":18,"cached_tokens":5,"cache_write_tokens":3,"output_tokens":7} "m-1"` + "\n"
		said = `text 0 "Hi"` + "\n" + `item 0 {"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}` + "\n"
	)
	no := func(i int, words string) string {
		return fmt.Sprintf("refusal %d %q\nitem %d "+`{"type":"message","status":"completed","role":"assistant","content":[{"type":"refusal","text":%q}]}`+"\n", i, words, i, words)
	}
	join := func(s ...string) []string { return append(append([]string{start}, text...), s...) }
	return map[string]struct{ model, reply, want string }{
		"end_turn":             {"", sse(join(end("end_turn"), stop)...), said + "done stop " + done},
		"stop_sequence":        {"", sse(join(end("stop_sequence"), stop)...), said + "done stop " + done},
		"pause_turn":           {"", sse(join(end("pause_turn"), stop)...), said + "done stop " + done},
		"max_tokens":           {"", sse(join(end("max_tokens"), stop)...), said + "done length " + done},
		"window":               {"", sse(join(end("model_context_window_exceeded"), stop)...), said + "done length " + done},
		"no message_stop":      {"", sse(join(end("end_turn"))...), said + "done stop " + done},
		"unknown events":       {"", sse(join(`{"type":"news","index":0}`, `{"type":"content_block_delta","index":9,"delta":{"type":"text_delta","text":"?"}}`, end("end_turn"), stop)...), said + "done stop " + done},
		"no end":               {"", sse(join()...), said + `error connection_failed status=0 retry=true after=0s "the model provider's reply was cut off"` + "\n"},
		"refusal behind words": {"", sse(join(end("refusal"), stop)...), said + no(1, "The model declined to answer.") + "done refusal " + done},
		"refusal": {"", sse(start, `{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"explanation":"Not that."}},"usage":{"output_tokens":7}}`, stop),
			no(0, "Not that.") + "done refusal " + done},
		"redacted thinking": {"", sse(start, `{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"DATA"}}`, `{"type":"content_block_stop","index":0}`,
			`{"type":"content_block_start","index":1,"content_block":{"type":"text","text":"Hi"}}`, `{"type":"content_block_stop","index":1}`, end("end_turn"), stop),
			`item 0 {"type":"reasoning","status":"completed","encrypted":"redacted.DATA","provider":"up"}` + "\n" + strings.ReplaceAll(said, " 0 ", " 1 ") + "done stop " + done},
		"half a call": {"", sse(start, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t1","name":"f","input":{}}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}`, end("max_tokens"), stop), "done length " + done},
		"a call without input": {"", sse(start, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t1","name":"f","input":{}}}`,
			`{"type":"content_block_stop","index":0}`, end("tool_use"), stop),
			`item 0 {"type":"function_call","status":"completed","call_id":"t1","name":"f","arguments":{}}` + "\ndone tool_calls " + done},
		"an answer as a tool": {"claude-3-7-sonnet", sse(start, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t1","name":"answer","input":{}}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"Hi"}}`, `{"type":"content_block_stop","index":0}`, end("tool_use"), stop),
			said + "done stop " + done},
		"a document": {"", `{"type":"message","model":"m-1","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":{"input_tokens":10,"cache_read_input_tokens":5,"cache_creation_input_tokens":3,"output_tokens":7}}`,
			said + "done stop " + done},
		"an error as a document": {"", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`,
			`error server_overloaded status=0 retry=true after=0s "the model provider is overloaded: Overloaded"` + "\n"},
		"an unknown error within": {"", sse(start, `{"type":"error","error":{"type":"new_error","message":"Odd"}}`),
			`error server_error status=0 retry=true after=0s "the model provider failed: Odd"` + "\n"},
		"rubbish": {"", "data: {\n\n", `error connection_failed status=0 retry=true after=0s "the model provider's reply is garbled"` + "\n"},
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
			req := model.Request{Model: tc.model, Items: []stead.Item{modeltest.User("hi")}}
			if tc.model != "" {
				req.Format = &model.Format{Name: "answer", Schema: []byte(`{"type":"object"}`)}
			}
			var got strings.Builder
			for d, err := range provider(t, srv.URL).Generate(t.Context(), req) {
				got.WriteString(modeltest.Line(d, err) + "\n")
			}
			if d := cmp.Diff(tc.want, got.String()); d != "" {
				t.Errorf("deltas (-want +got):\n%s", d)
			}
		})
	}
}

// Errors are told apart by their type, and no key is in any of them.
func TestErrors(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		status     int
		kind, text string
		header     map[string]string
		code       string
		retry      bool
		after      time.Duration
	}{
		{400, "invalid_request_error", "max_tokens: too large", nil, model.CodeInvalid, false, 0},
		{400, "invalid_request_error", "prompt is too long: 2 tokens > 1 maximum", nil, model.CodeContextLength, false, 0},
		{400, "invalid_request_error", "Your credit balance is too low to access the API.", nil, model.CodeUsageLimit, false, 0},
		{401, "authentication_error", "invalid x-api-key", nil, model.CodeAuthentication, false, 0},
		{403, "permission_error", "no", nil, model.CodeAuthentication, false, 0},
		{413, "request_too_large", "too many bytes", nil, model.CodeContextLength, false, 0},
		{429, "rate_limit_error", "slow", map[string]string{"Retry-After": "7"}, model.CodeRateLimit, true, 7 * time.Second},
		{429, "rate_limit_error", "slow", map[string]string{
			"Anthropic-Ratelimit-Tokens-Remaining": "0", "Anthropic-Ratelimit-Tokens-Reset": "2026-11-23T12:00:30Z",
			"Anthropic-Ratelimit-Requests-Remaining": "9", "Anthropic-Ratelimit-Requests-Reset": "2026-11-23T12:30:00Z"},
			model.CodeRateLimit, true, 30 * time.Second},
		{500, "api_error", "oops", nil, model.CodeServer, true, 0},
		{504, "timeout_error", "late", nil, model.CodeTimeout, true, 0},
		{529, "overloaded_error", "busy", map[string]string{"X-Should-Retry": "false"}, model.CodeOverloaded, false, 0},
		{529, "", "", nil, model.CodeOverloaded, true, 0},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for k, v := range tc.header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, modeltest.JSON(t, object{"type": "error", "error": object{"type": tc.kind, "message": tc.text + " " + r.Header.Get("X-Api-Key")}}))
		}))
		p, err := anthropic.New(anthropic.Config{Name: "up", BaseURL: srv.URL, APIKey: key, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		_, err = modeltest.Gather(t, t.Context(), p, model.Request{Items: []stead.Item{modeltest.User("hi")}})
		srv.Close()
		e, ok := errors.AsType[*model.Error](err)
		if !ok || e.Code != tc.code || e.Retry != tc.retry || e.RetryAfter != tc.after || e.Status != tc.status || strings.Contains(e.Error(), key) {
			t.Errorf("%d %s: %#v", tc.status, tc.kind, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for param, cfg := range map[string]anthropic.Config{
		"name": {}, "base_url": {Name: "a", BaseURL: "https://u:" + key + "@example.com"}, "api_key": {Name: "a", APIKey: key + "\n"},
	} {
		_, err := anthropic.New(cfg)
		if e, ok := errors.AsType[*stead.Error](err); !ok || e.Param != param || strings.Contains(e.Error(), key) {
			t.Errorf("%s: %v", param, err)
		}
	}
}

// stream lets modeltest.Gather read a decoder.
type stream []byte

func (s stream) Generate(_ context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return anthropic.Decode(req, strings.NewReader(string(s)))
}

// FuzzStream feeds bytes to the decoder: whatever comes, it must end, with Done or an error, and keep
// the contract until then.
func FuzzStream(f *testing.F) {
	for _, r := range replies() {
		f.Add([]byte(r.reply))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = modeltest.Gather(t, t.Context(), stream(body), model.Request{Model: "claude-3-7",
			Format: &model.Format{Name: "answer"}, Items: []stead.Item{modeltest.Call("t1", "f", "{}")}})
	})
}
