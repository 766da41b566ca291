package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/config"
)

// held is an upstream that answers when it is told to, and a node before it whose pool changes by reloads.
type held struct {
	t       *testing.T
	n       *node
	file    string
	url     string
	release chan struct{} // one a call
	came    chan struct{} // likewise
	calls   sync.WaitGroup
}

func newHeld(t *testing.T, pool string) *held {
	h := &held{t: t, release: make(chan struct{}), came: make(chan struct{}, 100), file: filepath.Join(t.TempDir(), "stead.yaml")}
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.came <- struct{}{}
		select {
		case <-h.release:
		case <-t.Context().Done():
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`)
	}))
	t.Cleanup(up.Close)
	h.url = up.URL
	h.put(pool)
	cfg, err := h.load()
	if err != nil {
		t.Fatal(err)
	}
	if h.n, err = openNode(t.Context(), cfg, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.n.stop)
	return h
}

func (h *held) load() (*config.Config, error) {
	return config.Load(config.Flags{Listen: "127.0.0.1:0", Data: filepath.Dir(h.file), File: h.file}, func(string) (string, bool) { return "", false })
}

// put writes a configuration with these lines of pools.
func (h *held) put(pool string) {
	h.t.Helper()
	text := fmt.Sprintf("providers: [{name: a, api: chat, base_url: %[1]s}, {name: b, api: chat, base_url: %[1]s}]\nmodels: [{name: m, routes: [{provider: a, model: up}]}]\n", h.url)
	text += "capacity: [" + pool + "]\n" // empty: a section that was there and is not looks like a file that was cut off
	if err := os.WriteFile(h.file, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *held) reload(pool string) {
	h.t.Helper()
	h.put(pool)
	if err := h.n.reload(h.t.Context(), h.load); err != nil {
		h.t.Fatal(err)
	}
}

// call makes calls, which must succeed in the end.
func (h *held) call(n int) { h.say(n, `"q"`) }

// say makes calls with a content.
func (h *held) say(n int, content string) {
	for range n {
		h.calls.Go(func() {
			res, err := http.Post(h.n.base+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"m","messages":[{"role":"user","content":`+content+`}]}`))
			if err != nil {
				h.t.Error(err)
				return
			}
			defer res.Body.Close()
			if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
				h.t.Errorf("%d %s", res.StatusCode, body)
			}
		})
	}
}

// until waits until calls are at the upstream, and says how the pool stands.
func (h *held) until(came int, running, waiting int) {
	h.t.Helper()
	for range came {
		select {
		case <-h.came:
		case <-time.After(patience):
			h.t.Fatal("a call does not come to the upstream")
		}
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		all := h.n.throughput.Load().status()
		if len(all) == 1 && all[0].Running == running && all[0].Waiting == waiting {
			break
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%+v: want %d running and %d waiting", all, running, waiting)
		}
	}
	select {
	case <-h.came:
		h.t.Fatal("one call more is at the upstream")
	default:
	}
}

// A reload changes a pool in place: what runs counts on, what waits sees the new limits, and a configuration that is
// refused changes nothing.
func TestAReloadChangesPoolsInPlace(t *testing.T) {
	h := newHeld(t, "{name: p, provider: a, concurrent: 2, wait_seconds: 60}")
	h.call(6)
	h.until(2, 2, 4)
	for _, wait := range []string{"50", "51", "52"} {
		h.reload("{name: p, provider: a, concurrent: 2, wait_seconds: " + wait + "}")
		h.until(0, 2, 4)
	}
	h.put("{name: p, provider: a, concurrent: 5}, {name: p, provider: nobody, concurrent: 1}")
	if err := h.n.reload(t.Context(), h.load); err == nil {
		t.Error("a bad configuration was taken")
	}
	h.until(0, 2, 4)
	h.reload("{name: p, provider: a, models: [up], concurrent: 4}")
	h.until(2, 4, 2)
	close(h.release)
	h.calls.Wait()
	h.until(2, 0, 0)
}

// Calls that wait in a pool that is removed go out, and those that run are let end. So it is when the pool becomes
// another provider's, which begins with nobody.
func TestAPoolThatIsRemovedLetsItsCallsGo(t *testing.T) {
	for name, next := range map[string]string{"removed": "", "of another provider": "{name: p, provider: b, concurrent: 1}"} {
		t.Run(name, func(t *testing.T) {
			h := newHeld(t, "{name: p, provider: a, concurrent: 1}")
			h.call(4)
			h.until(1, 1, 3)
			h.reload(next)
			for range 3 {
				select {
				case <-h.came:
				case <-time.After(patience):
					t.Fatal("a call waits in a pool that is no more")
				}
			}
			for _, s := range h.n.throughput.Load().status() {
				if s.Running+s.Waiting != 0 {
					t.Errorf("another provider's pool has the calls: %+v", s)
				}
			}
			close(h.release)
			h.calls.Wait()
		})
	}
}

// A large picture that is passed on holds what a picture costs: the next call goes out beside it.
func TestAPictureDoesNotFillAPool(t *testing.T) {
	h := newHeld(t, "{name: p, provider: a, tokens_per_minute: 300000, wait_seconds: 1}")
	h.say(1, `[{"type":"image_url","image_url":{"url":"data:image/png;base64,`+strings.Repeat("A", 3_000_000)+`"}}]`)
	h.until(1, 1, 0)
	h.call(3)
	h.until(3, 4, 0)
	close(h.release)
	h.calls.Wait()
}

// Whoever asks which way a call would go is told how the pool of each route stands.
func TestExplainSaysHowAPoolStands(t *testing.T) {
	h := newHeld(t, "{name: p, provider: a, concurrent: 1, queue: 1}")
	for running, want := range []string{"priority 0; pool p: free", "priority 0; pool p: taken, 0 wait", "priority 0; pool p: full, 1 wait"} {
		if running > 0 {
			h.call(1)
			h.until(running%2, 1, running-1)
		}
		if _, body := ask(t, h.n, "GET", "/v1/routes?model=m", ""); !strings.Contains(body, `"why":"`+want+`"`) {
			t.Errorf("want %q: %s", want, body)
		}
	}
	close(h.release)
	h.calls.Wait()
}
