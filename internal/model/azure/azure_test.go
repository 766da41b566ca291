package azure_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/azure"
	"github.com/stead-dev/stead/internal/model/modeltest"
	"github.com/stead-dev/stead/internal/model/openai"
)

const (
	key    = "key-of-the-test"
	secret = "client-secret-of-the-test"
	done   = `{"status":"completed","model":"up","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}]}`
)

// entra gives tokens that are numbered from 1.
type entra struct {
	url     string
	given   atomic.Int64
	lasts   int // seconds
	answers func(w http.ResponseWriter) bool
}

func newEntra(t *testing.T) *entra {
	e := &entra{lasts: 3600}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/tenant/oauth2/v2.0/token" || r.PostFormValue("grant_type") != "client_credentials" || r.PostFormValue("client_id") != "app" ||
			r.PostFormValue("client_secret") != secret || r.PostFormValue("scope") != azure.DefaultScope {
			t.Errorf("%s %v", r.URL.Path, r.PostForm)
		}
		if e.answers != nil && e.answers(w) {
			return
		}
		_, _ = fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":%d,"access_token":"token-%d"}`, e.lasts, e.given.Add(1))
	}))
	t.Cleanup(srv.Close)
	e.url = srv.URL
	return e
}

func (e *entra) config(base string) azure.Config {
	return azure.Config{Name: "up", BaseURL: base, Entra: &azure.Entra{Tenant: "tenant", ClientID: "app", ClientSecret: secret, Authority: e.url}}
}

// upstream answers those whose authorization it takes.
func upstream(t *testing.T, takes func(r *http.Request) bool) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if !takes(r) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":{"code":"401","message":"bad `+r.Header.Get("Authorization")+`"}}`)
			return
		}
		_, _ = io.WriteString(w, done)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func call(t *testing.T, ctx context.Context, p *openai.Provider) *model.Error {
	t.Helper()
	_, err := modeltest.Gather(t, ctx, p, model.Request{Model: "deployment", Items: []stead.Item{modeltest.User("hi")}})
	if err == nil {
		return nil
	}
	e, _ := errors.AsType[*model.Error](err)
	for _, hidden := range []string{secret, key, "token-"} {
		if e == nil || strings.Contains(err.Error(), hidden) || strings.Contains(e.Message, hidden) {
			t.Errorf("the error shows %s: %v", hidden, err)
		}
	}
	return e
}

func provider(t *testing.T, cfg azure.Config) *openai.Provider {
	t.Helper()
	p, err := azure.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The resource's address is enough, and the key goes into its own header.
func TestKey(t *testing.T) {
	for _, suffix := range []string{"", "/", "/openai/v1", "/openai/v1/"} {
		asked := ""
		base := upstream(t, func(r *http.Request) bool {
			asked = r.URL.Path + " " + r.Header.Get("Api-Key") + r.Header.Get("Authorization")
			return true
		})
		if e := call(t, t.Context(), provider(t, azure.Config{Name: "up", BaseURL: base + suffix, APIKey: key})); e != nil || asked != "/openai/v1/responses "+key {
			t.Errorf("%q: %s, %v", suffix, asked, e)
		}
	}
}

// Many calls at once share one token; it is renewed before it expires, and not before that.
func TestTokenIsShared(t *testing.T) {
	e := newEntra(t)
	var clock atomic.Int64
	base := upstream(t, func(r *http.Request) bool {
		return r.Header.Get("Authorization") == fmt.Sprintf("Bearer token-%d", e.given.Load())
	})
	cfg := e.config(base)
	cfg.Now = func() time.Time { return time.Unix(clock.Load(), 0) }
	p := provider(t, cfg)
	for _, step := range []struct{ at, want int64 }{{0, 1}, {3400, 1}, {3500, 2}} {
		clock.Store(step.at)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := call(t, t.Context(), p); err != nil {
					t.Errorf("after %d s: %v", step.at, err)
				}
			})
		}
		wg.Wait()
		if got := e.given.Load(); got != step.want {
			t.Errorf("after %d s: %d tokens, want %d", step.at, got, step.want)
		}
	}
}

// A refused token is dropped and the call sent once more; the second refusal is its error.
func TestRefusedToken(t *testing.T) {
	e := newEntra(t)
	calls := 0
	p := provider(t, e.config(upstream(t, func(r *http.Request) bool {
		calls++
		return r.Header.Get("Authorization") == "Bearer token-2"
	})))
	if err := call(t, t.Context(), p); err != nil || calls != 2 {
		t.Errorf("%d calls, %v: want the second to be taken", calls, err)
	}
	calls = 0
	never := provider(t, e.config(upstream(t, func(*http.Request) bool { calls++; return false })))
	if err := call(t, t.Context(), never); err == nil || err.Code != model.CodeAuthentication || err.Retry || calls != 2 {
		t.Errorf("%d calls, %+v: want two and a refusal", calls, err)
	}
}

// What Entra says decides what becomes of the call; it is not shown.
func TestEntraFails(t *testing.T) {
	e := newEntra(t)
	p := provider(t, e.config("http://127.0.0.1:1"))
	for _, tc := range []struct {
		status int
		body   string
		code   string
		retry  bool
	}{
		{401, `{"error":"invalid_client","error_description":"` + secret + `"}`, model.CodeAuthentication, false},
		{200, `{}`, model.CodeAuthentication, false},
		{200, `<html>`, model.CodeAuthentication, false},
		{307, ``, model.CodeAuthentication, false},
		{429, `{}`, model.CodeOverloaded, true},
		{503, ``, model.CodeOverloaded, true},
	} {
		e.answers = func(w http.ResponseWriter) bool {
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, tc.body)
			return true
		}
		if err := call(t, t.Context(), p); err == nil || err.Code != tc.code || err.Retry != tc.retry {
			t.Errorf("%d %s: %+v", tc.status, tc.body, err)
		}
	}
	gone := e.config("http://127.0.0.1:1")
	gone.Entra.Authority = "http://127.0.0.1:1"
	if err := call(t, t.Context(), provider(t, gone)); err == nil || err.Code != model.CodeConnection || !err.Retry {
		t.Errorf("Entra is not there: %+v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := call(t, ended, p); err == nil || !errors.Is(err, context.Canceled) || err.Retry {
		t.Errorf("the caller is gone: %+v", err)
	}
}

// What the content filter stops is the policy's, whether the code says so or the inner one.
func TestContentFilter(t *testing.T) {
	for _, body := range []string{
		`{"error":{"message":"filtered","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"hate":{"filtered":true,"severity":"high"}}}}}`,
		`{"error":{"message":"filtered","innererror":{"code":"ResponsibleAIPolicyViolation"}}}`,
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, body)
		}))
		if err := call(t, t.Context(), provider(t, azure.Config{Name: "up", BaseURL: srv.URL, APIKey: key})); err == nil || err.Code != model.CodePolicy || err.Retry {
			t.Errorf("%s: %+v", body, err)
		}
		srv.Close()
	}
}

func TestNewRefuses(t *testing.T) {
	full := func() *azure.Entra { return &azure.Entra{Tenant: "t", ClientID: "c", ClientSecret: secret} }
	odd := full()
	odd.Authority = "ftp://" + secret
	for param, cfg := range map[string]azure.Config{
		"name":                {APIKey: key, BaseURL: "https://r.openai.azure.com"},
		"api_key":             {Name: "a", BaseURL: "https://r.openai.azure.com", APIKey: key, Entra: full()},
		"base_url":            {Name: "a", BaseURL: "r.openai.azure.com", APIKey: key},
		"api":                 {Name: "a", BaseURL: "https://r.openai.azure.com", APIKey: key, API: "x"},
		"entra.client_secret": {Name: "a", BaseURL: "https://r.openai.azure.com", Entra: &azure.Entra{Tenant: "t", ClientID: "c"}},
		"entra.authority":     {Name: "a", BaseURL: "https://r.openai.azure.com", Entra: odd},
	} {
		_, err := azure.New(cfg)
		if e, ok := errors.AsType[*stead.Error](err); !ok || e.Param != param || strings.Contains(e.Error(), secret) || strings.Contains(e.Error(), key) {
			t.Errorf("%s: %v", param, err)
		}
	}
}
