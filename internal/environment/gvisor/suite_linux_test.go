package gvisor

import (
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/environmenttest"
)

// slow is how much longer than on the bare host things may take: a sandbox boots in a tenth of a
// second, and files go through two processes.
const slow = 2

func TestSuite(t *testing.T) {
	environmenttest.Suite(t, func(t *testing.T) environment.Provider { return open(t, Config{}) }, environmenttest.Options{
		Slow: slow,
		Exempt: map[string]string{
			"Limits/cpu": "the inside's kernel counts time in which the host's did not let it run: see TestCPULimit",
		},
		Kill: func(t *testing.T, e environment.Environment) {
			if err := e.(*box).process.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		},
	})
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
	if most := took*35/100 + 200*time.Millisecond; used > most || used < took/10 {
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
