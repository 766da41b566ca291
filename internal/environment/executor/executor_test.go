package executor_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/bare"
	"github.com/stead-dev/stead/internal/environment/environmenttest"
	"github.com/stead-dev/stead/internal/environment/executor"
)

func TestFirstCommand(t *testing.T) {
	r := newRig(t, quick())
	e := r.run(r.register("env_1", r.server.URL), nil)
	env := r.open("env_1")
	c := shell(`read line; echo "$line $GIVEN $OWN"; pwd; exit 3`)
	c.Stdin, c.Env = strings.NewReader("hello\n"), map[string]string{"OWN": "too"}
	got, x := output(t, env, c)
	if want := "hello yes too\n" + e.dir + "\n"; got != want || x.Code != 3 || x.Duration <= 0 {
		t.Errorf("got %q and %+v, want %q", got, x, want)
	}
	if err := env.WriteFile(t.Context(), "/workspace/a/b.sh", []byte("#!/bin/sh\necho from a file\n"), true); err != nil {
		t.Fatal(err)
	}
	if got, _ := output(t, env, shell("a/b.sh")); got != "from a file\n" {
		t.Errorf("got %q", got)
	}
	data, err := env.ReadFile(t.Context(), "a/b.sh", 1000)
	if err != nil || !strings.Contains(string(data), "from a file") {
		t.Errorf("read %q, %v", data, err)
	}
	found, err := env.List(t.Context(), environment.ListQuery{Limit: 10})
	if err != nil || len(found.Files) != 1 || found.Files[0].Path != "/workspace/a/b.sh" {
		t.Errorf("listed %+v, %v", found, err)
	}
	if _, err := env.ReadFile(t.Context(), "/etc/passwd", 1000); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("a file outside: %v", err)
	}
	if _, err := env.Checkpoint(t.Context(), nil, ""); stead.KindOf(err) != stead.KindNotImplemented {
		t.Errorf("a checkpoint: %v", err)
	}
	info, ok := r.hub.Info("env_1")
	if !ok || info.Workspace != e.dir || info.Sandbox != "none" || !strings.Contains(info.Platform, "/") {
		t.Errorf("info %+v", info)
	}
}

// TestSuite runs the specification of every driver over the wire.
func TestSuite(t *testing.T) {
	environmenttest.Suite(t, func(t *testing.T) environment.Provider { return overWire{newRig(t, quick())} }, environmenttest.Options{
		HostPaths: true,
		Exempt: map[string]string{
			"Root":       "the machine is its user's",
			"Network":    "the network is the machine's",
			"Checkpoint": "the workspace stays where it is",
		},
	})
}

// overWire opens each environment with an executor of its own, whose workspace is the spec's.
type overWire struct{ *rig }

func (o overWire) Name() string                                 { return executor.DriverName }
func (o overWire) Probe(ctx context.Context) environment.Report { return o.hub.Provider().Probe(ctx) }
func (o overWire) Close(context.Context) error                  { return nil }

func (o overWire) Open(ctx context.Context, spec environment.Spec) (environment.Environment, error) {
	id := spec.ID + time.Now().Format("150405.000000000")
	remote := o.register(id, o.server.URL)
	o.run(remote, func(c *executor.Config) { c.Workspace = spec.Workspace })
	for !o.hub.Connected(id) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		time.Sleep(time.Millisecond)
	}
	spec.ID, spec.Services = id, "" // which are the server's
	return o.hub.Provider().Open(ctx, spec)
}

func TestWrongToken(t *testing.T) {
	r := newRig(t, quick())
	r.register("env_1", r.server.URL)
	other := r.register("env_2", r.server.URL)
	for _, remote := range []string{
		strings.Replace(other, "env_2", "env_1", 1), // the token of another environment
		strings.Replace(other, "env_2", "env_3", 1), // no such environment
	} {
		err := r.run(remote, nil).wait(t)
		e, ok := errors.AsType[*stead.Error](err)
		if !ok || e.Kind != stead.KindUnauthenticated || e.Code != executor.CodeToken {
			t.Errorf("got %v", err)
		}
		if token := remote[strings.IndexByte(remote, '#')+1:]; strings.Contains(err.Error(), token) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
	if r.hub.Connected("env_1") {
		t.Error("connected")
	}
	before, digest := executor.NewToken() // one of before the server's key was replaced
	r.mu.Lock()
	known := r.known["env_1"]
	known.Before = []string{executor.Digest("another"), digest}
	r.known["env_1"] = known
	r.mu.Unlock()
	e := r.run(executor.RemoteURL(r.server.URL, "env_1", before), nil)
	for deadline := time.Now().Add(patience); !r.hub.Connected("env_1"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the token of before does not connect")
		}
	}
	e.stop()
}

// A session token opens the environment as well, and the connection ends with it: the executor is told, and stops.
func TestASessionTokenEndsItsConnection(t *testing.T) {
	r := newRig(t, quick())
	r.register("env_1", r.server.URL)
	var until time.Time
	r.admits = func(token, id string) (time.Time, error) {
		if token != "st-stead-0-0" || id != "env_1" || !until.IsZero() && time.Now().After(until) {
			return until, stead.Errorf(stead.KindUnauthenticated, "no")
		}
		return until, nil
	}
	e := r.run(executor.RemoteURL(r.server.URL, "env_1", "st-stead-0-1"), nil)
	if err := e.wait(t); stead.KindOf(err) != stead.KindUnauthenticated {
		t.Errorf("another's token: %v", err)
	}
	for life := 300 * time.Millisecond; ; life *= 4 {
		until = time.Now().Add(life)
		e = r.run(executor.RemoteURL(r.server.URL, "env_1", "st-stead-0-0"), nil)
		err := e.wait(t)
		if known, ok := errors.AsType[*stead.Error](err); !ok || known.Code != executor.CodeToken || time.Now().Before(until) {
			t.Errorf("it ended with %v, %s before its time", err, time.Until(until))
		}
		if len(e.states) > 0 {
			break // else it was over before anybody connected, on a busy machine
		}
		if life > patience {
			t.Fatal("it never was connected")
		}
	}
}

// A certificate that does not count any more ends the connection also of who has a good token, and keeps it away. What runs goes on
// when the executor comes again with one that counts.
func TestACertificateEndsItsConnection(t *testing.T) {
	r := newRig(t, quick())
	var denied atomic.Bool
	r.shown = func() (executor.Certificate, error) {
		if denied.Load() {
			return executor.Certificate{}, stead.Errorf(stead.KindUnauthenticated, "the certificate is denied")
		}
		return executor.Certificate{ID: "cert_1", Name: "box", Until: time.Now().Add(time.Hour)}, nil
	}
	e := r.run(r.register("env_1", r.server.URL), nil)
	env := r.open("env_1")
	began, result := make(chan struct{}), make(chan string, 1)
	go func() {
		var b strings.Builder
		once := sync.OnceFunc(func() { close(began) })
		_, err := env.Exec(t.Context(), shell("echo begun; while ! [ -e go ]; do sleep 0.02; done; echo done"), func(c environment.Chunk) { b.Write(c.Data); once() })
		result <- fmt.Sprint(b.String(), err)
	}()
	<-began
	denied.Store(true)
	until(t, "the connection to end", func() bool { return !r.hub.Connected("env_1") })
	e.mu.Lock()
	before := len(e.states)
	e.mu.Unlock()
	until(t, "the executor to be refused", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.states) > before+1 && !e.states[len(e.states)-1].Connected && strings.Contains(e.states[len(e.states)-1].Err.Error(), executor.CodeCertificate)
	})
	denied.Store(false)
	until(t, "the executor to come again", func() bool { return r.hub.Connected("env_1") })
	if err := os.WriteFile(filepath.Join(e.dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := <-result; got != "begun\ndone\n<nil>" {
		t.Errorf("the command brought %q", got)
	}
}

func TestEnvironmentThatIsOver(t *testing.T) {
	r := newRig(t, quick())
	remote := r.register("env_1", r.server.URL)
	e := r.run(remote, nil)
	env := r.open("env_1")
	r.mu.Lock()
	found := r.known["env_1"]
	found.Over = true
	r.known["env_1"] = found
	r.mu.Unlock()
	r.hub.Drop("env_1")
	for _, err := range []error{e.wait(t), r.run(remote, nil).wait(t)} {
		if stead.KindOf(err) != stead.KindNotFound {
			t.Errorf("got %v", err)
		}
	}
	<-env.Done()
}

func TestNotConnected(t *testing.T) {
	r := newRig(t, quick())
	_, err := r.hub.Provider().Open(t.Context(), environment.Spec{ID: "env_1"})
	e, ok := errors.AsType[*stead.Error](err)
	if !ok || e.Kind != stead.KindUnavailable || e.Code != executor.CodeNotConnected {
		t.Errorf("got %v", err)
	}
}

// Another executor with the same token takes over; the first stops, and what it did has no outcome.
func TestTwoExecutors(t *testing.T) {
	r := newRig(t, quick())
	remote := r.register("env_1", r.server.URL)
	first := r.run(remote, nil)
	env := r.open("env_1")
	ended := make(chan error, 1)
	began := make(chan struct{}, 1)
	go func() {
		_, err := env.Exec(t.Context(), shell("echo begun; sleep 600"), func(environment.Chunk) { began <- struct{}{} })
		ended <- err
	}()
	<-began
	second := r.run(remote, nil)
	if err := first.wait(t); stead.KindOf(err) != stead.KindConflict {
		t.Errorf("the first ended with %v", err)
	}
	err := <-ended
	if _, notStarted := errors.AsType[*environment.NotStartedError](err); notStarted || stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("its command: %v", err)
	}
	<-env.Done()
	if got, _ := output(t, r.open("env_1"), shell("pwd")); got != second.dir+"\n" {
		t.Errorf("commands run in %q", got)
	}
}

func TestExecutorStops(t *testing.T) {
	r := newRig(t, quick())
	e := r.run(r.register("env_1", r.server.URL), nil)
	env := r.open("env_1")
	type result struct {
		exit environment.Exit
		err  error
	}
	ended := make(chan result, 1)
	began := make(chan struct{}, 1)
	go func() {
		x, err := env.Exec(t.Context(), shell("echo begun; sleep 600"), func(environment.Chunk) { began <- struct{}{} })
		ended <- result{x, err}
	}()
	<-began
	e.stop()
	if err := e.wait(t); err != nil {
		t.Errorf("ended with %v", err)
	}
	if got := <-ended; got.err != nil || got.exit.Reason != environment.ReasonCancelled {
		t.Errorf("its command: %+v", got)
	}
	<-env.Done()
	until(t, "the hub to notice", func() bool { return !r.hub.Connected("env_1") })
	if _, err := env.Exec(t.Context(), shell("true"), nil); !isNotStarted(err) {
		t.Errorf("a command after that: %v", err)
	}
}

func isNotStarted(err error) bool {
	_, ok := errors.AsType[*environment.NotStartedError](err)
	return ok
}

// A new server process knows nothing of the old one's commands: they are killed.
func TestServerRestarts(t *testing.T) {
	r := newRig(t, quick())
	e := r.run(r.register("env_1", r.server.URL), nil)
	env := r.open("env_1")
	ended := make(chan error, 1)
	began := make(chan struct{}, 1)
	go func() {
		_, err := env.Exec(t.Context(), shell(`echo begun; while :; do date +%N > beat; sleep 0.01; done`), func(environment.Chunk) { began <- struct{}{} })
		ended <- err
	}()
	<-began
	r.close()
	if err := <-ended; stead.KindOf(err) != stead.KindUnavailable || isNotStarted(err) {
		t.Errorf("the command: %v", err)
	}
	r.start(quick())
	env = r.open("env_1")
	beat := filepath.Join(e.dir, "beat")
	before, _ := os.ReadFile(beat)
	output(t, env, shell("sleep 0.1"))
	if after, _ := os.ReadFile(beat); string(after) != string(before) {
		t.Error("a command of the old server still runs")
	}
}

func TestChangesAreTold(t *testing.T) {
	r := newRig(t, quick())
	e := r.run(r.register("env_1", r.server.URL), nil)
	r.open("env_1")
	e.stop()
	until(t, "both changes", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.changes) == 2
	})
	if a, b := r.changes[0], r.changes[1]; !a.Connected || b.Connected || a.Environment != "env_1" || b.Reason == "" || a.Info.Sandbox != "none" {
		t.Errorf("told %+v", r.changes)
	}
}

func TestDial(t *testing.T) {
	r := newRig(t, quick())
	l := listen(t)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(c, c)
				c.Close()
			}()
		}
	}()
	r.run(r.register("env_1", r.server.URL), func(c *executor.Config) { c.Dial = (&net.Dialer{}).DialContext })
	type dialer interface {
		Dial(ctx context.Context, network, address string) (net.Conn, error)
	}
	env := r.open("env_1").(dialer)
	c, err := env.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("0123456789abcdef", 1<<16)
	go io.WriteString(c, large)
	back := make([]byte, len(large))
	if _, err := io.ReadFull(c, back); err != nil || string(back) != large {
		t.Errorf("a megabyte did not come back: %v", err)
	}
	c.Close()
	if _, err := env.Dial(t.Context(), "udp", l.Addr().String()); stead.KindOf(err) != stead.KindForbidden {
		t.Errorf("udp: %v", err)
	}
	if _, err := env.Dial(t.Context(), "tcp", "127.0.0.1:1"); stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("nobody listens: %v", err)
	}
	r.run(r.register("env_2", r.server.URL), nil)
	if _, err := r.open("env_2").(dialer).Dial(t.Context(), "tcp", l.Addr().String()); stead.KindOf(err) != stead.KindForbidden {
		t.Errorf("not allowed: %v", err)
	}
}

func TestRemoteURLs(t *testing.T) {
	token, digest := executor.NewToken()
	if len(digest) != 64 || executor.Digest(token) != digest {
		t.Errorf("token %q, digest %q", token, digest)
	}
	good := executor.RemoteURL("https://stead.example/", "env_1", token)
	if want := "https://stead.example/v1/agents/environments/env_1/executor#" + token; good != want {
		t.Errorf("got %q, want %q", good, want)
	}
	for name, remote := range map[string]string{
		"no token":       strings.Split(good, "#")[0],
		"a short token":  strings.Split(good, "#")[0] + "#abc",
		"token in query": strings.Replace(good, "#", "?token=", 1),
		"another path":   "https://stead.example/v1#" + token,
		"not http":       strings.Replace(good, "https", "ftp", 1),
		"plain http":     strings.Replace(good, "https", "http", 1),
		"nothing":        "",
	} {
		err := executor.Run(t.Context(), executor.Config{Remote: remote, Workspace: t.TempDir(), Sandbox: bare.Provider{}})
		if stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: got %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error shows the token", name)
		}
	}
}

// The token is in no request line, and is not sent on to where a server redirects.
func TestTokenStaysWithTheServer(t *testing.T) {
	asked := make(chan string, 100)
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { asked <- "thief" }))
	defer thief.Close()
	lured := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		select {
		case asked <- q.RequestURI + " " + q.Header.Get("Authorization"):
		default:
		}
		http.Redirect(w, q, thief.URL, http.StatusTemporaryRedirect)
	}))
	defer lured.Close()
	r := newRig(t, quick())
	token, _ := executor.NewToken()
	e := r.run(executor.RemoteURL(lured.URL, "env_1", token), nil)
	for range 3 {
		line, authorization, _ := strings.Cut(<-asked, " ")
		if strings.Contains(line, token) || authorization != "Bearer "+token || line == "thief" {
			t.Errorf("asked for %q with %q", line, authorization)
		}
	}
	e.stop()
}
