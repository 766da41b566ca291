//go:build amd64 || arm64

package landlock

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/stead-dev/stead/internal/environment/packet"
	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment"
)

const (
	// helperFD is the descriptor of a helper's connection to its server.
	helperFD = 3
	// sweepWord is the argument of a process that kills everything of its user, and is no helper.
	sweepWord = "sweep"
	// idleAfter is when a helper gives back the memory that its start took.
	idleAfter = time.Second
)

// helper is the state of a helper process.
type helper struct {
	conn   *net.UnixConn
	jailed chan func() // to the jailed thread

	mu      sync.Mutex // also: while it is held nobody is reaped, and no pid becomes another's
	forked  *sync.Cond
	running map[int]uint32 // pid of a command's first process → number of the command
	pids    map[uint32]int // the other way round
	ending  bool
}

// Main is the main function of a helper. It does not return.
func Main() {
	if len(os.Args) == 2 && os.Args[1] == sweepWord {
		if os.Getuid() >= firstID { // no other user's processes are ours
			killAll()
		}
		os.Exit(0)
	}
	os.Exit(runHelper())
}

// runHelper serves one environment until its server goes away, and returns an exit code that nobody reads.
func runHelper() int {
	conn, err := packet.Conn(os.NewFile(helperFD, "server"))
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s is no command: stead starts it\n", Argv0)
		return 1
	}
	// What the server has inherited itself, without knowing, is not for commands.
	if unix.CloseRange(helperFD, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) != nil {
		return 1
	}
	// Nobody inside may look into this process, and its orphans come to it.
	if unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) != nil || unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != nil {
		return 1
	}
	var s setup
	buf := make([]byte, maxRequestBytes)
	n, err := conn.Read(buf)
	if err != nil || json.Unmarshal(buf[:n], &s) != nil {
		return 1
	}
	defer removeScratch(s.Scratch)
	h := &helper{conn: conn, jailed: make(chan func()), running: map[int]uint32{}, pids: map[uint32]int{}}
	h.forked = sync.NewCond(&h.mu)
	if err := h.prepare(s); err != nil {
		h.fail(reply{}, err)
		return 1
	}
	if h.reply(reply{Ready: true}) == nil {
		time.AfterFunc(idleAfter, debug.FreeOSMemory)
		go h.reap()
		h.serve(buf)
	}
	h.end()
	return 0
}

func (h *helper) prepare(s setup) error {
	environment.MakeThreads(helperThreads / 2)
	if err := s.limit(); err != nil {
		return err
	}
	ready := make(chan error)
	go h.jail(s, ready)
	return <-ready
}

// reply sends a message. A server that can't be told is gone, which serve finds out.
func (h *helper) reply(r reply) error { return sendJSON(h.conn, r) }

// fail answers with an error.
func (h *helper) fail(r reply, err error) {
	r.Message = err.Error()
	if len(r.Message) > maxReplyBytes/8 { // escaped it may be six times as long
		r.Message = r.Message[:maxReplyBytes/8]
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		r.Errno = int(e)
	}
	_ = h.reply(r)
}

// serve answers requests until the server closes the connection.
func (h *helper) serve(buf []byte) {
	for {
		r, files, err := receive(h.conn, buf)
		if err != nil {
			return
		}
		switch {
		case r.Exec != 0:
			h.exec(r, files)
		case r.Kill != 0:
			h.mu.Lock()
			if pid := h.pids[r.Kill]; pid != 0 {
				_ = unix.Kill(-pid, unix.SIGKILL)
			}
			h.mu.Unlock()
		case r.All:
			h.onJailed(killAll)
		}
		for _, f := range files {
			_ = f.Close()
		}
	}
}

// onJailed runs f on the jailed thread.
func (h *helper) onJailed(f func()) {
	done := make(chan struct{})
	h.jailed <- func() { defer close(done); f() }
	<-done
}

// exec starts a command and says so, before anybody can say that it ended.
func (h *helper) exec(r request, files []*os.File) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var pid int
	var err error
	h.onJailed(func() { pid, err = start(r, files) })
	if err != nil {
		h.fail(reply{Started: r.Exec}, err)
		return
	}
	h.running[pid], h.pids[r.Exec] = r.Exec, pid
	_ = h.reply(reply{Started: r.Exec})
	h.forked.Broadcast()
}

// reap collects every process that ends, and says so of those that were commands.
func (h *helper) reap() {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOWAIT, nil)
		h.mu.Lock()
		if h.ending {
			h.mu.Unlock()
			return
		}
		if err == unix.ECHILD {
			for len(h.running) == 0 && !h.ending {
				h.forked.Wait()
			}
			h.mu.Unlock()
			continue
		}
		var status syscall.WaitStatus
		var use syscall.Rusage
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, &use)
		number := h.running[pid]
		if err == nil && pid > 0 && number != 0 {
			delete(h.running, pid)
			delete(h.pids, number)
			_ = h.reply(reply{Exited: number, Status: int(status), CPU: use.Utime.Nano() + use.Stime.Nano(), Memory: use.Maxrss << 10})
		}
		h.mu.Unlock()
	}
}

// end kills all that is left, and returns when nothing is.
func (h *helper) end() {
	h.mu.Lock()
	h.ending = true
	h.forked.Broadcast()
	h.mu.Unlock()
	h.onJailed(killRest)
}

// removeScratch removes the environment's TMPDIR, where nobody works any more. Directories that are
// locked are opened first, without following anything out of it.
func removeScratch(dir string) {
	if os.RemoveAll(dir) == nil {
		return
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return
	}
	_ = environment.Walk(root, func(name string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = root.Chmod(name, 0o700) // what stays locked stays there
		}
		if err != nil {
			return fs.SkipDir
		}
		return nil
	})
	_ = root.Close()
	_ = os.RemoveAll(dir)
}
