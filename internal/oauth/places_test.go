package oauth_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/oauth"
)

// Metadata counts where it is about the URL that was asked, or where a resource above it speaks for itself (RFC 9728, 3.3): whoever has
// a path of a shared host can't have tokens made for the host. Servers that say everywhere that they are their origin are understood.
func TestWhoseMetadataIsBelieved(t *testing.T) {
	a, _, _ := pair(t)
	const known = "/.well-known/oauth-protected-resource"
	for name, c := range map[string]struct {
		server string            // path
		said   map[string]string // path of a place → path of the resource that it names
		header string            // path that the 401 names
		want   string            // path; "-": nothing is believed
	}{
		"the very URL":                                  {"/mcp", map[string]string{known + "/mcp": "/mcp"}, "", "/mcp"},
		"a slash more":                                  {"/mcp", map[string]string{known + "/mcp": "/mcp/"}, "", "/mcp/"},
		"the very URL, from anywhere":                   {"/mcp", map[string]string{"/meta.json": "/mcp"}, "/meta.json", "/mcp"},
		"the very URL, at the root":                     {"/mcp", map[string]string{known: "/mcp"}, "", "/mcp"},
		"the origin, at its own place":                  {"/mcp", map[string]string{known: ""}, "", ""},
		"the origin with a slash, at its own place":     {"/mcp", map[string]string{known: "/"}, "", "/"},
		"the origin, at every place":                    {"/mcp", map[string]string{known: "", known + "/mcp": ""}, "", ""},
		"the origin, at the server's place and its own": {"/mcp", map[string]string{known: "", "/mcp/meta": ""}, "/mcp/meta", ""},
		"an ancestor, at its own place":                 {"/api/v1/mcp", map[string]string{known + "/api": "/api"}, known + "/api", "/api"},
		"the origin, at a tenant's place":               {"/u/mallory/mcp", map[string]string{"/u/mallory/meta": "/"}, "/u/mallory/meta", "-"},
		"the origin, at the server's place alone":       {"/u/mallory/mcp", map[string]string{known + "/u/mallory/mcp": ""}, "", "-"},
		"an ancestor, at another's place":               {"/u/mallory/mcp", map[string]string{known + "/u/mallory/mcp": "/u"}, known + "/u/mallory/mcp", "-"},
		"another tenant":                                {"/u/mallory/mcp", map[string]string{known + "/u/mallory/mcp": "/u/ada/mcp"}, "", "-"},
		"one with a query":                              {"/mcp", map[string]string{known + "/mcp": "/mcp?x=1"}, "", "-"},
		"a way up":                                      {"/a/%2e%2e/mcp", map[string]string{known: ""}, "", "-"},
		"an ancestor's place with a query":              {"/a/mcp", map[string]string{known + "/a": "/a"}, known + "/a?tenant=mallory", "-"},
	} {
		var host *httptest.Server
		host = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			resource, ok := c.said[r.URL.Path]
			if !ok {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"resource": host.URL + resource, "authorization_servers": []string{a.URL}})
		}))
		var challenge []string
		if c.header != "" {
			challenge = []string{`Bearer resource_metadata="` + host.URL + c.header + `"`}
		}
		got, err := oauth.Discover(t.Context(), client(a.Server, host), host.URL+c.server, challenge)
		switch {
		case c.want == "-" && (stead.KindOf(err) != stead.KindUpstream || !strings.Contains(err.Error(), "another resource")):
			t.Errorf("%s: %+v %v", name, got, err)
		case c.want != "-" && (err != nil || got.Resource != host.URL+c.want):
			t.Errorf("%s: %q %v", name, got.Resource, err)
		}
		host.Close()
	}
}

func TestWhatAnOperatorNames(t *testing.T) {
	for _, c := range []struct {
		named, server string
		covers        bool
	}{
		{"https://a.example", "https://a.example/mcp", true},
		{"https://A.example:443/", "https://a.example/mcp?x=1", true},
		{"https://a.example/team", "https://a.example/team/mcp", true},
		{"https://a.example/team", "https://a.example/teams", false},
		{"https://a.example/team", "https://a.example/team/../other", false},
		{"https://a.example/team", "https://a.example/team/%2e%2e/other", false},
		{"https://a.example/team", "https://a.example", false},
		{"https://a.example", "http://a.example/mcp", false},
		{"https://a.example", "https://a.example.evil.example/mcp", false},
		{"https://a.example", "https://a.example@evil.example/mcp", false},
		{"https://a.example", "https://a.example:8443/mcp", false},
		{"", "https://a.example", false},
	} {
		if oauth.Covers(c.named, c.server) != c.covers {
			t.Errorf("%s covers %s: %v", c.named, c.server, !c.covers)
		}
	}
}
