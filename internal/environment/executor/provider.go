package executor

import (
	"context"
	"errors"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// DriverName is the Provider's name.
const DriverName = "self_hosted"

// Provider opens environments on the machines of connected executors. It implements environment.Provider.
type Provider struct {
	hub *Hub

	mu   sync.Mutex
	open map[string]*box // by environment: the resident ones
}

var _ environment.Provider = (*Provider)(nil)

// Provider returns the provider of the hub's executors.
func (h *Hub) Provider() *Provider { return &Provider{hub: h, open: map[string]*box{}} }

// Name implements environment.Provider.
func (p *Provider) Name() string { return DriverName }

// Probe implements environment.Provider. What holds on a user's machine is for its user to say.
func (p *Provider) Probe(context.Context) environment.Report {
	r := environment.Report{
		Driver: DriverName, Usable: true, Isolation: environment.IsolationRemote,
		Notes: []string{"Commands run on the machine of whoever connects an executor, in the sandbox that he chose there."},
	}
	for _, name := range []string{
		environment.ControlFiles, environment.ControlProcesses, environment.ControlNetwork, environment.ControlSyscalls,
		environment.ControlMemory, environment.ControlPIDs, environment.ControlCPU, environment.ControlDisk,
		environment.ControlOpenFiles, environment.ControlCleanup, environment.ControlLayers,
	} {
		r.Controls = append(r.Controls, environment.Control{
			Name: name, Gap: "It is up to the executor's machine, which this server can't see.",
			Remedy: "Choose the sandbox there, with stead executor --sandbox.",
		})
	}
	return r
}

// Open implements environment.Provider. The workspace is the executor's: Spec.Workspace is not used.
// An environment that is open already is closed first. Besides the contract's errors it gives
// KindUnavailable with CodeNotConnected.
func (p *Provider) Open(ctx context.Context, spec environment.Spec) (environment.Environment, error) {
	if what := unsupported(spec); what != "" {
		return nil, stead.Errorf(stead.KindNotImplemented, "a self-hosted environment can't have %s: the machine is its user's", what)
	}
	c, info, err := p.hub.conversation(spec.ID)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	older := p.open[spec.ID]
	p.mu.Unlock()
	if older != nil {
		if err := older.Close(ctx); err != nil {
			return nil, err
		}
	}
	limits := spec.Limits.OrDefault()
	residence, err := c.open(request{Op: opOpen, Env: variables(spec.Env), Limits: &limits})
	if err != nil {
		return nil, lost(err)
	}
	if err := residence.isReady(ctx); err != nil {
		residence.forget()
		return nil, lost(err)
	}
	b := newBox(p, c, info, spec, limits, residence)
	p.mu.Lock()
	p.open[spec.ID] = b
	p.mu.Unlock()
	return b, nil
}

func unsupported(s environment.Spec) string {
	switch {
	case s.Root.Image != "" || len(s.Root.Layers) > 0 || s.Root.Upper != "":
		return "an image, layers or packages"
	case len(s.Mounts) > 0:
		return "mounts"
	case s.Services != "" || s.Egress:
		return "this server's services or egress proxy"
	case s.AsRoot:
		return "set-up commands"
	}
	return ""
}

// Close implements environment.Provider: it closes what is open, and not the hub.
func (p *Provider) Close(ctx context.Context) error {
	p.mu.Lock()
	var open []*box
	for _, b := range p.open {
		open = append(open, b)
	}
	p.mu.Unlock()
	var errs []error
	for _, b := range open {
		errs = append(errs, b.Close(ctx))
	}
	return errors.Join(errs...)
}

func (p *Provider) forget(b *box) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[b.spec.ID] == b {
		delete(p.open, b.spec.ID)
	}
}

// lost makes an error of the contract of what ended an operation, and nil of nil.
func lost(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*stead.Error](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &stead.Error{Kind: stead.KindUnavailable, Code: codeDisconnect, Message: "the environment's executor was lost", Err: err}
}
