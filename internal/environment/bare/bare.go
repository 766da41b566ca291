// Package bare runs commands as bare processes of this machine, with its user's rights: the driver
// "none". It has no border at all. It is chosen by name alone: by a user for an executor on his own machine
// (stead executor --sandbox none), or in a server's configuration (environments.driver: bare).
//
// Shape: a directory of this machine is the workspace; commands see it where it is, and find its path
// in $WORKSPACE. Paths of the contract below environment.WorkspaceDir stand for it.
//
// What is kept of the contract: commands have process groups of their own, and are killed whole; their
// output is cut; files are read and written inside the workspace alone; Close ends what the commands
// left in the background. That is found by a variable in its environment, on Linux, which a process
// can take out; elsewhere only the commands' own groups are ended. When this process is killed, the
// first process of each command is too (Linux), its children are not.
//
// Limits: of time, output and parallel commands. Memory, processes, CPU, disk and open files have none: a
// fork bomb takes the whole machine, with root's rights past every limit of users. No test throws one here.
//
// Errors: those of package environment.
package bare

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/workspace"
)

// DriverName is the Provider's name.
const DriverName = "none"

// mark is the variable by which processes of an environment are known.
const mark = "STEAD_BARE_ENVIRONMENT"

// Provider implements environment.Provider.
type Provider struct {
	// Pass names variables of this process that commands inherit, beside PATH, HOME and a few more
	// that say who and where the user is.
	Pass []string
}

var _ environment.Provider = Provider{}

// Name implements environment.Provider.
func (Provider) Name() string { return DriverName }

// Probe implements environment.Provider.
func (Provider) Probe(context.Context) environment.Report {
	const rights = "Commands have the rights of the user who runs this."
	const limits = "Nothing is limited: a command that forks or allocates without end takes the whole machine, and root's by no limit of users either."
	r := environment.Report{Driver: DriverName, Usable: true, Isolation: environment.IsolationNone}
	gap := func(why string, names ...string) {
		for _, name := range names {
			r.Controls = append(r.Controls, environment.Control{Name: name, Gap: why, Remedy: "Choose a sandbox."})
		}
	}
	gap(rights, environment.ControlFiles, environment.ControlProcesses, environment.ControlNetwork, environment.ControlSyscalls)
	gap(limits, environment.ControlMemory, environment.ControlPIDs, environment.ControlCPU, environment.ControlDisk, environment.ControlOpenFiles)
	gap(rights, environment.ControlCleanup, environment.ControlLayers)
	return r
}

// Close implements environment.Provider.
func (Provider) Close(context.Context) error { return nil }

var (
	errClosed  = errors.New("the environment was closed")
	errExpired = errors.New("the environment's lifetime is over")
	errTimeout = errors.New("the command's time is over")
)

// Open implements environment.Provider.
func (p Provider) Open(_ context.Context, spec environment.Spec) (environment.Environment, error) {
	if spec.Root.Image != "" || len(spec.Root.Layers) > 0 || spec.Root.Upper != "" || len(spec.Mounts) > 0 || spec.Egress || spec.AsRoot {
		return nil, stead.Errorf(stead.KindNotImplemented, "an environment without a sandbox has neither layers, mounts nor an egress proxy: it is this machine")
	}
	dir, err := workspace.Open(spec.Workspace)
	if err != nil {
		return nil, err
	}
	b := &box{
		files: dir, spec: spec, limits: spec.Limits.OrDefault(), base: p.base(spec), starts: make(chan func()), done: make(chan struct{}),
		slots: make(chan struct{}, environment.MaxParallelCommands), groups: map[int]struct{}{},
	}
	b.id = strings.ToLower(rand.Text())
	b.base[mark] = b.id
	b.life, b.end = context.WithCancelCause(context.Background())
	go b.startAll()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expiry = time.AfterFunc(b.limits.Lifetime, func() { _ = b.shut(context.Background(), errExpired) })
	return b, nil
}

// base is what every command's variables begin with.
func (p Provider) base(spec environment.Spec) map[string]string {
	env := map[string]string{"PATH": "/usr/local/bin:/usr/bin:/bin"}
	for _, name := range append([]string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR"}, p.Pass...) {
		if value, ok := os.LookupEnv(name); ok {
			env[name] = value
		}
	}
	env["WORKSPACE"] = spec.Workspace
	if spec.Services != "" {
		env["STEAD_SERVICES"] = spec.Services
	}
	for name, value := range spec.Env {
		env[name] = value
	}
	return env
}

// box is a resident environment.
type box struct {
	files  *workspace.Dir
	spec   environment.Spec
	limits environment.Limits
	base   map[string]string
	id     string
	starts chan func()   // run on the thread that commands are started from
	slots  chan struct{} // one token for each command that runs
	life   context.Context
	end    context.CancelCauseFunc
	expiry *time.Timer
	once   sync.Once
	done   chan struct{} // closed when everything has ended

	mu     sync.Mutex
	closed bool
	work   sync.WaitGroup   // commands
	groups map[int]struct{} // process groups whose first process was not reaped
	usage  environment.Usage
}

// Usage implements environment.Environment.
func (b *box) Usage() environment.Usage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.usage
}

// Done implements environment.Environment.
func (b *box) Done() <-chan struct{} { return b.done }

// Close implements environment.Environment.
func (b *box) Close(ctx context.Context) error {
	return b.shut(ctx, errClosed)
}

// shut ends every process, once. Who comes later waits for it.
func (b *box) shut(ctx context.Context, why error) (err error) {
	b.once.Do(func() {
		b.mu.Lock()
		b.expiry.Stop()
		b.closed = true
		b.mu.Unlock()
		b.end(why)
		b.work.Wait() // each is killed
		err = b.sweep(ctx)
		close(b.starts)
		err = errors.Join(err, b.files.Close())
		close(b.done)
	})
	return err
}

// inside makes a path of the contract of one of this machine, where that lies in the workspace.
func (b *box) inside(path string) string {
	rel, err := filepath.Rel(b.spec.Workspace, path)
	if err != nil || !filepath.IsAbs(path) || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return path
	}
	return filepath.ToSlash(filepath.Join(environment.WorkspaceDir, rel))
}

// outside makes a path of this machine of one of the contract.
func (b *box) outside(dir string) string {
	if dir == "" {
		return b.spec.Workspace
	}
	if rest, ok := strings.CutPrefix(dir, environment.WorkspaceDir); ok && (rest == "" || rest[0] == '/') {
		return filepath.Join(b.spec.Workspace, filepath.FromSlash(rest))
	}
	return dir
}

// ReadFile implements environment.Environment.
func (b *box) ReadFile(ctx context.Context, path string, most int64) ([]byte, error) {
	return b.files.ReadFile(ctx, b.inside(path), most)
}

// CopyFile implements environment.Environment.
func (b *box) CopyFile(ctx context.Context, path string, most int64, w io.Writer) error {
	return b.files.CopyFile(ctx, b.inside(path), most, w)
}

// WriteFile implements environment.Environment.
func (b *box) WriteFile(ctx context.Context, path string, data []byte, executable bool) error {
	return b.files.WriteFile(ctx, b.inside(path), data, executable)
}

// List implements environment.Environment.
func (b *box) List(ctx context.Context, q environment.ListQuery) (environment.FilePage, error) {
	if q.Dir != "" {
		q.Dir = b.inside(q.Dir)
	}
	return b.files.List(ctx, q)
}

// Checkpoint implements environment.Environment.
func (b *box) Checkpoint(ctx context.Context, blobs environment.Blobs, previous string) (environment.Checkpoint, error) {
	return b.files.Checkpoint(ctx, blobs, previous)
}
