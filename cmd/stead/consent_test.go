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
