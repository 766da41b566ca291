package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/guest"
)

// Probe implements environment.Provider: it opens a container, and reports what the guest finds in it.
func (p *Provider) Probe(ctx context.Context) environment.Report {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	r := environment.Report{Driver: p.Name(), Isolation: environment.IsolationShared}
	v, err := p.api.hello(ctx)
	if err != nil {
		return p.unusable(r, err)
	}
	seen, err := p.trial(ctx)
	if err != nil {
		return p.unusable(r, err)
	}
	r.Usable, r.Egress = true, true
	own := p.opts.Runtime != "" && v.KernelVersion != "" && seen.Kernel != v.KernelVersion
	if own {
		r.Isolation = environment.IsolationStrong
	}
	r.Notes = append(r.Notes, fmt.Sprintf("The engine is version %.40s with API %s on linux/%s, kernel %.60s.", v.Version, v.speak, v.Arch, v.KernelVersion))
	if p.opts.Runtime != "" && !own {
		r.Notes = append(r.Notes, fmt.Sprintf("The runtime %.40s shows the engine's own kernel inside: it counts as shared.", p.opts.Runtime))
	}
	if runtime.GOOS != "linux" {
		r.Notes = append(r.Notes, "The engine is a virtual machine: its containers share the kernel of that machine, not this one's. The session's tools socket can't be reached through it.")
	}
	r.Controls = append(controls(seen, own), p.layers(ctx))
	return r
}

// unusable puts an error into a report: what failed, where, and its first cause, without the layers of
// HTTP and sockets between them.
func (p *Provider) unusable(r environment.Report, err error) environment.Report {
	r.Problem = err.Error()
	e, ok := errors.AsType[*stead.Error](err)
	if !ok {
		return r
	}
	r.Problem, r.Remedy = e.Message, e.Hint
	cause := error(e)
	for inner := errors.Unwrap(cause); inner != nil; inner = errors.Unwrap(cause) {
		cause = inner
	}
	if cause != error(e) {
		r.Problem += ": " + cause.Error()
	}
	r.Problem += " (socket " + p.opts.Socket + ")"
	if r.Remedy == "" {
		r.Remedy = "Look at the engine's own log, or name another one: environments.docker.host."
	}
	return r
}

// trial opens an environment as any other and asks its guest what it sees.
func (p *Provider) trial(ctx context.Context) (guest.Seen, error) {
	dir, err := p.trialDir()
	if err != nil {
		return guest.Seen{}, err
	}
	defer os.RemoveAll(dir) // best effort: it is empty
	e, err := p.start(ctx, environment.Spec{ID: "probe", Workspace: dir, Limits: environment.LimitsOf(environment.SizeSmall)})
	if err != nil {
		return guest.Seen{}, err
	}
	seen := e.client.Seen()
	return seen, e.Close(ctx)
}

// trialDir makes a directory that the engine sees.
func (p *Provider) trialDir() (string, error) {
	if err := os.MkdirAll(p.opts.Dir, 0o755); err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "make the docker driver's directory")
	}
	dir, err := os.MkdirTemp(p.opts.Dir, "trial-*")
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return "", stead.Wrap(stead.KindUnavailable, err, "make a trial workspace")
	}
	return dir, nil
}

// layers tries what a set-up needs: a root that can be written and looked at, and an image of its layer.
func (p *Provider) layers(ctx context.Context) environment.Control {
	c := environment.Control{Name: environment.ControlLayers, By: "images made of the base image and an archive"}
	if err := p.trialLayer(ctx); err != nil {
		problem := p.unusable(environment.Report{}, err)
		return environment.Control{Name: c.Name, Gap: "Packages and set-up commands can't be laid over an image: " + problem.Problem, Remedy: problem.Remedy}
	}
	return c
}

func (p *Provider) trialLayer(ctx context.Context) error {
	dir, err := p.trialDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // best effort: it is small
	spec := environment.Spec{ID: "probe", Workspace: filepath.Join(dir, "workspace"), Limits: environment.LimitsOf(environment.SizeSmall), AsRoot: true}
	spec.Root.Upper = filepath.Join(dir, "upper")
	for _, d := range []string{spec.Workspace, spec.Root.Upper} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return stead.Wrap(stead.KindUnavailable, err, "make a trial layer")
		}
	}
	e, err := p.start(ctx, spec)
	if err != nil {
		return err
	}
	// The image may have no shell and no program at all: what is there is the guest, which changes nothing.
	if err := e.Close(ctx); err != nil {
		return err
	}
	layers := []string{spec.Root.Upper}
	image, err := p.root(ctx, layers)
	if err != nil {
		return err
	}
	defer p.drop(image)
	return p.makeLayered(ctx, image, layers)
}

// controls are what was asked of the engine, as far as the guest saw it kept.
func controls(seen guest.Seen, ownKernel bool) []environment.Control {
	held := func(name, by string, holds bool, gap, remedy string) environment.Control {
		if holds {
			return environment.Control{Name: name, By: by}
		}
		return environment.Control{Name: name, Gap: gap, Remedy: remedy}
	}
	engine := "Look at the engine's configuration and version."
	syscalls := "our seccomp filter and the engine's, no capabilities, no new privileges"
	if ownKernel {
		syscalls = "a kernel of its own"
	}
	groups := "Run the engine where it may use control groups: rootless engines need systemd to delegate them."
	asked := environment.LimitsOf(environment.SizeSmall) // of the trial
	noCaps := strings.Trim(seen.CapBounds, "0") == "" && seen.CapBounds != ""
	return []environment.Control{
		held(environment.ControlFiles, "mount namespace, read-only image", !seen.RootWritable, "The root file system can be written.", engine),
		held(environment.ControlProcesses, "pid namespace", seen.PID == 1, "The container shares a pid namespace.", engine),
		held(environment.ControlNetwork, "network namespace", len(seen.Interfaces) == 0, "The container has network interfaces.", engine),
		held(environment.ControlSyscalls, syscalls, ownKernel || seen.Filter && seen.NoNewPrivs && noCaps,
			"No seccomp filter could be set, or the engine leaves capabilities.", "Use an engine on amd64 or arm64 whose kernel has seccomp."),
		held(environment.ControlMemory, "the engine's cgroup", seen.MemoryBytes == asked.MemoryBytes, "The engine did not set the memory limit.", groups),
		held(environment.ControlPIDs, "the engine's cgroup", seen.Processes == int64(asked.Processes), "The engine did not set the limit of processes.", groups),
		held(environment.ControlCPU, "the engine's cgroup", seen.CPUMilli == int64(asked.CPUMilli), "The engine did not set the CPU limit.", groups),
		{Name: environment.ControlDisk, By: "a watchdog", Gap: "The size of a workspace is looked at every half second: what is written faster exceeds it for a moment.",
			Remedy: "Put the data directory on a file system with project quotas."},
		held(environment.ControlOpenFiles, "rlimit", seen.OpenFiles == environment.DefaultOpenFiles, "The limit of open files is not the one that was asked for.", engine),
		held(environment.ControlCleanup, "the guest as pid 1, which ends with the server's stream", seen.PID == 1, "The guest is not pid 1.", engine),
	}
}
