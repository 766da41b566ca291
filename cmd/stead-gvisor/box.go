package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/sentry/control"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/container"
	"gvisor.dev/gvisor/runsc/specutils"

	"github.com/stead-dev/stead/cmd/stead-gvisor/inside"
	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

const (
	// boxID names the sandbox in its own state directory, where there is no other.
	boxID = "box"
	// starting stands for the process of a command that has none yet.
	starting = -1
	// orderTime is how long the first process inside may take for an order.
	orderTime = 20 * time.Second
)

// box is a sandbox that runs.
type box struct {
	conf      *config.Config
	container *container.Container
	layout    layout
	uid       int // of commands
	caps      *auth.TaskCapabilities

	starts sync.RWMutex // read by each command that starts, held by a sweep: it must know all that run

	mu      sync.Mutex
	claimed bool
	pids    map[uint64]int32 // id of the Exec → process, while it runs

	orders  *os.File // to the first process inside
	answers *bufio.Reader
	ordered uint64
	orderMu sync.Mutex

	processes int        // Boot.Processes
	stillMu   sync.Mutex // everything inside but its first process is stopped
}

// boot composes the file system, and starts the sandbox with its first process.
func boot(b wire.Boot) (*box, error) {
	l, err := compose(b)
	if err != nil {
		return nil, err
	}
	conf, err := configure(l.state)
	if err != nil {
		return nil, err
	}
	spec := l.spec(b)
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(l.bundle, "config.json"), data, 0o600); err != nil {
		return nil, err
	}
	x := &box{conf: conf, layout: l, pids: map[uint64]int32{}, processes: b.Processes}
	if err := x.run(spec); err != nil {
		return nil, err
	}
	return x, nil
}

// run starts the container. gVisor hands its own standard files on to the first process inside: they
// are pipes to it meanwhile.
func (x *box) run(spec *specs.Spec) error {
	in, orders, err := os.Pipe()
	if err != nil {
		return err
	}
	answers, out, err := os.Pipe()
	if err != nil {
		return err
	}
	stdin, stdout := os.Stdin, os.Stdout
	os.Stdin, os.Stdout = in, out
	defer func() {
		os.Stdin, os.Stdout = stdin, stdout
		_ = in.Close()
		_ = out.Close()
	}()
	x.container, err = container.New(x.conf, container.Args{ID: boxID, Spec: spec, BundleDir: x.layout.bundle, Attached: true})
	if err != nil {
		return fmt.Errorf("create the sandbox: %w", err)
	}
	if err := x.container.Start(x.conf); err != nil {
		return fmt.Errorf("start the sandbox: %w", err)
	}
	x.orders, x.answers = orders, bufio.NewReaderSize(answers, inside.MaxLine)
	return nil
}

// configure makes the configuration of gVisor.
//
// directfs is off: with it the sandbox's kernel would open the host's files itself, with the
// capabilities for that; so it is a user without any, in an empty root, and the gofer, which never sees
// a system call of the inside, opens files for it.
func configure(state string) (*config.Config, error) {
	log.SetLevel(log.Warning) // the rest is no news
	set := flag.NewFlagSet("gvisor", flag.ContinueOnError)
	config.RegisterFlags(set)
	args := []string{
		"--root=" + state, "--platform=systrap", "--network=none", "--directfs=false", "--ignore-cgroups",
		"--overlay2=none", "--file-access=exclusive", "--file-access-mounts=shared", "--host-uds=open", "--host-settings=ignore",
	}
	if rootless() {
		args = append(args, "--rootless") // the sandbox's user is ours: there is no other in our user namespace
	}
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	return config.NewFromFlags(set)
}

// claim shows the workspace. A sandbox is claimed once.
func (x *box) claim(c wire.Claim) (*wire.Claimed, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.claimed {
		return nil, errors.New("the sandbox has an owner already")
	}
	x.claimed = true
	var err error
	if x.uid, err = x.layout.show(c); err != nil {
		return nil, err
	}
	x.caps = &auth.TaskCapabilities{}
	if c.AsRoot {
		x.caps, err = specutils.Capabilities(false, setupCapabilities())
		if err != nil {
			return nil, err
		}
	}
	if _, err := x.order(inside.Order{Claim: &inside.Claim{UID: x.uid, Services: c.Services != "", Egress: c.Egress}}); err != nil {
		return nil, err
	}
	return &wire.Claimed{UID: x.uid}, nil
}

// start starts a command.
func (x *box) start(id uint64, e wire.Exec, files []*os.File) (int32, error) {
	x.starts.RLock()
	defer x.starts.RUnlock()
	x.mu.Lock()
	if !x.claimed || x.pids[id] != 0 {
		x.mu.Unlock()
		return 0, errors.New("out of order: claim the sandbox, and give each command an id of its own")
	}
	x.pids[id] = starting
	x.mu.Unlock()
	pid, err := x.execute(e, files)
	x.mu.Lock()
	defer x.mu.Unlock()
	if err != nil {
		delete(x.pids, id)
		return 0, err
	}
	x.pids[id] = pid
	return pid, nil
}

func (x *box) execute(e wire.Exec, files []*os.File) (int32, error) {
	if e.Dir != wire.WorkspaceDir {
		// gVisor starts programs in what is no directory as well.
		if _, err := x.order(inside.Order{Dir: e.Dir}); err != nil {
			return 0, err
		}
	}
	stdio := map[int]*os.File{}
	for i, f := range files {
		own, err := ownable(f)
		if err != nil {
			return 0, err
		}
		if own != f {
			defer own.Close()
		}
		stdio[i] = own
	}
	return x.container.Execute(x.conf, &control.ExecArgs{
		Argv: e.Args, Envv: e.Env, WorkingDirectory: e.Dir,
		KUID: auth.KUID(x.uid), KGID: auth.KGID(x.uid), NoNewPrivileges: true, Capabilities: x.caps,
		FilePayload: control.NewFilePayload(stdio, nil),
	})
}

// ownable is a file that may be given to the sandbox's user, which gVisor does with the first three of every command
// (Sandbox.configureStdios): the host's /dev/null is not, so who reads from it reads from a pipe that has ended.
func ownable(f *os.File) (*os.File, error) {
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeDevice == 0 {
		return f, err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	return in, out.Close()
}

// wait waits for the end of a command's first process.
func (x *box) wait(id uint64, pid int32) (unix.WaitStatus, error) {
	status, err := x.container.WaitPID(pid)
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.pids, id)
	return status, err
}

// kill kills the process group of a command that runs: each is the leader of its own.
func (x *box) kill(id uint64) error {
	x.mu.Lock()
	pid := x.pids[id]
	x.mu.Unlock()
	if pid <= 1 {
		return nil // it has ended, or is not there yet
	}
	kill := func() error {
		_, err := x.order(inside.Order{Kill: int(pid)})
		return err
	}
	if n, err := x.count(); err == nil && n.Processes > x.processes/2 {
		return x.still(kill)
	}
	return kill()
}

// order has the first process inside do something. What comes back is hostile, and so is silence.
func (x *box) order(o inside.Order) (inside.Answer, error) {
	x.orderMu.Lock()
	defer x.orderMu.Unlock()
	x.ordered++
	o.ID = x.ordered
	line, err := json.Marshal(o)
	if err != nil {
		return inside.Answer{}, err
	}
	var a inside.Answer
	got := make(chan error, 1)
	go func() {
		_, err := x.orders.Write(append(line, '\n'))
		if err == nil {
			a, err = inside.ReadAnswer(x.answers, o.ID)
		}
		got <- err
	}()
	select {
	case err := <-got:
		return a, err
	case <-time.After(orderTime):
		fmt.Fprintf(os.Stderr, "stead-gvisor: the first process inside did not answer within %v\n", orderTime)
		os.Exit(wire.ExitSilent) // the lines are out of step from now on
		return inside.Answer{}, nil
	}
}
