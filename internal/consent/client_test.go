package consent_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/consent"
	"github.com/stead-dev/stead/internal/oauth/oauthtest"
	"github.com/stead-dev/stead/internal/policy"
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

		cfg.Clients = []consent.Client{{Issuer: d.authority.URL, ID: "ours", Secret: "client-secret-of-the-operator", Scopes: []string{"tools.read"}, Servers: []string{d.tools.URL}}}
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
		// What was decided says to whom the tokens go, and by which client.
		d.mu.Lock()
		defer d.mu.Unlock()
		last := d.asked[len(d.asked)-1]
		want := map[string]string{"server": strings.TrimPrefix(d.tools.URL, "http://"), "resource": d.tools.URL + "/mcp", "client": "ours", "client_of": "operator"}
		if last.Consent != policy.ConsentKept || !maps.Equal(last.Written, want) {
			d.t.Errorf("%s: %v", last.Consent, last.Written)
		}
	})
}

// An operator's client is for the servers that the operator names: another one that names the same issuer gets no token by the company's
// good name, nor by a registration beside it. To a project that has no such client it is as if there were none.
func TestAnOperatorsClientIsForItsServersAlone(t *testing.T) {
	on(t, func(d *desk) {
		others := oauthtest.NewTools(d.authority, false)
		defer others.Close()
		with := func(projects []stead.ProjectID, servers ...string) *consent.Service {
			cfg := d.cfg
			cfg.Clients = []consent.Client{{Issuer: d.authority.URL + "/", ID: "ours", Secret: "client-secret-of-the-operator", Servers: servers, Projects: projects}}
			return consent.NewService(cfg)
		}
		asks := func(s *consent.Service, at string) (string, error) {
			page, err := s.Ask(d.t.Context(), consent.Question{Request: policy.Request{Principal: ada, Session: stead.SessionKey{Project: project, Session: "sess_1"}, Acting: true}, Vault: d.vault, Label: "l", ServerURL: at})
			if err != nil {
				return "", err
			}
			d.waiting[page.ID] = true
			link, _ := url.Parse(s.Link(project, page.ID))
			way, err := s.Begin(d.t.Context(), link.Query().Get("ticket"))
			if err != nil {
				d.t.Fatal(err)
			}
			to, _ := url.Parse(way.URL)
			return to.Query().Get("client_id"), nil
		}
		for _, named := range []string{others.URL, others.URL + "/mcp/", others.URL + "/mcp"} {
			if client, err := asks(with(nil, "https://x.example", named), others.URL+"/mcp"); client != "ours" {
				d.t.Errorf("%s: the client is %q, %v", named, client, err)
			}
		}
		for _, named := range [][]string{{d.tools.URL}, {others.URL + "/mc"}, {others.URL + "/mcp/deeper"}, {strings.Replace(others.URL, "http:", "https:", 1)}, nil} {
			if client, err := asks(with(nil, named...), others.URL+"/mcp"); stead.KindOf(err) != stead.KindForbidden || !strings.Contains(err.Error(), "oauth.clients.servers") {
				d.t.Errorf("%s: the client is %q, %v", named, client, err)
			}
		}
		d.authority.Do(func(a *oauthtest.Authority) {
			if a.Registered > 0 {
				d.t.Errorf("registered %d times", a.Registered)
			}
		})
		if client, err := asks(with([]stead.ProjectID{"another"}, others.URL), others.URL+"/mcp"); client == "ours" || err != nil {
			d.t.Errorf("another project's: %q %v", client, err)
		}
		own := with(nil)
		own.Replace(nil)
		if client, err := asks(own, others.URL+"/mcp"); client == "ours" || err != nil {
			d.t.Errorf("taken away: %q %v", client, err)
		}
	})
}

// A client that a reload takes back, or gives to another server or project, serves nobody who is asked already.
func TestAClientIsTakenBack(t *testing.T) {
	on(t, func(d *desk) {
		cfg := d.cfg
		mine := consent.Client{Issuer: d.authority.URL, ID: "ours", Servers: []string{d.tools.URL}}
		cfg.Clients = []consent.Client{mine}
		s := consent.NewService(cfg)
		d.nodes = [2]*consent.Service{s, s}
		d.authority.Do(func(a *oauthtest.Authority) { a.Clients["ours"], a.Redirect["ours"] = "", s.Redirect(a.URL) })
		elsewhere, others, another := mine, mine, mine
		elsewhere.Servers, others.Projects, another.ID = []string{"https://x.example"}, []stead.ProjectID{"another"}, "theirs"
		for i, now := range [][]consent.Client{nil, {elsewhere}, {others}, {another}} {
			page := d.ask(ada, "sess_1")
			a := d.answer(page)
			s.Replace(now)
			if _, err := s.Begin(d.t.Context(), d.ticket(page)); stead.KindOf(err) != stead.KindNotFound {
				d.t.Errorf("%d: a user goes on to the authorization server: %v", i, err)
			}
			if shown, err := d.finish(0, a); err != nil || shown.Status != consent.Refused || d.token(ada) != "" {
				d.t.Errorf("%d: %+v %v", i, shown, err)
			}
			s.Replace(cfg.Clients)
		}
		d.authority.Do(func(a *oauthtest.Authority) {
			if a.Granted > 0 {
				d.t.Errorf("%d codes were redeemed", a.Granted)
			}
		})
		if shown, err := d.finish(0, d.answer(d.ask(ada, "sess_2"))); err != nil || shown.Status != consent.Given {
			d.t.Errorf("in force: %+v %v", shown, err)
		}
	})
}

// A token that says for whom it is, and names others than the tool server, is not sent there; the operator knows what else an
// authorization server calls it.
func TestATokenIsForTheToolServer(t *testing.T) {
	on(t, func(d *desk) {
		own := func(audiences ...string) {
			cfg := d.cfg
			cfg.Clients = []consent.Client{{Issuer: d.authority.URL, ID: "ours", Servers: []string{d.tools.URL}, Audiences: audiences}}
			s := consent.NewService(cfg)
			d.nodes = [2]*consent.Service{s, s}
			d.authority.Do(func(a *oauthtest.Authority) { a.Clients["ours"], a.Redirect["ours"] = "", s.Redirect(a.URL) })
		}
		at := d.tools.URL + "/mcp"
		for i, c := range []struct {
			aud       any
			audiences []string
			given     bool
		}{
			{at, nil, true},
			{at + "/", nil, true},
			{[]string{"https://login.example/userinfo", at}, nil, true},
			{"api://tickets", []string{"api://tickets"}, true},
			{"api://tickets", nil, false},
			{"account", []string{"api://tickets"}, false},
			{d.tools.URL, nil, false},
			{"https://bank.example/mcp", nil, false},
			{[]string{}, nil, false},
			{"", nil, false},
			{7, nil, false},
		} {
			own(c.audiences...)
			d.authority.Do(func(a *oauthtest.Authority) { a.Aud = c.aud })
			who := ada
			who.ID = fmt.Sprint("user", i)
			shown, err := d.finish(0, d.answer(d.ask(who, "sess_1")))
			if err != nil || (shown.Status == consent.Given) != c.given || !c.given && (shown.Status != consent.Refused || !strings.Contains(shown.Reason, "aud")) {
				d.t.Errorf("aud %v, known %v: %+v %v", c.aud, c.audiences, shown, err)
			}
			if has := d.token(who) != ""; has != c.given {
				d.t.Errorf("aud %v, known %v: a token is kept: %v", c.aud, c.audiences, has)
			}
		}
	})
}

// An authorization server that has forgotten whom it registered tells the user alone, in their browser: so it is asked before they are
// sent there, and registers anew. One that is away, or refuses otherwise, keeps the client that it knows.
func TestAForgottenRegistrationIsMadeAnew(t *testing.T) {
	on(t, func(d *desk) {
		registered := func() (n int) {
			d.authority.Do(func(a *oauthtest.Authority) { n = a.Registered })
			return n
		}
		if shown, err := d.finish(0, d.answer(d.ask(ada, "sess_1"))); err != nil || shown.Status != consent.Given {
			d.t.Fatalf("%+v %v", shown, err)
		}
		d.answer(d.ask(bob, "sess_2"))
		if n := registered(); n != 1 {
			d.t.Errorf("registered %d times for two users", n)
		}
		d.authority.Do(func(a *oauthtest.Authority) { clear(a.Clients); clear(a.Redirect) })
		if shown, err := d.finish(0, d.answer(d.ask(bob, "sess_3"))); err != nil || shown.Status != consent.Given || d.token(bob) == "" {
			d.t.Errorf("of a client that was forgotten: %+v %v", shown, err)
		}
		if n := registered(); n != 2 {
			d.t.Errorf("registered %d times, want a second time", n)
		}
		d.authority.Do(func(a *oauthtest.Authority) {
			if a.Probed != 1 {
				d.t.Errorf("its token endpoint was asked %d times about a client that it knows, want once", a.Probed)
			}
		})
		d.authority.Do(func(a *oauthtest.Authority) { a.AtToken = func() { panic(http.ErrAbortHandler) } })
		d.answer(d.ask(ada, "sess_4"))
		if n := registered(); n != 2 {
			d.t.Errorf("registered %d times with a token endpoint that is away", n)
		}
	})
}

// An operator's client whose secret is not the one that the authorization server knows is refused there each time: the user is told so once,
// and not asked for ever.
func TestAClientWithAnotherSecretIsNotAskedWithForEver(t *testing.T) {
	on(t, func(d *desk) {
		cfg := d.cfg
		cfg.Clients = []consent.Client{{Issuer: d.authority.URL, ID: "ours", Secret: "client-secret-of-last-year", Servers: []string{d.tools.URL}}}
		s := consent.NewService(cfg)
		d.nodes = [2]*consent.Service{s, s}
		d.authority.Do(func(a *oauthtest.Authority) {
			a.Clients["ours"], a.Redirect["ours"] = "client-secret-of-this-year", s.Redirect(a.URL)
		})
		shown, err := d.finish(0, d.answer(d.ask(ada, "sess_1")))
		if err != nil || shown.Status != consent.Refused || !strings.Contains(shown.Reason, "oauth.clients") {
			d.t.Errorf("%+v %v", shown, err)
		}
		if ends := d.ends(); len(ends) != 1 || ends[0].Status != consent.Refused {
			d.t.Errorf("the session is told %+v", ends)
		}
	})
}
