package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// reservedAndOnDemand are two upstreams behind one name, the first of which has a pool; asked counts what each was sent.
func reservedAndOnDemand(t *testing.T, takes time.Duration, route, pool string) (n *node, asked func(upstream string) int) {
	t.Helper()
	var mu sync.Mutex
	counts := map[string]int{}
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what cannot be read is of nobody
		which := "demand"
		if strings.Contains(string(body), `"reserved"`) {
			which = "reserved"
		}
		mu.Lock()
		counts[which]++
		mu.Unlock()
		if which == "reserved" {
			time.Sleep(takes)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"id":"1","object":"chat.completion","created":1,"model":"x","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12}}`)
	}))
	t.Cleanup(up.Close)
	n = openConfigured(t, "providers: [{name: p, api: chat, base_url: "+up.URL+"}, {name: q, api: chat, base_url: "+up.URL+"}]\nmodels:\n"+
		"  - name: m\n    routes: [{provider: p, model: reserved"+route+"}, {provider: q, model: demand, priority: 1}]\n"+
		"limits: {model_idle_seconds: 3}\ncapacity: [{name: bought, provider: p, "+pool+"}]\n", io.Discard)
	return n, func(upstream string) int {
		mu.Lock()
		defer mu.Unlock()
		return counts[upstream]
	}
}

// together makes calls at once, stateless and kept ones, and counts those that were answered.
func together(t *testing.T, n *node, calls int) (answered int) {
	t.Helper()
	var work sync.WaitGroup
	var mu sync.Mutex
	for i := range calls {
		work.Go(func() {
			path, body := "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`
			if i%3 == 2 {
				path, body = "/v1/responses", `{"model":"m","input":"hi"}`
			}
			res, got := ask(t, n, "POST", path, body)
			mu.Lock()
			defer mu.Unlock()
			if res.StatusCode == http.StatusOK {
				answered++
			} else {
				t.Logf("%d %s", res.StatusCode, got)
			}
		})
	}
	work.Wait()
	return answered
}

// What finds no place in a pool goes on demand, however many calls that are: a full pool is no failure, and going round it
// is no second attempt.
func TestEveryCallThatFindsNoPlaceSpills(t *testing.T) {
	const calls = 60
	n, asked := reservedAndOnDemand(t, 300*time.Millisecond, "", "concurrent: 2, queue: 0")
	if got := together(t, n, calls); got != calls {
		t.Errorf("%d of %d calls were answered", got, calls)
	}
	if r, d := asked("reserved"), asked("demand"); r < 2 || r+d != calls {
		t.Errorf("%d calls went to the pool, %d on demand", r, d)
	}
}

// What a call waits in a pool's queue is not its upstream's silence: no other route is tried for it, no hedge begins, no
// breaker opens, and it is not cut off.
func TestWaitingInAQueueIsNoSilence(t *testing.T) {
	for what, route := range map[string]string{"a first word": ", first_seconds: 3", "a hedge": ", hedge: {after_ms: 2900}", "a door's patience": ""} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			const calls = 6 // the last one waits for longer than the limits, each of which is far more than one takes on a busy machine
			n, asked := reservedAndOnDemand(t, 700*time.Millisecond, route, "concurrent: 1, wait_seconds: 60, spill: false")
			if got := together(t, n, calls); got != calls || asked("reserved") != calls || asked("demand") != 0 {
				t.Errorf("%d of %d were answered; %d calls went to the pool, %d on demand", got, calls, asked("reserved"), asked("demand"))
			}
		})
	}
}
