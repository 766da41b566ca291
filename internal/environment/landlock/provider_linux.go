//go:build amd64 || arm64

package landlock

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/seccomp"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// Provider opens environments. It is safe for concurrent use.
type Provider struct {
	groups *cgroup.Host
	abi    int
	ids    *ids
	forks  chan func()

	mu     sync.Mutex
	closed bool
	boxes  map[*box]bool
	opens  sync.WaitGroup // calls of Open that are under way
}

var _ environment.Provider = (*Provider)(nil)

// New makes the driver. It starts nothing; the caller closes it. groups may be shared with other drivers.
func New(groups *cgroup.Host) *Provider {
	p := &Provider{groups: groups, abi: landlockABI(), ids: newIDs(), forks: make(chan func()), boxes: map[*box]bool{}}
	go func() {
		runtime.LockOSThread() // new processes inherit what belongs to a thread: this one is always the same
		for f := range p.forks {
			f()
		}
	}()
	return p
}

// Name is "landlock".
func (p *Provider) Name() string { return "landlock" }

// Close closes every environment.
func (p *Provider) Close(ctx context.Context) error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.mu.Unlock()
	p.opens.Wait()
	p.mu.Lock()
	var all sync.WaitGroup
	errs := make([]error, len(p.boxes))
	n := 0
	for b := range p.boxes {
		i := n
		n++
		all.Go(func() { errs[i] = b.Close(ctx) })
	}
	p.mu.Unlock()
	all.Wait()
	if first {
		close(p.forks)
	}
	return errors.Join(errs...)
}

// Open starts an environment.
func (p *Provider) Open(ctx context.Context, spec environment.Spec) (environment.Environment, error) {
	spec.Limits = spec.Limits.OrDefault()
	if err := check(spec); err != nil {
		return nil, err
	}
	if problem, remedy := p.problem(); problem != "" {
		return nil, &stead.Error{Kind: stead.KindUnavailable, Message: problem, Hint: remedy}
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, stead.Errorf(stead.KindUnavailable, "the landlock driver is closed")
	}
	p.opens.Add(1)
	p.mu.Unlock()
	defer p.opens.Done()
	b, err := p.start(ctx, spec)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.boxes[b] = true
	p.mu.Unlock()
	b.watch() // from now on it may forget itself
	return b, nil
}

func (p *Provider) forget(b *box) {
	p.mu.Lock()
	delete(p.boxes, b)
	p.mu.Unlock()
}

// problem says why nothing can be opened here, and what to do; "" if it can.
func (p *Provider) problem() (problem, remedy string) {
	switch {
	case p.abi == 0:
		return "This kernel does not offer Landlock.", "Use Linux 6.2 or later with Landlock in CONFIG_LSM (lsm=landlock,… on the kernel's command line)."
	case p.abi < abiTruncate:
		return "The kernel's Landlock is too old: it can't keep commands from emptying files of the host.", "Use Linux 6.2 or later."
	case !seccomp.CanListen():
		return "The kernel's seccomp is too old: it can't ask about calls that change modes and times of files, for which Landlock has no rule.", "Use Linux 6.2 or later with CONFIG_SECCOMP_FILTER."
	case p.ids.own && p.abi < abiScope:
		return "Without root, the kernel's Landlock is too old: it can't keep commands from signalling the server.", "Use Linux 6.12 or later, or run the server as root."
	}
	return p.ids.problem(), "Give the server CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_DAC_OVERRIDE and CAP_FOWNER, or run it as a user that is not root."
}

// check refuses a Spec that this driver can't do, or that makes no sense.
func check(s environment.Spec) error {
	missing := func(param, what string) error {
		return &stead.Error{Kind: stead.KindNotImplemented, Param: param, Message: "the landlock driver has " + what, Hint: "Use the ns, gvisor or docker driver."}
	}
	switch {
	case s.Egress:
		return missing("egress", "no way to the egress proxy that is not one past it as well")
	case s.Root.Image != "" || len(s.Root.Layers) > 0 || s.Root.Upper != "":
		return missing("root", "no root of its own: no image and no layers")
	case s.AsRoot:
		return missing("as_root", "no root user inside")
	case len(s.Mounts) > maxMounts:
		return stead.Errorf(stead.KindTooLarge, "an environment has at most %d mounts, and this has %d", maxMounts, len(s.Mounts))
	}
	for _, m := range s.Mounts {
		if filepath.Clean(m.Source) != m.Target {
			return missing("mounts", "no mounts: a path can be shown only where it is")
		}
	}
	for param, dir := range map[string]string{"workspace": s.Workspace, "services": s.Services} {
		if dir != "" && !filepath.IsAbs(dir) || dir == "" && param == "workspace" {
			return stead.Invalid(param, "%.80q is no absolute path", dir)
		}
	}
	return nil
}

// start makes all that an environment is made of, and takes all of it back when one part fails.
func (p *Provider) start(ctx context.Context, spec environment.Spec) (b *box, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	b = newBox(p, spec)
	defer func() {
		if err != nil {
			b.discard()
			if b.Dir != nil {
				_ = b.Dir.Close() // what failed before matters
			}
		}
	}()
	// The path as the inside sees it has no links in it: what Landlock allows is what they lead to.
	if b.home, err = filepath.EvalSymlinks(spec.Workspace); err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "find the workspace")
	}
	if b.id, err = p.ids.take(b.home); err != nil {
		return nil, err
	}
	if b.scratch, err = os.MkdirTemp("", "stead-landlock-"); err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "make a directory for temporary files")
	}
	for _, dir := range []string{b.scratch, b.home} {
		if err := give(dir, b.id); err != nil {
			return nil, stead.Wrap(stead.KindUnavailable, err, "give %s to the environment", dir)
		}
	}
	if b.Dir, err = workspace.Open(b.home); err != nil {
		return nil, err
	}
	if b.tmp, err = workspace.Open(b.scratch); err != nil {
		return nil, err
	}
	if b.group, err = p.groups.New(spec.ID, p.groupLimits(spec.Limits)); err != nil {
		return nil, err
	}
	b.env = b.variables()
	if err := b.fork(); err != nil {
		return nil, err
	}
	return b, b.setUp(ctx)
}

// groupLimits are those of the control group, in which the helper is too.
func (p *Provider) groupLimits(l environment.Limits) environment.Limits {
	l.Processes += helperThreads
	return l
}

// setup describes the environment to its helper.
func (b *box) setup() setup {
	l := b.spec.Limits
	s := setup{
		ABI: b.provider.abi, ID: b.id, Workspace: b.home, Scratch: b.scratch, Services: b.spec.Services,
		OpenFiles: max(l.OpenFiles, helperFiles), FileBytes: l.DiskBytes,
	}
	for _, m := range b.spec.Mounts {
		s.Read = append(s.Read, m.Target)
	}
	if b.provider.groups.By(environment.ControlMemory) == "" {
		s.DataBytes = l.MemoryBytes
	}
	if b.id >= 0 { // beside the control group: this one is exact
		s.Processes = l.Processes + jailThreads
	}
	return s
}

// unreachable is the error for a helper that could not set itself up.
func unreachable(r reply) error {
	e := stead.Errorf(stead.KindUnavailable, "the environment could not be set up: %s", environment.Quote(r.Message))
	if r.Errno == int(syscall.EACCES) {
		e.Hint = "Commands run as a user of their own, who needs to search the directories above the workspace: `chmod o+x` on each of them."
	}
	return e
}
