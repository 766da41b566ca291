package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// rotating is a credential whose value somebody else sends, and changes.
type rotating struct {
	value   atomic.Value // string
	failing atomic.Bool
	changes atomic.Uint64
}

func (r *rotating) credential(t *testing.T) Credential {
	r.value.Store(secret)
	c := token("api.example")
	c.Value = func(context.Context, string) (string, error) {
		t.Error("a value was opened to be sent")
		return "", errors.New("not for this environment")
	}
	c.Mask = func(context.Context) (string, error) {
		if r.failing.Load() {
			return "", errors.New("sealed: " + secret)
		}
		return r.value.Load().(string), nil
	}
	c.Changes = r.changes.Load
	return c
}

// TestWhatOthersSentIsHidden: another session, or this one before it was suspended, sent the secret, and the server
// shows it to a proxy that never did.
func TestWhatOthersSentIsHidden(t *testing.T) {
	w := newWorld(t)
	last := func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("X-Last", secret)
		rw.Header().Set("Content-Length", fmt.Sprint(len(secret)))
		_, _ = io.WriteString(rw, secret)
	}
	w.secure(last, "api.example")
	w.plain(last, "api.example")
	w.raw(8080, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 1<<10))
		fmt.Fprintf(c, "%s is not HTTP\r\n\r\n", secret)
	}, "api.example")
	var r rotating
	b := w.box(Policy{Access: AccessRestricted, Allowed: []string{"api.example", "api.example:8080"}}, with(r.credential(t)))
	for _, url := range []string{"https://api.example/last", "http://api.example/last"} {
		res, err := b.client().Get(url)
		must(t, err)
		body, err := io.ReadAll(res.Body)
		must(t, err)
		_ = res.Body.Close()
		if ph := token().Placeholder; string(body) != ph || res.Header.Get("X-Last") != ph {
			t.Errorf("%s: %q, %v", url, body, res.Header)
		}
	}
	_, _ = get(t, b.client(), "http://api.example:8080/")
	end := b.await("what is no answer", func(r Record) bool { return r.Phase == PhaseEnded && r.Rule == RuleOutside })
	if text := fmt.Sprintf("%+v", end); !strings.Contains(text, "malformed HTTP") || leaks(text) || strings.Contains(text, token().Placeholder) {
		t.Errorf("the record has %s", text)
	}
}

// TestARotationIsHiddenWhereItIsShown, in streams and WebSockets that were open before: at once when this process
// rotated, and within secretsAge when another did.
func TestARotationIsHiddenWhereItIsShown(t *testing.T) {
	const rotated = "sk-rotated-0123456789"
	for name, how := range map[string]func(r *rotating, age *atomic.Int64){
		"here":      func(r *rotating, _ *atomic.Int64) { r.changes.Add(1) },
		"elsewhere": func(_ *rotating, age *atomic.Int64) { age.Store(int64(secretsAge)) },
	} {
		w := newWorld(t)
		say := make(chan string, 4) // so that nobody waits for a server that has gone
		w.secure(func(rw http.ResponseWriter, r *http.Request) {
			conn, _, err := rw.(http.Hijacker).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			head := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
			if r.Header.Get("Upgrade") != "" {
				head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
			}
			_, _ = io.WriteString(conn, head+"hello\n")
			for s := range say {
				if s == "" {
					return
				}
				_, _ = io.WriteString(conn, s+"\n")
			}
		}, "api.example")
		for kind, instead := range map[string]string{"stream": token().Placeholder, "websocket": strings.Repeat("*", len(rotated))} {
			var r rotating
			var age atomic.Int64
			began := time.Now()
			b := w.box(allow("api.example"), with(r.credential(t)), func(c *Config) {
				c.Now = func() time.Time { return began.Add(time.Duration(age.Load())) }
			})
			req, err := http.NewRequest("GET", "https://api.example/sub", nil)
			must(t, err)
			if kind == "websocket" {
				req.Header.Set("Connection", "Upgrade")
				req.Header.Set("Upgrade", "websocket")
			}
			res, err := b.client().Do(req)
			must(t, err)
			lines := bufio.NewScanner(res.Body)
			next := func() string { lines.Scan(); return lines.Text() }
			if got := next(); got != "hello" {
				t.Fatalf("%s: %q", kind, got)
			}
			r.value.Store(rotated)
			how(&r, &age)
			say <- "it is " + rotated
			if got := next(); got != "it is "+instead {
				t.Errorf("%s, rotated %s: %q", kind, name, got)
			}
			say <- "it was " + secret
			if got := next(); strings.Contains(got, secret) {
				t.Errorf("%s: the value before is forgotten: %q", kind, got)
			}
			say <- ""
			_ = res.Body.Close()
		}
		close(say)
	}
}

// TestWhatCannotBeHiddenIsNotAskedFor: nothing is sent while a value can't be read; what has begun goes on, and hides
// what was known.
func TestWhatCannotBeHiddenIsNotAskedFor(t *testing.T) {
	w := newWorld(t)
	var asked atomic.Int64
	more := make(chan bool)
	let := sync.OnceFunc(func() { close(more) })
	w.secure(func(rw http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(rw, "hello\n")
		rw.(http.Flusher).Flush()
		<-more
		_, _ = io.WriteString(rw, secret)
	}, "api.example")
	t.Cleanup(let)
	var r rotating
	b := w.box(allow("api.example"), with(r.credential(t)))
	res, err := b.client().Get("https://api.example/")
	must(t, err)
	defer res.Body.Close()
	r.failing.Store(true)
	r.changes.Add(1)
	status, body := get(t, b.client(), "https://api.example/")
	if status != 503 || asked.Load() != 1 || !strings.Contains(body, "searched") || leaks(body) || leaks(b.log.String()) {
		t.Errorf("%d %s, the server was asked %d times\n%s", status, body, asked.Load(), b.log)
	}
	let()
	if rest, err := io.ReadAll(res.Body); err != nil || string(rest) != "hello\n"+token().Placeholder {
		t.Errorf("%q, %v", rest, err)
	}
}
