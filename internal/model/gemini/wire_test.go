package gemini_test

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
	"github.com/stead-dev/stead/internal/model/gemini"
	"github.com/stead-dev/stead/internal/model/modeltest"
)

func serve(t *testing.T, h http.HandlerFunc) string {
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// replies are what upstreams send, and the deltas that come of them.
func replies() map[string]struct{ reply, want string } {
	chunk := func(finish string, parts ...string) string {
		end := ""
		if finish != "" {
			end = `,"finishReason":"` + finish + `"`
		}
		return `data: {"candidates":[{"content":{"parts":[` + strings.Join(parts, ",") + `]}` + end + `}],"modelVersion":"m-1"}` + "\n\n"
	}
	const (
		hi    = `{"text":"Hi"}`
		said  = `text 0 "Hi"` + "\n" + `item 0 {"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}` + "\n"
		empty = `item 0 {"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":""}]}` + "\n"
	)
	half := strings.Replace(said, "completed", "incomplete", 1)
	no := func(i int, reason string) string {
		words := "The provider's safety system stopped the answer: " + reason + "."
		return fmt.Sprintf("refusal %d %q\nitem %d "+`{"type":"message","status":"completed","role":"assistant","content":[{"type":"refusal","text":%q}]}`+"\n", i, words, i, words)
	}
	bad := func(reason string) string {
		return `error server_error status=0 retry=true after=0s "the model's answer is unusable: ` + reason + `"` + "\n"
	}
	return map[string]struct{ reply, want string }{
		"STOP":               {chunk("STOP", hi), said + `done stop none "m-1"` + "\n"},
		"MAX_TOKENS":         {chunk("MAX_TOKENS", hi), half + `done length none "m-1"` + "\n"},
		"SAFETY":             {chunk("", hi) + chunk("SAFETY"), half + no(1, "SAFETY") + `done filter none "m-1"` + "\n"},
		"RECITATION":         {chunk("RECITATION"), no(0, "RECITATION") + `done filter none "m-1"` + "\n"},
		"a reason to come":   {chunk("BAD_HAIR", hi), half + no(1, "BAD_HAIR") + `done filter none "m-1"` + "\n"},
		"MALFORMED":          {chunk("MALFORMED_FUNCTION_CALL"), bad("MALFORMED_FUNCTION_CALL")},
		"OTHER":              {chunk("OTHER"), bad("OTHER")},
		"blocked":            {`data: {"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":4}}` + "\n\n", no(0, "PROHIBITED_CONTENT") + `done filter {"input_tokens":4,"output_tokens":0} ""` + "\n"},
		"nothing to say":     {chunk("STOP"), empty + `done stop none "m-1"` + "\n"},
		"no end":             {chunk("", hi), `text 0 "Hi"` + "\n" + `error connection_failed status=0 retry=true after=0s "the model provider's reply was cut off"` + "\n"},
		"rubbish at the end": {chunk("STOP", hi) + "data: {\n\n", said + `done stop none "m-1"` + "\n"},
		"rubbish":            {"data: {\n\n", `error connection_failed status=0 retry=true after=0s "the model provider's reply is garbled"` + "\n"},
		"usage": {chunk("STOP", hi) + `data: {"usageMetadata":{"promptTokenCount":9,"toolUsePromptTokenCount":1,"cachedContentTokenCount":4,"candidatesTokenCount":2,"thoughtsTokenCount":5}}` + "\n\n",
			said + `done stop {"input_tokens":10,"cached_tokens":4,"output_tokens":7,"reasoning_tokens":5} "m-1"` + "\n"},
		"signatures": {chunk("", `{"text":"Hm.","thought":true}`, `{"functionCall":{"name":"f","args":{"a":1}},"thoughtSignature":"CALL"}`, `{"functionCall":{"name":"g","id":"g1"}}`, hi) +
			chunk("STOP", `{"text":"!","thoughtSignature":"TEXT"}`),
			`reasoning 0.0 "Hm."` + "\n" +
				`item 0 {"type":"reasoning","status":"completed","summary":["Hm."],"encrypted":"call.CALL","provider":"up"}` + "\n" +
				`item 1 {"type":"function_call","status":"completed","call_id":"MADE","name":"f","arguments":{"a":1}}` + "\n" +
				`item 2 {"type":"function_call","status":"completed","call_id":"g1","name":"g","arguments":{}}` + "\n" +
				`text 3 "Hi"` + "\n" + `text 3 "!"` + "\n" +
				`item 3 {"type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hi!"}]}` + "\n" +
				`item 4 {"type":"reasoning","status":"completed","encrypted":"text:1.TEXT","provider":"up"}` + "\n" +
				`done tool_calls none "m-1"` + "\n"},
		"a document": {`{"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}],"modelVersion":"m-1"}`, said + `done stop none "m-1"` + "\n"},
		"a list":     {`[{"candidates":[{"content":{"parts":[{"text":"Hi"}]}}]},{"candidates":[{"finishReason":"STOP"}],"modelVersion":"m-1"}]`, said + `done stop none "m-1"` + "\n"},
		"an error as a list": {`[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Slow"}}]`,
			`error rate_limit_exceeded status=0 retry=true after=0s "the model provider limits the rate of calls: Slow"` + "\n"},
	}
}

func TestWire(t *testing.T) {
	for name, tc := range replies() {
		t.Run(name, func(t *testing.T) {
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(w, tc.reply)
			})
			var got strings.Builder
			for d, err := range provider(t, url).Generate(t.Context(), model.Request{Model: "m", Items: []stead.Item{modeltest.User("hi")}}) {
				if d.Kind == model.ItemDone && strings.HasPrefix(d.Item.CallID, "call_") {
					d.Item.CallID = "MADE"
				}
				got.WriteString(modeltest.Line(d, err) + "\n")
			}
			if d := cmp.Diff(tc.want, got.String()); d != "" {
				t.Errorf("deltas (-want +got):\n%s", d)
			}
		})
	}
}

// Errors are told apart by their status, and no key is in any of them.
func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		status int
		body   string
		code   string
		after  time.Duration
	}{
		{400, `{"error":{"status":"INVALID_ARGUMENT","message":"Bad SECRET"}}`, model.CodeInvalid, 0},
		{400, `{"error":{"status":"INVALID_ARGUMENT","message":"API key not valid: SECRET","details":[{"reason":"API_KEY_INVALID"}]}}`, model.CodeAuthentication, 0},
		{400, `{"error":{"status":"FAILED_PRECONDITION","message":"Not here"}}`, model.CodeInvalid, 0},
		{403, `{"error":{"status":"PERMISSION_DENIED"}}`, model.CodeAuthentication, 0},
		{404, `{"error":{"status":"NOT_FOUND","message":"models/x is not found"}}`, model.CodeNotFound, 0},
		{429, `[{"error":{"status":"RESOURCE_EXHAUSTED","details":[{},{"retryDelay":"34.5s"}]}}]`, model.CodeRateLimit, 34500 * time.Millisecond},
		{429, `{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"900h"}]}}`, model.CodeRateLimit, time.Hour},
		{500, `{"error":{"status":"INTERNAL"}}`, model.CodeServer, 0},
		{503, `{"error":{"status":"UNAVAILABLE"}}`, model.CodeOverloaded, 0},
		{504, `{"error":{"status":"DEADLINE_EXCEEDED"}}`, model.CodeTimeout, 0},
		{503, `busy`, model.CodeOverloaded, 0},
	} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, strings.ReplaceAll(tc.body, "SECRET", r.Header.Get("X-Goog-Api-Key")))
		})
		_, err := modeltest.Gather(t, t.Context(), provider(t, url), model.Request{Model: "m", Items: []stead.Item{modeltest.User("hi")}})
		e, ok := errors.AsType[*model.Error](err)
		if !ok || e.Code != tc.code || e.RetryAfter != tc.after || e.Status != tc.status || strings.Contains(e.Error(), key) {
			t.Errorf("%d %s: %#v", tc.status, tc.body, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for param, cfg := range map[string]gemini.Config{
		"name": {}, "base_url": {Name: "a", BaseURL: "https://u:" + key + "@example.com"}, "api_key": {Name: "a", APIKey: key + "\n"},
	} {
		_, err := gemini.New(cfg)
		if e, ok := errors.AsType[*stead.Error](err); !ok || e.Param != param || strings.Contains(e.Error(), key) {
			t.Errorf("%s: %v", param, err)
		}
	}
}

// stream lets modeltest.Gather read a decoder.
type stream []byte

func (s stream) Generate(_ context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return gemini.Decode(req, strings.NewReader(string(s)))
}

// FuzzStream feeds bytes to the decoder: whatever comes, it must end, with Done or an error, and keep
// the contract until then.
func FuzzStream(f *testing.F) {
	for _, r := range replies() {
		f.Add([]byte(r.reply))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = modeltest.Gather(t, t.Context(), stream(body), model.Request{Items: []stead.Item{modeltest.Call("g1", "f", "{}")}})
	})
}
