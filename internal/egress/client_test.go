package egress

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// programs is a box with a TCP port, as programs inside see it, with their usual variables.
type programs struct {
	*box
	dir string
	env []string
}

func newPrograms(t *testing.T, w *world, p Policy, creds ...Credential) *programs {
	t.Helper()
	b := w.box(p, with(creds...))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	b.serve(l)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	must(t, os.WriteFile(ca, b.CAFile(w.rootPEM()), 0o600))
	proxy := "http://" + l.Addr().String()
	return &programs{b, dir, []string{
		"PATH=/usr/bin:/bin", "HOME=" + dir, "PROXY=" + proxy, "http_proxy=" + proxy, "https_proxy=" + proxy, "HTTP_PROXY=" + proxy, "HTTPS_PROXY=" + proxy,
		"SSL_CERT_FILE=" + ca, "CURL_CA_BUNDLE=" + ca, "NODE_EXTRA_CA_CERTS=" + ca, "REQUESTS_CA_BUNDLE=" + ca, "GIT_SSL_CAINFO=" + ca,
		"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "TOKEN=" + token().Placeholder,
	}}
}

// run runs a program; one that the machine lacks is a failure in CI and a skip elsewhere.
func (p *programs) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath(args[0])
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed: tools/deps.sh installs it", args[0])
		}
		t.Skipf("%s is not installed: tools/deps.sh installs it", args[0])
	}
	cmd := exec.CommandContext(t.Context(), path, args[1:]...)
	cmd.Env, cmd.Dir = p.env, p.dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	return out.String(), err
}

// TestPrograms: what agents use works through the proxy with nothing but the usual variables: plain
// HTTP, TLS that is left alone, TLS that is opened, a refusal that says why.
func TestPrograms(t *testing.T) {
	const node = `
const http = require('http'), tls = require('tls');
const u = new URL(process.argv[1]), proxy = new URL(process.env.PROXY);
const done = (status, body) => { console.log(status, body); process.exit(0) };
const read = res => { let b = ''; res.on('data', d => b += d).on('end', () => done(res.statusCode, b)) };
const headers = { authorization: 'Bearer ' + process.env.TOKEN };
if (u.protocol === 'http:') http.get({ host: proxy.hostname, port: proxy.port, path: u.href, headers: { host: u.host } }, read);
else http.request({ host: proxy.hostname, port: proxy.port, method: 'CONNECT', path: u.hostname + ':443' }).on('connect', (res, socket) => {
	if (res.statusCode !== 200) return done(res.statusCode, '');
	const s = tls.connect({ socket, servername: u.hostname }, () => http.get({ createConnection: () => s, path: u.pathname, headers: u.hostname.startsWith('api') ? { host: u.host, ...headers } : { host: u.host } }, read));
}).end();`
	const python = `
import os, sys, urllib.request, urllib.error
url = sys.argv[1]
headers = {"Authorization": "Bearer " + os.environ["TOKEN"]} if "//api" in url else {}
try:
    r = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=20)
    print(r.status, r.read().decode())
except urllib.error.HTTPError as e:
    print(e.code, e.read().decode())
except OSError as e:
    print(e)`
	w := newWorld(t)
	auth := make(chan string, 10)
	w.plain(hello200, "plain.example")
	w.secure(hello200, "tls.example")
	w.secure(func(rw http.ResponseWriter, r *http.Request) {
		auth <- r.Header.Get("Authorization")
		fmt.Fprintf(rw, "you sent %s", r.Header.Get("Authorization"))
	}, "api.example")
	p := newPrograms(t, w, allow("plain.example", "tls.example", "api.example"), token("api.example"))
	ph := token().Placeholder
	for name, args := range map[string]func(url string) []string{
		"curl": func(url string) []string {
			a := []string{"curl", "-sS", "-w", "%{http_code} %{http_connect}", url}
			if strings.Contains(url, "//api") {
				a = append(a, "-H", "Authorization: Bearer "+ph)
			}
			return a
		},
		"python": func(url string) []string { return []string{"/usr/bin/python3", "-c", python, url} },
		"node":   func(url string) []string { return []string{"node", "-e", node, url} },
	} {
		t.Run(name, func(t *testing.T) {
			for _, tc := range []struct{ url, want string }{
				{"http://plain.example/", "hello from plain.example"},
				{"https://tls.example/", "hello from tls.example"},
				{"https://api.example/v1", "you sent Bearer " + ph},
				{"http://other.example/", RuleAllowed},
				{"https://other.example/", "403"},
			} {
				out, err := p.run(t, args(tc.url)...)
				if !strings.Contains(out, tc.want) || leaks(out) {
					t.Errorf("%s: %v\n%s", tc.url, err, out)
				}
			}
			select {
			case got := <-auth:
				if got != "Bearer "+secret {
					t.Errorf("the server got %q", got)
				}
			default:
				t.Error("the server was not asked")
			}
		})
	}
}

// TestGit clones over HTTPS with a placeholder as the password, which git sends as Basic.
func TestGit(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	var user, password string
	files := http.FileServer(http.Dir(dir))
	w.secure(func(rw http.ResponseWriter, r *http.Request) {
		var ok bool
		if user, password, ok = r.BasicAuth(); !ok {
			rw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(rw, "who are you?", http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(rw, r)
	}, "git.example")
	p := newPrograms(t, w, allow("git.example"), token("git.example"))
	for _, args := range [][]string{
		{"git", "init", "-q", "work"},
		{"git", "-C", "work", "-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "-q", "--allow-empty", "-m", "first"},
		{"git", "clone", "-q", "--bare", "work", filepath.Join(dir, "repo.git")},
		{"git", "-C", filepath.Join(dir, "repo.git"), "update-server-info"},
		{"git", "clone", "-q", "https://agent:" + token().Placeholder + "@git.example/repo.git", "clone"},
	} {
		if out, err := p.run(t, args...); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	if user != "agent" || password != secret {
		t.Errorf("the server saw %q and %q", user, password)
	}
	if out, err := p.run(t, "git", "-C", "clone", "log", "--format=%s"); err != nil || strings.TrimSpace(out) != "first" {
		t.Errorf("%v %s", err, out)
	}
}
