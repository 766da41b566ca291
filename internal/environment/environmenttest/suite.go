// Package environmenttest is the specification of package environment as tests: the suites that every
// driver passes.
//
// Shape:
//
//	Suite            what a driver does: one subtest a sentence of the contract
//	Hostile          what the inside can't do: probes that run inside and each say blocked or succeeded
//	HostileControl   the same probes on the bare host, where each of them has to succeed
//	Bare             a driver without any border, to show that the suites can fail; for tests alone
//	Killed           the death of the server leaves nothing behind; Unprivileged: all of it without root
//	Benchmark        how fast a driver is; Baselines: the bare host, bubblewrap and runc
//
// Both suites put the program of directory probe into workspaces, which they build with the go command,
// static, for Linux. They write below the directory for temporary files, start processes, listeners and
// environments of their own, and take all of it away again.
//
// Units and limits: a wait ends after patience, times Options.Slow.
//
// Errors: none; a driver that breaks the contract fails the test. Options.Exempt names what a driver is
// free from, each with a reason that the log shows.
//
// Source: the sentences of package environment; for the hostile suite the issue that asked for it, the
// list in docs of past breakouts of containers, and what was tried against prototypes.
package environmenttest

import (
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// patience is the longest wait for something that has to happen.
const patience = 30 * time.Second

// Options say in what a driver differs.
type Options struct {
	// Exempt maps the name of a subtest ("Limits/memory", or "Limits" with all that is below) to the
	// reason why this driver is free from it.
	Exempt map[string]string
	// HostPaths: the inside sees the paths of the host. The suites then look for the workspace at
	// $WORKSPACE and for the services at $STEAD_SERVICES; paths of the contract stay as they are.
	HostPaths bool
	// Root is given to every environment.
	Root environment.Root
	// Slow multiplies what the suites wait for; 0 is 1.
	Slow int
	// Kill, when it is set, kills the environment's resident process from outside, by SIGKILL.
	Kill func(t *testing.T, e environment.Environment)
}

// Suite checks a driver against the contract. open makes a provider with nothing running; the suite
// closes it.
func Suite(t *testing.T, open func(t *testing.T) environment.Provider, opts Options) {
	r := newRig(t, open(t), opts)
	for _, g := range []struct {
		name string
		test func(*testing.T, *rig)
	}{
		{"Report", testReport},
		{"Exec", testExec},
		{"Streams", testStreams},
		{"SlowReader", testSlowReader},
		{"Processes", testProcesses},
		{"Close", testClose},
		{"Files", testFiles},
		{"Escapes", testEscapes},
		{"Checkpoint", testCheckpoint},
		{"Root", testRoot},
		{"Network", testNetwork},
		{"Limits", testLimits},
		{"Many", testMany},
	} {
		r.run(t, g.name, func(t *testing.T) { g.test(t, r) })
	}
}

// run is t.Run, but for what the driver is exempt from.
func (r *rig) run(t *testing.T, name string, test func(*testing.T)) {
	t.Run(name, func(t *testing.T) {
		_, sub, _ := strings.Cut(strings.TrimPrefix(t.Name(), r.base), "/")
		if why, ok := r.opts.exemption(sub); ok {
			t.Skipf("%s is exempt: %s", r.provider.Name(), why)
		}
		test(t)
	})
}

// exemption finds the reason for a subtest by its name without the test's.
func (o Options) exemption(name string) (string, bool) {
	for prefix, why := range o.Exempt {
		if p := strings.ReplaceAll(prefix, " ", "_"); name == p || strings.HasPrefix(name, p+"/") {
			return why, true
		}
	}
	return "", false
}
