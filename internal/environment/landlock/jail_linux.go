//go:build amd64 || arm64

package landlock

import (
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/seccomp"
)

// jail locks a thread in and runs what it is given on it, for ever. Everything here is a thread's own:
// the other threads keep what the helper needs. The calls are raw, as the library's would try to
// change all threads.
func (h *helper) jail(s setup, ready chan<- error) {
	runtime.LockOSThread()
	err := s.lockIn()
	ready <- err
	if err != nil {
		return
	}
	for f := range h.jailed {
		f()
	}
}

// lockIn gives up everything on this thread, and has another one supervise what it does from now on.
func (s setup) lockIn() error {
	all, err := places(s.Workspace, s.Scratch)
	if err != nil {
		return err
	}
	thread, failed, listener := make(chan int), make(chan error), make(chan *seccomp.Listener, 1)
	defer close(listener)
	go s.supervise(all, thread, failed, listener)
	select {
	case err := <-failed:
		return err
	case number := <-thread:
		l, err := s.enter(number)
		if err == nil {
			listener <- l
		}
		return err
	}
}

// enter takes this thread behind all borders. supervisor is the other thread that commands must not
// signal.
func (s setup) enter(supervisor int) (*seccomp.Listener, error) {
	if _, _, e := unix.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
		return nil, step("set no_new_privs", e)
	}
	if err := s.become(); err != nil {
		return nil, err
	}
	if err := s.confine(); err != nil {
		return nil, err
	}
	if err := syscall.Access(s.Workspace, 7); err != nil {
		return nil, step("enter the workspace", err)
	}
	filter, err := seccomp.Build(seccomp.Options{Network: seccomp.NetworkNone, HostIPC: true})
	if err != nil {
		return nil, err
	}
	if err := seccomp.Install(filter); err != nil {
		return nil, err
	}
	return seccomp.Listen(ownFilter(unix.Gettid(), supervisor))
}

// become makes this thread the environment's user, without capabilities.
func (s setup) become() error {
	if s.ID >= 0 {
		return switchTo(uintptr(s.ID))
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData // a server without root may have been given some
	return step("give up capabilities", unix.Capset(&header, &none[0]))
}

// switchTo takes an id, and with it loses all capabilities, on this thread.
func switchTo(id uintptr) error {
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
		return step("leave groups", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, id, id, id); e != 0 {
		return step("take the environment's group", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); e != 0 {
		return step("take the environment's user", e)
	}
	return nil
}

// limit sets what is bounded a process, on this one, for all that it starts.
func (s setup) limit() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return step("forbid core dumps", err)
	}
	for _, l := range []struct {
		name     string
		resource int
		value    int64
	}{
		{"open files", unix.RLIMIT_NOFILE, int64(s.OpenFiles)},
		{"the size of a file", unix.RLIMIT_FSIZE, s.FileBytes},
		{"processes", unix.RLIMIT_NPROC, int64(s.Processes)},
		{"data of a process", unix.RLIMIT_DATA, s.DataBytes},
	} {
		if l.value <= 0 {
			continue
		}
		var have unix.Rlimit
		if err := unix.Getrlimit(l.resource, &have); err != nil {
			return step("read the limit of "+l.name, err)
		}
		v := min(uint64(l.value), have.Max) // the server's own limit can't be passed
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: v, Max: v}); err != nil {
			return step("limit "+l.name, err)
		}
	}
	unix.Umask(0o022)
	return nil
}

// start forks a command. It runs on the jailed thread: what it looks up, it sees as the command would.
func start(r request, files []*os.File) (int, error) {
	if len(files) != 3 || len(r.Args) == 0 {
		return 0, unix.EINVAL
	}
	if err := syscall.Access(r.Dir, 1); err != nil {
		return 0, step("enter "+strconv.Quote(r.Dir), err)
	}
	file, err := environment.LookPath(r.Args[0], r.Dir, r.Env, defaultPath)
	if err != nil {
		return 0, step("run "+strconv.Quote(r.Args[0]), err)
	}
	fds := make([]uintptr, 0, len(files))
	for _, f := range files {
		fds = append(fds, f.Fd())
	}
	pid, err := syscall.ForkExec(file, r.Args, &syscall.ProcAttr{
		Dir: r.Dir, Env: r.Env, Files: fds, Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	return pid, step("run "+strconv.Quote(r.Args[0]), err)
}

// defaultPath is where programs are looked for.
const defaultPath = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

// killAll kills every process of the environment. It runs on the jailed thread, see the package.
func killAll() { _ = unix.Kill(-1, unix.SIGKILL) }

// killRest kills and reaps until none is left.
func killRest() {
	for {
		killAll()
		for {
			var status unix.WaitStatus
			pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
			if err == unix.ECHILD {
				return
			}
			if pid <= 0 && err != unix.EINTR {
				break
			}
		}
		time.Sleep(time.Millisecond)
	}
}
