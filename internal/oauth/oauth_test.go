package oauth_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/oauth"
	"github.com/stead-dev/stead/internal/oauth/oauthtest"
)

// client believes the certificates of servers, and follows no redirect.
func client(servers ...*httptest.Server) *http.Client {
	pool := x509.NewCertPool()
	for _, s := range servers {
		pool.AddCert(s.Certificate())
	}
	wire := http.DefaultTransport.(*http.Transport).Clone()
	wire.TLSClientConfig.RootCAs = pool
	return &http.Client{Transport: wire, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func pair(t *testing.T) (*oauthtest.Authority, *oauthtest.Tools, *http.Client) {
	t.Helper()
	a := oauthtest.NewAuthority(true)
	t.Cleanup(a.Close)
	tools := oauthtest.NewTools(a, true)
	t.Cleanup(tools.Close)
	return a, tools, client(a.Server, tools.Server)
}

// refusal is what a tool server says to who has no token.
func refusal(t *testing.T, hc *http.Client, to string) []string {
	t.Helper()
	res, err := hc.Post(to, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Fatalf("status %d", res.StatusCode)
	}
	return res.Header.Values("WWW-Authenticate")
}

func TestDiscoveryRegistrationAndTheQuestion(t *testing.T) {
	a, tools, hc := pair(t)
	tools.Do(func(s *oauthtest.Tools) { s.Scope = "tools.call" })
	at := tools.URL + "/mcp"
	s, err := oauth.Discover(t.Context(), hc, at, refusal(t, hc, at))
	if err != nil {
		t.Fatal(err)
	}
	if s.Issuer != a.URL || s.Resource != at || s.Token != a.URL+"/token" || strings.Join(s.Scopes, " ") != "tools.call offline_access" || !s.SaysIssuer {
		t.Errorf("%+v", s)
	}
	if quiet, err := oauth.Discover(t.Context(), hc, at, nil); err != nil || quiet.Issuer != a.URL || strings.Join(quiet.Scopes, " ") != "tools offline_access" {
		t.Errorf("from the usual places: %+v %v", quiet, err)
	}
	r, err := s.RegisterClient(t.Context(), hc, "Stead", "https://stead.example/back")
	if err != nil || r.Method != oauth.MethodBasic || r.ID == "" || r.Secret == "" {
		t.Fatalf("%+v %v", r, err)
	}
	raw, err := s.Ask(r.ID, "https://stead.example/back", "the-state", "the-verifier")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("the-verifier"))
	for name, want := range map[string]string{
		"response_type": "code", "client_id": r.ID, "redirect_uri": "https://stead.example/back", "state": "the-state", "resource": at, "scope": "tools.call offline_access",
		"code_challenge_method": "S256", "code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]),
	} {
		if got := u.Query()[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	for iss, ok := range map[string]bool{a.URL: true, a.URL + "/": false, "https://evil.example": false, "": false} {
		if s.Answered(iss) != ok {
			t.Errorf("an answer of %q: %v", iss, !ok)
		}
	}
	if s.SaysIssuer = false; !s.Answered("") || s.Answered("https://evil.example") {
		t.Error("who does not promise iss may leave it out, and not lie")
	}
}

// What servers say of themselves is held against what was asked for.
func TestWhatIsNotBelieved(t *testing.T) {
	a, tools, hc := pair(t)
	at := tools.URL + "/mcp"
	resource := func(name string, value any) func() {
		return func() { tools.Do(func(s *oauthtest.Tools) { s.Metadata = map[string]any{name: value} }) }
	}
	issuer := func(name string, value any) func() {
		return func() { a.Do(func(a *oauthtest.Authority) { a.Metadata = map[string]any{name: value} }) }
	}
	for _, tt := range []struct {
		name string
		set  func()
		says string
	}{
		{"the metadata of another resource", resource("resource", "https://bank.example/mcp"), "another resource"},
		{"the metadata of another resource of the same host", resource("resource", tools.URL+"/mcp2"), "another resource"},
		{"the metadata of one below", resource("resource", at+"/deeper"), "another resource"},
		{"a resource without TLS", resource("resource", "http://"+strings.TrimPrefix(at, "https://")), "another resource"},
		{"no authorization server", resource("authorization_servers", []string{}), "names no authorization server"},
		{"an authorization server without TLS", resource("authorization_servers", []string{"http://login.example"}), "no https URL"},
		{"an authorization server with a fragment", resource("authorization_servers", []string{a.URL + "#x"}), "no https URL"},
		{"another issuer", issuer("issuer", "https://login.example"), "another issuer"},
		{"no PKCE", issuer("code_challenge_methods_supported", nil), "S256"},
		{"plain PKCE alone", issuer("code_challenge_methods_supported", []string{"plain"}), "S256"},
		{"a token endpoint without TLS", issuer("token_endpoint", "http://login.example/token"), "without an https URL"},
		{"no token endpoint", issuer("token_endpoint", nil), "without an https URL"},
		{"an authorization endpoint that is a script", issuer("authorization_endpoint", "javascript:alert(1)"), "without an https URL"},
		{"a registration without TLS", issuer("registration_endpoint", "http://login.example/r"), "without an https URL"},
		{"metadata that is too large", issuer("padding", strings.Repeat("x", oauth.MaxMetadataBytes)), "no JSON of at most"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tools.Do(func(s *oauthtest.Tools) { s.Metadata = nil })
			a.Do(func(a *oauthtest.Authority) { a.Metadata = nil })
			tt.set()
			if _, err := oauth.Discover(t.Context(), hc, at, nil); err == nil || !strings.Contains(err.Error(), tt.says) || stead.KindOf(err) != stead.KindUpstream {
				t.Errorf("%v", err)
			}
		})
	}
}

// A server is not led elsewhere: not by a redirect, not to an address that users may not reach.
func TestDiscoveryGoesNowhereElse(t *testing.T) {
	_, tools, hc := pair(t)
	at := tools.URL + "/mcp"
	asked := 0
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked++; w.WriteHeader(http.StatusOK) }))
	defer inside.Close()
	elsewhere := httptest.NewTLSServer(http.RedirectHandler(inside.URL+"/secret", http.StatusFound))
	defer elsewhere.Close()
	led := client(tools.Server, elsewhere)
	if _, err := oauth.Discover(t.Context(), led, at, []string{`Bearer resource_metadata="` + elsewhere.URL + `/m"`}); err == nil || !strings.Contains(err.Error(), "redirected") {
		t.Errorf("redirected: %v", err)
	}
	if _, err := oauth.Discover(t.Context(), hc, at, []string{`Bearer resource_metadata="http://169.254.169.254/latest/meta-data"`}); err == nil || !strings.Contains(err.Error(), "not https") {
		t.Errorf("metadata without TLS: %v", err)
	}
	guard, err := egress.NewGuard(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	guarded := &http.Client{Transport: &http.Transport{DialContext: guard.DialContext}}
	for _, place := range []string{"https://169.254.169.254/m", "https://10.0.0.1/m", "https://[::ffff:127.0.0.1]/m", "https://2130706433/m", "https://localhost/m", inside.URL + "/m"} {
		if _, err := oauth.Discover(t.Context(), guarded, at, []string{`Bearer resource_metadata="` + place + `"`}); err == nil || stead.KindOf(err) == stead.KindUnavailable { // the guard's own error, and not that nobody answered
			t.Errorf("%s: %v (%v)", place, err, stead.KindOf(err))
		}
	}
	if _, err := oauth.Discover(t.Context(), hc, "http://tools.example/mcp", nil); err == nil {
		t.Error("a tool server without TLS was asked")
	}
	if asked > 0 {
		t.Errorf("an inner server was asked %d times", asked)
	}
}

// A registration that can't be used is refused, and where there is none the operator is told what to do.
func TestRegistrations(t *testing.T) {
	a, tools, hc := pair(t)
	s, err := oauth.Discover(t.Context(), hc, tools.URL+"/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	for body, ok := range map[string]bool{
		`{"client_id":"c"}`: true, // a public client, though it does not say so
		`{"client_id":"c","token_endpoint_auth_method":"none"}`:                                              true,
		`{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"client_secret_post"}`:            true,
		`{"client_id":"c","client_secret":"s","token_endpoint_auth_method":"private_key_jwt"}`:               false,
		`{"client_id":"c\nd","token_endpoint_auth_method":"none"}`:                                           false,
		`{"token_endpoint_auth_method":"none"}`:                                                              false,
		`[]`:                                                                                                 false,
		`{"client_id":"` + strings.Repeat("x", oauth.MaxMetadataBytes) + `"}`:                                false,
		`{"client_id":"c","client_secret":"s","client_secret_expires_at":1,"token_endpoint_auth_method":""}`: true,
	} {
		desk := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write([]byte(body))
		}))
		s.Register = desk.URL
		r, err := s.RegisterClient(t.Context(), client(desk), "Stead", "https://stead.example/back")
		if (err == nil) != ok {
			t.Errorf("%.100s: %+v %v", body, r, err)
		}
		desk.Close()
	}
	a.Do(func(a *oauthtest.Authority) { a.NoDCR = true })
	if s, err = oauth.Discover(t.Context(), hc, tools.URL+"/mcp", nil); err != nil {
		t.Fatal(err)
	}
	_, err = s.RegisterClient(t.Context(), hc, "Stead", "https://stead.example/back")
	e, ok := err.(*stead.Error)
	if !ok || !strings.Contains(e.Hint, "https://stead.example/back") || !strings.Contains(e.Hint, a.URL) {
		t.Errorf("%v", err)
	}
}
