package environmenttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// rig is what the subtests of one suite share.
type rig struct {
	base     string // the name of the test that called the suite
	provider environment.Provider
	opts     Options
	report   func() environment.Report
	probe    func() (string, error) // path of the built probe program
	probe32  func() ([]byte, error) // the same for 32 bits
}

func newRig(t *testing.T, p environment.Provider, opts Options) *rig {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close the provider: %v", err)
		}
	})
	dir := publicDir(t)
	return &rig{
		base: t.Name(), provider: p, opts: opts,
		report: sync.OnceValue(func() environment.Report {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			return p.Probe(ctx)
		}),
		probe: sync.OnceValues(func() (string, error) { return buildProbe(dir, "probe", runtime.GOARCH) }),
		probe32: sync.OnceValues(func() ([]byte, error) {
			name, err := buildProbe(dir, "probe32", narrowArch())
			if err != nil {
				return nil, err
			}
			return os.ReadFile(name)
		}),
	}
}

// narrowArch is the architecture of 32 bits whose programs this one runs, where it does.
func narrowArch() string {
	return map[string]string{"amd64": "386", "arm64": "arm"}[runtime.GOARCH]
}

// probeVariable names a directory in which the probe programs stand already: see Unprivileged.
const probeVariable = "STEAD_TEST_PROBES"

// buildProbe builds the probe program for the inside. It must run in any root, so it is static.
func buildProbe(dir, name, arch string) (string, error) {
	if built := os.Getenv(probeVariable); built != "" {
		return filepath.Join(built, name), nil
	}
	name = filepath.Join(dir, name)
	c := exec.Command("go", "build", "-o", name, "github.com/stead-dev/stead/internal/environment/environmenttest/probe")
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the probe program: %w: %s", err, out)
	}
	return name, nil
}

// publicDir is a directory for a test that other users can search, unlike t.TempDir's: a driver may
// run commands as a user of their own.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "stead-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("what a closed environment left can't be removed: %v", err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// wait is how long to wait for something that has to happen.
func (r *rig) wait() time.Duration { return patience * time.Duration(max(r.opts.Slow, 1)) }

// claims says whether the driver says that a control holds without a gap.
func (r *rig) claims(control string) bool {
	for _, c := range r.report().Controls {
		if c.Name == control {
			return c.By != "" && c.Gap == ""
		}
	}
	return false
}

// box is an open environment with shorthands.
type box struct {
	environment.Environment
	t    *testing.T
	rig  *rig
	spec environment.Spec
}

// spec makes the directories of a new environment. The services directory is there; nothing serves.
func (r *rig) spec(t *testing.T) environment.Spec {
	t.Helper()
	dir := publicDir(t)
	s := environment.Spec{
		ID: "env_" + strings.TrimPrefix(filepath.Base(dir), "stead-test-"), Workspace: filepath.Join(dir, "workspace"),
		Services: filepath.Join(dir, "services"), Root: r.opts.Root,
		Env: map[string]string{"FROM_SPEC": "spec"},
		Limits: environment.Limits{
			MemoryBytes: 1 << 30, Processes: 128, CPUMilli: 2000, DiskBytes: 1 << 30, OpenFiles: 1024,
			CommandTime: r.wait(), Lifetime: 10 * r.wait(), OutputBytes: 1 << 20,
		},
	}
	for _, d := range []string{s.Workspace, s.Services} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// open opens an environment that the test's end closes.
func (r *rig) open(t *testing.T, change ...func(*environment.Spec)) *box {
	t.Helper()
	s := r.spec(t)
	for _, c := range change {
		c(&s)
	}
	return r.openSpec(t, s)
}

func (r *rig) openSpec(t *testing.T, s environment.Spec) *box {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), r.wait())
	defer cancel()
	e, err := r.provider.Open(ctx, s)
	if err != nil {
		t.Fatalf("open: %v%s", err, hint(err))
	}
	b := &box{e, t, r, s}
	t.Cleanup(func() {
		b.close(t)
		for _, pid := range b.processes() { // what a broken driver left would disturb the next test
			t.Errorf("process %d survived its environment", pid)
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill()
			}
		}
	})
	return b
}

func hint(err error) string {
	if e, ok := errors.AsType[*stead.Error](err); ok && e.Hint != "" {
		return " (" + e.Hint + ")"
	}
	return ""
}

func (b *box) close(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), b.rig.wait())
	defer cancel()
	if err := b.Environment.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// workspace is the workspace as the inside sees it; services likewise.
func (b *box) workspace() string {
	if b.rig.opts.HostPaths {
		return b.spec.Workspace
	}
	return environment.WorkspaceDir
}

func (b *box) services() string {
	if b.rig.opts.HostPaths {
		return b.spec.Services
	}
	return environment.ServicesDir
}

// result is how a command ended, with what it printed.
type result struct {
	environment.Exit
	out, err string
}

func (r result) String() string {
	return fmt.Sprintf("exit %d %s, out %.2000q, err %.2000q", r.Code, r.Reason, r.out, r.err)
}

// try runs a command and collects its output.
func (b *box) try(c environment.Command) (result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), b.rig.wait())
	defer cancel()
	return b.tryContext(ctx, c)
}

func (b *box) tryContext(ctx context.Context, c environment.Command) (result, error) {
	var out, errs bytes.Buffer
	exit, err := b.Exec(ctx, c, func(c environment.Chunk) {
		if c.Stream == environment.Stderr {
			errs.Write(c.Data)
		} else {
			out.Write(c.Data)
		}
	})
	return result{exit, out.String(), errs.String()}, err
}

// command runs a command that has to start.
func (b *box) command(t *testing.T, c environment.Command) result {
	t.Helper()
	res, err := b.try(c)
	if err != nil {
		t.Fatalf("%.200q: %v", c.Args, err)
	}
	return res
}

func (b *box) args(t *testing.T, args ...string) result {
	t.Helper()
	return b.command(t, environment.Command{Args: args})
}

// sh runs a shell script, and returns what it printed; it has to succeed.
func (b *box) sh(t *testing.T, script string, args ...string) string {
	t.Helper()
	res := b.args(t, append([]string{"sh", "-c", script, "sh"}, args...)...)
	if res.Code != 0 {
		t.Fatalf("%s: %v", script, res)
	}
	return res.out
}

// fails runs a shell script that must not succeed.
func (b *box) fails(t *testing.T, script string, args ...string) {
	t.Helper()
	if res := b.args(t, append([]string{"sh", "-c", script, "sh"}, args...)...); res.Code == 0 {
		t.Errorf("%s: succeeded: %v", script, res)
	}
}

// write puts a file into the workspace through the contract.
func (b *box) write(t *testing.T, path, data string) {
	t.Helper()
	if err := b.WriteFile(t.Context(), path, []byte(data), false); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
}

func (b *box) read(t *testing.T, path string) string {
	t.Helper()
	data, err := b.ReadFile(t.Context(), path, environment.MaxFileBytes)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	var pieces bytes.Buffer
	if err := b.CopyFile(t.Context(), path, environment.MaxFileBytes, &pieces); err != nil || !bytes.Equal(pieces.Bytes(), data) {
		t.Fatalf("read %s: %d bytes as a whole, %d in pieces (%v)", path, len(data), pieces.Len(), err)
	}
	return string(data)
}

// putProbe copies the probe program into the workspace as ./probe.
func (b *box) putProbe(t *testing.T) {
	t.Helper()
	name, err := b.rig.probe()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.WriteFile(t.Context(), "probe", data, true); err != nil {
		t.Fatalf("write the probe program: %v", err)
	}
}

// until waits for a condition with a deadline.
func (r *rig) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(r.wait()); !done(); {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain: %s", r.wait(), what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// refused checks an error's kind.
func refused(t *testing.T, what string, err error, kinds ...stead.Kind) {
	t.Helper()
	for _, k := range kinds {
		if stead.KindOf(err) == k {
			return
		}
	}
	t.Errorf("%s: %v (kind %q), want one of %q", what, err, stead.KindOf(err), kinds)
}

// notStarted checks that an error says that the command surely did not run.
func notStarted(t *testing.T, what string, err error, kinds ...stead.Kind) {
	t.Helper()
	if _, ok := errors.AsType[*environment.NotStartedError](err); !ok {
		t.Errorf("%s: %v is no NotStartedError", what, err)
	}
	refused(t, what, err, kinds...)
}
