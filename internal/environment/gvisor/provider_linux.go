package gvisor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// Provider is the driver. Nothing runs before the first Open or Probe.
type Provider struct {
	config  Config
	log     *slog.Logger
	groups  *cgroup.Host
	spawner *spawner
	scratch *scratch
	pool    *pool
	boxes   environment.Registry
}

// New makes the driver.
func New(c Config) *Provider {
	p := &Provider{config: c, log: c.Logger, groups: cgroup.Detect(), spawner: newSpawner()}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.config.Pool = min(max(c.Pool, 0), MaxPool)
	p.config.PoolLimits = c.PoolLimits.OrDefault()
	parent := c.Dir
	if parent == "" {
		parent = defaultParent()
	}
	p.scratch = &scratch{parent: parent}
	p.pool = newPool(p)
	if n := p.groups.Sweep(context.Background()); n > 0 {
		p.log.Info("removed what sandboxes of dead servers left", "control_groups", n)
	}
	return p
}

// Name implements environment.Provider.
func (p *Provider) Name() string { return Name }

// Open implements environment.Provider.
func (p *Provider) Open(ctx context.Context, spec environment.Spec) (environment.Environment, error) {
	return p.boxes.Open(ctx, Name, func(ctx context.Context) (environment.Environment, error) {
		b, err := p.start(ctx, spec)
		if err != nil {
			return nil, err // not a nil of a type
		}
		return b, nil
	})
}

func (p *Provider) start(ctx context.Context, spec environment.Spec) (*box, error) {
	spec.Limits = spec.Limits.OrDefault()
	if err := checkSpec(spec); err != nil {
		return nil, err
	}
	files, err := workspace.Open(spec.Workspace)
	if err != nil {
		return nil, err
	}
	x, err := p.claim(ctx, spec)
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	b := newBox(p, x, files, spec)
	b.watch()
	return b, nil
}

// claim takes a sandbox from the pool, or boots one, and gives it its workspace.
func (p *Provider) claim(ctx context.Context, spec environment.Spec) (*process, error) {
	x := p.pool.take(spec)
	if x == nil {
		var err error
		if x, err = p.launch(ctx, spec.ID, bootOf(spec), spec.Limits); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, bootTime)
	defer cancel()
	_, err := x.call(ctx, wire.Request{Claim: &wire.Claim{Workspace: spec.Workspace, Services: spec.Services, Egress: spec.Egress, AsRoot: spec.AsRoot}})
	if err != nil {
		_ = x.end() // the first error is the one that matters
		return nil, x.explain(unavailable(err, "give the sandbox its workspace"))
	}
	return x, nil
}

// bootOf is what a sandbox for spec is booted with.
func bootOf(s environment.Spec) wire.Boot {
	l := s.Limits
	b := wire.Boot{
		Image: s.Root.Image, Layers: s.Root.Layers, Upper: s.Root.Upper, AsRoot: s.AsRoot,
		TmpBytes: l.TmpBytes(), ShmBytes: l.ShmBytes(), DataBytes: l.MemoryBytes, Processes: l.Processes, OpenFiles: l.OpenFiles,
	}
	for _, m := range s.Mounts {
		b.Mounts = append(b.Mounts, wire.Mount{Source: m.Source, Target: m.Target})
	}
	return b
}

func checkSpec(s environment.Spec) error {
	dirs := append([]string{s.Workspace, s.Root.Image, s.Root.Upper, s.Services}, s.Root.Layers...)
	for _, d := range dirs {
		if d != "" && !path.IsAbs(d) {
			return stead.Invalid("spec", "%.200q is no absolute path", d)
		}
	}
	if err := s.Root.PlainLayers(); err != nil {
		return err
	}
	if s.Root.Upper != "" && os.Geteuid() != 0 {
		return stead.Errorf(stead.KindNotImplemented, "an upper layer needs a server that runs as root: without it files of the host's root can't be changed, even as a copy")
	}
	for _, m := range s.Mounts {
		t := path.Clean(m.Target)
		if !path.IsAbs(m.Source) || !path.IsAbs(t) || t == "/" {
			return stead.Invalid("mounts", "a mount of %.200q at %.200q: both are absolute paths, and no mount covers the root", m.Source, m.Target)
		}
		for _, own := range []string{environment.WorkspaceDir, environment.ServicesDir, "/tmp", "/proc", "/sys", "/dev", wire.InsideDir} {
			if t == own || strings.HasPrefix(t, own+"/") {
				return stead.Invalid("mounts", "a mount at %.200q: %s is the driver's", m.Target, own)
			}
		}
	}
	if s.Egress && s.Services == "" {
		return stead.Invalid("egress", "egress needs the services directory, where the proxy's socket is")
	}
	return nil
}

// Close implements environment.Provider.
func (p *Provider) Close(ctx context.Context) error {
	err := p.boxes.Close(ctx)
	p.pool.close()
	p.scratch.close()
	return err
}

// name is a random name for the control group of a sandbox that nobody owns yet.
func name(prefix string) string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails: see crypto/rand
	return prefix + hex.EncodeToString(b[:])
}
