package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/model"
)

// Each api of the configuration calls its own wire, with the key where that wire wants it.
func TestProviderSpeaksItsWire(t *testing.T) {
	const key = "key-of-the-test"
	for api, want := range map[string]string{
		config.APIResponses: "/v1/responses Authorization: Bearer " + key,
		config.APIChat:      "/v1/chat/completions Authorization: Bearer " + key,
		config.APIAnthropic: "/v1/messages X-Api-Key: " + key,
		config.APIGemini:    "/v1/models/m:streamGenerateContent X-Goog-Api-Key: " + key,
		config.APIAzure:     "/v1/responses Api-Key: " + key,
		config.APIBedrock:   "/v1/model/m/converse-stream Authorization: Bearer " + key,
	} {
		got := ""
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			for _, name := range []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key"} {
				if v := r.Header.Get(name); v != "" {
					got += r.URL.Path + " " + name + ": " + v
				}
			}
			w.WriteHeader(http.StatusBadRequest)
		}))
		m, err := provider(config.Provider{Name: "up", API: api, BaseURL: srv.URL + "/v1", APIKey: key, Region: "eu-west-1"}, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		items := []stead.Item{{Type: stead.ItemMessage, Role: stead.RoleUser, Content: stead.TextContent(stead.ContentInputText, "hi")}}
		for _, err := range m.Generate(t.Context(), model.Request{Model: "m", Items: items}) {
			if err == nil {
				t.Errorf("%s: an answer", api)
			}
		}
		srv.Close()
		if got != want {
			t.Errorf("%s: %q, want %q", api, got, want)
		}
	}
}

// limits.model_call_seconds ends a call that goes on for ever, on one route: where nothing was said yet the next one is
// tried, and a stream says what has ended it. A turn does not try it again. A provider that redirects elsewhere is no fault of the client.
func TestAModelCallTakesNoLongerThanItMay(t *testing.T) {
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	var mute, endless atomic.Int64 // how often they were asked
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct{ Model string }
		_ = json.NewDecoder(r.Body).Decode(&asked) // what is no model is none of these
		switch asked.Model {
		case "mute":
			mute.Add(1)
			select {
			case <-r.Context().Done():
			case <-done:
			}
		case "endless":
			endless.Add(1)
			w.Header().Set("Content-Type", "text/event-stream")
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n")
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		case "broken":
			http.Error(w, "no", http.StatusServiceUnavailable)
		case "moved":
			http.Redirect(w, r, "http://elsewhere.example/v1", http.StatusTemporaryRedirect)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"spoken"},"finish_reason":"stop"}]}`)
		}
	}))
	t.Cleanup(up.Close)
	n := openConfigured(t, `
limits: {model_call_seconds: 3}
providers: [{name: up, api: chat, base_url: "`+up.URL+`/v1", api_key: k}]
models:
  - {name: mute, routes: [{provider: up, model: mute}, {provider: up, model: spoken, priority: 1}]}
  - {name: endless, routes: [{provider: up, model: endless}]}
  - {name: muteonly, routes: [{provider: up, model: mute}]}
  - {name: mutebroken, routes: [{provider: up, model: mute}, {provider: up, model: broken, priority: 1}]}
  - {name: moved, routes: [{provider: up, model: moved}]}
`, io.Discard)
	t.Cleanup(func() { // the turns as well asked once: what took too long would take as long again
		if mute.Load() != 5 || endless.Load() != 3 {
			t.Errorf("%d calls of mute and %d of endless, want 5 and 3", mute.Load(), endless.Load())
		}
	})
	for _, c := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"chat/completions", `{"model":"mute","messages":[{"role":"user","content":"x"}]}`, 200, `"spoken"`},
		{"chat/completions", `{"model":"endless","stream":true,"messages":[{"role":"user","content":"x"}]}`, 200, "request_timeout"},
		{"responses", `{"model":"endless","store":false,"stream":true,"input":"x"}`, 200, "model_call_seconds"},
		{"chat/completions", `{"model":"moved","messages":[{"role":"user","content":"x"}]}`, 502, "redirects elsewhere"},
		{"responses", `{"model":"moved","store":false,"input":"x"}`, 502, "redirects elsewhere"},
		{"responses", `{"model":"moved","input":"x"}`, 502, "redirects elsewhere"},
		{"chat/completions", `{"model":"muteonly","messages":[{"role":"user","content":"x"}]}`, 502, "model_call_seconds"},
		{"responses", `{"model":"mute","input":"x"}`, 200, `"spoken"`},
		{"responses", `{"model":"endless","input":"x"}`, 200, "limits.model_call_seconds"},
		{"responses", `{"model":"muteonly","input":"x"}`, 502, "limits.model_call_seconds"},
		{"responses", `{"model":"mutebroken","input":"x"}`, 502, "limits.model_call_seconds"},
	} {
		t.Run(c.path+" "+c.body, func(t *testing.T) {
			t.Parallel()
			if res, got := ask(t, n, "POST", "/v1/"+c.path, c.body); res.StatusCode != c.status || !strings.Contains(got, c.want) {
				t.Errorf("%d, the end of which is %s", res.StatusCode, got[max(0, len(got)-300):])
			}
		})
	}
}
