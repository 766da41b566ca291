//go:build amd64 || arm64

package landlock

import (
	"os"
	"testing"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/environmenttest"
)

func TestMain(m *testing.M) {
	if os.Args[0] == Argv0 {
		Main()
	}
	os.Exit(m.Run())
}

func provider(*testing.T) environment.Provider { return New(cgroup.Detect()) }

const (
	noSockets = "no command has a socket: see the package comment"
	noRoot    = "it has no root of its own: Open answers KindNotImplemented"
)

func options() environmenttest.Options {
	return environmenttest.Options{
		HostPaths: true,
		Exempt: map[string]string{
			"Root/mounts are read-only":                            noRoot,
			"Root/commands are root only for set-up":               noRoot,
			"Network/the egress proxy and nothing else is reached": noSockets,
			"Network/the bridge carries much, and many":            noSockets,
			"Network/the tools socket is reached":                  noSockets,
			"Garbage":                                              noSockets,
		},
		Kill: func(t *testing.T, e environment.Environment) {
			if err := e.(*box).process.Kill(); err != nil {
				t.Error(err)
			}
		},
	}
}

func TestSuite(t *testing.T) { environmenttest.Suite(t, provider, options()) }

func TestHostile(t *testing.T) { environmenttest.Hostile(t, provider, options()) }

func TestKilled(t *testing.T) { environmenttest.Killed(t, provider, options()) }

// TestUnprivileged runs the suites as a user without rights, who has no id and no control group to give.
func TestUnprivileged(t *testing.T) {
	environmenttest.Unprivileged(t, "^Test(Suite|Hostile|OrdinaryPrograms|Places)$/^(Report|Exec|Processes|Close|Escapes|Root|Limits|Probes|Races|Bystanders|Massacre)$")
}

func BenchmarkLandlock(b *testing.B) {
	environmenttest.Benchmark(b, func(*testing.B) environment.Provider { return New(cgroup.Detect()) }, options())
}
