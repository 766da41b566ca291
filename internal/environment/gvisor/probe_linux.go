package gvisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// Limits of the trial, unlike any that a kernel has by itself.
const (
	probeMemory    = 192 << 20
	probeProcesses = 61
	probeOpenFiles = 251
	probeTime      = 30 * time.Second
)

// Probe implements environment.Provider.
func (p *Provider) Probe(ctx context.Context) environment.Report {
	r := environment.Report{Driver: Name, Isolation: environment.IsolationStrong}
	saw, uid, err := p.try(ctx)
	if err != nil {
		r.Problem = "A trial sandbox does not work: " + err.Error() + "."
		r.Remedy = remedyOf(err)
		return r
	}
	r.Usable, r.Egress = true, true
	p.pool.refill() // it is about to be used
	r.Controls = p.controls(saw)
	r.Notes = p.notes(saw, uid)
	return r
}

func remedyOf(err error) string {
	var e *stead.Error
	if errors.As(err, &e) && e.Hint != "" {
		return e.Hint
	}
	if os.Geteuid() != 0 {
		return "Without root, user namespaces must be allowed: see kernel.unprivileged_userns_clone and, with AppArmor, kernel.apparmor_restrict_unprivileged_userns."
	}
	return ""
}

// try opens a whole environment and has a command look around in it.
func (p *Provider) try(ctx context.Context) (wire.Probe, int, error) {
	var saw wire.Probe
	ctx, cancel := context.WithTimeout(ctx, 2*bootTime)
	defer cancel()
	dir, err := os.MkdirTemp("", "stead-probe-")
	if err != nil {
		return saw, 0, err
	}
	defer os.RemoveAll(dir)
	limits := environment.Limits{MemoryBytes: probeMemory, Processes: probeProcesses, OpenFiles: probeOpenFiles, CommandTime: probeTime}
	b, err := p.Open(ctx, environment.Spec{ID: name("probe-"), Workspace: dir, Limits: limits})
	if err != nil {
		return saw, 0, err
	}
	saw, err = b.(*box).probe(ctx)
	err = errors.Join(err, b.Close(ctx))
	if err != nil {
		return saw, 0, err
	}
	if _, err := os.Lstat(filepath.Join(dir, wire.ProbeFile)); err != nil {
		return saw, 0, fmt.Errorf("what a command wrote is not in the workspace: %w", err)
	}
	if err := doubt(saw); err != nil {
		return saw, 0, err
	}
	return saw, saw.UID, nil
}

// probe runs the program's trial command, which every sandbox has.
func (b *box) probe(ctx context.Context) (wire.Probe, error) {
	var saw wire.Probe
	var out bytes.Buffer
	c := environment.Command{Args: []string{wire.InsideProgram, wire.ProbeArg}}
	exit, err := b.Exec(ctx, c, func(c environment.Chunk) { out.Write(c.Data) })
	if err != nil {
		return saw, err
	}
	if exit.Code != 0 {
		return saw, fmt.Errorf("the trial command ended with code %d %s: %.500q", exit.Code, exit.Reason, out.Bytes())
	}
	return saw, json.Unmarshal(out.Bytes(), &saw)
}

// doubt looks for a border that is not there.
func doubt(saw wire.Probe) error {
	switch {
	case saw.Kernel == "" || saw.Kernel == hostKernel():
		return errors.New("commands run on the host's kernel")
	case !saw.Writes:
		return errors.New("a command can't write to the workspace")
	case saw.WritesRoot:
		return errors.New("a command can write to /usr")
	case slices.ContainsFunc(saw.Network, func(n string) bool { return n != "lo" }):
		return fmt.Errorf("there is a network inside: %q", saw.Network)
	case saw.Processes != probeProcesses || saw.OpenFiles != probeOpenFiles || saw.DataBytes != probeMemory:
		return fmt.Errorf("the limits inside are not as asked for: %d processes, %d open files, %d bytes", saw.Processes, saw.OpenFiles, saw.DataBytes)
	}
	return nil
}

func (p *Provider) controls(saw wire.Probe) []environment.Control {
	const kernel = "gVisor"
	memory := environment.Control{Name: environment.ControlMemory, By: p.groups.By(environment.ControlMemory)}
	if memory.By == "" {
		memory.By = "watchdog, gVisor: RLIMIT_DATA" // of all together, of each
	}
	cpu := environment.Control{Name: environment.ControlCPU, By: p.groups.By(environment.ControlCPU)}
	if cpu.By == "" {
		cpu.Gap = "Nothing limits CPU time."
		cpu.Remedy = "Give the server a writable control group: see the page for operators."
	}
	layers := environment.Control{Name: environment.ControlLayers, By: "overlayfs"}
	if os.Geteuid() != 0 {
		layers = environment.Control{Name: environment.ControlLayers, Gap: "Set-up commands can't install packages.",
			Remedy: "Run the server as root, or prepare an image."}
	}
	return []environment.Control{
		{Name: environment.ControlFiles, By: kernel + ", gofer"},
		{Name: environment.ControlProcesses, By: kernel},
		{Name: environment.ControlNetwork, By: kernel + " without any interface but loopback"},
		{Name: environment.ControlSyscalls, By: kernel},
		memory,
		{Name: environment.ControlPIDs, By: kernel + ": RLIMIT_NPROC"},
		cpu,
		{Name: environment.ControlDisk, By: "watchdog"},
		{Name: environment.ControlOpenFiles, By: kernel + ": RLIMIT_NOFILE"},
		{Name: environment.ControlCleanup, By: "pid namespace"},
		layers,
	}
}

func (p *Provider) notes(saw wire.Probe, uid int) []string {
	notes := []string{fmt.Sprintf("Commands run on %s.", saw.Kernel)}
	if uid == 0 {
		notes = append(notes, "Commands have the user number 0 inside, without any capability: files can't be shown with another owner here.")
	}
	if n := p.config.Pool; n > 0 {
		notes = append(notes, fmt.Sprintf("%d booted sandboxes wait for use; each takes about 20 MB.", n))
	}
	return notes
}
