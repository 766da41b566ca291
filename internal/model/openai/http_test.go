package openai_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/modeltest"
	"github.com/stead-dev/stead/internal/model/openai"
	"github.com/stead-dev/stead/internal/model/upstream"
)

const (
	key        = "sk-secret-of-the-test"
	otherKey   = "azure-key-of-the-test"
	queryKey   = "query-key-of-the-test"
	answerBody = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"
)

func chat(t *testing.T, change func(*openai.Config)) *openai.Provider {
	t.Helper()
	cfg := openai.Config{Name: "up", API: openai.APIChat, APIKey: key, Headers: map[string]string{"api-key": otherKey}}
	change(&cfg)
	p, err := openai.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func hi() model.Request {
	return model.Request{Model: "m", Items: []stead.Item{modeltest.User("hi")}}
}

// failure is the error that a call must end in; no form of it may hold a key.
func failure(t *testing.T, p *openai.Provider) *model.Error {
	t.Helper()
	_, err := modeltest.Gather(t, t.Context(), p, hi())
	e, ok := errors.AsType[*model.Error](err)
	if !ok {
		t.Fatalf("no error, but %v", err)
	}
	for _, s := range []string{e.Error(), e.Message} {
		if strings.Contains(s, key) || strings.Contains(s, otherKey) || strings.Contains(s, queryKey) {
			t.Errorf("a key in the error: %s", s)
		}
	}
	return e
}

func TestRedirects(t *testing.T) {
	var reached bool
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached = true }))
	defer other.Close()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/away/"):
			http.Redirect(w, r, other.URL+"/v1", http.StatusTemporaryRedirect)
		case strings.HasPrefix(r.URL.Path, "/moved/"):
			http.Redirect(w, r, "/v1/chat/completions", http.StatusPermanentRedirect)
		case strings.HasPrefix(r.URL.Path, "/loop/"):
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
		default:
			if body, _ := io.ReadAll(r.Body); !strings.Contains(string(body), `"hi"`) || r.Header.Get("Authorization") != "Bearer "+key {
				t.Errorf("what was redirected lacks its body or its key: %s", body)
			}
			_, _ = io.WriteString(w, answerBody)
		}
	}))
	defer srv.Close()
	for _, path := range []string{"/away", "/loop"} {
		e := failure(t, chat(t, func(c *openai.Config) { c.BaseURL = srv.URL + path }))
		if e.Code != model.CodeServer || e.Retry || e.Status != http.StatusTemporaryRedirect {
			t.Errorf("%s: %+v", path, *e)
		}
	}
	if reached {
		t.Error("a redirect to another origin was followed")
	}
	p := chat(t, func(c *openai.Config) { c.BaseURL = srv.URL + "/moved" })
	if r, err := modeltest.Gather(t, t.Context(), p, hi()); err != nil || r.Text != "Hi" {
		t.Errorf("a redirect within the origin: %q, %v", r.Text, err)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	e := failure(t, chat(t, func(c *openai.Config) { c.BaseURL = "http://" + addr + "/v1?key=" + queryKey }))
	if e.Code != model.CodeConnection || !e.Retry || e.Status != 0 {
		t.Errorf("refused: %+v", *e)
	}
	// A server that takes the request and closes the connection.
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer srv.Close()
	if e = failure(t, chat(t, func(c *openai.Config) { c.BaseURL = srv.URL })); e.Code != model.CodeConnection || !e.Retry {
		t.Errorf("closed: %+v", *e)
	}
	// One whose certificate nobody vouches for.
	tls := httptest.NewTLSServer(http.NotFoundHandler())
	defer tls.Close()
	if e = failure(t, chat(t, func(c *openai.Config) { c.BaseURL = tls.URL })); e.Code != model.CodeConnection || e.Retry {
		t.Errorf("untrusted: %+v", *e)
	}
}

// Whatever an upstream quotes, no key is in the error, in whole or as OpenAI shortens it.
func TestErrorsHoldNoKey(t *testing.T) {
	var status int
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"error":{"message":"you sent `+r.Header.Get("Authorization")+" and "+r.Header.Get("api-key")+`","code":"x"}}`)
	}))
	defer srv.Close()
	for _, status = range []int{400, 401, 403, 404, 418, 429, 500} {
		if e := failure(t, chat(t, func(c *openai.Config) { c.BaseURL = srv.URL })); e.Status != status {
			t.Errorf("status %d came as %d", status, e.Status)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var name, value string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(name, value)
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	defer srv.Close()
	for _, tc := range []struct {
		name, value string
		want        time.Duration
	}{
		{"Retry-After", "7", 7 * time.Second},
		{"Retry-After", "0.25", 250 * time.Millisecond},
		{"Retry-After", "Mon, 23 Nov 2026 12:00:30 GMT", 30 * time.Second},
		{"Retry-After", "Mon, 23 Nov 2026 11:00:00 GMT", 0},
		{"Retry-After", "Mon, 23 Nov 2099 11:00:00 GMT", upstream.MaxRetryAfter},
		{"Retry-After", "1e300", upstream.MaxRetryAfter},
		{"Retry-After", "-3", 0},
		{"Retry-After", "NaN", 0},
		{"Retry-After", "soon", 0},
		{"Retry-After-Ms", "1500", 1500 * time.Millisecond},
	} {
		name, value = tc.name, tc.value
		e := failure(t, chat(t, func(c *openai.Config) {
			c.BaseURL, c.Now = srv.URL, func() time.Time { return now }
		}))
		if e.RetryAfter != tc.want || e.Code != model.CodeRateLimit {
			t.Errorf("%s: %s is %v, want %v", name, value, e.RetryAfter, tc.want)
		}
	}
}

// A consumer that stops early ends the upstream call, as ending the context does.
func TestStoppingEndsTheCall(t *testing.T) {
	gone := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}))
	defer srv.Close()
	for _, err := range chat(t, func(c *openai.Config) { c.BaseURL = srv.URL }).Generate(t.Context(), hi()) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("the upstream still serves")
	}
}

func TestDeadlines(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}))
	defer srv.Close()
	defer close(release)
	p := chat(t, func(c *openai.Config) { c.BaseURL = srv.URL })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := modeltest.Gather(t, ctx, p, hi())
	if e, ok := errors.AsType[*model.Error](err); !ok || e.Code != model.CodeTimeout || !e.Retry || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's deadline: %#v", err)
	}
	slow := chat(t, func(c *openai.Config) {
		c.BaseURL = srv.URL
		c.HTTPClient = &http.Client{Timeout: 50 * time.Millisecond}
	})
	if e := failure(t, slow); e.Code != model.CodeTimeout || e.Retry { // it would take as long again, and be charged as much
		t.Errorf("the client's timeout: %+v", *e)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, tc := range []struct {
		cfg   openai.Config
		param string
	}{
		{openai.Config{}, "name"},
		{openai.Config{Name: "a", API: "soap"}, "api"},
		{openai.Config{Name: "a", BaseURL: "localhost:1"}, "base_url"},
		{openai.Config{Name: "a", BaseURL: "file:///etc"}, "base_url"},
		{openai.Config{Name: "a", BaseURL: "https://u:" + key + "@example.com"}, "base_url"},
		{openai.Config{Name: "a", APIKey: key + "\n"}, "api_key"},
	} {
		_, err := openai.New(tc.cfg)
		e, ok := errors.AsType[*stead.Error](err)
		if !ok || e.Kind != stead.KindInvalid || e.Param != tc.param || strings.Contains(e.Error(), key) {
			t.Errorf("want a refusal of %s, got %v", tc.param, err)
		}
	}
}
