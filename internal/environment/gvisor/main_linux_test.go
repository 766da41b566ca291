package gvisor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// serverVariable makes the test binary a server that opens environments and waits to be killed: its
// value is a directory for them.
const serverVariable = "STEAD_GVISOR_TEST_SERVER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(serverVariable); dir != "" {
		serve(dir)
	}
	if dir := os.Getenv(rootlessVariable); dir != "" {
		withoutRoot(dir)
	}
	os.Exit(m.Run())
}

// helper builds stead-gvisor as `make gvisor` does, into bin, where the next run finds it done.
func helper(t testing.TB) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatalf("build stead-gvisor: %v", err)
	}
	return path
}

var built = sync.OnceValues(func() (string, error) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", program)
	c := exec.Command("go", "build", "-o", path, ".")
	c.Dir = filepath.Join(root, "cmd", program)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	c.Stderr = os.Stderr
	return path, c.Run()
})

// open makes a provider that the test's end closes.
func open(t testing.TB, c Config) *Provider {
	t.Helper()
	c.Binary, c.Dir = helper(t), publicDir(t)
	p := New(c)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if left, err := os.ReadDir(c.Dir); len(left) > 0 {
			t.Errorf("the closed driver left %v, %v", left, err)
		}
	})
	return p
}

// publicDir is a directory that other users can reach, unlike t.TempDir's.
func publicDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "stead-gvisor-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// spec is an environment with a workspace and services of its own.
func spec(t testing.TB) environment.Spec {
	t.Helper()
	dir := publicDir(t)
	s := environment.Spec{
		ID: "env_" + filepath.Base(dir), Workspace: filepath.Join(dir, "workspace"), Services: filepath.Join(dir, "services"),
		Limits: environment.LimitsOf(environment.SizeSmall),
	}
	for _, d := range []string{s.Workspace, s.Services} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// start opens an environment that the test's end closes.
func start(t testing.TB, p *Provider, s environment.Spec) *box {
	t.Helper()
	b, err := p.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return b.(*box)
}

// run runs a command that must succeed and returns what it printed.
func run(t testing.TB, b *box, args ...string) string {
	t.Helper()
	var out []byte
	exit, err := b.Exec(context.Background(), environment.Command{Args: args}, func(c environment.Chunk) { out = append(out, c.Data...) })
	if err != nil || exit.Code != 0 {
		t.Fatalf("%q: exit %d %s, %v: %s", args, exit.Code, exit.Reason, err, out)
	}
	return string(out)
}

// until waits for a condition with a deadline.
func until(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// serve is the server that is killed: one environment with a command that runs, and one in the pool.
func serve(dir string) {
	ctx := context.Background()
	p := New(Config{Binary: os.Getenv(serverVariable + "_BINARY"), Dir: filepath.Join(dir, "mounts"), Pool: 1, PoolLimits: environment.LimitsOf(environment.SizeSmall)})
	b, err := p.Open(ctx, environment.Spec{ID: "env_killed", Workspace: filepath.Join(dir, "workspace"), Limits: environment.LimitsOf(environment.SizeSmall)})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for p.pool.size() < 1 {
		time.Sleep(5 * time.Millisecond)
	}
	_, err = b.Exec(ctx, environment.Command{Args: []string{"sh", "-c", "setsid sleep 1000 & echo ready; sleep 1000"}}, func(c environment.Chunk) { os.Stdout.Write(c.Data) })
	fmt.Println("the command ended:", err)
	os.Exit(1)
}
