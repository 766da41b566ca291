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

// What was asked of a route that was outrun is on record also when the winner breaks off: of an answer that is
// passed on, of one that is translated, and of one that is kept. Nobody knows then what the input was: it is
// as budgets reserved it.
func TestTheLoserIsOnRecordWhenTheWinnerBreaksOff(t *testing.T) {
	n := rivals(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: {\"id\":\"1\",\"model\":\"fast\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"x\"}}]}\n\n")
		_ = http.NewResponseController(w).Flush() // what fails here is seen below
		panic(http.ErrAbortHandler)
	})
	ask(t, n, "POST", "/v1/chat/completions", `{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}`)
	ask(t, n, "POST", "/v1/responses", `{"model":"m","stream":true,"store":false,"input":"hi"}`)
	ask(t, n, "POST", "/v1/responses", `{"model":"m","background":true,"input":"hi"}`)
	var rows struct {
		Data []struct {
			Outcome, Upstream string
			Session           *string `json:"session_id"`
			Input             int64   `json:"input_tokens"`
			Cost              int64   `json:"cost_microcents"`
		}
	}
	eventually(t, "all three losers are on record", func() bool {
		_, got := ask(t, n, "GET", "/v1/usage_records?kind=model_call", "")
		if err := json.Unmarshal([]byte(got), &rows); err != nil {
			t.Fatalf("%v %s", err, got)
		}
		kept, passing := 0, 0
		for _, r := range rows.Data {
			if r.Upstream != "slow" {
				continue // what the winner is guessed to have used
			}
			if r.Input == 0 || r.Cost == 0 || r.Outcome != "estimated" {
				t.Fatalf("a record of nothing: %s", got)
			}
			if r.Session != nil && *r.Session != "" {
				kept++
			} else {
				passing++
			}
		}
		return kept > 0 && passing == 2
	})
	if _, got := ask(t, n, "POST", "/v1/usage/verify", "{}"); !strings.Contains(got, `"ok":true`) {
		t.Errorf("verify: %s", got)
	}
}

// A stateless call leaves a priced record whatever its upstream tells of it.
func TestACallWithoutUsageIsOnRecordAsEstimated(t *testing.T) {
	for name, answer := range map[string]string{
		"none":          `{"id":"1","object":"chat.completion","created":1,"model":"u","choices":[{"index":0,"message":{"role":"assistant","content":"some words"},"finish_reason":"stop"}]}`,
		"what can't be": `{"id":"1","object":"chat.completion","created":1,"model":"u","choices":[{"index":0,"message":{"role":"assistant","content":"some words"},"finish_reason":"stop"}],"usage":{"prompt_tokens":-9,"completion_tokens":2,"total_tokens":0}}`,
	} {
		t.Run(name, func(t *testing.T) {
			up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, answer)
			}))
			defer up.Close()
			n := openConfigured(t, "providers: [{name: p, api: chat, base_url: "+up.URL+"}]\nmodels: [{name: m, price: {input: 1, output: 1}, routes: [{provider: p, model: u}]}]\n", io.Discard)
			if res, got := ask(t, n, "POST", "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`); res.StatusCode != 200 {
				t.Fatalf("%d %s", res.StatusCode, got)
			}
			eventually(t, "the call is on record, with a cost", func() bool {
				_, got := ask(t, n, "GET", "/v1/usage_records?kind=model_call", "")
				var rows struct {
					Data []struct {
						Outcome string
						Input   int64 `json:"input_tokens"`
						Output  int64 `json:"output_tokens"`
						Cost    int64 `json:"cost_microcents"`
					}
				}
				if err := json.Unmarshal([]byte(got), &rows); err != nil {
					t.Fatalf("%v %s", err, got)
				}
				if len(rows.Data) == 0 {
					return false
				}
				if r := rows.Data[0]; len(rows.Data) != 1 || r.Outcome != "estimated" || r.Input <= 0 || r.Output <= 0 || r.Cost <= 0 {
					t.Errorf("on record are %s", got)
				}
				return true
			})
		})
	}
}
