package environmenttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Hostile attacks a driver from within. Every probe of the table has to be blocked; the bombs, races
// and massacres are watched from outside. Options.Exempt names probes as "Probes/name".
func Hostile(t *testing.T, open func(t *testing.T) environment.Provider, opts Options) {
	r := newRig(t, open(t), opts)
	if report := r.report(); !report.Usable {
		t.Fatalf("not usable here: %s %s", report.Problem, report.Remedy)
	}
	for _, g := range []struct {
		name string
		test func(*testing.T, *rig)
	}{
		{"Probes", testProbes},
		{"Races", testRaces},
		{"Bombs", testBombs},
		{"Bystanders", testBystanders},
		{"Massacre", testMassacre},
		{"Garbage", testGarbage},
	} {
		r.run(t, g.name, func(t *testing.T) { g.test(t, r) })
	}
}

// verdict is what came of a probe.
type verdict struct {
	probe   string
	blocked bool
	why     string
}

// table prints verdicts as they are read best: in one column.
func table(all []verdict) string {
	var b strings.Builder
	for _, v := range all {
		word := "SUCCEEDED"
		if v.blocked {
			word = "blocked"
		}
		fmt.Fprintf(&b, "\n  %-50s %-9s  %.140s", v.probe, word, v.why)
	}
	return b.String()
}

func testProbes(t *testing.T, r *rig) {
	b := r.open(t)
	f := r.aimAt(t, b)
	var all []verdict
	defer func() { t.Logf("%s:%s", r.provider.Name(), table(all)) }()
	for _, p := range append(probes(), narrow()...) {
		r.run(t, p.name, func(t *testing.T) {
			v := b.attack(t, p, f)
			all = append(all, v)
			if !v.blocked {
				t.Errorf("succeeded: %s", v.why)
			}
		})
	}
	b.sh(t, "true") // it survived all that
}

// narrow are probes once more through the calls of 32 bits, which a filter has to know as well.
func narrow() []probe {
	return []probe{
		{"32 bits: a user namespace", func(*field) []string { return []string{"userns-unshare", "32"} }, asRoot, nil},
		{"32 bits: keyrings", func(*field) []string { return []string{"keyctl", "32"} }, asUser, nil},
		{"32 bits: a raw socket", func(*field) []string { return []string{"socket", "raw", "32"} }, asRoot, nil},
		{"32 bits: mount", func(*field) []string { return []string{"mount", "32"} }, asRoot, nil},
	}
}

// program says which of the two builds of the probe program a probe is for.
func (p probe) program(f *field) (name string, args []string) {
	args = p.args(f)
	if args[len(args)-1] == "32" {
		return "./probe32", args
	}
	return "./probe", args
}

// aimAt puts the attackers into an environment and makes what they aim at.
func (r *rig) aimAt(t *testing.T, b *box) *field {
	t.Helper()
	b.putProbe(t)
	b.put32(t)
	b.daemons(t)
	uid := nobody
	for _, pid := range b.processes() { // as which user of the host do commands run?
		var stat syscall.Stat_t
		if err := syscall.Stat(fmt.Sprintf("/proc/%d", pid), &stat); err == nil {
			uid = int(stat.Uid)
		}
	}
	t.Logf("commands run as user %d of the host", uid)
	f := newField(t, uid)
	f.services = b.services()
	probe, err := r.probe()
	if err != nil {
		t.Fatal(err)
	}
	carry(t, probe, b.spec.Workspace)
	f.setuid, f.capable = "./setuid", "./capable"
	return f
}

// put32 copies the probe program for 32 bits into the workspace; on machines that have no such thing
// it can't run, which is one way to be blocked.
func (b *box) put32(t *testing.T) {
	t.Helper()
	data, err := b.rig.probe32()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.WriteFile(t.Context(), "probe32", data, true); err != nil {
		t.Fatalf("write the probe program: %v", err)
	}
}

// attack runs one probe inside and reads its verdict.
func (b *box) attack(t *testing.T, p probe, f *field) verdict {
	t.Helper()
	program, args := p.program(f)
	res, err := b.try(environment.Command{Args: append([]string{program, "try"}, args...), Timeout: b.rig.wait()})
	if err != nil {
		if program == "./probe32" && stead.KindOf(err) != stead.KindUnavailable {
			return verdict{p.name, true, "it does not start: " + err.Error()}
		}
		t.Fatalf("the probe did not run: %v", err)
	}
	if program == "./probe32" && res.out == "" && res.Code > 128 {
		return verdict{p.name, true, fmt.Sprintf("a program of 32 bits dies at its first call, of signal %d", res.Code-128)}
	}
	return read(t, p.name, res)
}

// read finds the verdict in what a probe printed. One that was killed by the filter has none to give.
func read(t *testing.T, name string, res result) verdict {
	t.Helper()
	for line := range strings.Lines(res.out) {
		if why, ok := strings.CutPrefix(line, "blocked: "); ok {
			return verdict{name, true, strings.TrimSpace(strings.TrimPrefix(res.out, line[:len(line)-len(why)]))}
		}
		if how, ok := strings.CutPrefix(line, "succeeded: "); ok {
			return verdict{name, false, strings.TrimSpace(how)}
		}
	}
	if res.Code == 128+int(syscall.SIGSYS) || strings.Contains(res.err, "SIGSYS") {
		return verdict{name, true, "the kernel killed it for the call"}
	}
	t.Fatalf("%s has no verdict: %v", name, res)
	return verdict{}
}

// testMassacre lets the inside kill all that it can. The environment may die of it, and say so; what
// is outside may not.
func testMassacre(t *testing.T, r *rig) {
	b, other := r.open(t), r.open(t)
	f := r.aimAt(t, b)
	if v := b.attack(t, probe{"signal", func(f *field) []string { return []string{"signal", f.pid()} }, asUser, nil}, f); !v.blocked {
		t.Fatal("signals reach the host: the massacre is not tried")
	}
	most := 1 << 16
	if max, err := os.ReadFile("/proc/sys/kernel/pid_max"); err == nil {
		fmt.Sscan(string(max), &most)
	}
	res, err := b.try(environment.Command{Args: []string{"./probe", "try", "massacre", fmt.Sprint(min(most, 1<<18))}})
	t.Logf("the massacre: %v, %v", res, err)
	if err := syscall.Kill(f.victim, 0); err != nil || stopped(f.victim) {
		t.Errorf("the victim outside is dead or stopped: %v", err)
	}
	other.sh(t, "true")
	if after, err := b.try(environment.Command{Args: []string{"echo", "alive"}}); err == nil {
		if after.out != "alive\n" {
			t.Errorf("a command after it: %v", after)
		}
	} else {
		refused(t, "a command after it", err, stead.KindUnavailable)
		r.until(t, "an environment that its inside killed says so", func() bool { return ended(b) })
	}
	b.close(t)
	b.gone(t)
}

// stopped says whether a process of the host is held.
func stopped(pid int) bool {
	data, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "stat"))
	_, rest, _ := strings.Cut(string(data), ") ")
	return err != nil || strings.HasPrefix(rest, "T") || strings.HasPrefix(rest, "Z")
}

// testGarbage sends what is no message to what the inside can reach of the host.
func testGarbage(t *testing.T, r *rig) {
	s := r.spec(t)
	withEgress(&s)
	serve(t, filepath.Join(s.Services, environment.EgressSocket), "proxy")
	serve(t, filepath.Join(s.Services, environment.ToolsSocket), "tools")
	b := r.openSpec(t, s)
	b.putProbe(t)
	for range 3 {
		for _, target := range []string{fmt.Sprintf("tcp=127.0.0.1:%d", environment.EgressPort), "unix=" + b.services() + "/" + environment.ToolsSocket} {
			if res := b.args(t, "./probe", "try", "garbage", target); !strings.HasPrefix(res.out, "succeeded") {
				t.Errorf("%s: %v", target, res)
			}
		}
	}
	if res := b.args(t, "./probe", "get", "http://example.invalid/after"); res.out != "proxy: http://example.invalid/after\n" {
		t.Errorf("a request after it: %v", res)
	}
}
