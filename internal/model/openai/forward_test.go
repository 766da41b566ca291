package openai_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/openai"
)

// Every byte of a request but the model's name goes on as it came, in its order, and so does the answer.
func TestForward(t *testing.T) {
	const answer = "data: {\"unknown\":1}\n\ndata: [DONE]\n\n"
	var path, body, auth string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		path, body, auth = r.URL.String(), string(b), r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_, _ = io.WriteString(w, answer)
	}))
	defer srv.Close()
	for _, tc := range []struct{ api, dialect, path string }{
		{openai.APIChat, model.DialectChat, "/v1/chat/completions?v=2"},
		{openai.APIResponses, model.DialectResponses, "/v1/responses?v=2"},
		{openai.APIChat, model.DialectEmbeddings, "/v1/embeddings?v=2"},
		{openai.APIResponses, model.DialectEmbeddings, "/v1/embeddings?v=2"},
	} {
		p := chat(t, func(c *openai.Config) { c.API, c.BaseURL = tc.api, srv.URL+"/v1?v=2" })
		a, err := p.Forward(t.Context(), model.Forward{Dialect: tc.dialect, Model: `up/"m"`,
			Body: json.RawMessage(` {"z":  1e400, "model" : "ours" ,"messages":[{"model":"inner","x":"\"model\":"}], "новое": <x> }`)})
		if err == nil {
			t.Fatalf("what is no JSON was forwarded: %v", a)
		}
		a, err = p.Forward(t.Context(), model.Forward{Dialect: tc.dialect, Model: `up/"m"`,
			Body: json.RawMessage(` {"z":  1e400, "model" : "ours" ,"messages":[{"model":"inner","x":"\"model\":"}], "новое": "<x>" }`)})
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(a.Body)
		_ = a.Body.Close()
		if string(got) != answer || a.ContentType != "text/event-stream; charset=utf-8" {
			t.Errorf("answer %q of %s", got, a.ContentType)
		}
		want := `{"z":  1e400, "model" : "up/\"m\"" ,"messages":[{"model":"inner","x":"\"model\":"}], "новое": "<x>" }`
		if body != want || path != tc.path || auth != "Bearer "+key {
			t.Errorf("%s: %s as %q to %s, want %s", tc.dialect, body, auth, path, want)
		}
	}
}

func TestForwardAsksForUsage(t *testing.T) {
	var bodies []string
	knows := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if bodies = append(bodies, string(b)); !knows && strings.Contains(string(b), "stream_options") {
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = io.WriteString(w, `{"error":{"message":"Extra inputs are not permitted: stream_options"}}`)
		}
	}))
	defer srv.Close()
	p := chat(t, func(c *openai.Config) { c.BaseURL = srv.URL })
	for _, tc := range []struct {
		knows bool
		want  []string
	}{
		{true, []string{`{"stream_options":{"include_usage":true},"model":"m","stream":true}`}},
		{false, []string{`{"stream_options":{"include_usage":true},"model":"m","stream":true}`, `{"model":"m","stream":true}`}},
	} {
		bodies, knows = nil, tc.knows
		a, err := p.Forward(t.Context(), model.Forward{Dialect: model.DialectChat, Model: "m", TellUsage: true, Body: json.RawMessage(`{"model":"ours","stream":true}`)})
		if err != nil {
			t.Fatal(err)
		}
		_ = a.Body.Close()
		if !reflect.DeepEqual(bodies, tc.want) {
			t.Errorf("sent %q, want %q", bodies, tc.want)
		}
	}
	// What the client says of it else goes along.
	bodies, knows = nil, true
	a, err := p.Forward(t.Context(), model.Forward{Dialect: model.DialectChat, Model: "m", TellUsage: true,
		Body: json.RawMessage(`{"model":"ours","stream_options":{"include_obfuscation":false,"include_usage":false}}`)})
	if err != nil {
		t.Fatal(err)
	}
	_ = a.Body.Close()
	if want := `{"model":"m","stream_options":{"include_obfuscation":false,"include_usage":true}}`; bodies[0] != want {
		t.Errorf("sent %s, want %s", bodies[0], want)
	}
}

func TestForwardRefuses(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":{"message":"no `+r.Header.Get("Authorization")+`","type":"invalid_request_error","code":"unsupported_value","param":"temperature"}}`)
	}))
	defer srv.Close()
	p := chat(t, func(c *openai.Config) { c.BaseURL = srv.URL })
	_, err := p.Forward(t.Context(), model.Forward{Dialect: model.DialectResponses, Body: json.RawMessage(`{}`)})
	if e, ok := errors.AsType[*model.Error](err); !ok || e.Code != model.CodeDialect {
		t.Errorf("another dialect: %v", err)
	}
	_, err = p.Forward(t.Context(), model.Forward{Dialect: model.DialectChat, Body: json.RawMessage(`{}`)})
	e, ok := errors.AsType[*model.Error](err)
	if !ok || e.Code != model.CodeInvalid || e.Status != 400 || e.Upstream != "unsupported_value" || e.Param != "temperature" || strings.Contains(e.Error(), key) {
		t.Errorf("an error reply: %#v", err)
	}
}

func TestWithModel(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                              `{"model":"m"}`,
		`{ "a":1}`:                        `{"model":"m", "a":1}`,
		`{"model":null,"model":{"a":[]}}`: `{"model":"m","model":"m"}`,
		`{"mod\u0065l":12}`:               `{"mod\u0065l":"m"}`,
		`{"a":{"model":1},"b":[true,"]}"],"c":-1.5e3}`: `{"model":"m","a":{"model":1},"b":[true,"]}"],"c":-1.5e3}`,
	} {
		if got, ok := openai.WithModel([]byte(in), "m"); !ok || string(got) != want {
			t.Errorf("%s became %s, want %s", in, got, want)
		}
	}
	for _, in := range []string{``, `[]`, `{"a":1`, `{} {}`, `"x"`} {
		if got, ok := openai.WithModel([]byte(in), "m"); ok {
			t.Errorf("%s became %s", in, got)
		}
	}
}

// FuzzWithModel: only the model changes, whatever the object holds.
func FuzzWithModel(f *testing.F) {
	f.Add([]byte(`{"model":"a","b":[1,{"c":"\\\""}], "d" : null }`))
	f.Add([]byte(` { } `))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, ok := openai.WithModel(in, "m")
		var before, after map[string]any
		valid := json.Unmarshal(in, &before) == nil && before != nil
		if !ok {
			if valid {
				t.Fatalf("%q is an object", in)
			}
			return
		}
		if json.Unmarshal(got, &after) != nil {
			if valid {
				t.Fatalf("%q became %q", in, got)
			}
			return // numbers beyond a float's range are valid JSON
		}
		if before == nil {
			return
		}
		before["model"] = "m"
		if !reflect.DeepEqual(before, after) {
			t.Fatalf("%q became %q", in, got)
		}
	})
}

func TestEmbed(t *testing.T) {
	reply, body := "", ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body = string(b)
		if r.URL.Path != "/v1/embeddings" || r.Header.Get("Authorization") != "Bearer "+key {
			t.Errorf("%s with %v", r.URL, r.Header)
		}
		_, _ = io.WriteString(w, reply)
	}))
	defer srv.Close()
	p := chat(t, func(c *openai.Config) { c.BaseURL = srv.URL + "/v1" })
	reply = `{"data":[{"index":1,"embedding":[0.5,1]},{"index":0,"embedding":[0,2]}],"model":"e-1","usage":{"prompt_tokens":7,"total_tokens":7}}`
	got, err := p.Embed(t.Context(), model.EmbedRequest{Model: "e", Texts: []string{"a", "b"}, Dimensions: 2, User: "u"})
	if err != nil || got.Vectors[0][1] != 2 || got.Vectors[1][0] != 0.5 || got.Model != "e-1" || got.Usage.InputTokens != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	if want := `{"dimensions":2,"encoding_format":"float","input":["a","b"],"model":"e","user":"u"}`; body != want {
		t.Errorf("sent %s, want %s", body, want)
	}
	for _, reply = range []string{`{"data":[]}`, `{"data":[{"embedding":[1]},{"embedding":[1,2]}]}`, `{"data":[{"index":5,"embedding":[1]}]}`,
		`{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}`, `rubbish`} {
		_, err := p.Embed(t.Context(), model.EmbedRequest{Model: "e", Texts: []string{"a", "b"}})
		if e, ok := errors.AsType[*model.Error](err); !ok || e.Code != model.CodeConnection {
			t.Errorf("%s: %v", reply, err)
		}
	}
}
