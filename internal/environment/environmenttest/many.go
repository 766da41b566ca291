package environmenttest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stead-dev/stead/internal/environment"
)

func testReport(t *testing.T, r *rig) {
	report := r.report()
	if report.Driver != r.provider.Name() || report.Isolation == "" {
		t.Errorf("the report is of driver %q, isolation %q; the provider's name is %q", report.Driver, report.Isolation, r.provider.Name())
	}
	if !report.Usable {
		t.Fatalf("not usable here: %s %s", report.Problem, report.Remedy)
	}
	names := []string{
		environment.ControlFiles, environment.ControlProcesses, environment.ControlNetwork, environment.ControlSyscalls,
		environment.ControlMemory, environment.ControlPIDs, environment.ControlCPU, environment.ControlDisk,
		environment.ControlOpenFiles, environment.ControlCleanup, environment.ControlLayers,
	}
	for i, c := range report.Controls {
		if i >= len(names) || c.Name != names[i] {
			t.Errorf("control %d is %q: the controls are these, in this order: %q", i, c.Name, names)
		}
		if c.By == "" && c.Gap == "" {
			t.Errorf("%s: nothing enforces it, and no gap says so", c.Name)
		}
		if c.Gap != "" && c.Remedy == "" {
			t.Errorf("%s: the gap %q comes without a remedy", c.Name, c.Gap)
		}
		t.Logf("%-10s by %q, gap %q, remedy %q", c.Name, c.By, c.Gap, c.Remedy)
	}
	if len(report.Controls) != len(names) {
		t.Errorf("%d controls of %d are reported", len(report.Controls), len(names))
	}
	for _, n := range report.Notes {
		t.Logf("note: %s", n)
	}
}

// testMany opens twenty environments at once, and each does its own work.
func testMany(t *testing.T, r *rig) {
	const n = 20
	var group sync.WaitGroup
	boxes := make([]*box, n)
	for i := range n {
		s := r.spec(t)
		group.Go(func() {
			e, err := r.provider.Open(t.Context(), s)
			if err != nil {
				t.Errorf("open %d: %v", i, err)
				return
			}
			boxes[i] = &box{e, t, r, s}
			for range 3 {
				res, err := boxes[i].try(environment.Command{Args: []string{"sh", "-c", "echo $1 >> mine; cat mine; ls", "sh", fmt.Sprint(i)}})
				if err != nil || res.Code != 0 {
					t.Errorf("environment %d: %v, %v", i, res, err)
				}
			}
		})
	}
	group.Wait()
	for i, b := range boxes {
		if b == nil {
			continue
		}
		group.Go(func() {
			if got, want := b.read(t, "mine"), fmt.Sprintf("%d\n%d\n%d\n", i, i, i); got != want {
				t.Errorf("environment %d has %q in its file, want %q", i, got, want)
			}
			b.close(t)
		})
	}
	group.Wait()
}
