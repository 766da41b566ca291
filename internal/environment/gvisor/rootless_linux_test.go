package gvisor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// rootlessVariable makes the test binary a server without root that does what checkRootless says.
const rootlessVariable = "STEAD_GVISOR_TEST_ROOTLESS"

// TestWithoutRoot starts a server of a user who is nobody in particular.
func TestWithoutRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the whole of this package's tests runs without root already")
	}
	dir := publicDir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Copies, since where the tests are built may be somebody else's alone.
	for name, from := range map[string]string{"server": self, program: helper(t)} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	server := exec.Command(filepath.Join(dir, "server"))
	server.Dir = dir
	server.Env = []string{rootlessVariable + "=" + dir, "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	server.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := server.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "ok\n") {
		t.Errorf("%v: %s", err, out)
	}
}

// nobody is a user that owns nothing.
const nobody = 65534

// withoutRoot is the server. It ends the process.
func withoutRoot(dir string) {
	if err := checkRootless(dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ok")
	os.Exit(0)
}

func checkRootless(dir string) error {
	ctx := context.Background()
	p := New(Config{Binary: filepath.Join(dir, program), Dir: filepath.Join(dir, "mounts")})
	defer p.Close(ctx)
	r := p.Probe(ctx)
	if !r.Usable {
		return fmt.Errorf("%s %s", r.Problem, r.Remedy)
	}
	s := environment.Spec{ID: "env_rootless", Workspace: filepath.Join(dir, "workspace"), Services: filepath.Join(dir, "services"), Limits: environment.LimitsOf(environment.SizeSmall)}
	s.Limits.MemoryBytes = 192 << 20
	for _, d := range []string{s.Workspace, s.Services} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	upper := s
	upper.Root.Upper = dir
	if _, err := p.Open(ctx, upper); stead.KindOf(err) != stead.KindNotImplemented {
		return fmt.Errorf("an upper layer: %w", err)
	}
	e, err := p.Open(ctx, s)
	if err != nil {
		return err
	}
	if err := e.WriteFile(ctx, "given", []byte("given"), false); err != nil {
		return err
	}
	var said strings.Builder
	exit, err := e.Exec(ctx, environment.Command{Args: []string{"sh", "-c", "id -u; grep CapEff /proc/self/status; cat given; echo more >> given; mkdir d; echo x > d/f"}}, func(c environment.Chunk) { said.Write(c.Data) })
	if want := "0\nCapEff:\t0000000000000000\ngiven"; err != nil || exit.Code != 0 || said.String() != want {
		return fmt.Errorf("exit %d, %q, want %q: %w", exit.Code, said.String(), want, err)
	}
	if u := e.Usage(); u.CPU <= 0 {
		return fmt.Errorf("no CPU time is counted: %+v", u)
	}
	if data, err := e.ReadFile(ctx, "d/f", 10); string(data) != "x\n" {
		return fmt.Errorf("read back %q: %w", data, err)
	}
	if p.groups.By(environment.ControlMemory) == "" {
		// Many processes, each below the limit: the watchdog sees them together.
		script := `for i in 1 2 3 4; do python3 -c 'import time; x = b"x" * 60000000; time.sleep(5)' & done; wait`
		exit, err := e.Exec(ctx, environment.Command{Args: []string{"sh", "-c", script}}, nil)
		if err != nil || exit.Reason != environment.ReasonMemory {
			return fmt.Errorf("240 MB of 192 MiB: exit %d %s: %w", exit.Code, exit.Reason, err)
		}
	}
	return e.Close(ctx)
}
