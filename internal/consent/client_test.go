package consent_test

import (
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/consent"
	"github.com/stead-dev/stead/internal/oauth/oauthtest"
)

// An authorization server that takes URLs as clients reads ours, and registers nobody; one that does neither is told of by the
// operator, whose word comes first.
func TestWhoThisServerIsToAnAuthorizationServer(t *testing.T) {
	on(t, func(d *desk) {
		var own *consent.Service
		srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := own.Client(path.Base(r.URL.Path))
			if err != nil || !strings.HasPrefix(r.URL.Path, consent.ClientPath) {
				http.NotFound(w, r)
				return
			}
			_, _ = w.Write(body)
		}))
		defer srv.Close()
		d.authority.Do(func(a *oauthtest.Authority) { a.NoDCR, a.Reads = true, srv.Client() })
		cfg := d.cfg
		cfg.Base = srv.URL
		own = consent.NewService(cfg)
		d.nodes = [2]*consent.Service{own, own}
		if shown, err := d.finish(0, d.answer(d.ask(ada, "sess_1"))); err != nil || shown.Status != consent.Given || d.token(ada) == "" {
			d.t.Errorf("%+v %v", shown, err)
		}
		d.authority.Do(func(a *oauthtest.Authority) {
			if got := a.LastAsked.Get("client_id"); a.Registered != 0 || got != srv.URL+consent.ClientPath+consent.Tag(a.URL) {
				d.t.Errorf("registered %d times; the client is %s", a.Registered, got)
			}
		})
		for _, tag := range []string{"", "x", strings.Repeat("A", 24), strings.Repeat("a", 26), "../secrets"} {
			if _, err := own.Client(tag); stead.KindOf(err) != stead.KindNotFound {
				d.t.Errorf("the client %q: %v", tag, err)
			}
		}

		cfg.Clients = []consent.Client{{Issuer: d.authority.URL, ID: "ours", Secret: "client-secret-of-the-operator", Scopes: []string{"tools.read"}}}
		own = consent.NewService(cfg)
		d.nodes = [2]*consent.Service{own, own}
		d.authority.Do(func(a *oauthtest.Authority) {
			a.Clients["ours"], a.Redirect["ours"] = "client-secret-of-the-operator", own.Redirect(a.URL)
		})
		if shown, err := d.finish(0, d.answer(d.ask(bob, "sess_2"))); err != nil || shown.Status != consent.Given {
			d.t.Errorf("the operator's: %+v %v", shown, err)
		}
		d.authority.Do(func(a *oauthtest.Authority) {
			if a.LastAsked.Get("client_id") != "ours" || a.LastAsked.Get("scope") != "tools.read" {
				d.t.Errorf("asked with %v", a.LastAsked)
			}
		})
	})
}
