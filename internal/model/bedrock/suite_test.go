package bedrock_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/bedrock"
	"github.com/stead-dev/stead/internal/model/modeltest"
)

const (
	accessKey = "AKIAEXAMPLEOFTHETEST"
	secretKey = "secret-key-of-the-test"
	session   = "session-token-of-the-test"
)

type object = map[string]any

func provider(t testing.TB, url string) *bedrock.Provider {
	t.Helper()
	p, err := bedrock.New(bedrock.Config{Name: "up", Region: "eu-central-1", BaseURL: url, AccessKey: accessKey, SecretKey: secretKey, SessionToken: session})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSuite(t *testing.T) {
	modeltest.Suite(t, func(t *testing.T, s *modeltest.Script) model.Model {
		s.Words = map[string][]string{
			"tool choice: one":  {`"toolChoice":{"tool":{"name":"get_weather"}}`},
			"tool choice: some": {`"toolChoice":{"any":{}}`},
			"tool choice: none": {`{"messages":[{"role":"user","content":[{"text":"Say Done."}]}]}`}, // no tool is declared
		}[s.Case]
		return provider(t, modeltest.Serve(t, s, modeltest.Wire{Events: wire(t, s), Fail: fail, Check: func(r *http.Request) {
			if r.URL.Path != "/model/test-model/converse-stream" || r.Header.Get("X-Amz-Security-Token") != session ||
				!strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="+accessKey+"/") ||
				!strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=") {
				t.Errorf("%s with %v", r.URL.Path, r.Header)
			}
		}}))
	}, modeltest.Skips{
		"usage":        "usage does not tell the tokens of reasoning; \"cache writes\" checks the others",
		"images in":    "the wire takes no picture by its URL: TestRequest",
		"serial tools": "the wire has no such field: TestUnsayable",
		"refusal":      "the wire has no words for it: TestWire",
	})
}

// fail writes an error reply of the wire.
func fail(w http.ResponseWriter, f *modeltest.Failure) {
	kind, message := map[string]string{
		model.CodeUsageLimit:     "ServiceQuotaExceededException",
		model.CodeContextLength:  "ValidationException",
		model.CodeInvalid:        "ValidationException",
		model.CodeRateLimit:      "ThrottlingException",
		model.CodeOverloaded:     "ServiceUnavailableException",
		model.CodeServer:         "InternalServerException",
		model.CodeAuthentication: "UnrecognizedClientException",
		model.CodeNotFound:       "ResourceNotFoundException",
	}[f.Code], "it failed"
	if f.Code == model.CodeContextLength {
		message = "Input is too long for requested model."
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(int(f.RetryAfter.Seconds())))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Errortype", kind+":http://internal.amazon.com/coral/com.amazon.bedrock/")
	w.WriteHeader(f.Status)
	_, _ = fmt.Fprintf(w, `{"message":%q}`, message)
}

// writer makes the frames of a message.
type writer struct {
	t      *testing.T
	frames []string
	blocks int
}

func (w *writer) send(kind string, o object) {
	o["p"] = "abcdef" // padding, which the real one sends as well
	w.frames = append(w.frames, bedrock.Frame(modeltest.JSON(w.t, o), ":event-type", kind, ":content-type", "application/json", ":message-type", "event"))
}

func (w *writer) block(start object, deltas []object, open bool) {
	if start != nil {
		w.send("contentBlockStart", object{"contentBlockIndex": w.blocks, "start": start})
	}
	for _, d := range deltas {
		w.send("contentBlockDelta", object{"contentBlockIndex": w.blocks, "delta": d})
	}
	if !open {
		w.send("contentBlockStop", object{"contentBlockIndex": w.blocks})
	}
	w.blocks++
}

// wire writes a script as the frames of a message.
func wire(t *testing.T, s *modeltest.Script) []string {
	w := &writer{t: t}
	w.send("messageStart", object{"role": "assistant"})
	pieces := s.Pieces
	for _, it := range s.Items {
		var ds []object
		switch it.Type {
		case stead.ItemReasoning:
			for _, p := range pieces {
				ds = append(ds, object{"reasoningContent": object{"text": p}})
			}
			pieces = nil
			w.block(nil, append(ds, object{"reasoningContent": object{"signature": s.Sealed}}), false)
		case stead.ItemMessage:
			if pieces == nil {
				pieces = []string{it.Content[0].Text.Inline}
			}
			for _, p := range pieces {
				ds = append(ds, object{"text": p})
			}
			w.block(nil, ds, s.Cut || s.Hang || s.Failure != nil)
		case stead.ItemFunctionCall:
			for _, b := range strings.SplitAfter(string(it.Arguments), ":") {
				ds = append(ds, object{"toolUse": object{"input": b}})
			}
			w.block(object{"toolUse": object{"toolUseId": it.CallID, "name": it.Name}}, ds, false)
		}
	}
	if s.Failure != nil {
		return append(w.frames, bedrock.Frame(`{"message":"busy"}`, ":exception-type", "serviceUnavailableException", ":message-type", "exception"))
	}
	if s.Cut || s.Hang {
		return w.frames
	}
	w.send("messageStop", object{"stopReason": map[model.Finish]string{model.FinishStop: "end_turn", model.FinishToolCalls: "tool_use",
		model.FinishLength: "max_tokens", model.FinishFilter: "content_filtered"}[s.Finish]})
	if u := s.Usage; u != nil {
		w.send("metadata", object{"metrics": object{"latencyMs": 5}, "serviceTier": object{"type": s.Tier}, "usage": object{
			"inputTokens": u.InputTokens - u.CachedTokens - u.CacheWriteTokens, "outputTokens": u.OutputTokens,
			"cacheReadInputTokens": u.CachedTokens, "cacheWriteInputTokens": u.CacheWriteTokens}})
	}
	return w.frames
}

// sent is the body that a request makes.
func sent(t *testing.T, req model.Request) string {
	t.Helper()
	s := &modeltest.Script{}
	w := &writer{t: t}
	w.send("messageStop", object{"stopReason": "end_turn"})
	w.send("metadata", object{})
	if _, err := modeltest.Gather(t, t.Context(), provider(t, modeltest.Serve(t, s, modeltest.Wire{Events: w.frames})), req); err != nil {
		t.Fatal(err)
	}
	return s.Body()
}
