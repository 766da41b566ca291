package environment_test

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// What runs below a process is counted where no control group does, at any depth and as long as it lives.
func TestBelow(t *testing.T) {
	c := exec.Command("sh", "-c", `(sh -c 'while :; do :; done' & sleep 100 & wait) & wait`)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = c.Wait()
	}()
	var got environment.Living
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if got = environment.Below(c.Process.Pid); got.Threads == 3 && got.CPU > 0 {
			break
		}
	}
	if got.Threads != 3 || got.CPU <= 0 || got.MemoryBytes <= 0 {
		t.Errorf("below are %+v", got)
	}
	if none := environment.Below(1 << 30); none != (environment.Living{}) {
		t.Errorf("below nobody are %+v", none)
	}
}
