package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// rivals are two upstreams of one API: what is asked of "slow" never answers before it is given up, and "fast"
// does as it is told.
func rivals(t *testing.T, fast http.HandlerFunc) *node {
	t.Helper()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what cannot be read is of nobody
		if strings.Contains(string(body), `"slow"`) {
			<-r.Context().Done()
			return
		}
		fast(w, r)
	}))
	t.Cleanup(up.Close)
	return openConfigured(t, "providers: [{name: p, api: chat, base_url: "+up.URL+"}]\nmodels:\n"+
		"  - name: m\n    price: {input: 1, output: 1}\n    hedge: {after_ms: 30}\n"+
		"    routes: [{provider: p, model: slow}, {provider: p, model: fast, priority: 1}]\n", io.Discard)
}

// Feedback on an answer is about the route that gave it, and a route that was outrun has answered nothing.
func TestFeedbackOfAHedgedAnswerIsOfTheWinner(t *testing.T) {
	n := rivals(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"id":"1","object":"chat.completion","created":1,"model":"fast","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12}}`)
	})
	_, got := ask(t, n, "POST", "/v1/responses", `{"model":"m","input":"hi"}`)
	var kept struct{ ID, Status string }
	if err := json.Unmarshal([]byte(got), &kept); err != nil || kept.Status != "completed" {
		t.Fatalf("%v %s", err, got)
	}
	if _, got := ask(t, n, "POST", "/v1/models/m/feedback", `{"id":"`+kept.ID+`","score":0.2}`); !strings.Contains(got, `"route":"p/fast"`) {
		t.Errorf("feedback is of another route: %s", got)
	}
	_, got = ask(t, n, "GET", "/v1/model_figures?model=m", "")
	var f struct {
		Data []struct {
			Route         string
			Calls, Scores int64
			GivenUp       int64 `json:"given_up"`
		}
	}
	if err := json.Unmarshal([]byte(got), &f); err != nil || len(f.Data) != 2 {
		t.Fatalf("%v %s", err, got)
	}
	if fast, slow := f.Data[0], f.Data[1]; fast.Route != "p/fast" || fast.Calls != 1 || fast.Scores != 1 || fast.GivenUp != 0 || slow.Calls != 0 || slow.Scores != 0 || slow.GivenUp != 1 {
		t.Errorf("figures: %+v", f.Data)
	}
}
