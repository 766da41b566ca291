package gvisor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/environmenttest"
)

// slow is how much longer than on the bare host things may take: a sandbox boots in a tenth of a
// second, and files go through two processes.
const slow = 2

func options() environmenttest.Options {
	const own = "it came through to the inside's own kernel, and to nothing of the host's: "
	return environmenttest.Options{
		Slow: slow,
		Exempt: map[string]string{
			"Limits/cpu":                         "the inside's kernel counts time in which the host's did not let it run: see TestCPULimit",
			"Limits/memory/files_in_tmp_count":   "gVisor's tmpfs counts bytes and no files: their memory is the sandbox's, which is limited",
			"Probes/open the host's devices":     own + "/dev/fuse is gVisor's",
			"Probes/a user namespace by clone":   own + "a user namespace is one of gVisor's",
			"Probes/a user namespace by unshare": own + "a user namespace is one of gVisor's",
			"Probes/a user namespace by clone3":  own + "a user namespace is one of gVisor's",
			"Probes/32 bits: a user namespace":   own + "a user namespace is one of gVisor's",
			"Probes/the kernel's log":            own + "gVisor makes up a log",
			"Probes/raise the priority":          own + "gVisor keeps a number, and the host's scheduler never hears of it",
		},
		Kill: func(t *testing.T, e environment.Environment) {
			if err := e.(*box).process.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		},
	}
}

func TestSuite(t *testing.T) {
	environmenttest.Suite(t, func(t *testing.T) environment.Provider { return open(t, Config{}) }, options())
}

func TestHostile(t *testing.T) {
	environmenttest.Hostile(t, func(t *testing.T) environment.Provider { return open(t, Config{}) }, options())
}

// TestCPULimit measures outside, where time is counted that was had.
func TestCPULimit(t *testing.T) {
	p := open(t, Config{})
	if p.groups.By(environment.ControlCPU) == "" {
		t.Skip("no control group limits CPU time here, and the report says so")
	}
	s := spec(t)
	s.Limits.CPUMilli = 300
	b := start(t, p, s)
	before, begin := b.Usage().CPU, time.Now()
	run(t, b, "sh", "-c", `for i in 1 2 3 4; do sh -c 'while :; do :; done' & p="$p $!"; done; sleep 2; kill -9 $p`)
	used, took := b.Usage().CPU-before, time.Since(begin)
	if most := took*35/100 + 200*time.Millisecond; used > most || used < took/20 {
		t.Errorf("four loops used %v of CPU in %v, the limit is 0.3 of one", used, took)
	}
}

func TestProbeTriesWhatItReports(t *testing.T) {
	r := open(t, Config{Pool: 1}).Probe(t.Context())
	if !r.Usable || r.Isolation != environment.IsolationStrong || r.Driver != Name {
		t.Fatalf("%+v", r)
	}
	for _, c := range r.Controls {
		t.Logf("%-10s %s %s %s", c.Name, c.By, c.Gap, c.Remedy)
	}
}

// TestDevices says what the exemption of the host's devices leaves open: the inside has devices of its
// own kernel, and no others.
func TestDevices(t *testing.T) {
	b := start(t, open(t, Config{}), spec(t))
	own := []string{"core", "fd", "full", "fuse", "net", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"}
	for _, name := range strings.Fields(run(t, b, "ls", "/dev", "/dev/net")) {
		if !slices.Contains(append(own, "/dev:", "/dev/net:", "tun"), name) {
			t.Errorf("there is a device %s inside", name)
		}
	}
}
