//go:build linux

package kubernetes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/environmenttest"
)

// patience is the longest wait for something that has to happen.
const patience = 60 * time.Second

// podCluster is a cluster whose pods can run here; it needs root and the programs that make them.
func podCluster(t *testing.T) *cluster {
	t.Helper()
	why := ""
	for _, program := range []string{"busybox", "unshare", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			why = err.Error()
		}
	}
	if os.Getuid() != 0 {
		why = "pods are made by root"
	}
	if why != "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("CI needs what makes pods: %s", why)
		}
		t.Skipf("no pods here: %s (tools/deps.sh installs what is missing)", why)
	}
	c := newCluster(t)
	c.guest = guestProgram(t)
	return c
}

var (
	guestOnce sync.Once
	guestPath string
	guestErr  error
)

// guestProgram builds the static guest once.
func guestProgram(t *testing.T) string {
	t.Helper()
	guestOnce.Do(func() {
		dir, err := os.MkdirTemp("", "stead-guest-")
		if err != nil {
			guestErr = err
			return
		}
		guestPath = filepath.Join(dir, "guest")
		build := exec.Command("go", "build", "-o", guestPath, "github.com/stead-dev/stead/cmd/stead-guest")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
		if out, err := build.CombinedOutput(); err != nil {
			guestErr = fmt.Errorf("%w: %s", err, out)
		}
	})
	if guestErr != nil {
		t.Fatal(guestErr)
	}
	return guestPath
}

func TestMain(m *testing.M) {
	code := m.Run()
	if guestPath != "" {
		_ = os.RemoveAll(filepath.Dir(guestPath))
	}
	os.Exit(code)
}

// synced is the provider with environments whose copy follows at once: the suite looks at the
// workspace from the host's side, where other drivers have it mounted.
type synced struct{ *Provider }

func (s synced) Open(ctx context.Context, spec environment.Spec) (environment.Environment, error) {
	e, err := s.Provider.Open(ctx, spec)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			select {
			case <-e.Done():
				return
			case <-time.After(50 * time.Millisecond):
				_ = e.(*Environment).Sync(context.Background()) // it ends with the environment
			}
		}
	}()
	return &syncedEnvironment{e.(*Environment)}, nil
}

type syncedEnvironment struct{ *Environment }

func (s *syncedEnvironment) Exec(ctx context.Context, c environment.Command, out func(environment.Chunk)) (environment.Exit, error) {
	exit, err := s.Environment.Exec(ctx, c, out)
	_ = s.Sync(context.WithoutCancel(ctx)) // so that what the command did is seen when it has returned
	return exit, err
}

func TestSuite(t *testing.T) {
	template := "the SandboxTemplate decides it"
	services := "the services' directory is the pod's own: what is planted there is seen by nobody else"
	environmenttest.Suite(t, func(t *testing.T) environment.Provider { return synced{podCluster(t).provider(t)} }, environmenttest.Options{
		Slow: 2,
		Exempt: map[string]string{
			"Root/only workspace and tmp can be written": services,
			"Network/the tools socket is reached":        services + "; TestServicesAreReached is about the rest",
			"Root/mounts are read-only":                  template,
			"Root/commands are root only for set-up":     template,
			"Root/layers and upper":                      template,
		},
	})
}

func specOf(t *testing.T) environment.Spec {
	t.Helper()
	dir := publicDir(t)
	spec := environment.Spec{ID: "env_1", Workspace: filepath.Join(dir, "workspace"), Services: filepath.Join(dir, "services")}
	for _, d := range []string{spec.Workspace, spec.Services} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return spec
}

func openIt(t *testing.T, p *Provider, spec environment.Spec) *Environment {
	t.Helper()
	e, err := p.Open(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeIt(t, e) })
	return e.(*Environment)
}

func closeIt(t *testing.T, e environment.Environment) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := e.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

func sh(t *testing.T, e environment.Environment, script string) string {
	t.Helper()
	var out bytes.Buffer
	exit, err := e.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", script}}, func(c environment.Chunk) { out.Write(c.Data) })
	if err != nil || exit.Code != 0 {
		t.Fatalf("%s: %+v, %v, %s", script, exit, err, out.String())
	}
	return out.String()
}

// The directory of the host goes into the pod, and comes back: all kinds of files, and only those.
func TestTheWorkspaceGoesInAndComesBack(t *testing.T) {
	c := podCluster(t)
	spec := specOf(t)
	for name, data := range map[string]string{"old": "old", "deep/er/file": "deep", "gone": "gone"} {
		name = filepath.Join(spec.Workspace, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(data), 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	e := openIt(t, c.provider(t), spec)
	if out := sh(t, e, `cat old deep/er/file; rm gone; echo new > new; chmod 755 new; ln -s /etc/passwd link; mkdir shut; echo in > shut/file; chmod 000 shut; mkfifo fifo; rm -r deep; echo f > deep`); out != "olddeep" {
		t.Errorf("the pod has %q", out)
	}
	if err := e.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"old": "old", "new": "new\n", "shut/file": "in\n", "deep": "f\n"} {
		if data, err := os.ReadFile(filepath.Join(spec.Workspace, name)); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if to, err := os.Readlink(filepath.Join(spec.Workspace, "link")); err != nil || to != "/etc/passwd" {
		t.Errorf("link: %q, %v", to, err)
	}
	for _, name := range []string{"gone", "fifo"} {
		if _, err := os.Lstat(filepath.Join(spec.Workspace, name)); !os.IsNotExist(err) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
	if info, err := os.Stat(filepath.Join(spec.Workspace, "new")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("new: %v, %v", info, err)
	}
	sh(t, e, "echo last > last")
	closeIt(t, e)
	if data, err := os.ReadFile(filepath.Join(spec.Workspace, "last")); err != nil || string(data) != "last\n" {
		t.Errorf("what came last is not there after Close: %q, %v", data, err)
	}
}

func TestServicesAreReached(t *testing.T) {
	c := podCluster(t)
	spec := specOf(t)
	if err := os.WriteFile(filepath.Join(spec.Services, environment.CAFile), []byte("authority"), 0o644); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{}, 1)
	serveUnix(t, filepath.Join(spec.Services, environment.ToolsSocket), func() { served <- struct{}{} })
	e := openIt(t, c.provider(t), spec)
	if out := sh(t, e, "cat "+environment.ServicesDir+"/"+environment.CAFile); out != "authority" {
		t.Errorf("the authorities are %q", out)
	}
	probe := filepath.Join(t.TempDir(), "probe")
	build := exec.Command("go", "build", "-o", probe, "github.com/stead-dev/stead/internal/environment/environmenttest/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(probe)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.WriteFile(t.Context(), "probe", data, true); err != nil {
		t.Fatal(err)
	}
	sh(t, e, "./probe dial unix "+environment.ServicesDir+"/"+environment.ToolsSocket+" || true")
	select {
	case <-served:
	case <-time.After(patience):
		t.Error("nothing reached the host's socket")
	}
}

// A pod that is lost ends the environment, and says so; what the copy had stays.
func TestALostPodEndsTheEnvironment(t *testing.T) {
	c := podCluster(t)
	spec := specOf(t)
	e := openIt(t, c.provider(t), spec)
	sh(t, e, "echo kept > kept")
	if err := e.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	pod := c.claims[e.name].pod
	c.mu.Unlock()
	pod.stop()
	select {
	case <-e.Done():
	case <-time.After(patience):
		t.Fatal("Done is not closed")
	}
	_, err := e.Exec(t.Context(), environment.Command{Args: []string{"true"}}, nil)
	if _, ok := errors.AsType[*environment.NotStartedError](err); !ok {
		t.Errorf("a command afterwards: %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(spec.Workspace, "kept")); err != nil || string(data) != "kept\n" {
		t.Errorf("the copy: %q, %v", data, err)
	}
}

// When the server's connection breaks, what ran in the pod is gone, although the pod goes on.
func TestTheEndOfTheConnectionEndsTheCommands(t *testing.T) {
	c := podCluster(t)
	e := openIt(t, c.provider(t), specOf(t))
	sh(t, e, `setsid sh -c 'trap "" TERM HUP; while :; do sleep 0.02; done' cluster-daemon >/dev/null 2>&1 &`)
	until(t, "the daemon runs", func() bool { return runs("cluster-daemon") })
	c.mu.Lock()
	conns := c.conns
	c.answer["DELETE "+c.claimsPath()+"/"+e.name] = func(w http.ResponseWriter, _ *http.Request) { failure(w, http.StatusNotFound, "gone") }
	c.mu.Unlock()
	for _, conn := range conns {
		conn.CloseNow()
	}
	until(t, "the daemon is gone", func() bool { return !runs("cluster-daemon") })
}

func runs(what string) bool {
	names, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil && bytes.Contains(data, []byte(what)) && bytes.Contains(data, []byte("trap")) {
			return true
		}
	}
	return false
}

func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestOldServersAndOldClusters(t *testing.T) {
	c := podCluster(t)
	c.version, c.v4 = "v1alpha1", true
	e := openIt(t, c.provider(t), specOf(t))
	if out := sh(t, e, "echo works"); out != "works\n" {
		t.Errorf("%q", out)
	}
}

// A claim is leased, labelled, and deleted with its pod.
func TestClaims(t *testing.T) {
	c := podCluster(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p := c.provider(t, func(o *Options) { o.Now = func() time.Time { return now } })
	e := openIt(t, p, specOf(t))
	until := func() string {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.claims[e.name].object["spec"].(map[string]any)["lifecycle"].(map[string]any)["shutdownTime"].(string)
	}
	if got := until(); got != "2026-01-02T03:14:05Z" {
		t.Errorf("the claim ends at %s", got)
	}
	if err := p.api.renew(t.Context(), e.name, now.Add(time.Hour)); err != nil || until() != "2026-01-02T04:04:05Z" {
		t.Errorf("renewed: %v, %s", err, until())
	}
	c.mu.Lock()
	labels := c.claims[e.name].object["metadata"].(map[string]any)["labels"].(map[string]any)
	pod := c.claims[e.name].pod
	c.mu.Unlock()
	if labels[labelNode] != "node-1" || labels[labelEnvironment] != "env_1" {
		t.Errorf("labels %v", labels)
	}
	closeIt(t, e)
	if _, err := os.Stat("/proc/" + pod.pid); err == nil {
		t.Error("the pod is there after Close")
	}
}

func TestSweepDeletesWhatThisServerLeft(t *testing.T) {
	c := newCluster(t)
	c.status = func(*fakeClaim) {}
	mine, other := c.provider(t), c.provider(t, func(o *Options) { o.Node = "node-2" })
	for _, p := range []*Provider{mine, mine, other} {
		if _, err := p.api.createClaim(t.Context(), "env_1", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := mine.Sweep(t.Context()); err != nil || n != 2 {
		t.Errorf("%d deleted, %v", n, err)
	}
	if left, err := other.api.claims(t.Context(), labelNode+"=node-2"); err != nil || len(left) != 1 {
		t.Errorf("the other server has %d claims, %v", len(left), err)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		title   string
		spec    func(*environment.Spec)
		cluster func(*cluster)
		kind    stead.Kind
	}{
		{"an image", func(s *environment.Spec) { s.Root.Image = "/x" }, nil, stead.KindNotImplemented},
		{"layers", func(s *environment.Spec) { s.Root.Layers = []string{"/x"} }, nil, stead.KindNotImplemented},
		{"mounts", func(s *environment.Spec) { s.Mounts = []environment.Mount{{}} }, nil, stead.KindNotImplemented},
		{"root", func(s *environment.Spec) { s.AsRoot = true }, nil, stead.KindNotImplemented},
		{"no agent-sandbox", nil, func(c *cluster) { c.on("GET /apis/"+claimGroup, 404, `{"status":"Failure","code":404}`) }, stead.KindUnavailable},
		{"a version from the future", nil, func(c *cluster) { c.version = "v7" }, stead.KindUnavailable},
		{"no rights", nil, func(c *cluster) {
			c.on("POST "+c.claimsPath(), 403, `{"status":"Failure","message":"sandboxclaims is forbidden: User \"x\"","code":403}`)
		}, stead.KindForbidden},
		{"a pool that is not there", nil, func(c *cluster) { c.on("POST "+c.claimsPath(), 422, `{"status":"Failure","message":"no","code":422}`) }, stead.KindUnavailable},
		{"nonsense", nil, func(c *cluster) { c.on("POST "+c.claimsPath(), 201, `<html>`) }, stead.KindUnavailable},
		{"a claim without a name", nil, func(c *cluster) { c.on("POST "+c.claimsPath(), 201, `{}`) }, stead.KindUnavailable},
		{"an endless answer", nil, func(c *cluster) {
			c.on("POST "+c.claimsPath(), 201, `{"x":"`+strings.Repeat("x", MaxAnswerBytes)+`"}`)
		}, stead.KindUnavailable},
		{"a claim that is deleted", nil, func(c *cluster) {
			c.status = func(k *fakeClaim) {
				k.object["metadata"].(map[string]any)["deletionTimestamp"] = "2026-01-01T00:00:00Z"
			}
		}, stead.KindUnavailable},
		{"a claim that has expired", nil, func(c *cluster) { c.status = func(k *fakeClaim) { c.condition(k, "False", "ClaimExpired") } }, stead.KindUnavailable},
		{"a pod that is not there", nil, func(c *cluster) { c.status = func(k *fakeClaim) { c.condition(k, "True", "DependenciesReady") } }, stead.KindUnavailable},
	} {
		t.Run(c.title, func(t *testing.T) {
			cl := newCluster(t)
			if c.cluster != nil {
				c.cluster(cl)
			}
			spec := specOf(t)
			if c.spec != nil {
				c.spec(&spec)
			}
			_, err := cl.provider(t).Open(t.Context(), spec)
			if stead.KindOf(err) != c.kind {
				t.Errorf("%v of kind %q, want %q", err, stead.KindOf(err), c.kind)
			}
			if e, ok := errors.AsType[*stead.Error](err); ok && strings.Contains(e.Message, "User") {
				t.Errorf("the cluster's words are in the message: %q", e.Message)
			}
			cl.mu.Lock()
			defer cl.mu.Unlock()
			for name, k := range cl.claims {
				if !k.deleted {
					t.Errorf("claim %s is left behind", name)
				}
			}
		})
	}
}

func TestAClusterThatIsSlowEndsWithTheCall(t *testing.T) {
	c := newCluster(t)
	c.status = func(k *fakeClaim) { c.condition(k, "False", "DependenciesNotReady") }
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := c.provider(t).Open(ctx, specOf(t))
	if stead.KindOf(err) != stead.KindUnavailable || !strings.Contains(err.Error(), "DependenciesNotReady") {
		t.Errorf("%v", err)
	}
}

// Watches break, expire and bring nonsense; the claim is read then, and watched anew.
func TestWatchesThatBreak(t *testing.T) {
	for title, body := range map[string]string{
		"ends at once":      ``,
		"is cut":            `{"type":"MODI`,
		"has expired":       `{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}`,
		"fails":             `{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd"}}`,
		"speaks of another": `{"type":"MODIFIED","object":{"metadata":{"name":"another"}}}`,
	} {
		t.Run(title, func(t *testing.T) {
			c := newCluster(t)
			c.status = func(*fakeClaim) {}
			p := c.provider(t)
			claim, err := p.api.createClaim(t.Context(), "env_1", time.Now())
			if err != nil {
				t.Fatal(err)
			}
			broken := 0
			c.mu.Lock()
			c.answer["GET "+c.claimsPath()] = func(w http.ResponseWriter, r *http.Request) {
				c.mu.Lock()
				defer c.mu.Unlock()
				if broken++; broken == 3 {
					c.condition(c.claims[claim.Metadata.Name], "True", "DependenciesReady")
				}
				_, _ = w.Write([]byte(body))
			}
			c.mu.Unlock()
			pod, err := p.api.ready(t.Context(), claim)
			if err != nil || pod != "pod-of-"+claim.Metadata.Name {
				t.Errorf("%q, %v", pod, err)
			}
		})
	}
}

func TestReport(t *testing.T) {
	c := podCluster(t)
	c.runtime = "gvisor"
	r := c.provider(t).Probe(t.Context())
	if !r.Usable || r.Isolation != environment.IsolationStrong { // the fake's node has another kernel
		t.Errorf("%+v", r)
	}
	c.runtime = ""
	if r := c.provider(t).Probe(t.Context()); !r.Usable || r.Isolation != environment.IsolationShared {
		t.Errorf("%+v", r)
	}
	c.on("GET /apis/"+claimGroup, 404, `{}`)
	if r := c.provider(t).Probe(t.Context()); r.Usable || r.Problem == "" || r.Remedy == "" {
		t.Errorf("%+v", r)
	}
}

func TestOptions(t *testing.T) {
	good := Options{Server: "https://cluster:6443", Namespace: "a", Pool: "p", Node: "n"}
	for title, change := range map[string]func(*Options){
		"no pool": func(o *Options) { o.Pool = "" }, "no namespace": func(o *Options) { o.Namespace = "" },
		"no server": func(o *Options) { o.Server = "" }, "a node that is no label": func(o *Options) { o.Node = "a b" },
		"a token without TLS":     func(o *Options) { o.Server, o.Token = "http://cluster", TokenFile("/none") },
		"authorities of nonsense": func(o *Options) { o.CA = []byte("x") },
	} {
		o := good
		change(&o)
		if _, err := New(o); stead.KindOf(err) != stead.KindInvalid {
			t.Errorf("%s: %v", title, err)
		}
	}
	dir := t.TempDir()
	for name, data := range map[string]string{"token": "first\n", "namespace": "ns\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
	o, err := InCluster(Options{Pool: "p", Node: "n"}, dir, func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	if err != nil || o.Server != "https://[fd00::1]:443" || o.Namespace != "ns" {
		t.Errorf("%+v, %v", o, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	if token, err := o.Token(); err != nil || token != "second" {
		t.Errorf("a token that was replaced: %q, %v", token, err)
	}
	if _, err := InCluster(Options{}, dir, func(string) (string, bool) { return "", false }); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("outside of a cluster: %v", err)
	}
}
