package host

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/template"
	"github.com/stead-dev/stead/internal/tool"
)

// --- Set-ups.

func commands(text ...string) template.Config {
	return template.Config{Secret: template.Secret{Commands: text}}
}

func TestTheSameSetUpRunsOnce(t *testing.T) {
	b := newBench(t)
	count := filepath.Join(t.TempDir(), "count")
	b.setup(commands("echo ran >> " + count + "; sleep 0.2; echo made > made; mkdir -p $UPPER/opt; echo tool > $UPPER/opt/tool"))
	keys := []stead.SessionKey{b.key}
	for i := range 3 {
		other := stead.SessionKey{Project: b.key.Project, Session: stead.SessionID(fmt.Sprintf("sess_%d", i))}
		if err := b.cfg.Blobs.Copy(context.Background(), b.key, other, []string{b.state.Setup.Sealed.Digest}); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, other)
	}
	made := make([]environment.Prepared, len(keys))
	var all sync.WaitGroup
	for i, key := range keys {
		all.Go(func() {
			var err error
			if made[i], err = b.Prepare(context.Background(), key, b.state.Setup, b.state.Note); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if data, err := os.ReadFile(count); err != nil || string(data) != "ran\n" {
		t.Errorf("it ran: %q, %v", data, err)
	}
	for i := range made {
		if made[i].Layer == "" || made[i].Layer != made[0].Layer || made[i].Checkpoint.Digest != made[0].Checkpoint.Digest {
			t.Errorf("session %d got %+v, the first %+v", i, made[i], made[0])
		}
	}
	b.state.Layer, b.state.Checkpoint = made[0].Layer, made[0].Checkpoint.Digest
	for _, dir := range []string{b.cfg.Dir, t.TempDir()} { // here, and on a node that has only the blobs
		b.again(func(c *Config) { c.Dir = dir })
		b.state.Residence = 0
		b.open()
		layers := b.driver.last().Root.Layers
		if len(layers) != 1 {
			t.Fatalf("layers %q", layers)
		}
		if data, err := os.ReadFile(filepath.Join(layers[0], "opt", "tool")); err != nil || string(data) != "tool\n" {
			t.Errorf("the layer holds %q, %v", data, err)
		}
		if got := b.sh("cat made"); got != "made\n" {
			t.Errorf("what the set-up left in the workspace: %q", got)
		}
	}
}

func TestConnectionsOfASetUpAreJournaled(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer site.Close()
	b := newBench(t, func(c *Config) { c.Egress = Egress{Private: []string{"127.0.0.0/8"}} })
	b.setup(commands(`cd $SERVICES && python3 -c '
import socket
s = socket.socket(socket.AF_UNIX)
s.connect("` + environment.EgressSocket + `")
s.sendall(b"GET ` + site.URL + `/ HTTP/1.1\r\nHost: ` + strings.TrimPrefix(site.URL, "http://") + `\r\nConnection: close\r\n\r\n")
assert b"hello" in s.makefile("rb").read()'`))
	var kinds []string
	b.state.Note = func(_ context.Context, kind string, data any) error {
		kinds = append(kinds, kind)
		if text, err := json.Marshal(data); err != nil || !strings.Contains(string(text), "127.0.0.1") {
			t.Errorf("the record is %s, %v", text, err)
		}
		return nil
	}
	b.prepare()
	if want := []string{NoteEgressDecided, NoteEgressEnded}; !slices.Equal(kinds, want) {
		t.Errorf("noted: %q, want %q", kinds, want)
	}
}

func TestSetUpThatFailsShowsNothingConfidential(t *testing.T) {
	b := newBench(t)
	b.setup(commands("true", "echo hunter2; echo $SECRET >&2; exit 7 # hunter2"))
	_, err := b.Prepare(context.Background(), b.key, b.state.Setup, b.state.Note)
	if stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), "setup_commands[1]") || !strings.Contains(err.Error(), "7") {
		t.Errorf("the error is %v", err)
	}
	for _, text := range []string{"hunter2", "echo", "SECRET"} {
		if strings.Contains(fmt.Sprintf("%v %+v", err, err), text) {
			t.Errorf("the error shows %q: %v", text, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(b.cfg.Dir, layersDir, "*", "*")); len(left) != 0 {
		t.Errorf("a layer is left: %q", left)
	}
	b.setup(commands("true"))
	b.prepare() // another set-up is not in its way
}

// --- The way out.

// through asks for a URL by the proxy at a host's socket.
func through(socket, target string) (*http.Response, error) {
	proxy, err := url.Parse("http://proxy")
	if err != nil {
		return nil, err
	}
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyURL(proxy), DialContext: dialed(socket)}}
	return c.Get(target)
}

func dialed(socket string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		dir, err := os.Open(filepath.Dir(socket))
		if err != nil {
			return nil, err
		}
		defer dir.Close()
		var d net.Dialer
		return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(socket)))
	}
}

// masked is what answers are searched for.
func masked(value string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return value, nil }
}

func networked(access template.Access) template.Config {
	return template.Config{Public: template.Public{Network: &template.Network{Access: access}}}
}

// A session's own credentials are placeholders in its environment, and no value is opened for that.
func TestASessionsCredentials(t *testing.T) {
	b := newBench(t, func(c *Config) {
		c.Egress = Egress{Credentials: []environment.Credential{
			{Variable: "API_KEY", Hosts: []string{"operator.example"}, Value: func(context.Context, string) (string, error) { return "of-the-operator", nil }, Mask: masked("of-the-operator")},
			{Variable: "OTHER", Hosts: []string{"operator.example"}, Value: func(context.Context, string) (string, error) { return "of-the-operator", nil }, Mask: masked("of-the-operator")},
		}}
	})
	cfg := networked(template.AccessRestricted)
	cfg.Network.Allowed = []string{"api.example", "*.b.example", "c.example:8443", "192.0.2.1", "192.0.2.1:443", "192.0.2.1:*", "[2001:db8::1]:*"}
	cfg.Variables, cfg.Env = []string{"API_KEY"}, map[string]string{"API_KEY": "plain"}
	b.setup(cfg)
	b.prepare()
	never := func(context.Context, string) (string, error) { t.Error("a value was opened"); return "", nil }
	b.state.Credentials = []environment.Credential{{Variable: "API_KEY", Value: never, Mask: masked("")}, {Variable: "MINE", Hosts: environment.SecretHosts("api.example"), Value: never, Mask: masked("")}}
	b.open()
	env := b.driver.last().Env
	for _, name := range []string{"API_KEY", "MINE", "OTHER"} {
		if !strings.HasPrefix(env[name], "stead_"+name+"_") {
			t.Errorf("%s is %q, which is no placeholder", name, env[name])
		}
	}
	want := []string{"api.example:443", "api.example:8443", "*.b.example:443", "*.b.example:8443", "c.example:8443"}
	if got := namesIn(b.policyOf(cfg.Network)); !slices.Equal(got, want) {
		t.Errorf("an unrestricted one goes to %q, want %q", got, want)
	}
	b.suspend()
	wide := newBench(t)
	wide.setup(networked(template.AccessEnabled))
	wide.prepare()
	wide.state.Credentials = b.state.Credentials
	if _, err := wide.tryOpen(); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("an unrestricted one in a wide world: %v", err)
	}
}

func TestTheWayOut(t *testing.T) {
	var mu sync.Mutex
	var steps []string
	step := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		steps = append(steps, s)
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		step("request " + r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, "hello")
	}))
	defer site.Close()
	var unaudited error
	b := newBench(t, func(c *Config) {
		c.Egress = Egress{Private: []string{"127.0.0.0/8"}, Credentials: []environment.Credential{{
			Variable: "API_KEY", Hosts: []string{"api.example.org"}, Value: func(context.Context, string) (string, error) { return "hunter2", nil }, Mask: masked("hunter2"),
		}}, Audit: func(_ context.Context, k stead.SessionKey, r egress.Record) error {
			if k.Session == "" || r.Host == "" || r.Phase != egress.PhaseDecided {
				t.Errorf("to the audit log: %+v of %+v", r, k)
			}
			if r.Allowed {
				step("audited")
			}
			mu.Lock()
			defer mu.Unlock()
			return unaudited
		}}
	})
	b.setup(networked(template.AccessEnabled))
	b.prepare()
	var refuse error
	b.state.Note = func(_ context.Context, kind string, data any) error {
		text, err := json.Marshal(data)
		if err != nil {
			return err
		}
		if strings.Contains(string(text), `"allowed":true`) || kind == NoteEgressEnded {
			step(kind)
		}
		mu.Lock()
		defer mu.Unlock()
		return refuse
	}
	b.open()
	spec := b.driver.last()
	if !spec.Egress || spec.Env["API_KEY"] == "" || strings.Contains(fmt.Sprint(spec.Env), "hunter2") || b.sh("printf %s $API_KEY") != spec.Env["API_KEY"] {
		t.Errorf("egress: %v, environment %v", spec.Egress, spec.Env)
	}
	if _, err := os.Stat(filepath.Join(spec.Services, environment.CAFile)); err != nil {
		t.Error(err)
	}
	socket := filepath.Join(spec.Services, environment.EgressSocket)
	resp, err := through(socket, site.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(body) != "hello" {
		t.Errorf("%d %q, %v", resp.StatusCode, body, err)
	}
	mu.Lock()
	if len(steps) < 3 || steps[0] != "audited" || steps[1] != NoteEgressDecided || !strings.HasPrefix(steps[2], "request") {
		t.Errorf("in this order: %q", steps)
	}
	steps = nil
	mu.Unlock()
	for _, record := range []*error{&refuse, &unaudited} {
		mu.Lock()
		*record = stead.Errorf(stead.KindUnavailable, "the lease is lost")
		mu.Unlock()
		if resp, err := through(socket, site.URL); err == nil {
			resp.Body.Close()
			if resp.StatusCode < 400 {
				t.Errorf("what could not be noted went through: %d", resp.StatusCode)
			}
		}
		mu.Lock()
		*record = nil
		mu.Unlock()
	}
	mu.Lock()
	for _, s := range steps {
		if strings.HasPrefix(s, "request") {
			t.Errorf("bytes left without a record: %q", steps)
		}
	}
	mu.Unlock()

	if b.suspend().Usage.EgressReceivedBytes == 0 {
		t.Error("what came in was not counted")
	}
	if resp, err := through(socket, site.URL); err == nil {
		resp.Body.Close()
		t.Error("the proxy outlived its environment")
	}
}

// TestTheOperatorsLimitsAreInForce for as long as an environment is resident: the next time they are counted anew.
func TestTheOperatorsLimitsAreInForce(t *testing.T) {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer site.Close()
	b := newBench(t, func(c *Config) {
		c.Egress = Egress{Private: []string{"127.0.0.0/8"}, Limits: egress.Limits{PerMinute: 1}}
	})
	b.setup(networked(template.AccessEnabled))
	b.prepare()
	for range 2 {
		b.open()
		socket := filepath.Join(b.driver.last().Services, environment.EgressSocket)
		for _, want := range []struct {
			status int
			says   string
		}{{http.StatusOK, "hello"}, {http.StatusTooManyRequests, "network.limits.per_minute"}} {
			resp, err := through(socket, site.URL)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || resp.StatusCode != want.status || !strings.Contains(string(body), want.says) {
				t.Errorf("%d %q, %v; want %d and %q", resp.StatusCode, body, err, want.status, want.says)
			}
		}
		b.suspend()
	}
}

func TestWithoutANetworkThereIsNoWayOut(t *testing.T) {
	for _, access := range []template.Access{template.AccessDisabled, template.AccessRestricted} {
		b := newBench(t)
		b.setup(networked(access)) // restricted to nothing
		b.prepare()
		b.open()
		if _, err := os.Lstat(filepath.Join(b.driver.last().Services, environment.EgressSocket)); err == nil || b.driver.last().Egress {
			t.Errorf("%s: there is a way out", access)
		}
		if _, err := b.Origin(b.key).Dial(context.Background(), "tcp", "127.0.0.1:1"); err == nil {
			t.Errorf("%s: tool servers have one", access)
		}
	}
}

// --- Tools for code.

// answering is a session's tools for code.
type answering struct {
	name    string
	hold    chan struct{} // calls of "wait" end with it or with their context
	mu      sync.Mutex
	waiting int
}

func (a *answering) List(context.Context) ([]tool.Spec, error) {
	return []tool.Spec{{Name: "who", Description: "of " + a.name, Parameters: json.RawMessage(`{"type":"object"}`)}}, nil
}

func (a *answering) Call(ctx context.Context, name string, raw json.RawMessage) (tool.Result, error) {
	switch name {
	case "who":
		return tool.Result{Content: stead.TextContent(stead.ContentInputText, a.name+" "+string(raw))}, nil
	case "wait":
		a.mu.Lock()
		a.waiting++
		a.mu.Unlock()
		select {
		case <-a.hold:
		case <-ctx.Done():
		}
		a.mu.Lock()
		a.waiting--
		a.mu.Unlock()
		return tool.Result{}, ctx.Err()
	case "gone":
		return tool.Result{}, stead.Errorf(stead.KindUnavailable, "the session is not held here any more")
	}
	return tool.Result{IsError: true, Content: stead.TextContent(stead.ContentInputText, "there is no tool "+name)}, nil
}

func (a *answering) waits() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting
}

// call posts to a socket of tools and returns the status and the answer.
func call(t *testing.T, socket, method, path, body string) (int, string) {
	t.Helper()
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialed(socket)}}
	req, err := http.NewRequestWithContext(context.Background(), method, "http://tools"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

func TestToolsForCode(t *testing.T) {
	b := newBench(t)
	b.prepare()
	b.state.Tools = &answering{name: "first"}
	b.open()
	socket := filepath.Join(b.driver.last().Services, environment.ToolsSocket)
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/tools", "", 200, `{"tools":[{"name":"who","description":"of first","parameters":{"type":"object"}}]}`},
		{"POST", "/tools/who", `{"a":1}`, 200, `{"error":null,"output":"first {\"a\":1}"}`},
		{"POST", "/tools/nobody", `{}`, 200, `{"error":"there is no tool nobody","output":null}`},
		{"POST", "/tools/gone", `{}`, 503, `{"error":"the session is not held here any more","output":null}`},
		{"POST", "/tools/who", strings.Repeat(" ", MaxToolRequestBytes+1), 413, `{"error":"the arguments can't be read: at most 1048576 bytes","output":null}`},
		{"GET", "/tools/who", "", 405, "Method Not Allowed"},
		{"GET", "/", "", 404, "404 page not found"},
	} {
		if status, got := call(t, socket, tc.method, tc.path, tc.body); status != tc.status || got != tc.want {
			t.Errorf("%s %s: %d %s", tc.method, tc.path, status, got)
		}
	}
	spec := b.driver.last()
	if spec.Env[toolsVariable] != environment.ServicesDir+"/"+environment.ToolsSocket || spec.Env[pythonPath] == "" {
		t.Errorf("environment %v", spec.Env)
	}

	other := &answering{name: "second"}
	from, key := b.state, b.key
	key.Session = "sess_second"
	if err := b.cfg.Blobs.Copy(context.Background(), b.key, key, []string{from.Setup.Sealed.Digest, from.Checkpoint}); err != nil {
		t.Fatal(err)
	}
	from.Residence, from.Tools = 0, other
	if _, err := b.Open(context.Background(), key, from); err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(b.driver.last().Services, environment.ToolsSocket)
	for at, name := range map[string]string{socket: "first", second: "second"} {
		if _, got := call(t, at, "POST", "/tools/who", "{}"); !strings.Contains(got, name) {
			t.Errorf("the socket of %s answers %s", name, got)
		}
	}
	b.suspend()
	if _, err := dialed(socket)(context.Background(), "", ""); err == nil {
		t.Error("the tools outlived their environment")
	}
	if _, got := call(t, second, "POST", "/tools/who", "{}"); !strings.Contains(got, "second") {
		t.Errorf("the other one answers %s", got)
	}
}

// TestToolsForCodeAreBounded: so many calls are under way at once, and one more is told; who hangs up gives his
// call up, and makes room.
func TestToolsForCodeAreBounded(t *testing.T) {
	b := newBench(t)
	b.prepare()
	a := &answering{name: "first", hold: make(chan struct{})}
	b.state.Tools = a
	b.open()
	socket := filepath.Join(b.driver.last().Services, environment.ToolsSocket)
	var open []net.Conn
	for range MaxToolCalls {
		open = append(open, waits(t, socket))
	}
	until(t, "the first calls to wait", func() bool { return a.waits() == MaxToolCalls })
	if status, got := call(t, socket, "POST", "/tools/who", "{}"); status != 429 || !strings.Contains(got, "64 calls of this environment are under way") {
		t.Errorf("one more: %d %s", status, got)
	}
	for _, c := range open[1:] {
		c.Close()
	}
	until(t, "the others to go", func() bool { return a.waits() == 1 })
	if status, got := call(t, socket, "POST", "/tools/who", "{}"); status != 200 {
		t.Errorf("when the others are gone: %d %s", status, got)
	}
	close(a.hold)
	if line, err := bufio.NewReader(open[0]).ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Errorf("the first one got %q, %v", line, err)
	}
}

// waits makes a call that waits, and returns its connection.
func waits(t *testing.T, socket string) net.Conn {
	t.Helper()
	c, err := dialed(socket)(context.Background(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "POST /tools/wait HTTP/1.1\r\nHost: tools\r\nContent-Length: 2\r\n\r\n{}"); err != nil {
		t.Fatal(err)
	}
	return c
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain for " + what)
		}
	}
}
