package ns

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// Provider opens boxes. It is safe for concurrent use.
type Provider struct {
	groups *cgroup.Host
	ids    *ids
	forks  chan func()
	spare  spare

	mu     sync.Mutex
	closed bool
	boxes  map[*box]bool
	opens  sync.WaitGroup // calls of Open that are under way
}

var _ environment.Provider = (*Provider)(nil)

// New makes the driver. It starts nothing; the caller closes it. groups may be shared with other drivers.
func New(groups *cgroup.Host) *Provider {
	p := &Provider{groups: groups, ids: newIDs(), forks: make(chan func()), boxes: map[*box]bool{}}
	go func() {
		// Pdeathsig of a child is sent when the thread that forked it ends: all are forked by one that
		// lives as long as the provider.
		runtime.LockOSThread()
		for f := range p.forks {
			f()
		}
	}()
	return p
}

// Name is "ns".
func (p *Provider) Name() string { return "ns" }

// onForker runs f on the thread that forks.
func (p *Provider) onForker(f func()) {
	done := make(chan struct{})
	p.forks <- func() { defer close(done); f() }
	<-done
}

// Close closes every box.
func (p *Provider) Close(ctx context.Context) error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	p.opens.Wait()
	p.mu.Lock()
	boxes := make([]*box, 0, len(p.boxes))
	for b := range p.boxes {
		boxes = append(boxes, b)
	}
	p.mu.Unlock()
	errs := make([]error, len(boxes))
	var all sync.WaitGroup
	for i, b := range boxes {
		all.Go(func() { errs[i] = b.Close(ctx) })
	}
	all.Wait()
	if first {
		errs = append(errs, p.spare.close())
		p.ids.close()
		close(p.forks)
	}
	return errors.Join(errs...)
}

// Open starts a box.
func (p *Provider) Open(ctx context.Context, spec environment.Spec) (environment.Environment, error) {
	spec.Limits = spec.Limits.OrDefault()
	if err := check(spec); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, stead.Errorf(stead.KindUnavailable, "the ns driver is closed")
	}
	p.opens.Add(1)
	p.mu.Unlock()
	defer p.opens.Done()
	b, err := p.start(ctx, spec)
	if err != nil {
		return nil, err
	}
	p.spare.refill(p)
	return b, nil
}

func (p *Provider) remember(b *box) {
	p.mu.Lock()
	p.boxes[b] = true
	p.mu.Unlock()
}

func (p *Provider) forget(b *box) {
	p.mu.Lock()
	delete(p.boxes, b)
	p.mu.Unlock()
}

// check refuses a Spec that can't be what the caller means.
func check(s environment.Spec) error {
	dirs := map[string]string{"workspace": s.Workspace, "services": s.Services, "root.image": s.Root.Image, "root.upper": s.Root.Upper}
	for param, dir := range dirs {
		if dir != "" && !filepath.IsAbs(dir) || dir == "" && param == "workspace" {
			return stead.Invalid(param, "%.80q is no absolute path", dir)
		}
	}
	if err := s.Root.PlainLayers(); err != nil {
		return err
	}
	if len(s.Root.Layers) > maxLayers {
		return stead.Errorf(stead.KindTooLarge, "a root has at most %d layers, and this has %d", maxLayers, len(s.Root.Layers))
	}
	if len(s.Mounts) > maxMounts {
		return stead.Errorf(stead.KindTooLarge, "an environment has at most %d mounts, and this has %d", maxMounts, len(s.Mounts))
	}
	taken := []string{environment.WorkspaceDir, "/run", "/proc", "/dev", "/sys", below, "/etc/passwd", "/etc/group"}
	for _, m := range s.Mounts {
		if !path.IsAbs(m.Target) || path.Clean(m.Target) != m.Target || m.Target == "/" || strings.ContainsRune(m.Target, 0) {
			return stead.Invalid("mounts", "%.80q is no clean absolute path of a target", m.Target)
		}
		if slices.ContainsFunc(taken, func(t string) bool { return m.Target == t || strings.HasPrefix(m.Target, t+"/") }) {
			return stead.Invalid("mounts", "nothing can be mounted at %.80q", m.Target)
		}
	}
	return nil
}

// start makes all that a box is made of, and takes all of it back when one part fails.
func (p *Provider) start(ctx context.Context, spec environment.Spec) (*box, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	b := newBox(p, spec)
	if err := b.start(ctx); err != nil {
		b.discard()
		if b.Dir != nil {
			_ = b.Dir.Close() // the error that matters is the first
		}
		return nil, err
	}
	p.remember(b) // before it can die by itself, which makes the provider forget it
	b.watch()
	return b, nil
}

func (b *box) start(ctx context.Context) (err error) {
	if b.Dir, err = workspace.Open(b.spec.Workspace); err != nil {
		return err
	}
	if b.cell, err = b.provider.spare.take(b.provider, b.spec); err != nil {
		return err
	}
	s, files, err := b.sources()
	defer func() {
		for _, f := range files {
			_ = f.Close() // the box has its own
		}
	}()
	if err != nil {
		return err
	}
	return b.setUp(ctx, s, files)
}

// isFile reports whether a path of the host is anything but a directory.
func isFile(name string) (bool, error) {
	st, err := os.Stat(name)
	if err != nil {
		return false, err
	}
	return !st.IsDir(), nil
}
