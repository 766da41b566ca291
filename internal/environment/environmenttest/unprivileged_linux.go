package environmenttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// Unprivileged runs tests of the calling program once more, as a user without rights: a driver that is
// started without root stands on other legs. run is a pattern as of go test -run. It needs root to
// begin with; a test that has none is such a run already.
func Unprivileged(t *testing.T, run string) {
	if os.Getuid() != 0 {
		t.Skip("this is a user without rights already")
	}
	dir := publicDir(t)
	for name, arch := range map[string]string{"probe": runtime.GOARCH, "probe32": narrowArch()} {
		if _, err := buildProbe(dir, name, arch); err != nil {
			t.Fatal(err)
		}
	}
	program, temporary := filepath.Join(dir, "tests"), filepath.Join(dir, "tmp")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := copyFile(self, program); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(temporary, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(temporary, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), program, "-test.run="+run, "-test.v", "-test.timeout=10m")
	c.Dir = temporary
	c.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + temporary, "TMPDIR=" + temporary, probeVariable + "=" + dir}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("as user %d: %v\n%s", nobody, err, out)
	}
}
