package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
)

const secret = `sk-live/4eC39+Hq"LyjWDarjtT1zdp7dc`

func token(hosts ...string) Credential {
	return Credential{Name: "api-token", Placeholder: "stead_api_token_0123456789abcdef", Hosts: hosts,
		Value: func(context.Context, string) (string, error) { return secret, nil },
		Mask:  func(context.Context) (string, error) { return secret, nil }}
}

func with(creds ...Credential) func(*Config) {
	return func(c *Config) { c.Credentials = creds }
}

// TestPlaceholderBecomesTheSecret, in any header field and inside Basic, and comes back as the
// placeholder wherever the server echoes it.
func TestPlaceholderBecomesTheSecret(t *testing.T) {
	w := newWorld(t)
	var got http.Header
	w.secure(func(rw http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		rw.Header().Set("X-Echo", r.Header.Get("Authorization")+r.Header.Get("X-Api-Key"))
		fmt.Fprintf(rw, "auth %s key %s", r.Header.Get("Authorization"), r.Header.Get("X-Api-Key"))
	}, "api.example")
	cred, to := token("api.example"), ""
	cred.Value = func(_ context.Context, destination string) (string, error) { to = destination; return secret, nil }
	b := w.box(allow("api.example"), with(cred))
	c := b.client()
	ph := token().Placeholder

	status, body := get(t, c, "https://api.example/v1?q=1", "Authorization", "Bearer "+ph, "X-Api-Key", "k:"+ph+";")
	if status != 200 || got.Get("Authorization") != "Bearer "+secret || got.Get("X-Api-Key") != "k:"+secret+";" {
		t.Fatalf("%d %q, the server got %v", status, body, got)
	}
	if to != "api.example:443" {
		t.Errorf("it was opened for %q", to)
	}
	if want := "auth Bearer " + ph + " key k:" + ph + ";"; body != want {
		t.Errorf("the body is %q, want %q", body, want)
	}
	end := b.await("the end", func(r Record) bool { return r.Phase == PhaseEnded })
	if !end.Opened || end.Path != "/v1" || len(end.Creds) != 1 || end.Creds[0] != "api-token" || end.Kind != KindRequest {
		t.Errorf("record %+v", end)
	}

	status, body = get(t, c, "https://user:"+ph+"@api.example/")
	user, password, ok := (&http.Request{Header: got}).BasicAuth()
	if status != 200 || !ok || user != "user" || password != secret {
		t.Errorf("%d, the server got %v", status, got)
	}
	if leaks(body) {
		t.Errorf("the body is %q", body)
	}
	if bytes.Contains([]byte(b.log.String()), []byte(secret)) {
		t.Error("the log has the secret")
	}
}

// leaks reports whether a text holds the secret in one of the spellings that are claimed.
func leaks(s string) bool {
	for _, f := range forms(secret) {
		if strings.Contains(s, f) {
			return true
		}
	}
	return false
}

// TestEchoesAreMasked in every part of an answer, in every spelling that is claimed, plain and gzip,
// with a length, chunked, cut anywhere, also in a later answer to a request without credential.
func TestEchoesAreMasked(t *testing.T) {
	w := newWorld(t)
	quoted, err := json.Marshal(secret)
	must(t, err)
	echo := strings.Join([]string{
		secret, string(quoted), url.QueryEscape(secret), url.PathEscape(secret),
		base64.StdEncoding.EncodeToString([]byte("anybody:" + secret)), base64.StdEncoding.EncodeToString([]byte("a:" + secret)),
		base64.URLEncoding.EncodeToString([]byte("bb:" + secret + "!")), secret + secret, secret[:1] + secret,
	}, "\n")
	w.secure(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Echo", strings.ReplaceAll(echo, "\n", " "))
		rw.Header().Add("Set-Cookie", "t="+secret)
		rw.Header().Set("Trailer", "X-End")
		var out io.Writer = rw
		switch r.URL.Path {
		case "/gzip":
			if r.Header.Get("Accept-Encoding") == "gzip" {
				rw.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(rw)
				defer z.Close()
				out = z
			}
		case "/redirect":
			rw.Header().Set("Location", "https://api.example/?k="+url.QueryEscape(secret))
			rw.WriteHeader(302)
		case "/bytes":
			for i := range len(echo) {
				_, _ = io.WriteString(rw, echo[i:i+1])
				rw.(http.Flusher).Flush()
			}
			rw.Header().Set("X-End", secret)
			return
		case "/range":
			http.ServeContent(rw, r, "", time.Time{}, strings.NewReader(echo))
			return
		}
		_, _ = io.WriteString(out, echo)
		rw.Header().Set("X-End", secret)
	}, "api.example")
	b := w.box(allow("api.example"), with(token("api.example")))
	c := b.client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	ph := token().Placeholder
	for _, path := range []string{"/", "/gzip", "/redirect", "/bytes", "/range", "/later"} {
		req, err := http.NewRequest("GET", "https://api.example"+path, nil)
		must(t, err)
		if path != "/later" {
			req.Header.Set("Authorization", "Bearer "+ph)
		}
		if path == "/range" {
			req.Header.Set("Range", "bytes=1-20")
		}
		if path == "/gzip" {
			req.Header.Set("Accept-Encoding", "br, gzip;q=0.8")
		}
		res, err := c.Do(req)
		must(t, err)
		whole, err := httputil.DumpResponse(res, true)
		must(t, err)
		res.Body.Close()
		if leaks(string(whole)) || strings.Contains(string(whole), secret[1:21]) {
			t.Errorf("%s leaks:\n%s", path, whole)
		}
		if !bytes.Contains(whole, []byte(ph)) {
			t.Errorf("%s has no placeholder: the test says nothing\n%s", path, whole)
		}
	}
}

// TestUnsearchableAnswersAreRefused: a coding that was not asked for could hide the secret.
func TestUnsearchableAnswersAreRefused(t *testing.T) {
	w := newWorld(t)
	w.secure(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Encoding", "br")
		_, _ = io.WriteString(rw, "x")
	}, "api.example")
	c := w.box(allow("api.example"), with(token("api.example"))).client()
	if status, body := get(t, c, "https://api.example/", "Authorization", token().Placeholder); status != 502 || !strings.Contains(body, "coding") {
		t.Errorf("%d %s", status, body)
	}
}

// TestPlaceholderElsewhere is refused towards other hosts, over plain HTTP, and outside of fields; the
// secret is not even opened.
func TestPlaceholderElsewhere(t *testing.T) {
	w := newWorld(t)
	w.plain(hello200, "api.example", "other.example")
	w.secure(hello200, "api.example")
	cred := token("api.example")
	cred.Value = func(context.Context, string) (string, error) { t.Error("the secret was opened"); return "", nil }
	b := w.box(allow(".example"), with(cred))
	c := b.client()
	ph := cred.Placeholder
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+ph))
	for _, tc := range []struct{ url, name, value, rule string }{
		{"http://other.example/", "Authorization", "Bearer " + ph, RulePlacement},
		{"http://other.example/", "Authorization", basic, RulePlacement},
		{"http://other.example/?k=" + ph, "X", "y", RulePlacement},
		{"http://api.example/", "Authorization", "Bearer " + ph, RulePlacement},
		{"https://api.example/" + ph, "X", "y", RuleSecret},
		{"https://api.example/?k=" + ph, "X", "y", RuleSecret},
	} {
		status, body := get(t, c, tc.url, tc.name, tc.value)
		if status != 403 || !strings.Contains(body, `"`+tc.rule+`"`) || strings.Contains(body, ph) {
			t.Errorf("%v: %d %s", tc, status, body)
		}
	}
	for _, r := range b.recorded() {
		if text := fmt.Sprintf("%+v", r); strings.Contains(text, ph) || r.Allowed {
			t.Errorf("record %s", text)
		}
	}
}

func TestPlaceholderPassesElsewhereWhenTold(t *testing.T) {
	w := newWorld(t)
	w.plain(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, r.Header.Get("Authorization")) }, "other.example")
	cred := token("api.example")
	cred.PassElsewhere = true
	c := w.box(allow(".example"), with(cred)).client()
	if status, body := get(t, c, "http://other.example/", "Authorization", cred.Placeholder); status != 200 || body != cred.Placeholder {
		t.Errorf("%d %s", status, body)
	}
}

func TestPlainCredential(t *testing.T) {
	w := newWorld(t)
	w.plain(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, len(r.Header.Get("Authorization")), r.Header.Get("Authorization"))
	}, "api.example")
	cred := token("api.example")
	cred.Plain = true
	c := w.box(allow(".example"), with(cred)).client()
	if status, body := get(t, c, "http://api.example/", "Authorization", cred.Placeholder); status != 200 || body != fmt.Sprint(len(secret), cred.Placeholder) {
		t.Errorf("%d %s", status, body)
	}
}

// TestOnlyCredentialHostsAreOpened: all others keep their own certificates.
func TestOnlyCredentialHostsAreOpened(t *testing.T) {
	w := newWorld(t)
	w.secure(hello200, "api.example")
	w.secure(hello200, "x.api.example")
	b := w.box(allow(".example"), with(token("api.example")))
	c := b.client()
	for name, opened := range map[string]bool{"api.example": true, "x.api.example": false} {
		res, err := c.Get("https://" + name + "/")
		must(t, err)
		_, _ = io.ReadAll(res.Body)
		if got := res.TLS.PeerCertificates[0].Issuer.CommonName != "the outside"; got != opened {
			t.Errorf("%s is opened: %v", name, got)
		}
	}
}

// TestUpstreamCertificateIsVerified, since the client can't.
func TestUpstreamCertificateIsVerified(t *testing.T) {
	w := newWorld(t)
	w.secure(hello200, "wrong.example")
	w.mu.Lock()
	w.names["api.example"] = w.names["wrong.example"]
	w.mu.Unlock()
	cred := token("api.example")
	cred.Value = func(context.Context, string) (string, error) {
		t.Error("the secret was opened for it")
		return secret, nil
	}
	b := w.box(allow(".example"), with(cred))
	if status, body := get(t, b.client(), "https://api.example/", "Authorization", cred.Placeholder); status != 502 || !strings.Contains(body, "certificate") {
		t.Errorf("%d %s", status, body)
	}
}

func TestCredentialThatCannotBeOpened(t *testing.T) {
	w := newWorld(t)
	w.secure(func(http.ResponseWriter, *http.Request) { t.Error("the server was asked") }, "api.example")
	for name, value := range map[string]func(context.Context, string) (string, error){
		"error":     func(context.Context, string) (string, error) { return "", errors.New("sealed: " + secret) },
		"short":     func(context.Context, string) (string, error) { return "short", nil },
		"line feed": func(context.Context, string) (string, error) { return secret + "\r\nX-Injected: 1", nil },
	} {
		cred := token("api.example")
		cred.Value = value
		b := w.box(allow(".example"), with(cred))
		if status, body := get(t, b.client(), "https://api.example/", "Authorization", cred.Placeholder); status != 503 || leaks(body) || !strings.Contains(body, "api-token") {
			t.Errorf("%s: %d %s", name, status, body)
		}
		if leaks(fmt.Sprintf("%+v", b.recorded())) || leaks(b.log.String()) {
			t.Errorf("%s leaks into records or the log: %+v\n%s", name, b.recorded(), b.log)
		}
	}
}

func TestBadCredentials(t *testing.T) {
	good := token("a.example")
	for field, mend := range map[string]func(*Credential){
		"credentials[1].placeholder": func(c *Credential) { c.Placeholder = "short" },
		"credentials[1].hosts":       func(c *Credential) { c.Hosts = nil },
		"credentials[1].hosts[0]":    func(c *Credential) { c.Hosts = []string{"1.2.3.4"} },
		"credentials[1].hosts[1]":    func(c *Credential) { c.Hosts = []string{"b.example", "*"} },
		"credentials[1]":             func(c *Credential) { c.Mask = nil },
	} {
		bad := token("b.example")
		bad.Placeholder = NewPlaceholder("b")
		mend(&bad)
		_, err := New(Config{Policy: allow("a.example"), Recorder: (&box{}).recorder, Credentials: []Credential{good, bad}})
		if paramOf(err) != field || stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: %v (%s)", field, err, paramOf(err))
		}
	}
	twice := good
	twice.Placeholder += "_more"
	if _, err := New(Config{Policy: allow("a.example"), Recorder: (&box{}).recorder, Credentials: []Credential{good, twice}}); paramOf(err) != "credentials[1].placeholder" {
		t.Errorf("placeholders that hold each other: %v", err)
	}
}

// TestAuthorityIsConstrained: a certificate of the environment's authority for another name is not
// valid, whoever made it.
func TestAuthorityIsConstrained(t *testing.T) {
	w := newWorld(t)
	b := w.box(allow("api.example"), with(token("api.example")))
	a := b.authority
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b.CAFile(nil)) {
		t.Fatal("the CA file holds no certificate")
	}
	for name, ok := range map[string]bool{"api.example": true, "web.example": false, "xapi.example": false} {
		c, err := a.certificate(name)
		must(t, err)
		_, err = c.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool})
		if (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	all := b.CAFile(w.rootPEM())
	first, rest := pem.Decode(all)
	second, rest := pem.Decode(rest)
	if first == nil || second == nil || len(bytes.TrimSpace(rest)) != 0 || bytes.Equal(first.Bytes, second.Bytes) {
		t.Errorf("the CA file is %s", all)
	}
	if plain := w.box(allow("api.example")); !bytes.Equal(plain.CAFile(w.rootPEM()), w.rootPEM()) || plain.Opens() {
		t.Error("without credentials nothing is added")
	}
}

// TestOpenedConnectionHoldsItsHost: fronting inside an opened tunnel is seen.
func TestOpenedConnectionHoldsItsHost(t *testing.T) {
	w := newWorld(t)
	w.secure(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the server was asked: %v", r) }, "api.example")
	b := w.box(allow("api.example"), with(token("api.example")))
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: api.example:8443\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: api.example\r\nHost: other.example\r\n\r\n",
		"GET https://other.example/ HTTP/1.1\r\nHost: api.example\r\n\r\n",
		"GET //other.example/\x00 HTTP/1.1\r\nHost: api.example\r\n\r\n",
		"CONNECT other.example:443 HTTP/1.1\r\nHost: api.example\r\n\r\n",
	} {
		c := b.conn()
		_, _ = io.WriteString(c, "CONNECT api.example:443 HTTP/1.1\r\n\r\n")
		buf := make([]byte, 64)
		n, err := c.Read(buf)
		if err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 200") {
			t.Fatalf("%q %v", buf[:n], err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(b.CAFile(nil))
		inner := tls.Client(c, &tls.Config{ServerName: "api.example", RootCAs: pool})
		_, err = io.WriteString(inner, request)
		must(t, err)
		answer, _ := io.ReadAll(inner)
		if s := string(answer); !strings.HasPrefix(s, "HTTP/1.1 403") && !strings.HasPrefix(s, "HTTP/1.1 400") {
			t.Errorf("%q: %q", request, s)
		}
	}
}

// TestWebSocketWithCredential: the placeholder works in an upgrade, and an echo in a frame becomes
// stars, so that the frame keeps its length.
func TestWebSocketWithCredential(t *testing.T) {
	w := newWorld(t)
	w.secure(func(rw http.ResponseWriter, r *http.Request) {
		conn, _, err := rw.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Echo: %s\r\n\r\n[%s]%q",
			r.Header.Get("Authorization"), r.Header.Get("Authorization"), r.Header.Get("Sec-WebSocket-Extensions"))
	}, "api.example")
	b := w.box(allow("api.example"), with(token("api.example")))
	req, err := http.NewRequest("GET", "https://api.example/", nil)
	must(t, err)
	for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Extensions": "permessage-deflate", "Authorization": token().Placeholder} {
		req.Header.Set(k, v)
	}
	res, err := b.client().Do(req)
	must(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	must(t, err)
	if res.StatusCode != 101 || res.Header.Get("X-Echo") != token().Placeholder || string(body) != "["+strings.Repeat("*", len(secret))+`]""` {
		t.Errorf("%d %v %q", res.StatusCode, res.Header, body)
	}
}

// TestOtherHostsAreNotTouched: a host that no credential names answers in any coding and any range,
// also after a secret was sent elsewhere.
func TestOtherHostsAreNotTouched(t *testing.T) {
	w := newWorld(t)
	w.secure(hello200, "api.example")
	w.plain(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Encoding", "br")
		fmt.Fprint(rw, r.Header.Get("Range"), r.Header.Get("Accept-Encoding"))
	}, "web.example")
	c := w.box(allow(".example"), with(token("api.example"))).client()
	if status, body := get(t, c, "https://api.example/", "Authorization", token().Placeholder); status != 200 {
		t.Fatal(body)
	}
	if status, body := get(t, c, "http://web.example/", "Range", "bytes=1-", "Accept-Encoding", "br, zstd"); status != 200 || body != "bytes=1-br, zstd" {
		t.Errorf("%d %q", status, body)
	}
}
