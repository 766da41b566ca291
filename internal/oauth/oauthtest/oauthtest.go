// Package oauthtest is an authorization server and a tool server behind it, as strict as real ones: tests of clients use them over
// real HTTP. What it is told to do wrong, it does.
//
// Source: RFC 6749, 7591, 7636, 8414, 8707, 9207, 9728; MCP 2025-11-25, authorization.
package oauthtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Authority is an authorization server. Its exported fields say what it does; they are read and set under Do.
type Authority struct {
	*httptest.Server
	mu sync.Mutex

	Metadata map[string]any    // over what is usual; a nil value takes a field away
	Iss      string            // of answers; "": its own
	NoIss    bool              // answers carry none
	Deny     bool              // the user says no
	NoDCR    bool              // nobody is registered
	Clients  map[string]string // id → secret
	Redirect map[string]string // client id → redirect URI
	Expires  int               // seconds of tokens; 0: not said
	Reads    *http.Client      // clients are documents, which this reads; nil: they are not
	AtToken  func()            // called before a token is given, outside of the lock
	LoseCode bool              // the answer to a code is lost on its way
	Aud      any               // access tokens are JWTs that are for this; nil: they are opaque

	Registered, Asked, Granted, Renewed, Refused int
	Probed                                       int // by codes that it never gave: who asks whether it knows a client
	LastAsked                                    url.Values

	codes   map[string]grant
	tokens  map[string]string // access token → resource
	refresh map[string]string // refresh token → resource
}

type grant struct{ client, redirect, challenge, resource string }

// NewAuthority starts one; tls says whether it speaks TLS.
func NewAuthority(tls bool) *Authority {
	a := &Authority{Clients: map[string]string{}, Redirect: map[string]string{}, codes: map[string]grant{}, tokens: map[string]string{}, refresh: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", a.metadata)
	mux.HandleFunc("POST /register", a.register)
	mux.HandleFunc("GET /authorize", a.authorize)
	mux.HandleFunc("POST /token", a.token)
	if tls {
		a.Server = httptest.NewTLSServer(mux)
	} else {
		a.Server = httptest.NewServer(mux)
	}
	return a
}

// Do reads or sets fields.
func (a *Authority) Do(f func(a *Authority)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f(a)
}

func (a *Authority) metadata(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := map[string]any{
		"issuer": a.URL, "authorization_endpoint": a.URL + "/authorize", "token_endpoint": a.URL + "/token", "response_types_supported": []string{"code"},
		"code_challenge_methods_supported": []string{"S256"}, "authorization_response_iss_parameter_supported": !a.NoIss,
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post", "none"}, "scopes_supported": []string{"tools", "offline_access"},
	}
	if a.Reads != nil {
		m["client_id_metadata_document_supported"] = true
	}
	if !a.NoDCR {
		m["registration_endpoint"] = a.URL + "/register"
	}
	for name, value := range a.Metadata {
		if m[name] = value; value == nil {
			delete(m, name)
		}
	}
	answer(w, http.StatusOK, m)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (a *Authority) register(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Redirects []string `json:"redirect_uris"`
		Method    string   `json:"token_endpoint_auth_method"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Redirects) != 1 {
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_client_metadata"})
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Registered++
	id, secret := "client-"+rand.Text(), "client-secret-"+rand.Text()
	if in.Method == "none" {
		secret = ""
	}
	a.Clients[id], a.Redirect[id] = secret, in.Redirects[0]
	answer(w, http.StatusCreated, map[string]any{"client_id": id, "client_secret": secret, "token_endpoint_auth_method": in.Method, "redirect_uris": in.Redirects})
}

// authorize is where a user, who is logged in already, says yes or no.
func (a *Authority) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Asked++
	a.LastAsked = q
	a.learn(q.Get("client_id"))
	if _, known := a.Clients[q.Get("client_id")]; !known || a.Redirect[q.Get("client_id")] != q.Get("redirect_uri") { // never redirected there
		http.Error(w, "unknown client or redirect_uri", http.StatusBadRequest)
		return
	}
	back := url.Values{"state": {q.Get("state")}, "session_state": {"passed-over"}}
	if !a.NoIss {
		if back.Set("iss", a.URL); a.Iss != "" {
			back.Set("iss", a.Iss)
		}
	}
	switch {
	case q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || q.Get("resource") == "":
		back.Set("error", "invalid_request")
	case a.Deny:
		back.Set("error", "access_denied")
	default:
		back.Set("code", a.newCode(q))
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// learn reads who a client says that it is.
func (a *Authority) learn(client string) {
	if a.Reads == nil || !strings.HasPrefix(client, "https://") {
		return
	}
	var d struct {
		ID        string   `json:"client_id"`
		Redirects []string `json:"redirect_uris"`
		Method    string   `json:"token_endpoint_auth_method"`
	}
	res, err := a.Reads.Get(client)
	if err != nil {
		return
	}
	defer res.Body.Close()
	if json.NewDecoder(res.Body).Decode(&d) == nil && d.ID == client && len(d.Redirects) == 1 && d.Method == "none" {
		a.Clients[client], a.Redirect[client] = "", d.Redirects[0]
	}
}

// codePrefix begins the codes that it gives.
const codePrefix = "code-"

func (a *Authority) newCode(q url.Values) string {
	code := codePrefix + rand.Text()
	a.codes[code] = grant{q.Get("client_id"), q.Get("redirect_uri"), q.Get("code_challenge"), q.Get("resource")}
	return code
}

// Code is one that a user gave to a client for what it asks for.
func (a *Authority) Code(asked url.Values) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.newCode(asked)
}

func (a *Authority) token(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	at := a.AtToken
	a.mu.Unlock()
	if at != nil {
		at()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = r.ParseForm()
	f := r.PostForm
	id, secret := f.Get("client_id"), f.Get("client_secret")
	if user, pass, ok := r.BasicAuth(); ok {
		id, _ = url.QueryUnescape(user)
		secret, _ = url.QueryUnescape(pass)
	}
	refuse := func(status int, code string) {
		a.Refused++
		answer(w, status, map[string]string{"error": code, "error_description": "of " + f.Encode()})
	}
	if want, known := a.Clients[id]; !known || want != secret {
		refuse(http.StatusUnauthorized, "invalid_client")
		return
	}
	resource := f.Get("resource")
	switch f.Get("grant_type") {
	case "authorization_code":
		if !strings.HasPrefix(f.Get("code"), codePrefix) {
			a.Probed++
			answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
			return
		}
		g, ok := a.codes[f.Get("code")]
		delete(a.codes, f.Get("code"))
		sum := sha256.Sum256([]byte(f.Get("code_verifier")))
		if !ok || g.client != id || g.redirect != f.Get("redirect_uri") || g.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) || g.resource != resource {
			refuse(http.StatusBadRequest, "invalid_grant")
			return
		}
		a.Granted++
		if a.LoseCode {
			panic(http.ErrAbortHandler)
		}
	case "refresh_token":
		if a.refresh[f.Get("refresh_token")] != resource || resource == "" {
			refuse(http.StatusBadRequest, "invalid_grant")
			return
		}
		delete(a.refresh, f.Get("refresh_token"))
		a.Renewed++
	default:
		refuse(http.StatusBadRequest, "unsupported_grant_type")
		return
	}
	token, refresh := "access-token-"+rand.Text(), "refresh-token-"+rand.Text()
	if a.Aud != nil {
		claims, _ := json.Marshal(map[string]any{"iss": a.URL, "aud": a.Aud, "jti": token})
		token = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","typ":"at+jwt"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims) + "." + rand.Text()
	}
	a.tokens[token], a.refresh[refresh] = resource, resource
	out := map[string]any{"access_token": token, "token_type": "Bearer", "refresh_token": refresh}
	if a.Expires > 0 {
		out["expires_in"] = a.Expires
	}
	answer(w, http.StatusOK, out)
}

// Revoke ends all tokens.
func (a *Authority) Revoke() {
	a.Do(func(a *Authority) { clear(a.tokens); clear(a.refresh) })
}

// Secrets are all that must be nowhere else: tokens, codes and clients' secrets.
func (a *Authority) Secrets() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, m := range []map[string]string{a.tokens, a.refresh} {
		for secret := range m {
			out = append(out, secret)
		}
	}
	for _, secret := range a.Clients {
		if secret != "" {
			out = append(out, secret)
		}
	}
	return out
}

// Tools is a tool server that takes tokens of an authority alone that are for it.
type Tools struct {
	*httptest.Server
	mu sync.Mutex

	Metadata map[string]any // over what is usual
	Silent   bool           // 401 says nothing of where to look
	Scope    string         // of the challenge
	OpenList bool           // tools are listed without a token
	Calls    int            // of its tool, that were made
}

// NewTools starts one at the path /mcp.
func NewTools(a *Authority, tls bool) *Tools {
	t := &Tools{}
	s := mcp.NewServer(&mcp.Implementation{Name: "guarded", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "whoami"}, func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		t.mu.Lock()
		t.Calls++
		t.mu.Unlock()
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "you are known, by " + r.Extra.Header.Get("Authorization")}}}, nil, nil
	})
	inner := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-protected-resource/mcp", func(w http.ResponseWriter, _ *http.Request) {
		t.mu.Lock()
		defer t.mu.Unlock()
		m := map[string]any{"resource": t.URL + "/mcp", "authorization_servers": []string{a.URL}, "scopes_supported": []string{"tools"}}
		for name, value := range t.Metadata {
			m[name] = value
		}
		answer(w, http.StatusOK, m)
	})
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, r *http.Request) {
		t.mu.Lock()
		silent, scope, open := t.Silent, t.Scope, t.OpenList
		t.mu.Unlock()
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		a.mu.Lock()
		known := a.tokens[token] == t.URL+"/mcp"
		a.mu.Unlock()
		if !known && (!open || calls(r)) {
			if !silent {
				challenge := `Bearer resource_metadata="` + t.URL + `/.well-known/oauth-protected-resource/mcp"`
				if scope != "" {
					challenge += `, scope="` + scope + `"`
				}
				w.Header().Set("WWW-Authenticate", challenge)
			}
			http.Error(w, "not you", http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	})
	if tls {
		t.Server = httptest.NewTLSServer(mux)
	} else {
		t.Server = httptest.NewServer(mux)
	}
	return t
}

// Do reads or sets fields.
func (t *Tools) Do(f func(t *Tools)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(t)
}

// calls reports whether a request calls a tool; its body is there as before.
func calls(r *http.Request) bool {
	return strings.Contains(peek(r), `"tools/call"`)
}

func peek(r *http.Request) string {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	return string(body)
}

// Expire ends the access tokens, which can be renewed.
func (a *Authority) Expire() {
	a.Do(func(a *Authority) { clear(a.tokens) })
}
