package ns

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// probeTime bounds the trial.
const probeTime = 20 * time.Second

// remedies for a machine on which no box can be made.
const (
	remedyAppArmor = "Allow this program user namespaces: an AppArmor profile with `userns,` for its path, or `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`."
	remedyUserns   = "Allow user namespaces: `sysctl -w user.max_user_namespaces=15000` and, on Debian's older kernels, `sysctl -w kernel.unprivileged_userns_clone=1`. In a container, run it with a seccomp profile that allows clone, unshare and mount."
	remedyKernel   = "Use Linux 5.12 or later."
	remedyProc     = "Show the container an unmasked /proc: `--security-opt systempaths=unconfined` with Docker, `procMount: Unmasked` with Kubernetes."
)

// denied is the error for a clone that the machine refuses.
func denied(err error) error {
	e := stead.Wrap(stead.KindUnavailable, err, "this machine does not start processes in new namespaces")
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EINVAL), errors.Is(err, syscall.EUSERS):
		e.Message = "user namespaces are denied here"
		e.Hint = remedy()
	case errors.Is(err, syscall.ENOSYS):
		e.Hint = remedyKernel
	case errors.Is(err, syscall.EACCES):
		e.Message = "the stead program can't be executed by other users"
		e.Hint = "Make it so: `chmod o+rx` on the file."
	}
	return e
}

// remedy names the likely one.
func remedy() string {
	data, err := os.ReadFile("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
	if err == nil && strings.TrimSpace(string(data)) == "1" {
		return remedyAppArmor
	}
	return remedyUserns
}

// Probe implements environment.Provider. It opens two boxes: one as for commands, one as for a set-up.
func (p *Provider) Probe(ctx context.Context) environment.Report {
	r := environment.Report{Driver: p.Name(), Isolation: environment.IsolationShared}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	dir, err := os.MkdirTemp("", "stead-probe-")
	if err != nil {
		r.Problem = "There is no directory for a trial: " + err.Error() + "."
		return r
	}
	defer func() { _ = os.RemoveAll(dir) }() // a directory of temporary files
	// Both trials run at once: a server's start waits for this.
	layers := make(chan environment.Control, 1)
	go func() { layers <- p.layers(ctx, dir) }()
	seen, err := p.trial(ctx, dir)
	layered := <-layers // its box is gone, before the directory is
	if err != nil {
		r.Problem, r.Remedy = "A trial environment failed: "+err.Error()+".", hintOf(err)
		return r
	}
	if seen.problem != "" {
		r.Problem = seen.problem
		return r
	}
	r.Usable, r.Egress = true, true
	r.Controls = append(seen.controls(), p.limits()...)
	r.Controls = append(r.Controls, layered)
	r.Notes = p.notes()
	return r
}

func hintOf(err error) string {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		return e.Hint
	}
	return ""
}

// sight is what a command sees of its box.
type sight struct {
	status  map[string]string // of /proc/self/status
	net     string            // /proc/net/dev
	files   string            // what it can read of a file of the host
	problem string
}

// trial looks at a box from inside.
func (p *Provider) trial(ctx context.Context, dir string) (sight, error) {
	s := sight{status: map[string]string{}}
	marker := filepath.Join(dir, "marker")
	if err := os.WriteFile(marker, []byte("of the host"), fileMode); err != nil {
		return s, err
	}
	e, err := p.openTrial(ctx, dir, "workspace", environment.Root{}, false)
	if err != nil {
		return s, err
	}
	read := func(file string) (string, error) {
		var text strings.Builder
		_, err := e.Exec(ctx, environment.Command{Args: []string{"cat", file}}, func(c environment.Chunk) {
			if c.Stream == environment.Stdout {
				text.Write(c.Data)
			}
		})
		return text.String(), err
	}
	status, err1 := read("/proc/self/status")
	net, err2 := read("/proc/net/dev")
	files, err3 := read(marker)
	s.net, s.files = net, files
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		s.status[name] = strings.TrimSpace(value)
	}
	if errors.Join(err1, err2, err3) == nil {
		s.problem = s.broken()
	}
	return s, errors.Join(err1, err2, err3, e.Close(ctx))
}

func (p *Provider) openTrial(ctx context.Context, dir, name string, root environment.Root, asRoot bool) (environment.Environment, error) {
	ws := filepath.Join(dir, name)
	if err := os.Mkdir(ws, dirMode); err != nil {
		return nil, err
	}
	// The id is a pid namespace's own and the time of day: two probes may run at once.
	return p.Open(ctx, environment.Spec{
		ID: "probe-" + filepath.Base(dir) + "-" + name, Workspace: ws, Root: root, AsRoot: asRoot,
		Limits: environment.LimitsOf(environment.SizeSmall),
	})
}

// broken says which border does not stand, "" for none.
func (s sight) broken() string {
	const noCapability = "0000000000000000"
	switch {
	case s.files != "":
		return "A trial environment could read a file of the host."
	case strings.Count(s.net, ":") != 1 || !strings.Contains(s.net, "lo:"):
		return "A trial environment had other network interfaces than its loopback."
	case s.status["CapEff"] != noCapability || s.status["CapBnd"] != noCapability:
		return "A command of a trial environment had capabilities."
	case s.status["NoNewPrivs"] != "1" || s.status["Seccomp"] != "2":
		return "A command of a trial environment ran without its filter of system calls."
	}
	return ""
}

// controls are those that hold in a box that is not broken.
func (s sight) controls() []environment.Control {
	return []environment.Control{
		{Name: environment.ControlFiles, By: "mount namespace, pivot_root"},
		{Name: environment.ControlProcesses, By: "pid namespace"},
		{Name: environment.ControlNetwork, By: "network namespace"},
		{Name: environment.ControlSyscalls, By: "seccomp, no capabilities, no_new_privs"},
	}
}

// limits are the controls of what a box may use.
func (p *Provider) limits() []environment.Control {
	memory := environment.Control{Name: environment.ControlMemory, By: p.groups.By(environment.ControlMemory)}
	if memory.By == "" {
		memory.By = "RLIMIT_DATA, size of tmpfs"
		memory.Gap = "The limit is one for each process, and not for all processes of an environment together."
		memory.Remedy = p.groups.Remedy()
	}
	processes := environment.Control{Name: environment.ControlPIDs, By: p.groups.By(environment.ControlPIDs)}
	if processes.By == "" {
		processes.By = "RLIMIT_NPROC in a user namespace of its own"
	}
	cpu := environment.Control{Name: environment.ControlCPU, By: p.groups.By(environment.ControlCPU)}
	if cpu.By == "" {
		cpu.Gap = "An environment may use every CPU as long as nobody else wants it."
		cpu.Remedy = p.groups.Remedy()
	}
	return []environment.Control{
		memory, processes, cpu,
		{Name: environment.ControlDisk, By: "watchdog, RLIMIT_FSIZE"},
		{Name: environment.ControlOpenFiles, By: "RLIMIT_NOFILE"},
		{Name: environment.ControlCleanup, By: "pid namespace, Pdeathsig"},
	}
}

// layers tries a set-up.
func (p *Provider) layers(ctx context.Context, dir string) environment.Control {
	c := environment.Control{Name: environment.ControlLayers, By: "overlayfs"}
	fail := func(err error) environment.Control {
		c.By, c.Gap, c.Remedy = "", "Packages and set-up commands can't be installed: "+err.Error()+".", hintOf(err)
		if c.Remedy == "" {
			c.Remedy = "Use Linux 5.11 or later with overlayfs, and a file system for Stead's data that overlays can write to: ext4, XFS, btrfs or tmpfs."
		}
		return c
	}
	upper := filepath.Join(dir, "upper")
	if err := os.Mkdir(upper, dirMode); err != nil {
		return fail(err)
	}
	e, err := p.openTrial(ctx, dir, "set-up", environment.Root{Upper: upper}, true)
	if err != nil {
		return fail(err)
	}
	_, err = e.Exec(ctx, environment.Command{Args: []string{"touch", "/opt/made"}}, nil)
	if err = errors.Join(err, e.Close(ctx)); err != nil {
		return fail(err)
	}
	if _, err := os.Lstat(filepath.Join(upper, "opt", "made")); err != nil {
		return fail(err)
	}
	return c
}

// notes are what an operator should know besides.
func (p *Provider) notes() []string {
	notes := []string{"The disk limit is measured four times a second while commands run: what is written between two measurements can pass it. Debuggers that need ptrace don't run."}
	if p.ids.own {
		notes = append(notes, "The server has no ids to give: every environment runs as the server's own user on the host, apart from others by namespaces alone. Run the server as root to give each an id of its own.")
	}
	for _, name := range []string{"python3", "node", "git"} {
		if _, err := os.Stat("/usr/bin/" + name); err != nil {
			if _, err := os.Stat("/usr/local/bin/" + name); err != nil {
				notes = append(notes, "The host has no "+name+" below /usr: commands that need it fail, unless an environment has an image or a layer with it.")
			}
		}
	}
	return notes
}
