package server

import (
	"net/http"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/identity"
)

// Pages of the origins that are configured may call what session tokens open, and nothing else; those of others nothing.
func TestPagesOfOtherOrigins(t *testing.T) {
	known := func(*http.Request) (identity.Caller, error) {
		return identity.Caller{Principal: stead.LocalPrincipal()}, nil
	}
	const page = "https://app.example"
	sharing := open(t, filled(), func(c *Config) { c.Authenticate, c.Origins = known, []string{page} })
	everybody := open(t, filled(), func(c *Config) { c.Origins = []string{page} }) // without authentication it counts for nothing
	const session = "/v1/agents/sessions/sess_1"
	for name, c := range map[string]struct {
		d                    *door
		origin, method, path string
		shared               bool
	}{
		"items":                   {sharing, page, "GET", session + "/items", true},
		"input":                   {sharing, page, "POST", session + "/events", true},
		"another page":            {sharing, "https://app.example.evil", "POST", session + "/events", false},
		"another port":            {sharing, page + ":8443", "GET", session + "/items", false},
		"no page at all":          {sharing, "null", "GET", session + "/items", false},
		"the session itself":      {sharing, page, "GET", session, false},
		"the end of the session":  {sharing, page, "DELETE", session, false},
		"its tokens":              {sharing, page, "POST", session + "/tokens", false},
		"keys":                    {sharing, page, "POST", "/v1/api_keys", false},
		"nobody is authenticated": {everybody, page, "POST", session + "/events", false},
	} {
		host := "Host: localhost"
		preflight := asks(t, c.d, c.origin, c.method, c.path)
		if ok := preflight.StatusCode == http.StatusNoContent && preflight.Header.Get("Access-Control-Allow-Origin") == c.origin; ok != c.shared {
			t.Errorf("%s: whether it may be called: %d %v", name, preflight.StatusCode, preflight.Header)
		}
		const bearer = "Authorization: Bearer st-stead-1"
		res, body := c.d.call(c.method, c.path, "{}", "Origin: "+c.origin, "Sec-Fetch-Site: cross-site", host, bearer)
		if ok := res.Header.Get("Access-Control-Allow-Origin") == c.origin; ok != c.shared {
			t.Errorf("%s: whether it may be read: %v", name, res.Header)
		}
		if refused := res.StatusCode == http.StatusForbidden; refused != (!c.shared && c.method != "GET") {
			t.Errorf("%s: %d %.200s", name, res.StatusCode, body)
		}
		// What a browser adds by itself is not the page's: its client certificate.
		if res, body := c.d.call(c.method, c.path, "{}", "Origin: "+c.origin, "Sec-Fetch-Site: cross-site", host); (res.StatusCode == http.StatusForbidden) != (c.method != "GET") {
			t.Errorf("%s, without a token: %d %.200s", name, res.StatusCode, body)
		}
		if len(res.Header.Values("Access-Control-Allow-Credentials")) > 0 {
			t.Errorf("%s: cookies count", name)
		}
	}
}

// asks is how a browser asks whether a page may call: no call of the document, so that it is sent by hand.
func asks(t *testing.T, d *door, origin, method, path string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, d.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization", "Sec-Fetch-Site": "cross-site"} {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res
}
