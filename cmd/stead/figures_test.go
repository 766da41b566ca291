package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// canary is an upstream with two versions: eight fails every other call.
func canary(t *testing.T) *httptest.Server {
	t.Helper()
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what cannot be read names no version
		version, finish := "seven", "stop"
		if strings.Contains(string(body), `"eight"`) {
			version, finish = "eight", "length"
			if n++; n%2 == 0 {
				http.Error(w, `{"error":{"message":"ill"}}`, http.StatusInternalServerError)
				return
			}
		}
		choice := fmt.Sprintf(`{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":%q}`, finish)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"1","object":"chat.completion","created":1,"model":"%s-2026","choices":[%s],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12}}`, version, choice)
	}))
	t.Cleanup(s.Close)
	return s
}

type figures struct {
	Data []struct {
		Route, Version, Breaker    string
		Calls, Failures, Truncated int64
		Errors                     map[string]int64
		FailedOver                 int64                       `json:"failed_over"`
		Cost                       int64                       `json:"cost_microcents"`
		Total                      *struct{ P50, P95 float64 } `json:"total_ms"`
		First                      *struct{ P50, P95 float64 } `json:"first_token_ms"`
		Scores                     int64
		Score                      *float64
	}
}

// Figures of a canary add up: of stateless calls and sessions, over a restart, with feedback once.
func TestFiguresOfACanary(t *testing.T) {
	upstream := canary(t)
	n := openConfigured(t, "providers: [{name: p, api: chat, base_url: "+upstream.URL+"}]\nmodels:\n"+
		"  - name: m\n    price: {input: 1, output: 1}\n    routes: [{provider: p, model: eight, version: '8'}, {provider: p, model: seven, version: '7', priority: 1}]\n", io.Discard)
	var requests []string
	for range 4 {
		res, got := ask(t, n, "POST", "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`)
		if res.StatusCode != 200 {
			t.Fatalf("%d %s", res.StatusCode, got)
		}
		requests = append(requests, res.Header.Get("X-Request-Id"))
	}
	_, got := ask(t, n, "POST", "/v1/responses", `{"model":"m","input":"hi"}`)
	var kept struct{ ID, Status string }
	if err := json.Unmarshal([]byte(got), &kept); err != nil || kept.Status != "incomplete" && kept.Status != "completed" {
		t.Fatalf("%s", got)
	}
	var f figures
	eventually(t, "all calls are on record", func() bool {
		f = figures{}
		_, got = ask(t, n, "GET", "/v1/model_figures?model=m", "")
		if err := json.Unmarshal([]byte(got), &f); err != nil || len(f.Data) != 2 {
			t.Fatalf("%v %s", err, got)
		}
		return f.Data[0].Calls+f.Data[1].Calls == 5
	})
	eight, seven := f.Data[0], f.Data[1]
	if eight.Version != "8" || eight.Calls != 3 || eight.Failures != 2 || eight.Errors["server_error"] != 2 || eight.FailedOver != 2 || eight.Truncated != 3 || eight.Breaker != "closed" {
		t.Errorf("eight: %+v", eight)
	}
	if seven.Version != "7" || seven.Calls != 2 || seven.Failures != 0 || seven.Truncated != 0 || seven.Cost != 2*1200 || seven.Total == nil || seven.First == nil {
		t.Errorf("seven: %+v", seven)
	}

	judge := func(id string, score string) (int, string) {
		res, got := ask(t, n, "POST", "/v1/models/m/feedback", `{"id":"`+id+`","score":`+score+`}`)
		return res.StatusCode, got
	}
	for range 2 { // once, however often it is said
		if code, got := judge(requests[1], "0.5"); code != 200 || !strings.Contains(got, `"route":"p/seven"`) {
			t.Errorf("feedback: %d %s", code, got)
		}
		if code, got := judge(kept.ID, "1"); code != 200 || !strings.Contains(got, `"route":"p/eight"`) {
			t.Errorf("feedback of a response: %d %s", code, got)
		}
	}
	if code, got := judge(requests[1], "0.7"); code != 409 {
		t.Errorf("another score of the same answer: %d %s", code, got)
	}
	for id, want := range map[string]int{"req_0123456789abcdef0123456789abcdef": 404, "turn_x": 404, "resp_x": 404, "": 400} {
		if code, got := judge(id, "1"); code != want {
			t.Errorf("feedback of %q: %d %s", id, code, got)
		}
	}
	if _, got := ask(t, n, "GET", "/v1/usage?group_by=kind", ""); strings.Contains(got, "feedback") || strings.Contains(got, "model_failure") {
		t.Errorf("notes are in reports: %s", got)
	}
	if _, got := ask(t, n, "POST", "/v1/usage/verify", "{}"); !strings.Contains(got, `"ok":true`) {
		t.Errorf("verify: %s", got)
	}

	_, before := ask(t, n, "GET", "/v1/model_figures", "")
	cfg := n.cfg
	n.stop()
	again, err := openNode(t.Context(), cfg, n.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.stop)
	if _, after := ask(t, again, "GET", "/v1/model_figures", ""); after != before || !strings.Contains(after, `"score":0.5`) {
		t.Errorf("figures changed over a restart:\n%s\n%s", before, after)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not in %s", what, patience)
		}
	}
}
