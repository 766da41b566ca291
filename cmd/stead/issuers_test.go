package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// People of an identity provider come in with its tokens: what they may do is what the rules say, and they see
// their own sessions alone.
func TestPeopleOfAnIssuer(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	var provider *httptest.Server
	provider = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/openid-configuration" {
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": provider.URL, "jwks_uri": provider.URL + "/keys"})
			return
		}
		_, _ = fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","use":"sig","x":%q}]}`, b64(public))
	}))
	defer provider.Close()
	person := func(sub, groups string, expires time.Duration) string {
		claims := fmt.Sprintf(`{"iss":%q,"aud":"stead","sub":%q,"groups":%q,"exp":%d}`, provider.URL, sub, groups, time.Now().Add(expires).Unix())
		signed := b64([]byte(`{"alg":"EdDSA","kid":"1"}`)) + "." + b64([]byte(claims))
		return signed + "." + b64(ed25519.Sign(private, []byte(signed)))
	}
	n := openConfigured(t, `limits: {drain_seconds: 1}
providers: [{name: sim, api: sim}]
auth:
  mode: oidc
  issuers:
    - url: `+provider.URL+`
      audiences: [stead]
      project: acme
      roles:
        - {claim: groups, value: it, role: owner}
        - {claim: groups, value: robots, role: owner, kind: service}
        - {claim: groups, value: staff, role: developer, bound: true}
`, io.Discard)
	h := &house{t: t, base: n.base, root: n.rootKey}
	ada, bob, it := person("ada", "staff", time.Minute), person("bob", "staff", time.Minute), person("eve", "it", time.Minute)

	var session struct{ ID string }
	h.get(ada, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim/sim"},"environment":{"type":"none"},"input":"hi"}`, &session)
	for who, want := range map[string]struct {
		key  string
		call string
		code int
	}{
		"her own session":          {ada, "GET /v1/agents/sessions/" + session.ID, 200},
		"another's":                {bob, "GET /v1/agents/sessions/" + session.ID, 404},
		"an owner's view":          {it, "GET /v1/agents/sessions/" + session.ID, 200},
		"a developer's keys":       {ada, "GET /v1/api_keys", 403},
		"an owner's keys":          {it, "GET /v1/api_keys", 200},
		"the root key":             {h.root, "GET /v1/agents", 200},
		"a robot":                  {person("r2", "robots", time.Minute), "GET /v1/api_keys", 200},
		"one called as the root":   {person("root", "robots", time.Minute), "GET /v1/api_keys", 403},
		"a guest":                  {person("gus", "guests", time.Minute), "GET /v1/agents", 403},
		"yesterday's token":        {person("ada", "staff", -time.Hour), "GET /v1/agents", 401},
		"a token with a character": {ada + "A", "GET /v1/agents", 401},
		"nobody":                   {"", "GET /v1/agents", 401},
	} {
		method, path, _ := strings.Cut(want.call, " ")
		if code, body := h.call(want.key, method, path, ""); code != want.code {
			t.Errorf("%s: %d %s, want %d", who, code, body, want.code)
		}
	}
	var log struct {
		Data []struct {
			Record struct {
				Principal struct{ ID, Key string }
			}
		}
	}
	h.get(it, "GET", "/v1/audit_records?decision=deny", "", &log)
	if len(log.Data) != 1 || log.Data[0].Record.Principal.ID != "ada" || log.Data[0].Record.Principal.Key != "token" {
		t.Errorf("the audit log says of what ada was refused: %+v", log.Data)
	}
	turnedAway(t, h, "the token is valid, and gives no role on this server", "the token's sub is the name of the operator's own key", "the token has expired", "the token's signature is none of its issuer's")
	h.get(it, "POST", "/v1/kill_switches", `{"scope":"user","of":"ada","reason":"her laptop is lost"}`, &struct{}{})
	for token, want := range map[string]int{ada: 403, person("ada", "staff", time.Hour): 403, bob: 200} {
		if code, body := h.call(token, "GET", "/v1/agents/sessions", ""); code != want || want == 403 && !strings.Contains(string(body), `"code":"kill_switch"`) {
			t.Errorf("when ada is stopped: %d %s, want %d", code, body, want)
		}
	}
	if f := checkIssuer(t.Context(), n.cfg.Auth.Issuers[0]); f.Verdict != verdictOK {
		t.Errorf("doctor: %+v", f)
	}
	provider.Close()
	if f := checkIssuer(t.Context(), n.cfg.Auth.Issuers[0]); f.Verdict != verdictFail {
		t.Errorf("doctor of an issuer that is away: %+v", f)
	}
}

// turnedAway wants who was turned away to be in the log of the project default, each for a reason of its own.
func turnedAway(t *testing.T, h *house, reasons ...string) {
	t.Helper()
	waitFor(t, func() bool { // they are recorded while nobody waits
		_, log := h.call(h.root, "GET", "/v1/audit_records?action=authenticate&limit=100", "")
		return !slices.ContainsFunc(reasons, func(reason string) bool { return !strings.Contains(string(log), `"reason":"`+reason) })
	})
}
