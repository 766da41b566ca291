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

// TestAuditLogsAreSentOn: what is done comes to the receiver of the configuration, also what was done while the
// receiver was away, and nothing comes twice when the server is started again.
func TestAuditLogsAreSentOn(t *testing.T) {
	var mu sync.Mutex
	var lines []string
	away := true
	siem := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		if err != nil || away {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		lines = append(lines, strings.Split(strings.TrimSpace(string(body)), "\n")...)
	}))
	defer siem.Close()
	has := func(action string) (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, l := range lines {
			if strings.Contains(l, `"action":"`+action+`"`) {
				n++
			}
		}
		return n
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: the receiver has %q", what, lines)
			}
		}
	}
	text := registryConfig + fmt.Sprintf("audit:\n  streams:\n    - name: siem\n      url: %s/collect\n", siem.URL)
	n := openConfigured(t, text, io.Discard)
	if res, body := ask(t, n, "POST", "/v1/agents", `{"model":"mine"}`); res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	until("a receiver that is away", func() bool {
		_, body := ask(t, n, "GET", "/metrics", "")
		return strings.Contains(body, `stead_audit_stream_failing{stream="siem"} 1`)
	})
	mu.Lock()
	away = false
	mu.Unlock()
	until("an agent that was made", func() bool { return has("agent.write") == 1 && has("policies.load") == 1 })
	until("metrics of a stream", func() bool {
		_, body := ask(t, n, "GET", "/metrics", "")
		return strings.Contains(body, `stead_audit_stream_behind{stream="siem"} 0`) && strings.Contains(body, `stead_audit_stream_failing{stream="siem"} 0`)
	})
	n.stop()
	again, err := openNode(t.Context(), n.cfg, n.log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.stop)
	until("the next start", func() bool { return has("policies.load") == 2 })
	if has("agent.write") != 1 {
		t.Errorf("a record came twice: %q", lines)
	}
}
