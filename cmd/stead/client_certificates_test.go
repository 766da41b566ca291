package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/identity/certificate/certificatetest"
)

// gate is a server that asks for client certificates, with an authority of its own and one of its clients.
type gate struct {
	t       *testing.T
	n       *node
	ca      *certificatetest.Authority // of the server
	clients *certificatetest.Authority
	yaml    string // the configuration's file
	text    string // what is in it, but for client_certificates
	caFile  string // tls.client_ca
	trust   string // a file with the server's authority
}

const certificateRulesText = `client_certificates:
  allow:
    - {spiffe_id: "spiffe://acme.example/batch", project: one, role: developer}
    - {spiffe_id: "spiffe://acme.example/ada", kind: user, id: ada, project: one, role: agent, bound: true}
    - {spiffe_id: "spiffe://acme.example/box", kind: executor, project: one}
    - {spiffe_id: "spiffe://acme.example/elsewhere", kind: executor, project: two}
`

func openGate(t *testing.T, auth string) *gate {
	t.Helper()
	dir := t.TempDir()
	g := &gate{t: t, ca: certificatetest.New(t, "servers"), clients: certificatetest.New(t, "clients"), yaml: filepath.Join(dir, "stead.yaml"), caFile: filepath.Join(dir, "clients.pem"), trust: filepath.Join(dir, "servers.pem")}
	cert, key := certificatetest.Write(t, g.ca.Server(t, "stead.example"), dir)
	g.trustClients(g.clients)
	certificatetest.Replace(t, g.trust, certificatetest.PEM(g.ca))
	g.text = "auth: {mode: keys, browser_origins: [\"https://app.example.com\"]}\nlimits: {drain_seconds: 1}\nenvironments: {driver: bare}\nproviders: [{name: sim, api: sim}]\nmodels: [{name: sim, routes: [{provider: sim, model: sim}]}]\n" +
		"tls: {certificate: " + cert + ", key: " + key + ", client_ca: " + g.caFile + ", client_auth: " + auth + "}\n"
	certificatetest.Replace(t, g.yaml, []byte(g.text+certificateRulesText))
	g.n = openAt(t, g.yaml, filepath.Join(t.TempDir(), "data"), io.Discard)
	return g
}

func (g *gate) trustClients(of ...*certificatetest.Authority) {
	g.t.Helper()
	certificatetest.Replace(g.t, g.caFile, certificatetest.PEM(of...))
}

// hurry makes the server read its files at the next chance, also ones that are as large as those before and as old: a file system's
// clock may stand still for milliseconds.
func (g *gate) hurry() {
	g.n.clients.mu.Lock()
	defer g.n.clients.mu.Unlock()
	g.n.clients.looked, g.n.clients.seen = time.Time{}, fileState{}
}

// reload is what SIGHUP does, with other rules.
func (g *gate) reload(rules string) {
	g.t.Helper()
	certificatetest.Replace(g.t, g.yaml, []byte(g.text+rules))
	err := g.n.reload(g.t.Context(), func() (*config.Config, error) {
		return config.Load(config.Flags{Listen: "127.0.0.1:0", Data: g.n.cfg.Data, File: g.yaml}, func(string) (string, bool) { return "", false })
	})
	if err != nil {
		g.t.Fatal(err)
	}
}

// as is a client that shows a certificate; nil: none.
func (g *gate) as(c *tls.Certificate, change func(*tls.Config)) *http.Client {
	g.t.Helper()
	config := &tls.Config{RootCAs: certificatetest.Pool(g.ca)}
	if c != nil {
		// Whatever authorities the server names, which Certificates would look at.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }
	}
	if change != nil {
		change(config)
	}
	tr := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	g.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// get is a call's status and body, 0 where there was no answer.
func (g *gate) get(c *http.Client, key, path string) (int, string) {
	return g.call(c, key, "GET", path, "")
}

func (g *gate) call(c *http.Client, key, method, path, body string) (int, string) {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.n.base+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
}

// made is get of an object that is made.
func (g *gate) made(c *http.Client, key, method, path, body string, out any) {
	g.t.Helper()
	status, said := g.call(c, key, method, path, body)
	if status != 200 || json.Unmarshal([]byte(said), out) != nil {
		g.t.Fatalf("%s %s: %d %s", method, path, status, said)
	}
}

// recorded waits for a refusal in the audit log with a reason.
func (g *gate) recorded(reason string) {
	g.t.Helper()
	plain := g.n.asRootHTTP(g)
	var log string
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if _, log = g.get(plain, g.n.rootKey, "/v1/audit_records?action=authenticate&limit=100"); strings.Contains(log, reason) {
			return
		}
	}
	g.t.Errorf("the audit log does not have %q: %s", reason, log)
}

// asRootHTTP is a client that is let in whatever is asked for.
func (n *node) asRootHTTP(g *gate) *http.Client { return g.as(n.clients.own, nil) }

func TestWhoComesWithAClientCertificate(t *testing.T) {
	g := openGate(t, config.ClientAuthOptional)
	stranger := certificatetest.New(t, "clients") // the same name, another key
	batch := g.as(g.clients.SPIFFE(t, "spiffe://acme.example/batch"), nil)
	if status, body := g.get(batch, "", "/v1/agents"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	plain := g.as(nil, nil)
	for what, c := range map[string]struct {
		client      *http.Client
		key, path   string
		status      int
		body, audit string
	}{
		"its role is not an owner's":      {batch, "", "/v1/api_keys", 403, "", ""},
		"a key in place of it":            {batch, g.n.rootKey, "/v1/api_keys", 200, "", ""},
		"a wrong key beside it":           {batch, "sk-stead-0a-00ff", "/v1/agents", 401, "", "the API key is not known"},
		"nothing":                         {plain, "", "/v1/agents", 401, "no API key", ""},
		"a key alone":                     {plain, g.n.rootKey, "/v1/agents", 200, "", ""},
		"an executor at the API":          {g.as(g.clients.SPIFFE(t, "spiffe://acme.example/box"), nil), "", "/v1/agents", 403, "executor's", "executor's"},
		"a name without a rule":           {g.as(g.clients.SPIFFE(t, "spiffe://acme.example/batch/2"), nil), "", "/v1/agents", 403, "spiffe://acme.example/batch/2", "no rule gives"},
		"the same with a key":             {g.as(g.clients.SPIFFE(t, "spiffe://acme.example/batch/2"), nil), g.n.rootKey, "/v1/agents", 200, "", ""},
		"several names":                   {g.as(g.clients.SPIFFE(t, "spiffe://acme.example/batch", "spiffe://acme.example/ada"), nil), "", "/v1/agents", 0, "", "2 URIs"},
		"several names with a key":        {g.as(g.clients.SPIFFE(t, "spiffe://acme.example/batch", "spiffe://acme.example/ada"), nil), g.n.rootKey, "/v1/agents", 0, "", ""},
		"another authority":               {g.as(stranger.SPIFFE(t, "spiffe://acme.example/batch"), nil), "", "/v1/agents", 0, "", "not trusted here"},
		"the server's authority":          {g.as(g.ca.SPIFFE(t, "spiffe://acme.example/batch"), nil), "", "/v1/agents", 0, "", ""},
		"another's at a route for nobody": {g.as(stranger.SPIFFE(t, "spiffe://acme.example/batch"), nil), "", "/healthz", 0, "", ""},
		"expired": {g.as(g.clients.Issue(t, func(c *x509.Certificate) {
			c.URIs, c.NotAfter = certificatetest.URIs(t, "spiffe://acme.example/batch"), time.Now().Add(-time.Second)
		}), nil), "", "/v1/agents", 0, "", "has expired"},
		"for servers": {g.as(g.clients.Issue(t, func(c *x509.Certificate) {
			c.URIs, c.ExtKeyUsage = certificatetest.URIs(t, "spiffe://acme.example/batch"), []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}), nil), "", "/v1/agents", 0, "", "not for clients"},
		"another's, without its key": {g.as(&tls.Certificate{Certificate: g.clients.SPIFFE(t, "spiffe://acme.example/batch").Certificate, PrivateKey: stranger.SPIFFE(t).PrivateKey}, nil), "", "/v1/agents", 0, "", "does not have the key"},
	} {
		status, body := g.get(c.client, c.key, c.path)
		if status != c.status || !strings.Contains(body, c.body) {
			t.Errorf("%s: %d %s, want %d %s", what, status, body, c.status, c.body)
		}
		if c.audit != "" {
			g.recorded(c.audit)
		}
	}
	// Who a certificate stands for is who made the session, and in the log with what it came with.
	ada := g.as(g.clients.SPIFFE(t, "spiffe://acme.example/ada"), nil)
	var s struct{ ID string }
	g.made(ada, "", "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"Say hi"}`, &s)
	if status, body := g.get(batch, "", "/v1/agents/sessions/"+s.ID); status != 200 {
		t.Errorf("the project's: %d %s", status, body)
	}
	var two struct{ Secret string }
	g.made(plain, g.n.rootKey, "POST", "/v1/api_keys", `{"role":"owner","project":"two"}`, &two)
	if status, _ := g.get(plain, two.Secret, "/v1/agents/sessions/"+s.ID); status != 404 {
		t.Errorf("another project's: %d", status)
	}
	var tok madeToken
	g.made(ada, "", "POST", "/v1/agents/sessions/"+s.ID+"/tokens", `{"scope":["read","write"],"expires_after_seconds":86400}`, &tok)
	if tok.ExpiresAt > time.Now().Add(31*time.Minute).Unix() {
		t.Errorf("the session token outlives the certificate that it was made with: %d", tok.ExpiresAt)
	}
	if status, body := g.get(plain, tok.Secret, "/v1/agents/sessions/"+s.ID+"/items"); status != 200 {
		t.Errorf("with her session token: %d %s", status, body)
	}
	pagesDoNotActBy(g, ada, tok.Secret, s.ID)
	endsWith(g, plain, tok.Secret, s.ID)
	g.reload(certificateRulesText + "  deny: [{spiffe_id: \"spiffe://acme.example/ada\"}]\n")
	if status, body := g.get(plain, tok.Secret, "/v1/agents/sessions/"+s.ID+"/items"); status != 401 || !strings.Contains(body, "does not count any more") {
		t.Errorf("with her session token, after her certificate was denied: %d %s", status, body)
	}
	if status, body := g.get(ada, "", "/v1/agents/sessions/"+s.ID); status != 401 || !strings.Contains(body, "certificate_denied") {
		t.Errorf("on the connection that she had: %d %s", status, body)
	}
	if status, body := g.get(ada, g.n.rootKey, "/v1/agents"); status != 401 {
		t.Errorf("with a key on that connection: %d %s", status, body)
	}
}

// pagesDoNotActBy: a browser adds its certificate to what any page sends. A page acts by the token that it sends, and by nothing
// else, also one that is configured.
func pagesDoNotActBy(g *gate, browser *http.Client, token, session string) {
	g.t.Helper()
	for what, c := range map[string]struct {
		key, origin string
		status      int
	}{
		"a page that is configured":    {"", "https://app.example.com", 403},
		"another page":                 {"", "https://other.example.com", 403},
		"with its token":               {token, "https://app.example.com", 202},
		"another page that has one":    {token, "https://other.example.com", 403},
		"with a token that is unknown": {"st-stead-0a-00ff", "https://app.example.com", 401},
	} {
		req, err := http.NewRequestWithContext(g.t.Context(), "POST", g.n.base+"/v1/agents/sessions/"+session+"/events",
			strings.NewReader(`{"events":[{"type":"agent.session.input.message","input":"Say boo"}]}`))
		if err != nil {
			g.t.Fatal(err)
		}
		req.Header = http.Header{"Origin": {c.origin}, "Sec-Fetch-Site": {"cross-site"}, "Content-Type": {"text/plain"}} // as fetch sends it without asking
		if c.key != "" {
			req.Header.Set("Authorization", "Bearer "+c.key)
		}
		res, err := browser.Do(req)
		if err != nil {
			g.t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != c.status {
			g.t.Errorf("%s: %d %s, want %d", what, res.StatusCode, body, c.status)
		}
	}
}

// endsWith: a session token lets in for as long as the certificate that it was made with would, and as whom it did.
func endsWith(g *gate, c *http.Client, token, session string) {
	g.t.Helper()
	seen := func(what string, want int) {
		g.t.Helper()
		if status, body := g.get(c, token, "/v1/agents/sessions/"+session+"/items"); status != want {
			g.t.Errorf("with a session token %s: %d %s, want %d", what, status, body, want)
		}
	}
	g.trustClients(certificatetest.New(g.t, "others"))
	g.hurry()
	seen("whose authority is gone", 401) // on the connection that there is: nobody else has the file looked at
	g.trustClients(g.clients)
	g.hurry()
	seen("whose authority is back", 200)
	g.reload(strings.Replace(certificateRulesText, "id: ada, project: one, role: agent", "id: ada, project: one, role: auditor", 1))
	seen("whose role is another", 401)
	g.reload(strings.Replace(certificateRulesText, "id: ada,", "id: eve,", 1))
	seen("whose principal is another", 401)
	g.reload(certificateRulesText)
	seen("by its rule again", 200)
}

// A stream ends with the certificate that it was opened with, as with a token.
func TestAStreamEndsWithItsCertificate(t *testing.T) {
	g := openGate(t, config.ClientAuthOptional)
	var s struct{ ID string }
	g.made(g.as(g.clients.SPIFFE(t, "spiffe://acme.example/ada"), nil), "", "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"Say hi"}`, &s)
	for _, c := range [][2]string{{"alone", ""}, {"beside a key", g.n.rootKey}} { // in this order: the second has a session of its own
		what, key := c[0], c[1]
		path := "/v1/agents/sessions/" + s.ID + "/events?after=0"
		if key != "" { // the root key chooses its project
			g.made(g.as(nil, nil), key, "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"none"},"input":"Say hi"}`, &s)
			path = "/v1/agents/sessions/" + s.ID + "/events?after=0"
		}
		var short *http.Client
		for life := 2 * time.Second; ; life *= 4 {
			ends := time.Now().Add(life).Truncate(time.Second)
			short = g.as(g.clients.Issue(t, func(c *x509.Certificate) {
				c.URIs, c.NotAfter = certificatetest.URIs(t, "spiffe://acme.example/ada"), ends
			}), nil)
			status, body := g.get(short, key, path)
			late := time.Since(ends)
			if status != 200 && life < time.Minute && late > 0 {
				continue // on a busy machine it was over before the stream began
			}
			if status != 200 || !strings.Contains(body, "token_expired") || late.Abs() > 10*time.Second {
				t.Errorf("%s: %d %s after %s", what, status, body, late)
			}
			break
		}
		if status, _ := g.get(short, key, path); status != 401 && status != 0 {
			t.Errorf("%s, again: %d", what, status)
		}
	}
}

// Whose authority goes is refused from then on, on connections that there are and in sessions that are resumed; whose stays
// notices nothing.
func TestAuthoritiesAreReplacedUnderLoad(t *testing.T) {
	g := openGate(t, config.ClientAuthOptional)
	next := certificatetest.New(t, "next")
	g.trustClients(g.clients, next)
	g.hurry()
	old, fresh := g.clients.SPIFFE(t, "spiffe://acme.example/batch"), next.SPIFFE(t, "spiffe://acme.example/batch")
	kept := g.as(old, nil) // one connection, HTTP/2
	if status, body := g.get(kept, "", "/v1/agents"); status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	var gone, stop atomic.Bool // gone: the old authority was taken away before
	var calls, refused atomic.Int64
	var working sync.WaitGroup
	work := func(c *http.Client, goes bool) {
		for !stop.Load() {
			before := gone.Load()
			status, body := g.get(c, "", "/v1/agents")
			calls.Add(1)
			switch {
			case !goes && status != 200:
				t.Errorf("whose authority stays is refused: %d %s", status, body)
				return
			case goes && before && status == 200:
				t.Error("whose authority is gone is let in")
				return
			case goes && status != 200:
				refused.Add(1)
			}
		}
	}
	for range 2 {
		working.Go(func() { work(g.as(old, nil), true) })
		working.Go(func() { work(g.as(fresh, nil), false) })
		working.Go(func() { work(once(g.as(old, nil)), true) })
		working.Go(func() { work(once(g.as(fresh, nil)), false) })
	}
	at := func(n int64) {
		for until := time.Now().Add(20 * time.Second); calls.Load() < n; time.Sleep(time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("nobody calls")
			}
		}
	}
	at(200)
	certificatetest.Replace(t, g.caFile, []byte("half an author")) // changes nothing
	g.hurry()
	at(calls.Load() + 100)
	if refused.Load() > 0 {
		t.Error("a file that can't be used took an authority away")
	}
	g.trustClients(next)
	g.hurry()
	g.n.clients.look()
	gone.Store(true)
	at(calls.Load() + 300)
	stop.Store(true)
	working.Wait()
	if refused.Load() == 0 {
		t.Error("nobody was refused")
	}
	if status, body := g.get(kept, "", "/v1/agents"); status != 401 || !strings.Contains(body, "certificate_unknown_authority") {
		t.Errorf("on the connection that there was: %d %s", status, body)
	}
}

// once makes a client connect for each request.
func once(c *http.Client) *http.Client {
	c.Transport.(*http.Transport).DisableKeepAlives = true
	return c
}

// sessions says whether a client's TLS sessions were resumed.
type sessions struct{ resumed, fresh atomic.Int64 }

func (s *sessions) of(version uint16) func(*tls.Config) {
	return func(c *tls.Config) {
		c.ClientSessionCache, c.MaxVersion = tls.NewLRUClientSessionCache(8), version
		c.VerifyConnection = func(state tls.ConnectionState) error {
			if state.DidResume {
				s.resumed.Add(1)
			} else {
				s.fresh.Add(1)
			}
			return nil
		}
	}
}

func TestAResumedSessionIsVerifiedAgain(t *testing.T) {
	g := openGate(t, config.ClientAuthRequired)
	next := certificatetest.New(t, "next")
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		g.trustClients(g.clients, next)
		g.hurry()
		var seen sessions
		c := once(g.as(g.clients.SPIFFE(t, "spiffe://acme.example/batch"), seen.of(version)))
		for range 3 {
			if status, body := g.get(c, "", "/v1/agents"); status != 200 {
				t.Fatalf("%s: %d %s", name, status, body)
			}
		}
		if seen.fresh.Load() != 1 || seen.resumed.Load() != 2 {
			t.Fatalf("%s: %d sessions were resumed, %d were not", name, seen.resumed.Load(), seen.fresh.Load())
		}
		g.trustClients(next)
		g.hurry()
		if status, body := g.get(c, "", "/v1/agents"); status != 0 {
			t.Errorf("%s: after its authority went: %d %s", name, status, body)
		}
		g.recorded("not trusted here")
	}
}

// Where certificates are required, nobody connects without; this process itself does.
func TestClientCertificatesAreRequired(t *testing.T) {
	g := openGate(t, config.ClientAuthRequired)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		plain := g.as(nil, func(c *tls.Config) { c.MaxVersion = version })
		// A client of TLS 1.3 is refused when it believes itself connected: HTTP/2 may be who notices.
		if status, body := g.get(plain, g.n.rootKey, "/healthz"); status != 0 || !strings.Contains(body, "tls") && !strings.Contains(body, "http2: client conn") && !strings.Contains(body, "broken pipe") && !strings.Contains(body, "reset by peer") {
			t.Errorf("without one: %d %s", status, body)
		}
	}
	g.recorded("a client certificate is needed")
	own, err := client.New(g.n.base)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if !g.n.asRoot(own).Alive(t.Context()) {
		t.Error("the process can't call itself")
	}
	if status, _ := g.get(g.n.asRootHTTP(g), "", "/v1/agents"); status != 401 {
		t.Errorf("its own certificate makes somebody known: %d", status)
	}
	unmapped := g.as(g.clients.SPIFFE(t, "spiffe://acme.example/laptop"), nil)
	if status, body := g.get(unmapped, g.n.rootKey, "/v1/agents"); status != 200 {
		t.Errorf("a key behind a certificate without a role: %d %s", status, body)
	}
	// The command line.
	dir := t.TempDir()
	cert, key := certificatetest.Write(t, g.clients.SPIFFE(t, "spiffe://acme.example/batch"), dir)
	strange, strangeKey := certificatetest.Write(t, certificatetest.New(t, "strangers").SPIFFE(t, "spiffe://acme.example/batch"), t.TempDir())
	for what, c := range map[string]struct {
		args []string
		env  map[string]string
		code int
		said string
	}{
		"by flags":       {[]string{"--cert", cert, "--key", key, "--ca", g.trust}, nil, exitOK, ""},
		"by variables":   {nil, map[string]string{envCertFile: cert, envKeyFile: key, envCAFile: g.trust}, exitOK, ""},
		"without one":    {[]string{"--ca", g.trust}, nil, exitFailed, "--cert, STEAD_CERT), or want one"},
		"without a key":  {[]string{"--cert", cert, "--ca", g.trust}, nil, exitFailed, "takes both"},
		"no such file":   {[]string{"--cert", cert + "x", "--key", key, "--ca", g.trust}, nil, exitFailed, "can't be used"},
		"another server": {[]string{"--cert", cert, "--key", key}, nil, exitFailed, "--ca or STEAD_CA"},
		"a stranger's":   {[]string{"--cert", strange, "--key", strangeKey, "--ca", g.trust}, nil, exitFailed, "may have refused the client certificate"},
		"in the clear":   {[]string{"--cert", cert, "--key", key, "--server", "http://127.0.0.1:1"}, nil, exitFailed, "over https alone"},
	} {
		var said bytes.Buffer
		a := &app{in: strings.NewReader(""), out: io.Discard, err: &said, env: func(name string) (string, bool) { v, ok := c.env[name]; return v, ok }}
		if code := a.main(t.Context(), append([]string{"agents", "list", "--server", g.n.base}, c.args...)); code != c.code || !strings.Contains(said.String(), c.said) {
			t.Errorf("%s: %d %s", what, code, &said)
		}
	}
	if f := checkClientCA(g.n.cfg, time.Now()); f.Verdict != verdictWarn { // its authority lasts for an hour
		t.Errorf("doctor: %+v", f)
	}
	if err := os.WriteFile(g.caFile, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := checkClientCA(g.n.cfg, time.Now()); f.Verdict != verdictFail {
		t.Errorf("doctor of a broken file: %+v", f)
	}
}

// An executor comes with a certificate of its project in place of a token. Its connection ends with the certificate, and goes on
// with the next one: what it runs notices nothing.
func TestAnExecutorComesWithACertificate(t *testing.T) {
	g := openGate(t, config.ClientAuthRequired)
	batch := g.as(g.clients.SPIFFE(t, "spiffe://acme.example/batch"), nil)
	var s struct {
		ID          string
		Environment struct {
			ID        string
			RemoteURL string `json:"remote_url"`
		}
	}
	g.made(batch, "", "POST", "/v1/agents/sessions", `{"agent":{"model":"sim"},"environment":{"type":"self_hosted","workspace_directory":"/workspace"},"input":"Say hi"}`, &s)
	door, token, _ := strings.Cut(s.Environment.RemoteURL, "#")
	path := strings.TrimPrefix(door, g.n.base)
	box := func(until time.Time) *tls.Certificate {
		return g.clients.Issue(t, func(c *x509.Certificate) {
			c.URIs, c.NotAfter = certificatetest.URIs(t, "spiffe://acme.example/box"), until
		})
	}
	for what, c := range map[string]struct {
		client *http.Client
		token  string
		status int // 400: it is let in, and then found to be no WebSocket
	}{
		"an executor of the project":  {g.as(box(time.Now().Add(time.Hour)), nil), "", 400},
		"of another project":          {g.as(g.clients.SPIFFE(t, "spiffe://acme.example/elsewhere"), nil), "", 401},
		"who has a role":              {batch, "", 401},
		"with the token":              {batch, token, 400},
		"with a token that is wrong":  {g.as(box(time.Now().Add(time.Hour)), nil), "stead_exec_x", 401},
		"an executor with that token": {g.as(box(time.Now().Add(time.Hour)), nil), token, 400},
	} {
		if status, body := g.get(c.client, c.token, path); status != c.status {
			t.Errorf("%s: %d %s, want %d", what, status, body, c.status)
		}
	}

	dir := t.TempDir()
	var said lockedBuffer
	told := func(what string, until time.Time) bool {
		for !strings.Contains(said.String(), what) && time.Now().Before(until) {
			time.Sleep(10 * time.Millisecond)
		}
		return strings.Contains(said.String(), what)
	}
	var ends time.Time
	for life := 3 * time.Second; ; life *= 4 { // on a busy machine a certificate may be over before anybody connects
		ends = time.Now().Add(life).Truncate(time.Second)
		cert, key := certificatetest.Write(t, box(ends), dir)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan int, 1)
		go func() {
			a := &app{in: strings.NewReader(""), out: &said, err: io.Discard, env: func(string) (string, bool) { return "", false }}
			ended <- a.main(ctx, []string{"executor", "--remote", door, "--workspace", t.TempDir(), "--sandbox", "none", "--cert", cert, "--key", key, "--ca", g.trust})
		}()
		end := func() { stop(); <-ended }
		if told("connected", ends) {
			defer end()
			break
		}
		if end(); life > time.Minute {
			t.Fatalf("the executor does not connect: %s", &said)
		}
	}
	certificatetest.Write(t, box(time.Now().Add(time.Minute)), dir)
	if !told("connected again: commands went on meanwhile", time.Now().Add(patience)) {
		t.Fatalf("the executor does not connect again: %s", &said)
	}
	if time.Now().Before(ends) {
		t.Error("it connected again before its certificate had ended")
	}
	var one struct{ Secret string }
	root := g.n.asRootHTTP(g)
	g.made(root, g.n.rootKey, "POST", "/v1/api_keys", `{"role":"auditor","project":"one"}`, &one)
	var log struct {
		Data []struct {
			Record struct {
				Session, Resource, By string
				Principal             struct{ Kind, ID, Key string }
			}
		}
	}
	g.made(root, one.Secret, "GET", "/v1/audit_records?action=executor.connect", "", &log)
	if len(log.Data) != 2 || log.Data[0].Record.Principal.ID != "spiffe://acme.example/box" || log.Data[0].Record.Session != s.ID || log.Data[0].Record.Resource != s.Environment.ID ||
		!strings.HasPrefix(log.Data[0].Record.Principal.Key, "cert_") || log.Data[0].Record.Principal.Key == log.Data[1].Record.Principal.Key {
		t.Errorf("the audit log has %+v", log.Data)
	}
}

// lockedBuffer is written to by one goroutine and read by another.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
