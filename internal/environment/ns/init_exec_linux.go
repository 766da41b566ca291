package ns

import (
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment"
)

// fork is a command for the jailed thread, and where its pid or error goes.
type fork struct {
	request
	files []*os.File
	done  chan forked
}

type forked struct {
	pid int
	err error
}

// exec starts a command and says so. The lock is held meanwhile, so that nobody reaps a pid that is
// not known yet.
func (i *inmate) exec(r request, files []*os.File) {
	done := make(chan forked)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.forks <- fork{r, files, done}
	f := <-done
	if f.err != nil {
		i.fail(reply{Started: r.Exec}, f.err)
		return
	}
	i.running[f.pid], i.pids[r.Exec] = r.Exec, f.pid
	i.reply(reply{Started: r.Exec}) // before anybody can say that it ended
	i.forked.Broadcast()
}

// start forks a command. It runs on the jailed thread: what it looks up, it sees as the command would.
func (f fork) start() (int, error) {
	if len(f.files) != 3 || len(f.Args) == 0 {
		return 0, unix.EINVAL
	}
	if err := syscall.Access(f.Dir, 1); err != nil {
		return 0, step("enter "+strconv.Quote(f.Dir), err)
	}
	program, err := environment.LookPath(f.Args[0], f.Dir, f.Env, defaultPath)
	if err != nil {
		return 0, step("run "+strconv.Quote(f.Args[0]), err)
	}
	fds := make([]uintptr, 0, 3)
	for _, file := range f.files {
		fds = append(fds, file.Fd())
	}
	attr := &syscall.ProcAttr{Dir: f.Dir, Env: f.Env, Files: fds, Sys: &syscall.SysProcAttr{Setsid: true}}
	for wait := time.Millisecond; ; wait *= 2 {
		pid, err := syscall.ForkExec(program, f.Args, attr)
		if err == syscall.ETXTBSY && wait <= lastBusyWait {
			time.Sleep(wait)
			continue
		}
		return pid, step("run "+strconv.Quote(f.Args[0]), err)
	}
}

// lastBusyWait is the longest wait for a program that somebody has open to write. Whoever wrote it may
// have closed it: a process that is forked at that moment, as the server forks those of other boxes, and on a busy machine for long,
// has it open until it executes its own program.
//
// Source: github.com/golang/go/issues/22315.
const lastBusyWait = 512 * time.Millisecond

// reap collects every process that ends, and says so of those that were commands.
func (i *inmate) reap() {
	for {
		// Look first and collect under the lock: a pid is free for others only once it is out of the maps.
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT, nil)
		i.mu.Lock()
		if err == unix.ECHILD {
			for len(i.running) == 0 {
				i.forked.Wait()
			}
			i.mu.Unlock()
			continue
		}
		var status syscall.WaitStatus
		var use syscall.Rusage
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, &use)
		number := i.running[pid]
		if err == nil && pid > 0 && number != 0 {
			delete(i.running, pid)
			delete(i.pids, number)
		}
		i.mu.Unlock()
		if number != 0 && pid > 0 {
			i.reply(reply{Exited: number, Status: int(status), CPU: use.Utime.Nano() + use.Stime.Nano(), Memory: use.Maxrss << 10})
		}
	}
}

// defaultPath is where programs are looked for.
const defaultPath = environment.LayerDir + "/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
