package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const (
	exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeKey  = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT  = "urn:ietf:params:oauth:token-type:jwt"
)

// exchanged asks for a token: the answer's status, and what it says.
func (h *house) exchanged(form url.Values) (status int, said map[string]any) {
	h.t.Helper()
	res, err := http.PostForm(h.base+"/v1/oauth/token", form)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || json.Unmarshal(body, &said) != nil {
		h.t.Fatalf("%d %s %v", res.StatusCode, body, err)
	}
	if res.Header.Get("Cache-Control") != "no-store" {
		h.t.Errorf("it may be kept: %v", res.Header)
	}
	return res.StatusCode, said
}

// openExchange is a house whose agents are known to others, and a session of ada's.
func openExchange(t *testing.T) (h *house, ada, session string, issuer string) {
	t.Helper()
	issuer, to := forwarded(t)
	n := openConfigured(t, "auth: {mode: keys}\nlimits: {drain_seconds: 1}\nidentity: {trust_domain: acme.example, issuer: \""+issuer+"\", exchange_audiences: [api]}\n"+
		"providers: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n", io.Discard)
	base, err := url.Parse(n.base)
	if err != nil {
		t.Fatal(err)
	}
	to.Store(base)
	h = &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
	var key struct{ Secret string }
	h.get(h.root, "POST", "/v1/api_keys", `{"role":"agent","project":"one","bound":true,"principal":{"kind":"user","id":"ada"},"expires_after_seconds":120}`, &key)
	var s struct{ ID string }
	h.get(key.Secret, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"Say hi"}`, &s)
	return h, key.Secret, s.ID, issuer
}

// TestExchangesArePaced: they count as the requests of who asks, and so do the tokens that they give.
func TestExchangesArePaced(t *testing.T) {
	n := openConfigured(t, "auth: {mode: keys}\nlimits: {drain_seconds: 1, requests_per_minute: {key: 4}}\nproviders: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n", io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey, keys: map[string]string{}}
	var key struct{ Secret string }
	h.get(h.root, "POST", "/v1/api_keys", `{"role":"agent","project":"one","bound":true,"principal":{"kind":"user","id":"ada"},"expires_after_seconds":120}`, &key)
	var s struct{ ID string }
	h.get(key.Secret, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"Say hi"}`, &s)
	form := url.Values{"grant_type": {exchange}, "subject_token": {key.Secret}, "subject_token_type": {typeKey}, "resource": {"urn:stead:session:" + s.ID}}
	var token string
	for range 2 {
		status, said := h.exchanged(form)
		if token, _ = said["access_token"].(string); status != http.StatusOK || token == "" {
			t.Fatalf("%d %v", status, said)
		}
	}
	if status, body := h.call(token, "GET", "/v1/agents/sessions/"+s.ID+"/items", ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if status, body := h.call(token, "GET", "/v1/agents/sessions/"+s.ID+"/items", ""); status != http.StatusTooManyRequests {
		t.Errorf("a token has a pace of its own: %d %s", status, body)
	}
	if status, said := h.exchanged(form); status != http.StatusTooManyRequests {
		t.Errorf("an exchange has no pace: %d %v", status, said)
	}
}

func TestTokensAreExchanged(t *testing.T) {
	h, ada, session, issuer := openExchange(t)
	form := func(change ...string) url.Values {
		f := url.Values{"grant_type": {exchange}, "subject_token": {ada}, "subject_token_type": {typeKey}, "resource": {"urn:stead:session:" + session}}
		for i := 0; i < len(change); i += 2 {
			f.Set(change[i], change[i+1])
		}
		return f
	}
	status, said := h.exchanged(form("scope", "read write"))
	if status != 200 || said["issued_token_type"] != typeKey || said["token_type"] != "Bearer" || said["scope"] != "read write" || said["expires_in"].(float64) > 120 {
		t.Fatalf("%d %v", status, said)
	}
	st, _ := said["access_token"].(string)
	if status, body := h.call(st, "GET", "/v1/agents/sessions/"+session+"/items", ""); status != 200 {
		t.Errorf("with the session token: %d %s", status, body)
	}
	status, said = h.exchanged(form("requested_token_type", typeJWT, "audience", "api"))
	if status != 200 || said["issued_token_type"] != typeJWT || said["expires_in"].(float64) > 120 {
		t.Fatalf("%d %v", status, said)
	}
	raw, _ := said["access_token"].(string)
	if who, err := believes(issuer, "api").Authenticate(t.Context(), raw, ""); err != nil || who.ID != "project/one/user/ada" || who.Until.After(time.Now().Add(3*time.Minute+time.Second)) {
		t.Errorf("it is %+v, %v", who, err)
	}

	var bob struct{ Secret string }
	h.get(h.root, "POST", "/v1/api_keys", `{"role":"agent","project":"one","bound":true,"principal":{"kind":"user","id":"bob"}}`, &bob)
	var auditor struct{ Secret string }
	h.get(h.root, "POST", "/v1/api_keys", `{"role":"auditor","project":"one"}`, &auditor)
	for what, c := range map[string]struct {
		form url.Values
		want string
	}{
		"no grant":                  {form("grant_type", ""), "invalid_request"},
		"another grant":             {form("grant_type", "client_credentials"), "unsupported_grant_type"},
		"no subject":                {form("subject_token", ""), "invalid_request"},
		"no type of it":             {form("subject_token_type", ""), "invalid_request"},
		"SAML":                      {form("subject_token_type", "urn:ietf:params:oauth:token-type:saml2"), "invalid_request"},
		"a wrong key":               {form("subject_token", ada+"0"), "invalid_request"},
		"an oversized one":          {form("subject_token", strings.Repeat("a", 40<<10)), "invalid_request"},
		"a session token":           {form("subject_token", st), "invalid_request"},
		"its own token":             {form("subject_token", raw, "subject_token_type", typeJWT), "invalid_request"},
		"an actor":                  {form("actor_token", ada, "actor_token_type", typeKey), "invalid_request"},
		"a refresh token":           {form("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), "invalid_request"},
		"no session":                {form("resource", ""), "invalid_target"},
		"a session by its URL":      {form("resource", h.base+"/v1/agents/sessions/"+session), "invalid_target"},
		"no such session":           {form("resource", "urn:stead:session:sess_0"), "invalid_target"},
		"another's session":         {form("subject_token", bob.Secret), "invalid_target"},
		"another's agent":           {form("subject_token", bob.Secret, "requested_token_type", typeJWT, "audience", "api"), "invalid_target"},
		"an audience of nobody":     {form("requested_token_type", typeJWT, "audience", "crm"), "invalid_target"},
		"no audience":               {form("requested_token_type", typeJWT), "invalid_target"},
		"who may only look":         {form("subject_token", auditor.Secret), "invalid_scope"},
		"who may only look, by jwt": {form("subject_token", auditor.Secret, "requested_token_type", typeJWT, "audience", "api"), "invalid_target"},
		"more than the subject may": {form("scope", "read approve"), "invalid_scope"},
		"no such scope":             {form("scope", "openid"), "invalid_scope"},
		"a scope of others":         {form("scope", "read", "requested_token_type", typeJWT, "audience", "api"), "invalid_scope"},
		"twice":                     {url.Values{"grant_type": {exchange, exchange}}, "invalid_request"},
	} {
		status, said := h.exchanged(c.form)
		if status != http.StatusBadRequest || said["error"] != c.want || said["error_description"] == "" || said["access_token"] != nil {
			t.Errorf("%s: %d %v, want %s", what, status, said, c.want)
		}
	}
	if status, said := h.exchanged(form("subject_token", strings.Repeat("a", 80<<10))); status != http.StatusRequestEntityTooLarge || said["access_token"] != nil {
		t.Errorf("a form that is too long: %d %v", status, said)
	}
	for what, req := range map[string]func() (*http.Response, error){
		"in the URL": func() (*http.Response, error) {
			return http.PostForm(h.base+"/v1/oauth/token?subject_token="+ada, form())
		},
		"as JSON": func() (*http.Response, error) {
			return http.Post(h.base+"/v1/oauth/token", "application/json", strings.NewReader("{}"))
		},
	} {
		res, err := req()
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusBadRequest || !strings.Contains(string(body), `"error":"invalid_request"`) {
			t.Errorf("%s: %d %s", what, res.StatusCode, body)
		}
	}
}
