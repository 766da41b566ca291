//go:build !linux

package gvisor

import (
	"context"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// Provider is the driver, which is for Linux alone.
type Provider struct{}

// New makes the driver.
func New(Config) *Provider { return &Provider{} }

// Name implements environment.Provider.
func (*Provider) Name() string { return Name }

// Probe implements environment.Provider.
func (*Provider) Probe(context.Context) environment.Report {
	return environment.Report{Driver: Name, Isolation: environment.IsolationStrong, Problem: "gVisor runs on Linux alone."}
}

// Open implements environment.Provider.
func (*Provider) Open(context.Context, environment.Spec) (environment.Environment, error) {
	return nil, stead.Errorf(stead.KindNotImplemented, "gVisor runs on Linux alone")
}

// Close implements environment.Provider.
func (*Provider) Close(context.Context) error { return nil }
