package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead/internal/identity/token"
)

// vouched is a tool server that lets those in alone whose tokens an issuer vouches for, and what they were.
type vouched struct {
	verifier *token.Authenticator

	mu      sync.Mutex
	tokens  []string
	refused int
}

func (v *vouched) ServeHTTP(w http.ResponseWriter, r *http.Request) bool {
	raw := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	_, err := v.verifier.Authenticate(r.Context(), raw, "")
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.refused++
		w.WriteHeader(http.StatusUnauthorized)
		return false
	}
	v.tokens = append(v.tokens, raw)
	return true
}

// believes is a verifier of tokens of an issuer for an audience: another Stead's own.
func believes(issuer, audience string) *token.Authenticator {
	return token.New([]token.Issuer{{URL: issuer, Audiences: []string{audience}, Project: "p", Rules: []token.Rule{{Kind: "service", Role: "agent"}}}}, &http.Client{}, time.Now)
}

// forwarded is an address that is known before the server behind it is.
func forwarded(t *testing.T) (address string, to *atomic.Pointer[url.URL]) {
	t.Helper()
	to = &atomic.Pointer[url.URL]{}
	srv := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to.Load()) }})
	t.Cleanup(srv.Close)
	return srv.URL, to
}

// An agent calls a tool server that knows nobody but whom this server vouches for: by the published keys alone.
func TestAToolServerKnowsTheAgent(t *testing.T) {
	issuer, to := forwarded(t)
	door := &vouched{verifier: believes(issuer, "crm")}
	s := sdk.NewServer(&sdk.Implementation{Name: "crm", Version: "1"}, nil)
	sdk.AddTool(s, &sdk.Tool{Name: "whoami"}, func(_ context.Context, r *sdk.CallToolRequest, _ struct{}) (*sdk.CallToolResult, any, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "known, " + r.Extra.Header.Get("Authorization")}}}, nil, nil
	})
	inner := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, nil)
	crm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if door.ServeHTTP(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(crm.Close)
	n := openConfigured(t, "auth: {mode: keys}\nlimits: {drain_seconds: 1}\nenvironments: {driver: bare}\n"+
		"identity: {trust_domain: acme.example, issuer: \""+issuer+"\"}\n"+
		"mcp_servers: [{label: crm, url: \""+crm.URL+"\", auth: on_behalf_of, audience: crm}]\n"+
		"providers: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n", io.Discard)
	base, err := url.Parse(n.base)
	if err != nil {
		t.Fatal(err)
	}
	to.Store(base)
	h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
	var ada struct{ Secret string }
	h.get(h.root, "POST", "/v1/api_keys", `{"role":"agent","project":"one","principal":{"kind":"user","id":"ada"}}`, &ada)
	var made struct{ ID string }
	h.get(ada.Secret, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim","tools":[{"type":"mcp","server_label":"crm","require_approval":"never"}]},"environment":{"type":"none"},"input":"Call whoami with {}"}`, &made)
	said := h.items(ada.Secret, made.ID, "known, ")
	if strings.Contains(said, "eyJ") {
		t.Errorf("the agent was shown a token: %s", said)
	}
	door.mu.Lock()
	raw := door.tokens[len(door.tokens)-1]
	if door.refused > 0 {
		t.Errorf("%d requests were refused", door.refused)
	}
	door.mu.Unlock()
	who, err := door.verifier.Authenticate(t.Context(), raw, "")
	if err != nil || who.ID != "project/one/user/ada" || who.Until.After(time.Now().Add(7*time.Minute)) {
		t.Errorf("it is %+v, %v", who, err)
	}
	// What nobody else may do with it: use it elsewhere, here included, or change it.
	head, rest, _ := strings.Cut(raw, ".")
	payload, sig, _ := strings.Cut(rest, ".")
	for what, v := range map[string]struct {
		verifier *token.Authenticator
		raw      string
	}{
		"another audience": {believes(issuer, "shop"), raw},
		"another issuer":   {believes(issuer+"/", "crm"), raw},
		"no signature":     {door.verifier, head + "." + payload + "."},
		"alg none":         {door.verifier, "eyJhbGciOiJub25lIn0." + payload + "."},
		"another's claims": {door.verifier, head + "." + strings.Replace(payload, payload[len(payload)-8:], "AAAAAAAA", 1) + "." + sig},
		"another header":   {door.verifier, "eyJhbGciOiJFUzI1NiIsImtpZCI6Ii4uLy4uL2V0Yy9wYXNzd2QifQ." + payload + "." + sig},
	} {
		if p, err := v.verifier.Authenticate(t.Context(), v.raw, ""); err == nil {
			t.Errorf("%s: %+v", what, p)
		}
	}
	if status, _ := h.call(raw, "GET", "/v1/agents/sessions", ""); status != http.StatusUnauthorized {
		t.Errorf("at Stead's own door: %d", status)
	}
	// Its use is in the audit log.
	var log struct {
		Data []struct {
			Record struct{ Session, Resource, Detail string }
		}
	}
	h.get(h.root, "GET", "/v1/audit_records?action=credential.use&limit=1", "", &log)
	var mine struct{ Secret string }
	h.get(h.root, "POST", "/v1/api_keys", `{"role":"owner","project":"one"}`, &mine)
	h.get(mine.Secret, "GET", "/v1/audit_records?action=credential.use&limit=1", "", &log)
	if len(log.Data) != 1 || log.Data[0].Record.Resource != "workload/crm" || log.Data[0].Record.Session != made.ID || !strings.Contains(log.Data[0].Record.Detail, strings.TrimPrefix(crm.URL, "http://")) {
		t.Errorf("the audit log has %+v", log.Data)
	}
}

// items waits until a session's items say something, and returns all of them.
func (h *house) items(key, session, want string) string {
	h.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		_, body := h.call(key, "GET", "/v1/agents/sessions/"+session+"/items?limit=100", "")
		if strings.Contains(string(body), want) {
			return string(body)
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("nobody said %q: %s", want, body)
		}
		time.Sleep(5 * time.Millisecond) // polls with a deadline
	}
}
