package ns

import (
	"bytes"
	"os"
	"strconv"
	"syscall"

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
	pid, err := syscall.ForkExec(program, f.Args, &syscall.ProcAttr{
		Dir: f.Dir, Env: f.Env, Files: fds, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	return pid, step("run "+strconv.Quote(f.Args[0]), err)
}

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
			i.reply(reply{Exited: number, Status: int(status), CPU: use.Utime.Nano() + use.Stime.Nano()})
		}
	}
}

// maxKillRounds bounds how often killSession looks for processes that were born meanwhile. The limit
// of processes is what ends a fork bomb before that.
const maxKillRounds = 1000

// killSession kills the processes of a session: the command's, its children's, whoever did not leave
// for a session of his own.
func killSession(session int) {
	_ = unix.Kill(-session, unix.SIGKILL) // the first group at once
	for range maxKillRounds {
		members := members(func(of int) bool { return of == session })
		if len(members) == 0 {
			return
		}
		for _, pid := range members {
			_ = unix.Kill(pid, unix.SIGKILL) // its number is still its own: nobody is reaped meanwhile, see serve
		}
	}
}

// killRest kills the processes that are of no session of a command that runs: what earlier ones left
// behind, and who left for a session of his own. Nobody is reaped meanwhile, so that the dead of a fork
// bomb keep their places until no living one can fork. It returns how many it killed, or more.
func killRest(running map[int]uint32) (killed int) {
	for range maxKillRounds {
		rest := members(func(session int) bool { return running[session] == 0 })
		if len(rest) == 0 {
			break
		}
		for _, pid := range rest {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		killed += len(rest)
	}
	return killed
}

// members lists the living processes of the sessions that are wanted.
func members(wanted func(session int) bool) []int {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil
	}
	var found []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid <= 1 {
			continue
		}
		data, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue
		}
		// PID (NAME) STATE PPID PGRP SESSION …: the name may hold anything, parentheses too.
		fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
		if len(fields) <= 3 {
			continue
		}
		session, err := strconv.Atoi(string(fields[3]))
		if err == nil && wanted(session) && !bytes.Equal(fields[0], []byte("Z")) && !bytes.Equal(fields[0], []byte("X")) {
			found = append(found, pid)
		}
	}
	return found
}

// defaultPath is where programs are looked for.
const defaultPath = environment.LayerDir + "/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
