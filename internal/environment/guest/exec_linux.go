package guest

import (
	"errors"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// oomScore makes the kernel kill a command before the guest when the container's memory is full.
const oomScore = "500"

// exec runs one command.
func (g *guest) exec(s *stream, r request) {
	p, err := g.start(r)
	if err != nil {
		s.finish(notStarted(err))
		return
	}
	if p.in != nil {
		go func() { // to the end of the input, of the stream, or until nobody reads the pipe
			for {
				c, err := s.next()
				if err != nil {
					break
				}
				_, err = p.in.Write(c.data)
				s.used(len(c.data))
				if err != nil {
					break
				}
			}
			p.in.Close()
		}()
	}
	var outputs sync.WaitGroup
	outputs.Go(func() { pass(s, chanOut, p.out) })
	outputs.Go(func() { pass(s, chanErr, p.err) })
	status := p.wait(s.kill)
	read := make(chan struct{})
	go func() { outputs.Wait(); close(read) }()
	select {
	case <-read:
	case <-time.After(environment.OutputGrace):
		// Somebody in the background holds them open. What it prints later meets a closed pipe.
		_ = p.out.SetReadDeadline(time.Now())
		_ = p.err.SetReadDeadline(time.Now())
		<-read
		environment.Drain(p.out, func(b []byte) { _ = s.send(chanOut, b) })
		environment.Drain(p.err, func(b []byte) { _ = s.send(chanErr, b) })
	}
	p.out.Close()
	p.err.Close()
	if p.in != nil {
		p.in.Close()
	}
	s.finish(outcome{Code: status.code, CPU: int64(status.cpu)})
}

// pass sends what a pipe brings. When the stream is over it reads on, so that nobody is stopped.
func pass(s *stream, channel uint8, from *os.File) {
	buf := make([]byte, MaxDataBytes)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			_ = s.send(channel, buf[:n])
		}
		if err != nil {
			return
		}
	}
}

// process is a command that runs.
type process struct {
	pid     int
	in      *os.File // nil: nothing
	out     *os.File
	err     *os.File
	reap    *reaper
	outcome chan status
}

type status struct {
	code int
	cpu  time.Duration
}

// wait waits for the first process, and kills its group when kill is closed.
func (p *process) wait(kill <-chan struct{}) status {
	select {
	case st := <-p.outcome:
		return st
	case <-kill:
	}
	p.reap.killGroup(p.pid)
	return <-p.outcome
}

func (g *guest) start(r request) (p *process, err error) {
	if len(r.Args) == 0 {
		return nil, stead.Invalid("args", "a command names a program")
	}
	dir, env, args := string(r.Dir), texts(r.Env), texts(r.Args)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, stead.Invalid("dir", "%.200q is no directory", dir)
	}
	path, err := lookPath(args[0], dir, env)
	if err != nil {
		return nil, err
	}
	p = &process{reap: g.reap, outcome: make(chan status, 1)}
	var theirs []*os.File // closed here, once the command has them
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			for _, f := range []*os.File{p.in, p.out, p.err} {
				if f != nil {
					f.Close()
				}
			}
		}
	}()
	in, err := p.input(r.In)
	if err != nil {
		return nil, err
	}
	theirs = append(theirs, in)
	for _, ours := range []**os.File{&p.out, &p.err} {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		*ours, theirs = r, append(theirs, w)
	}
	p.pid, err = g.reap.start(path, args, &syscall.ProcAttr{
		Dir: dir, Env: env, Files: []uintptr{theirs[0].Fd(), theirs[1].Fd(), theirs[2].Fd()},
		Sys: &syscall.SysProcAttr{Setsid: true},
	}, p.outcome)
	return p, err
}

// input is the command's end of its standard input.
func (p *process) input(follows bool) (*os.File, error) {
	if !follows {
		return os.Open(os.DevNull)
	}
	r, w, err := os.Pipe()
	p.in = w
	return r, err
}

func texts(list [][]byte) []string {
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = string(b)
	}
	return out
}

// lookPath finds a program as execvp does, with the command's PATH and directory.
func lookPath(name, dir string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, executable(name)
	}
	for _, v := range env {
		path, ok := strings.CutPrefix(v, "PATH=")
		if !ok {
			continue
		}
		for _, d := range filepath.SplitList(path) {
			if !filepath.IsAbs(d) {
				d = filepath.Join(dir, d)
			}
			if full := filepath.Join(d, name); executable(full) == nil {
				return full, nil
			}
		}
	}
	return "", stead.Errorf(stead.KindNotFound, "there is no program %.200q in PATH", name)
}

func executable(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return stead.Errorf(stead.KindNotFound, "there is no program %.200q", name)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return stead.Invalid("args", "%.200q is no program", name)
	}
	return nil
}

// notStarted is the outcome of a command that did not run.
func notStarted(err error) outcome {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		return outcome{Kind: e.Kind, Message: e.Message}
	}
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOMEM) || errors.Is(err, syscall.EMFILE) {
		return outcome{Kind: stead.KindLimited, Message: "the environment has no processes or memory left to start it: " + err.Error()}
	}
	return outcome{Kind: stead.KindInvalid, Message: "it can't be executed: " + err.Error()}
}

// reaper waits for every child, the commands and the orphans that become ours.
type reaper struct {
	mu   sync.Mutex
	wait map[int]chan status // pid of a command → where its outcome goes
}

func newReaper() *reaper {
	r := &reaper{wait: map[int]chan status{}}
	ended := make(chan os.Signal, 1) // one is enough: each look takes all that have ended
	signal.Notify(ended, syscall.SIGCHLD)
	go func() {
		for range ended {
			r.look()
		}
	}()
	return r
}

// start starts a process whose outcome nobody else may take.
func (r *reaper) start(path string, args []string, attr *syscall.ProcAttr, outcome chan status) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(path, args, attr)
	if err != nil {
		return 0, err
	}
	r.wait[pid] = outcome
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(oomScore), 0) // without it, it is luck
	return pid, nil
}

// look reaps whoever has ended. It holds the lock, so that a command is registered before its end is
// seen, and its pid is not used again while killGroup looks at it.
func (r *reaper) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var ws syscall.WaitStatus
		var use syscall.Rusage
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, &use)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if c := r.wait[pid]; c != nil {
			delete(r.wait, pid)
			c <- status{code: codeOf(ws), cpu: time.Duration(use.Utime.Nano() + use.Stime.Nano())}
		}
	}
}

func codeOf(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// killGroup kills a command's process group, unless it has been reaped.
func (r *reaper) killGroup(pid int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wait[pid] != nil {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
}

// killAll kills every process but the guest. As pid 1 that is one call; else those that descend from
// it, again and again until there is none.
func (r *reaper) killAll() {
	if os.Getpid() == 1 {
		_ = syscall.Kill(-1, syscall.SIGKILL)
		return
	}
	for end := time.Now().Add(killAllTime); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		left := descendants(os.Getpid())
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// killAllTime is the longest that killAll tries.
const killAllTime = 5 * time.Second

// descendants lists the processes below one, from /proc.
func descendants(root int) []int {
	entries, _ := os.ReadDir("/proc")
	parents := map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// pid (name) state ppid …: the name may hold anything, also brackets.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) > 1 && fields[0] != "Z" {
			parents[pid], _ = strconv.Atoi(fields[1])
		}
	}
	var found []int
	for pid := range parents {
		for p, depth := parents[pid], 0; p != 0 && depth < len(parents); p, depth = parents[p], depth+1 {
			if p == root {
				found = append(found, pid)
				break
			}
		}
	}
	return found
}
