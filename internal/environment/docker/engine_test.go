//go:build linux

package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/environmenttest"
)

// The suite needs a real engine: the one at $STEAD_DOCKER_HOST (a path of a socket) or at Docker's
// usual place, or else Podman, started for the test with a storage of its own. In CI one must be there.

// testImage is made of busybox alone.
const testImage = "localhost/stead-test:latest"

// patience is the longest wait for something that has to happen.
const patience = 60 * time.Second

// engine is what all tests of this package share: starting one takes a second.
type engine struct {
	socket string
	guest  string
	dir    string
	stop   func()
	why    string // why there is none
}

func TestMain(m *testing.M) {
	if code, ok := mainOf(os.Args); ok {
		os.Exit(code)
	}
	code := m.Run()
	stopEngine()
	os.Exit(code)
}

var (
	theEngine  engine
	startOnce  sync.Once
	stopEngine = func() {}
)

// realEngine returns the engine, with the test image in it.
func realEngine(t testing.TB) engine {
	t.Helper()
	startOnce.Do(func() {
		theEngine = startEngine()
		stopEngine = func() {
			if theEngine.stop != nil {
				theEngine.stop()
			}
			if theEngine.dir != "" {
				_ = os.RemoveAll(theEngine.dir)
			}
		}
	})
	if theEngine.why != "" {
		if os.Getenv("CI") != "" {
			t.Fatalf("CI needs a container engine: %s", theEngine.why)
		}
		t.Skipf("no container engine here: %s (tools/deps.sh installs podman)", theEngine.why)
	}
	return theEngine
}

func startEngine() (e engine) {
	dir, err := os.MkdirTemp("", "stead-docker-")
	if err != nil {
		return engine{why: err.Error()}
	}
	e.dir, e.guest = dir, filepath.Join(dir, "stead-guest")
	build := exec.Command("go", "build", "-o", e.guest, "github.com/stead-dev/stead/cmd/stead-guest")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		e.why = fmt.Sprintf("build the guest: %v: %s", err, out)
		return e
	}
	for _, s := range []string{os.Getenv("STEAD_DOCKER_HOST"), "/var/run/docker.sock"} {
		if s = strings.TrimPrefix(s, "unix://"); s == "" {
			continue
		}
		if _, err := os.Stat(s); err == nil {
			e.socket = s
			break
		}
	}
	if e.socket == "" {
		if err := e.startPodman(); err != nil {
			e.why = err.Error()
			return e
		}
	}
	if err := importImage(e.socket); err != nil {
		e.why = "import the test image: " + err.Error()
	}
	return e
}

// startPodman serves Podman's API with a storage and a configuration that touch nothing of the machine.
func (e *engine) startPodman() error {
	if os.Getuid() != 0 {
		return fmt.Errorf("starting podman here needs root")
	}
	for _, program := range []string{"podman", "conmon", "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			return err
		}
	}
	e.socket = filepath.Join(e.dir, "podman.sock")
	storage := fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(e.dir, "graph"), filepath.Join(e.dir, "run"))
	// runc, since crun refuses machines that have both versions of control groups.
	settings := "[containers]\ndefault_sysctls = []\n[engine]\ncgroup_manager = \"cgroupfs\"\nruntime = \"runc\"\nevents_logger = \"file\"\n"
	for name, text := range map[string]string{"storage.conf": storage, "containers.conf": settings} {
		if err := os.WriteFile(filepath.Join(e.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	log, err := os.Create(filepath.Join(e.dir, "podman.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c := exec.Command("podman", "system", "service", "--time", "0", "unix://"+e.socket)
	c.Env = append(os.Environ(), "CONTAINERS_STORAGE_CONF="+filepath.Join(e.dir, "storage.conf"), "CONTAINERS_CONF="+filepath.Join(e.dir, "containers.conf"), "XDG_RUNTIME_DIR=")
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := c.Start(); err != nil {
		return err
	}
	e.stop = func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		_ = syscall.Unmount(filepath.Join(e.dir, "graph", "overlay"), 0)
		removeGroups()
	}
	a := newAPI(e.socket)
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if _, err = a.hello(context.Background()); err == nil {
			return nil
		}
		if time.Now().After(end) {
			words, _ := os.ReadFile(log.Name()) // as much as there is
			return fmt.Errorf("podman does not answer: %w: %s", err, words)
		}
	}
}

// removeGroups removes the control groups that Podman leaves. Those that are in use can't be removed.
func removeGroups() {
	for _, pattern := range []string{"/*/libpod_parent/*", "/libpod_parent/*", "/*/libpod_parent", "/libpod_parent"} {
		names, _ := filepath.Glob("/sys/fs/cgroup" + pattern) // the pattern is valid
		for _, name := range names {
			_ = syscall.Rmdir(name)
		}
	}
}

// importImage makes an image of busybox, with a name for each of its programs.
func importImage(socket string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	list, err := exec.Command(busybox, "--list").Output()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	entries := []tar.Header{{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))}}
	entries = append(entries, tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}) // runc gives the mount this mode
	for _, d := range []string{"etc/", "opt/", "var/", "usr/", "usr/bin/", "mnt/", "run/"} {
		entries = append(entries, tar.Header{Name: d, Typeflag: tar.TypeDir, Mode: 0o755})
	}
	for name := range strings.FieldsSeq(string(list)) {
		if name != "busybox" {
			entries = append(entries, tar.Header{Name: "bin/" + name, Typeflag: tar.TypeSymlink, Linkname: "/bin/busybox"})
		}
	}
	entries = append(entries, tar.Header{Name: "usr/bin/env", Typeflag: tar.TypeSymlink, Linkname: "/bin/busybox"})
	for _, h := range entries {
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		if h.Size > 0 {
			if _, err := w.Write(program); err != nil {
				return err
			}
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	repo, tag, _ := strings.Cut(testImage, ":")
	req, err := http.NewRequest(http.MethodPost, "http://engine/v1.41/images/create?fromSrc=-&repo="+repo+"&tag="+tag, &b)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-tar")
	res, err := newAPI(socket).http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK || bytes.Contains(answer, []byte(`"error"`)) {
		err = fmt.Errorf("%s: %s", res.Status, answer)
	}
	return err
}

func realProvider(t testing.TB, change ...func(*Options)) *Provider {
	t.Helper()
	e := realEngine(t)
	opts := Options{Socket: e.socket, Image: testImage, Dir: filepath.Join(e.dir, "driver"), Guest: e.guest}
	for _, f := range change {
		f(&opts)
	}
	return New(opts)
}

func TestSuite(t *testing.T) {
	environmenttest.Suite(t, func(t *testing.T) environment.Provider { return realProvider(t) }, environmenttest.Options{Slow: 2, Exempt: map[string]string{
		"Limits/memory/files in tmp count": "Podman takes no number of files for a tmpfs: their memory is the container's, which is limited",
		"Limits/pids/recovery":             "its guest can not tell what to kill: the agent is told that no process is left",
	}})
}

// BenchmarkOpen is a container from nothing to its first output and its end; BenchmarkExec one command
// in a container that runs.
func BenchmarkOpen(b *testing.B) {
	p := realProvider(b)
	for b.Loop() {
		e := benchOpen(b, p)
		benchExec(b, e)
		if err := e.Close(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExec(b *testing.B) {
	e := benchOpen(b, realProvider(b))
	for b.Loop() {
		benchExec(b, e)
	}
	if err := e.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func benchOpen(b *testing.B, p *Provider) environment.Environment {
	dir, err := os.MkdirTemp(b.TempDir(), "workspace")
	if err != nil {
		b.Fatal(err)
	}
	e, err := p.Open(b.Context(), environment.Spec{ID: "env_bench", Workspace: dir})
	if err != nil {
		b.Fatal(err)
	}
	return e
}

func benchExec(b *testing.B, e environment.Environment) {
	if exit, err := e.Exec(b.Context(), environment.Command{Args: []string{"echo", "x"}}, nil); err != nil || exit.Code != 0 {
		b.Fatalf("%+v, %v", exit, err)
	}
}

func TestHostile(t *testing.T) {
	environmenttest.Hostile(t, func(t *testing.T) environment.Provider { return realProvider(t) }, environmenttest.Options{Slow: 2})
}
