//go:build !linux || !(amd64 || arm64)

package landlock

import (
	"context"
	"fmt"
	"os"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
)

// Main is the main function of a helper, of which there is none on this system.
func Main() {
	fmt.Fprintln(os.Stderr, Argv0+" needs Linux on amd64 or arm64")
	os.Exit(1)
}

// Provider says that it is for Linux alone.
type Provider struct{}

var _ environment.Provider = (*Provider)(nil)

// New makes the driver.
func New(*cgroup.Host) *Provider { return &Provider{} }

// Name is "landlock".
func (*Provider) Name() string { return "landlock" }

// Probe reports that the driver is not usable.
func (p *Provider) Probe(context.Context) environment.Report {
	return environment.Report{
		Driver: p.Name(), Isolation: environment.IsolationShared,
		Problem: "Landlock is a part of Linux.", Remedy: "Use the docker driver, or run Stead on Linux.",
	}
}

// Open answers KindNotImplemented.
func (*Provider) Open(context.Context, environment.Spec) (environment.Environment, error) {
	return nil, stead.Errorf(stead.KindNotImplemented, "the landlock driver needs Linux on amd64 or arm64")
}

// Close does nothing.
func (*Provider) Close(context.Context) error { return nil }
