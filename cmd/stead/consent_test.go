package main

import (
	"encoding/json"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/oauth/oauthtest"
)

// browser is a user's: it keeps cookies, and goes where it is sent.
type browser struct {
	t *testing.T
	*http.Client
}

func openBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t, &http.Client{Jar: jar}}
}

// read is the text of an answer.
func (b *browser) read(res *http.Response, err error) (*http.Response, string) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res, string(text)
}

func (b *browser) get(link string) (*http.Response, string) {
	b.t.Helper()
	return b.read(b.Get(link))
}

var ticketInput = regexp.MustCompile(`name="ticket" value="([^"]+)"`)

// accept opens a link and goes on from there, to the authorization server and back: to the last page.
func (b *browser) accept(link string) (*http.Response, string) {
	b.t.Helper()
	res, text := b.get(link)
	ticket := ticketInput.FindStringSubmatch(text)
	if res.StatusCode != http.StatusOK || ticket == nil {
		b.t.Fatalf("the page of %s: %d %s", link, res.StatusCode, text)
	}
	u, _ := url.Parse(link)
	return b.read(b.PostForm("http://"+u.Host+u.Path, url.Values{"ticket": {html.UnescapeString(ticket[1])}}))
}

// asking is a server with a tool server that wants consent.
type asking struct {
	*vaulted
	authority *oauthtest.Authority
	tools     *oauthtest.Tools
	vault     string
}

func openAsking(t *testing.T, config string) *asking {
	t.Helper()
	a := oauthtest.NewAuthority(false)
	t.Cleanup(a.Close)
	tools := oauthtest.NewTools(a, false)
	t.Cleanup(tools.Close)
	v := openVaulted(t, config)
	return &asking{v, a, tools, v.post("/v1/vaults", `{"name":"v"}`)}
}

// session is one whose agent calls the server at once.
func (k *asking) session(rest string) string {
	k.t.Helper()
	return k.post("/v1/agents/sessions", `{"agent":{"model":"sim","tools":[{"type":"mcp","server_label":"guarded","require_approval":"never","transport":{"type":"http","server_url":"`+k.tools.URL+`/mcp","auth":"oauth"}}]},
		"environment":{"type":"none"},"vault_ids":["`+k.vault+`"],"input":"Call whoami with {}"`+rest+`}`)
}

// consentAction is a required action as the wire has it.
type consentAction struct {
	Type      string
	RequestID string `json:"request_id"`
	Request   struct {
		Type, Message string
		URL           string `json:"url"`
		ServerLabel   string `json:"server_label"`
		ExpiresAt     int64  `json:"expires_at"`
		Arguments     struct {
			ServerURL string `json:"server_url"`
			Issuer    string
			Scope     string
		}
	}
}

// waits returns what a session asks for, once it does.
func (k *asking) waits(session string) consentAction {
	k.t.Helper()
	for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		_, got := ask(k.t, k.n, "GET", "/v1/agents/sessions/"+session, "")
		var s struct {
			Status  string
			Actions []consentAction `json:"required_actions"`
		}
		if err := json.Unmarshal([]byte(got), &s); err != nil {
			k.t.Fatal(err)
		}
		if s.Status == "requires_action" && len(s.Actions) == 1 {
			return s.Actions[0]
		}
		if time.Since(begin) > patience || s.Status == "idle" {
			_, items := ask(k.t, k.n, "GET", "/v1/agents/sessions/"+session+"/items", "")
			k.t.Fatalf("it asks for nothing: %s %s", got, items)
		}
	}
}

// Whoever a session serves is asked, says yes in a browser, and the call is made: once, with a token that is nowhere else.
func TestAUserConsentsAndTheCallGoesOn(t *testing.T) {
	k := openAsking(t, "")
	id := k.session("")
	act := k.waits(id)
	if act.Type != "oauth_consent" || act.Request.ServerLabel != "guarded" || act.Request.Arguments.Issuer != k.authority.URL || act.Request.Arguments.Scope != "tools offline_access" {
		t.Errorf("%+v", act)
	}
	if !strings.HasPrefix(act.Request.URL, k.n.base+"/v1/oauth/consent?ticket=") {
		t.Fatalf("the link is %s", act.Request.URL)
	}
	b := openBrowser(t)
	res, text := b.accept(act.Request.URL)
	if res.StatusCode != http.StatusOK || !strings.Contains(text, "Thank you") {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	for name, want := range map[string]string{"Content-Security-Policy": "default-src 'none'", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff"} {
		if got := res.Header.Get(name); !strings.Contains(got, want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	output, failure := k.lastCall(id)
	if !strings.Contains(output, "you are known, by Bearer [redacted]") {
		t.Fatalf("%s %s", output, failure)
	}
	_, credentials := ask(t, k.n, "GET", "/v1/vaults/"+k.vault+"/credentials", "")
	if !strings.Contains(credentials, `"type":"mcp_oauth"`) || !strings.Contains(credentials, k.authority.URL+"/token") {
		t.Errorf("the vault has %s", credentials)
	}
	// Another session of the same user has it already.
	if output, failure := k.lastCall(k.session("")); !strings.Contains(output, "you are known") {
		t.Errorf("the second session: %s %s", output, failure)
	}
	// A token that the server takes no more, and whose renewal is refused, is asked for anew.
	k.tools.Do(func(s *oauthtest.Tools) {
		if s.Calls != 2 {
			t.Errorf("%d calls", s.Calls)
		}
	})
	k.authority.Do(func(a *oauthtest.Authority) {
		if a.Registered != 1 || a.Asked != 1 || a.Granted != 1 || a.Refused != 0 {
			t.Errorf("registered %d times, asked %d, granted %d, refused %d", a.Registered, a.Asked, a.Granted, a.Refused)
		}
		if a.LastAsked.Get("resource") != k.tools.URL+"/mcp" || a.LastAsked.Get("scope") != "tools offline_access" {
			t.Errorf("asked with %v", a.LastAsked)
		}
	})
	_, events := ask(t, k.n, "GET", "/v1/agents/sessions/"+id+"/items?limit=100", "")
	_, records := ask(t, k.n, "GET", "/v1/audit_records?limit=100", "")
	everything := k.said.String() + events + records + credentials + text + k.onDisk()
	for _, secret := range k.authority.Secrets() {
		if strings.Contains(everything, secret) {
			t.Errorf("the secret %s is somewhere", secret)
		}
	}
	at, _ := url.Parse(k.authority.URL)
	for _, want := range []string{"asked, to " + at.Host, "given, to " + at.Host, "kept, to " + at.Host} {
		if !strings.Contains(records, want) {
			t.Errorf("the audit log lacks %q: %s", want, records)
		}
	}
}

// onDisk is all that the server stored.
func (k *asking) onDisk() string {
	var all strings.Builder
	_ = filepath.Walk(k.n.cfg.Data, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			text, _ := os.ReadFile(path)
			all.Write(text)
		}
		return nil
	})
	return all.String()
}

// say sends the session a message.
func (k *asking) say(session string) {
	k.t.Helper()
	if res, got := ask(k.t, k.n, "POST", "/v1/agents/sessions/"+session+"/events", `{"events":[{"type":"agent.session.input.message","input":"Call whoami with {}"}]}`); res.StatusCode != http.StatusAccepted {
		k.t.Fatalf("%d %s", res.StatusCode, got)
	}
}

func (k *asking) cancel(session string) {
	k.t.Helper()
	if res, got := ask(k.t, k.n, "POST", "/v1/agents/sessions/"+session+"/events", `{"events":[{"type":"agent.session.input.cancel"}]}`); res.StatusCode != http.StatusAccepted {
		k.t.Fatalf("%d %s", res.StatusCode, got)
	}
	k.settle(session)
}

// granted is how many codes were exchanged.
func (k *asking) granted() (n int) {
	k.authority.Do(func(a *oauthtest.Authority) { n = a.Granted })
	return n
}

func (k *asking) calls() (n int) {
	k.tools.Do(func(s *oauthtest.Tools) { n = s.Calls })
	return n
}

// stopsAt goes a user's way up to where the authorization server sends them back to, and returns that address.
func (b *browser) stopsAt(link string) string {
	b.t.Helper()
	here := *b.Client
	back := ""
	here.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if strings.Contains(r.URL.Path, "/v1/oauth/callback/") {
			back = r.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}
	(&browser{b.t, &here}).accept(link)
	if back == "" {
		b.t.Fatal("the authorization server sends nobody back")
	}
	return back
}

// Whatever else happens to a question: the session goes on, the agent is told, and nothing is done that nobody allowed.
func TestConsentsThatAreNotSimplyGiven(t *testing.T) {
	k := openAsking(t, "")
	fresh := func(t *testing.T) { // another vault, so that nobody has consented
		k.t = t
		k.vault = k.post("/v1/vaults", `{"name":"v"}`)
		k.authority.Do(func(a *oauthtest.Authority) { a.Deny = false })
		k.tools.Do(func(s *oauthtest.Tools) { s.OpenList = false })
	}
	t.Run("a call that is refused is made once its user has consented", func(t *testing.T) {
		fresh(t)
		k.tools.Do(func(s *oauthtest.Tools) { s.OpenList = true })
		before := k.calls()
		id := k.session("")
		openBrowser(t).accept(k.waits(id).Request.URL)
		if output, failure := k.lastCall(id); !strings.Contains(output, "you are known") || k.calls() != before+1 {
			t.Errorf("%s %s, %d calls", output, failure, k.calls()-before)
		}
	})
	t.Run("the user says no to a call", func(t *testing.T) {
		fresh(t)
		k.tools.Do(func(s *oauthtest.Tools) { s.OpenList = true })
		k.authority.Do(func(a *oauthtest.Authority) { a.Deny = true })
		before, id := k.calls(), k.session("")
		if _, text := openBrowser(t).accept(k.waits(id).Request.URL); !strings.Contains(text, "The user did not allow it. The agent is told") {
			t.Error(text)
		}
		if output, failure := k.lastCall(id); output != "null" || !strings.Contains(failure, "wants its user's consent, and nothing was done there. The user did not allow it.") || k.calls() != before {
			t.Errorf("%s %s", output, failure)
		}
		if _, records := ask(t, k.n, "GET", "/v1/audit_records?action=credential.consent&limit=1", ""); !strings.Contains(records, `"refused, to `) || !strings.Contains(records, id) {
			t.Errorf("the audit log has %s", records)
		}
	})
	t.Run("the user says no before tools are listed", func(t *testing.T) {
		fresh(t)
		k.authority.Do(func(a *oauthtest.Authority) { a.Deny = true })
		id := k.session("")
		openBrowser(t).accept(k.waits(id).Request.URL)
		k.settle(id)
		k.authority.Do(func(a *oauthtest.Authority) { a.Deny = false })
		k.say(id) // in the next turn they are asked again
		openBrowser(t).accept(k.waits(id).Request.URL)
		if output, failure := k.lastCall(id); !strings.Contains(output, "you are known") {
			t.Errorf("%s %s", output, failure)
		}
	})
	t.Run("somebody denies, and nobody approves, by the API", func(t *testing.T) {
		fresh(t)
		id := k.session("")
		act := k.waits(id)
		answer := func(decision string) (*http.Response, string) {
			return ask(t, k.n, "POST", "/v1/approvals/"+act.RequestID, `{"decision":"`+decision+`"}`)
		}
		if res, got := answer("approve"); res.StatusCode != http.StatusBadRequest || !strings.Contains(got, "nobody can approve for the user") {
			t.Errorf("%d %s", res.StatusCode, got)
		}
		if res, got := answer("deny"); res.StatusCode/100 != 2 {
			t.Errorf("%d %s", res.StatusCode, got)
		}
		k.settle(id)
		if res, text := openBrowser(t).get(act.Request.URL); res.StatusCode != http.StatusNotFound || strings.Contains(text, "<form") {
			t.Errorf("%d %s", res.StatusCode, text)
		}
	})
	t.Run("the session is deleted meanwhile", func(t *testing.T) {
		fresh(t)
		before := k.granted()
		b, id := openBrowser(t), k.session("")
		back := b.stopsAt(k.waits(id).Request.URL)
		k.cancel(id)
		if res, got := ask(t, k.n, "DELETE", "/v1/agents/sessions/"+id, ""); res.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", res.StatusCode, got)
		}
		if res, text := b.get(back); res.StatusCode != http.StatusNotFound || k.granted() != before {
			t.Errorf("%d %s", res.StatusCode, text)
		}
	})
	t.Run("a victim is sent past the page, by somebody else's link", func(t *testing.T) {
		fresh(t)
		before, id := k.granted(), k.session("")
		mallory, victim := openBrowser(t), openBrowser(t)
		back := mallory.stopsAt(k.waits(id).Request.URL) // as the victim's browser would be sent, with the victim's code
		if res, text := victim.get(back); res.StatusCode != http.StatusForbidden || !strings.Contains(text, "another browser") || k.granted() != before {
			t.Errorf("%d %s", res.StatusCode, text)
		}
		if res, text := mallory.get(strings.Replace(back, "iss=", "iss=https%3A%2F%2Fevil.example&was=", 1)); res.StatusCode != http.StatusForbidden {
			t.Errorf("mixed up: %d %s", res.StatusCode, text)
		}
		if res, text := mallory.get(back + "&code=another"); res.StatusCode != http.StatusBadRequest {
			t.Errorf("a code twice: %d %s", res.StatusCode, text)
		}
		if res, text := mallory.get(back); res.StatusCode != http.StatusOK || k.granted() != before+1 {
			t.Errorf("the right one: %d %s", res.StatusCode, text)
		}
		if res, text := mallory.get(back); res.StatusCode != http.StatusNotFound {
			t.Errorf("once more: %d %s", res.StatusCode, text)
		}
		k.settle(id)
	})
	t.Run("a page of another origin goes on for nobody", func(t *testing.T) {
		fresh(t)
		id := k.session("")
		link, _ := url.Parse(k.waits(id).Request.URL)
		req, err := http.NewRequestWithContext(t.Context(), "POST", k.n.base+"/v1/oauth/consent", strings.NewReader(url.Values{"ticket": {link.Query().Get("ticket")}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", "https://evil.example")
		b := openBrowser(t)
		if res, text := b.read(b.Do(req)); res.StatusCode != http.StatusForbidden || len(res.Cookies()) > 0 {
			t.Errorf("%d %s", res.StatusCode, text)
		}
		k.cancel(id)
	})
	t.Run("a token that is taken no more is renewed, and then asked for anew", func(t *testing.T) {
		fresh(t)
		id := k.session("")
		openBrowser(t).accept(k.waits(id).Request.URL)
		k.lastCall(id)
		before := k.granted()
		k.authority.Expire()
		if output, failure := k.whoami(id); !strings.Contains(output, "you are known") || k.granted() != before {
			t.Errorf("renewed: %s %s", output, failure)
		}
		k.authority.Revoke()
		k.say(id)
		openBrowser(t).accept(k.waits(id).Request.URL)
		if output, failure := k.lastCall(id); !strings.Contains(output, "you are known") || k.granted() != before+1 {
			t.Errorf("anew: %s %s", output, failure)
		}
		if _, list := ask(t, k.n, "GET", "/v1/vaults/"+k.vault+"/credentials", ""); strings.Count(list, `"vault.credential"`) != 1 {
			t.Errorf("the vault has %s", list)
		}
	})
	t.Run("the user is erased", func(t *testing.T) {
		fresh(t)
		id := k.session("")
		openBrowser(t).accept(k.waits(id).Request.URL)
		k.lastCall(id)
		kept := k.post("/v1/vaults/"+k.vault+"/credentials", `{"name":"everybody's","auth":{"type":"static_bearer","mcp_server_url":"https://other.example","token":"a-token-of-some-length"}}`)
		erasure := k.post("/v1/erasures", `{"user":"local"}`)
		for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			_, got := ask(t, k.n, "GET", "/v1/erasures/"+erasure, "")
			if strings.Contains(got, `"status":"completed"`) {
				if !strings.Contains(got, `"credentials":`) {
					t.Errorf("it says %s", got)
				}
				break
			}
			if time.Since(begin) > patience {
				t.Fatalf("it does not end: %s", got)
			}
		}
		if _, list := ask(t, k.n, "GET", "/v1/vaults/"+k.vault+"/credentials", ""); strings.Contains(list, "mcp_oauth") || !strings.Contains(list, kept) {
			t.Errorf("the vault has %s", list)
		}
	})
	t.Run("where no token can be kept", func(t *testing.T) {
		fresh(t)
		body := `{"agent":{"model":"sim","tools":[{"type":"mcp","server_label":"guarded","transport":{"type":"http","server_url":"` + k.tools.URL + `/mcp","auth":"oauth"}}]},"environment":{"type":"none"},"input":"hi"}`
		if res, got := ask(t, k.n, "POST", "/v1/agents/sessions", body); res.StatusCode != http.StatusBadRequest || !strings.Contains(got, `"param":"vault_ids"`) {
			t.Errorf("%d %s", res.StatusCode, got)
		}
	})
	t.Run("where nobody can be asked", func(t *testing.T) {
		fresh(t)
		k.authority.Do(func(a *oauthtest.Authority) {
			a.Metadata = map[string]any{"code_challenge_methods_supported": []string{"plain"}}
		})
		k.tools.Do(func(s *oauthtest.Tools) { s.OpenList = true })
		if output, failure := k.lastCall(k.session("")); output != "null" || !strings.Contains(failure, "It could not be asked for: the authorization server does not say that it checks PKCE") {
			t.Errorf("%s %s", output, failure)
		}
	})
}
