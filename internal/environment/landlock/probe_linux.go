//go:build amd64 || arm64

package landlock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// probeTime bounds the trial.
const probeTime = 20 * time.Second

const remedyNS = "Use the ns driver: where it does not work here, allow user namespaces."

// trialScript says a word for each border that does not stand. $1 is a file of the host, $2 a directory
// of it, $3 the server's process.
const trialScript = `cat "$1" 2>/dev/null
(echo x > "$2/made") 2>/dev/null && echo writes
kill -0 "$3" 2>/dev/null && echo signals
(cat < /proc/$3/environ) >/dev/null 2>&1 && echo environ
ls /proc >/dev/null 2>&1 && echo processes
chmod 600 "$1" 2>/dev/null && echo modes
touch "$1" 2>/dev/null && echo times
echo x > inside && cat inside > "$TMPDIR/file" && chmod 700 inside "$TMPDIR/file" && touch -d @1 inside && echo stands`

// Probe implements environment.Provider. It opens an environment and looks around in it.
func (p *Provider) Probe(ctx context.Context) environment.Report {
	r := environment.Report{Driver: p.Name(), Isolation: environment.IsolationShared}
	if r.Problem, r.Remedy = p.problem(); r.Problem != "" {
		return r
	}
	r.Remedy = ""
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	seen, err := p.trial(ctx)
	if err != nil {
		r.Problem = "A trial environment failed: " + err.Error() + "."
		if e, ok := errors.AsType[*stead.Error](err); ok {
			r.Remedy = e.Hint
		}
		return r
	}
	if seen != "stands\n" {
		r.Problem = fmt.Sprintf("A trial environment could do what it must not: %.200q.", seen)
		return r
	}
	r.Usable = true
	r.Controls = append(p.borders(), p.limits()...)
	r.Notes = []string{
		"Commands see the paths of the host: their workspace is at $WORKSPACE and not at " + environment.WorkspaceDir + ", and /tmp is closed: temporary files go to $TMPDIR.",
		"No command has a socket of any kind: there is no egress, no server can be started inside, and the session's tools can't be called from there.",
		"There is no /proc of processes, no /dev/shm and no terminal inside: ps, POSIX shared memory and programs that need them fail.",
		"The disk limit is measured four times a second while commands run: what is written between two measurements can pass it.",
	}
	return r
}

// trial runs the script in an environment.
func (p *Provider) trial(ctx context.Context) (seen string, err error) {
	base, err := os.MkdirTemp("", "stead-probe-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(base)) }()
	outside, ws, marker := filepath.Join(base, "outside"), filepath.Join(base, "workspace"), filepath.Join(base, "marker")
	if err := errors.Join(os.Chmod(base, 0o711), os.Mkdir(outside, 0o700), os.Chmod(outside, 0o777), os.Mkdir(ws, 0o700), os.WriteFile(marker, []byte("reads\n"), 0o600), os.Chmod(marker, 0o644)); err != nil {
		return "", err
	}
	limits := environment.LimitsOf(environment.SizeSmall)
	e, err := p.Open(ctx, environment.Spec{ID: "probe-" + filepath.Base(base), Workspace: ws, Limits: limits})
	if err != nil {
		return "", err
	}
	var out strings.Builder
	c := environment.Command{Args: []string{"sh", "-c", trialScript, "sh", marker, outside, strconv.Itoa(os.Getpid())}}
	_, err = e.Exec(ctx, c, func(c environment.Chunk) { out.Write(c.Data) })
	return out.String(), errors.Join(err, e.Close(ctx))
}

// borders are the controls around an environment.
func (p *Provider) borders() []environment.Control {
	by := "Landlock, version " + strconv.Itoa(p.abi)
	files := environment.Control{
		Name: environment.ControlFiles, By: by + ", seccomp, a user of its own",
		Gap:    "Whoever knows a path of the host can ask whether it exists, and for its size, times and attributes.",
		Remedy: remedyNS,
	}
	processes := environment.Control{
		Name: environment.ControlProcesses, By: by + ", a user of its own, seccomp",
		Gap: "Which process numbers of the host are in use can be told.", Remedy: remedyNS,
	}
	if p.ids.own {
		files.By, processes.By = by+", seccomp", by+", seccomp"
	}
	return []environment.Control{
		files, processes,
		{Name: environment.ControlNetwork, By: "seccomp: no sockets"},
		{Name: environment.ControlSyscalls, By: "seccomp, no capabilities, no_new_privs"},
	}
}

// limits are the controls of what an environment may use.
func (p *Provider) limits() []environment.Control {
	memory := environment.Control{Name: environment.ControlMemory, By: p.groups.By(environment.ControlMemory)}
	if memory.By == "" {
		memory.By = "RLIMIT_DATA"
		memory.Gap = "The limit is one for each process, and not for all processes of an environment together."
		memory.Remedy = p.groups.Remedy()
	}
	processes := environment.Control{Name: environment.ControlPIDs, By: p.groups.By(environment.ControlPIDs)}
	if !p.ids.own {
		processes.By = "RLIMIT_NPROC of a user of its own"
	} else if processes.By == "" {
		processes.Gap, processes.Remedy = "An environment can start as many processes as the server's user may have.", p.groups.Remedy()
	}
	cpu := environment.Control{Name: environment.ControlCPU, By: p.groups.By(environment.ControlCPU)}
	if cpu.By == "" {
		cpu.Gap, cpu.Remedy = "An environment may use every CPU as long as nobody else wants it.", p.groups.Remedy()
	}
	cleanup := environment.Control{Name: environment.ControlCleanup, By: "subreaper, kill of a whole user or Landlock domain"}
	if p.ids.own && p.groups.By(environment.ControlPIDs) == "" {
		cleanup.Gap = "When an environment's resident helper alone is killed, by an administrator or because the host is out of memory, what it left in the background goes on."
		cleanup.Remedy = p.groups.Remedy()
	}
	return []environment.Control{
		memory, processes, cpu,
		{Name: environment.ControlDisk, By: "watchdog, RLIMIT_FSIZE"},
		{Name: environment.ControlOpenFiles, By: "RLIMIT_NOFILE"},
		cleanup,
		{Name: environment.ControlLayers, Gap: "Packages and set-up commands can't be installed: commands see the root of the host.", Remedy: remedyNS},
	}
}
