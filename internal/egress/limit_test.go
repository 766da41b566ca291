package egress

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
)

func helloFor(name string) *tls.Config { return &tls.Config{ServerName: name} }

func TestLimitPerMinute(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "web.example")
	now := time.Now()
	b := w.box(Policy{Access: AccessRestricted, Allowed: []string{"web.example"}, Limits: Limits{PerMinute: 3}}, func(c *Config) { c.Now = func() time.Time { return now } })
	const raw = "GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\n\r\n"
	for i := range 3 {
		if res, body := b.say(raw); res.StatusCode != 200 {
			t.Fatalf("request %d: %d %s", i, res.StatusCode, body)
		}
	}
	for range 50 {
		res, body := b.say(raw)
		if res.StatusCode != 429 || res.Header.Get("Retry-After") != "20" || !strings.Contains(body, "3 connections and requests a minute") {
			t.Fatalf("%d %v %s", res.StatusCode, res.Header, body)
		}
	}
	_, err := b.DialContext(t.Context(), "tcp", "web.example:80")
	if stead.KindOf(err) != stead.KindLimited {
		t.Errorf("dial: %v", err)
	}
	now = now.Add(21 * time.Second)
	if res, _ := b.say(raw); res.StatusCode != 200 {
		t.Errorf("after the wait: %d", res.StatusCode)
	}
	must(t, b.Close(t.Context()))
	one, more := 0, 0
	for _, r := range b.recorded() {
		if !r.Allowed {
			one++
			more += r.Repeated
		}
	}
	if one != 2 || more != 50 || b.Usage().Refused != 51 {
		t.Errorf("%d records for a flood tell of %d more, %+v", one, more, b.Usage())
	}
}

func TestLimitOfConnections(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "web.example")
	b := w.box(Policy{Access: AccessRestricted, Allowed: []string{"web.example"}, Limits: Limits{Connections: 2}})
	const raw = "GET http://web.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n"
	for range 2 {
		c := b.conn()
		_, _ = io.WriteString(c, raw)
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	res, body := b.say(raw)
	if res == nil || res.StatusCode != 429 || !strings.Contains(body, "2 connections open") {
		t.Errorf("%v %s", res, body)
	}
	for range 100 { // the rest is not even told, and nothing piles up
		b.conn()
	}
}

func TestLimitOfBytes(t *testing.T) {
	w := newWorld(t)
	big := bytes.Repeat([]byte("x"), 1<<20)
	w.plain(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodGet {
			_, _ = rw.Write(big)
		}
	}, "web.example")
	w.secure(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(big) }, "tls.example")
	policy := func(l Limits) Policy {
		return Policy{Access: AccessRestricted, Allowed: []string{".example"}, Limits: l}
	}

	b := w.box(policy(Limits{DownBytes: 100_000}))
	for _, url := range []string{"http://web.example/", "https://tls.example/"} {
		res, err := b.client().Get(url)
		if err == nil {
			n, err := io.Copy(io.Discard, res.Body)
			if res.StatusCode == 200 && (err == nil || n > 100_000) {
				t.Errorf("%s: %d bytes arrived, %v", url, n, err)
			}
		}
	}
	if u := b.Usage(); u.DownBytes > 100_000 {
		t.Errorf("usage %+v", u)
	}

	b = w.box(policy(Limits{UpBytes: 100_000}))
	res, err := b.client().Post("http://web.example/", "", bytes.NewReader(big))
	if err == nil && res.StatusCode != 429 {
		t.Errorf("upload: %d", res.StatusCode)
	}
	b.await("the end", func(r Record) bool { return r.Phase == PhaseEnded && strings.HasPrefix(r.Rule, RuleLimits) })
	if u := b.Usage(); u.UpBytes > 100_000 {
		t.Errorf("usage %+v", u)
	}
}

func TestSpentLimitIsSaid(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "web.example")
	b := w.box(Policy{Access: AccessRestricted, Allowed: []string{"web.example"}, Limits: Limits{DownBytes: 1}})
	_, _ = get(t, b.client(), "http://web.example/")
	b.meter.down.Store(1)
	status, body := get(t, b.client(), "http://web.example/")
	if status != 429 || !strings.Contains(body, "network.limits.down_bytes") || !strings.Contains(body, "until the environment is suspended") {
		t.Errorf("%d %s", status, body)
	}
}

// TestRate: what flows is slowed down to the rate, after the first second's worth.
func TestRate(t *testing.T) {
	w := newWorld(t)
	w.plain(func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write(make([]byte, 300_000)) }, "web.example")
	b := w.box(Policy{Access: AccessRestricted, Allowed: []string{"web.example"}, Limits: Limits{BytesPerSecond: 200_000}})
	began := time.Now()
	if status, body := get(t, b.client(), "http://web.example/"); status != 200 || len(body) != 300_000 {
		t.Fatalf("%d, %d bytes", status, len(body))
	}
	if d := time.Since(began); d < 400*time.Millisecond || d > 20*time.Second {
		t.Errorf("300,000 bytes at 200,000 a second with 200,000 in hand took %s", d)
	}
}

func TestBucket(t *testing.T) {
	now := time.Unix(0, 0)
	var b bucket
	b.fill(10, 5, now)
	for range 5 {
		if b.take(now) != 0 {
			t.Fatal("the burst is not there")
		}
	}
	if d := b.take(now); d != 100*time.Millisecond {
		t.Errorf("wait %s", d)
	}
	if d := b.take(now.Add(-time.Hour)); d != 100*time.Millisecond {
		t.Errorf("a clock that goes back: wait %s", d)
	}
	if d := b.owe(10, now.Add(time.Hour)); d != 500*time.Millisecond {
		t.Errorf("debt %s", d)
	}
}
