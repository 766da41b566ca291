package guest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/layer"
)

// spareThreads are made at the start: a program that runs into the limit of processes must not take
// the guest with it, whose runtime gives up when it can't have a thread.
const spareThreads = 12

// Main is the guest: it serves the host at standard input and output, and returns the exit code.
// With the argument "hold" it only keeps a container alive, as its pid 1, and reaps orphans: for
// places where the conversation comes in by another process. With "layer" and an operation it does that
// and ends.
func Main(args []string) int {
	if len(args) == 2 && args[0] == layerWord {
		return layerMain(LayerOp(args[1]))
	}
	// Everything that can be caught is, so that nothing of the inside ends pid 1. Handlers, unlike
	// ignored signals, are not inherited by what is executed.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught)
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "stead guest:", err)
		return 1
	}
	hold := len(args) > 0 && args[0] == "hold"
	if !hold && os.Getpid() != 1 { // orphans of ours are ours; as pid 1 they are anyway
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			fmt.Fprintln(os.Stderr, "stead guest:", err)
			return 1
		}
	}
	reap := newReaper()
	if hold {
		for s := range caught {
			if s == syscall.SIGTERM { // an orchestrator's polite end
				return 0
			}
		}
	}
	go func() {
		for range caught { // drained, and nothing more
		}
	}()
	warmThreads()
	err := serve(os.Stdin, os.Stdout, reap)
	reap.killAll()
	if !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "stead guest:", err)
		return 1
	}
	return 0
}

// serve holds the conversation until it ends, and returns why: io.EOF when the host has had enough.
func serve(r io.Reader, w io.Writer, reap *reaper) error {
	g := &guest{reap: reap}
	g.mux = newMux(r, w, false, g.serve)
	filtered := filter(os.Getuid() == 0) == nil
	seen := look()
	seen.Filter = filtered
	if err := g.mux.sendJSON(kindHello, 0, hello{Version: Version, Env: os.Environ(), Seen: seen}); err != nil {
		return err
	}
	var c config
	if err := g.mux.expect(kindConfig, &c); err != nil {
		return err
	}
	ready := outcome{}
	if err := g.prepare(c); err != nil {
		ready = outcome{Kind: stead.KindUnavailable, Message: err.Error()}
	}
	if err := g.mux.sendJSON(kindReady, 0, ready); err != nil {
		return err
	}
	err := g.mux.run()
	if c.GiveBack {
		reap.killAll()                               // nobody makes more of it
		_ = layer.GiveBack(environment.WorkspaceDir) // at the end, there is nobody to tell
	}
	return err
}

type guest struct {
	mux  *mux
	reap *reaper
}

func (g *guest) serve(s *stream, r request) {
	switch r.Op {
	case opExec:
		g.exec(s, r)
	case opRead, opWrite, opList, opMeasure, opIndex, opFetch, opStore:
		g.files(s, r)
	case opPing:
		s.finish(outcome{})
	case opKillAll:
		g.reap.killAll()
		s.finish(outcome{})
	default:
		s.finish(outcome{Kind: stead.KindInvalid, Message: "unknown operation"})
	}
}

// prepare makes links and listeners.
func (g *guest) prepare(c config) error {
	for path, target := range c.Link {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(target, path); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	for name, where := range c.Listen {
		network, address, _ := strings.Cut(where, ":")
		if network == "unix" {
			_ = os.Remove(address) // of a conversation before this one
		}
		l, err := net.Listen(network, address)
		if err != nil {
			return err
		}
		go g.forward(l, name)
	}
	return nil
}

// forward takes every connection to the host.
func (g *guest) forward(l net.Listener, name string) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			s, err := g.mux.open(request{Op: opDial, Name: name})
			if err != nil {
				return
			}
			join(s, conn)
			s.stop()
			_, _ = s.outcome()
		}()
	}
}

// warmThreads makes the runtime create threads, by blocking so many at once. It keeps them.
func warmThreads() {
	var p [2]int
	if unix.Pipe2(p[:], unix.O_CLOEXEC) != nil {
		return
	}
	done := make(chan struct{}, spareThreads)
	for range spareThreads {
		go func() {
			var b [1]byte
			_, _ = unix.Read(p[0], b[:]) // a blocking read of a raw descriptor holds a thread
			done <- struct{}{}
		}()
	}
	_, _ = unix.Write(p[1], make([]byte, spareThreads))
	for range spareThreads {
		<-done
	}
	_ = unix.Close(p[0])
	_ = unix.Close(p[1])
}

// look describes what is around the guest.
func look() Seen {
	s := Seen{PID: os.Getpid(), UID: os.Getuid()}
	status, _ := os.ReadFile("/proc/self/status") // what can't be read is not claimed
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch name {
		case "NoNewPrivs":
			s.NoNewPrivs = value == "1"
		case "CapBnd":
			s.CapBounds = value
		}
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		s.OpenFiles = limit.Max
	}
	lookAtGroups(&s)
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 {
			s.Interfaces = append(s.Interfaces, i.Name)
		}
	}
	if f, err := os.CreateTemp("/", ".stead-*"); err == nil {
		s.RootWritable = true
		f.Close()
		_ = os.Remove(f.Name())
	}
	s.Hostname, _ = os.Hostname()
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		s.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return s
}

// lookAtGroups reads the limits of the control groups, of version 2 or 1, as /sys/fs/cgroup shows them.
func lookAtGroups(s *Seen) {
	const dir = "/sys/fs/cgroup/"
	s.MemoryBytes = firstNumber(dir+"memory.max", dir+"memory/memory.limit_in_bytes")
	s.Processes = firstNumber(dir+"pids.max", dir+"pids/pids.max")
	quota, period := int64(0), int64(100_000)
	if data, err := os.ReadFile(dir + "cpu.max"); err == nil {
		fields := strings.Fields(string(data))
		if len(fields) == 2 {
			quota, period = number(fields[0]), number(fields[1])
		}
	} else {
		quota = firstNumber(dir+"cpu/cpu.cfs_quota_us", dir+"cpu,cpuacct/cpu.cfs_quota_us")
		period = firstNumber(dir+"cpu/cpu.cfs_period_us", dir+"cpu,cpuacct/cpu.cfs_period_us")
	}
	switch {
	case quota > 0 && period > 0:
		s.CPUMilli = quota * 1000 / period
	default:
		s.CPUMilli = quota
	}
}

// firstNumber reads the first of the files that is there.
func firstNumber(names ...string) int64 {
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil {
			return number(strings.TrimSpace(string(data)))
		}
	}
	return 0
}

// number reads a limit: -1 for "max", 0 for what is none.
func number(s string) int64 {
	if s == "max" {
		return -1
	}
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}
