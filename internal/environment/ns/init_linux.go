package ns

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/packet"
	"golang.org/x/sys/unix"
)

// idleAfter is when init gives back the memory that its start took.
const idleAfter = time.Second

// initThreads are those that init makes before any command runs, of which it needs about half.
const initThreads = 8

// initFD is the descriptor of an init's connection to its server.
const initFD = 3

// runInit serves one box until its server goes away, and returns an exit code that nobody reads.
func runInit() int {
	// Pdeathsig belongs to the main thread and is lost when its ids change: other threads do that.
	runtime.LockOSThread()
	if os.Getpid() != 1 {
		fmt.Fprintf(os.Stderr, "%s is no command: stead starts it inside of new namespaces\n", Argv0)
		return 1
	}
	// Nobody inside may look into this process, whose memory has passed through the server's hands.
	if unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) != nil || unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0) != nil {
		return 1
	}
	// Commands get three files each, and none that the server got from whoever started it.
	if unix.CloseRange(initFD, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC) != nil {
		return 1
	}
	conn, err := packet.Conn(os.NewFile(initFD, "server"))
	if err != nil {
		return 1
	}
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(oomScore)), 0) // raising it is always allowed; without, a box is like any process
	threads := make(chan struct{})
	go func() {
		defer close(threads)
		environment.MakeThreads(initThreads) // beside the building of the root, which takes as long
	}()
	buf := make([]byte, maxRequestBytes)
	data, files, err := packet.Receive(conn, buf)
	if err != nil {
		return 1
	}
	var s setup
	if err := json.Unmarshal(data, &s); err != nil {
		return 1
	}
	i := &inmate{conn: conn, forks: make(chan fork), running: map[int]uint32{}, pids: map[uint32]int{}}
	i.forked = sync.NewCond(&i.mu)
	if err := i.prepare(s, files, threads); err != nil {
		i.fail(reply{}, err)
		return 1
	}
	i.reply(reply{Ready: true})
	time.AfterFunc(idleAfter, debug.FreeOSMemory)
	go i.reap()
	i.serve()
	return 0
}

// prepare does everything between the first message and the first command.
func (i *inmate) prepare(s setup, files []*os.File, threads <-chan struct{}) error {
	if err := s.build(files); err != nil {
		return err
	}
	for _, f := range files {
		_ = f.Close() // what was mounted stays
	}
	if err := unix.Sethostname([]byte("stead")); err != nil {
		return step("set the host name", err)
	}
	if err := raiseLoopback(); err != nil {
		return step("raise the loopback interface", err)
	}
	if s.Egress {
		if err := bridge(s.OpenFiles); err != nil {
			return step("listen for the egress proxy", err)
		}
	}
	if err := s.limit(); err != nil {
		return err
	}
	<-threads
	jailed := make(chan error)
	go i.jail(s, jailed)
	return <-jailed
}

// step says what failed.
func step(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// inmate is the state of an init.
type inmate struct {
	conn  *net.UnixConn
	forks chan fork // to the jailed thread

	mu      sync.Mutex
	forked  *sync.Cond
	running map[int]uint32 // pid of a command's first process → number of the command
	pids    map[uint32]int // the other way round
}

// reply sends a message. A server that can't be told is gone, and so is this process soon.
func (i *inmate) reply(r reply) {
	data, err := json.Marshal(r)
	if err == nil {
		err = packet.Send(i.conn, data, nil)
	}
	if err != nil {
		os.Exit(1)
	}
}

// fail answers with an error.
func (i *inmate) fail(r reply, err error) {
	r.Message = err.Error()
	if len(r.Message) > maxReplyBytes/8 { // escaped it may be six times as long
		r.Message = r.Message[:maxReplyBytes/8]
	}
	if e, ok := errors.AsType[unix.Errno](err); ok {
		r.Errno = int(e)
	}
	i.reply(r)
}

// serve answers requests until the server closes the connection.
func (i *inmate) serve() {
	buf := make([]byte, maxRequestBytes)
	for {
		data, files, err := packet.Receive(i.conn, buf)
		if err != nil {
			return
		}
		r, err := decodeRequest(data)
		if err != nil {
			return
		}
		switch {
		case r.Exec != 0:
			i.exec(r, files)
		case r.Kill != 0:
			i.mu.Lock() // while it is held nobody is reaped, and no pid becomes another's
			if pid := i.pids[r.Kill]; pid != 0 {
				killSession(pid)
			}
			i.mu.Unlock()
		case r.Sweep != "":
			i.mu.Lock() // as above, and the answer comes before the end of a command that is killed
			i.reply(sweep(r, i.running))
			i.mu.Unlock()
		case r.All:
			_ = unix.Kill(-1, unix.SIGKILL) // everybody but this process
		}
		for _, f := range files {
			_ = f.Close()
		}
	}
}

// raiseLoopback sets the interface lo up.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}
