package pgtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/volume"
)

// Server is one temporary cluster.
type Server struct {
	bin  string
	dir  string // holds data/, the socket and the log
	port int
	cred *syscall.Credential // nil: the test's own user

	mu         sync.Mutex
	supervisor *exec.Cmd // nil while stopped
	control    io.WriteCloser
	postmaster int // its process id
}

// supervise runs the server as a child. A line on its standard input is the signal to end it with;
// the end of the input means that the test process is gone, and then the directory goes too.
const supervise = `
"$1/postgres" -D "$2/data" >>"$2/log" 2>&1 &
pid=$!
if read -r signal; then
	kill "-$signal" "$pid" 2>/dev/null
	wait "$pid"
else
	kill -QUIT "$pid" 2>/dev/null
	wait "$pid"
	rm -rf "$2"
fi
`

const (
	memory      = "/dev/shm"
	memoryBytes = 2 << 30 // free: several test binaries have a cluster each, of up to 600 MB
)

// config has shared memory in the cluster's own directory, with which it goes: a server that is killed leaves it behind elsewhere.
const config = `
listen_addresses = '127.0.0.1'
port = %d
unix_socket_directories = '%s'
fsync = on
synchronous_commit = on
max_connections = 200
max_wal_size = 256MB
dynamic_shared_memory_type = mmap
`

func start() (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin}
	if s.cred, err = credential(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp(scratch(), "stead-pg-"); err != nil {
		return nil, err
	}
	if err := s.init(); err != nil {
		os.RemoveAll(s.dir)
		return nil, err
	}
	if err := s.start(); err != nil {
		os.RemoveAll(s.dir)
		return nil, err
	}
	return s, nil
}

// scratch returns where clusters are made: in memory where there is room, else where temporary files are. A
// process that is killed leaves what it had written in either, and no test cuts the machine's power; on a busy
// disk the checkpoints of CREATE and DROP DATABASE are most of a suite's time.
func scratch() string {
	if room, ok := volume.Of(memory); ok && room.Bytes >= memoryBytes && unix.Access(memory, unix.W_OK) == nil {
		return memory
	}
	return ""
}

// credential returns whom to run as instead of root.
func credential() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 == nil && err2 == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is no user postgres or nobody")
}

// init makes the data directory. initdb itself need not sync: what it writes is not what is tested.
func (s *Server) init() error {
	if s.cred != nil {
		if err := os.Chown(s.dir, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			return err
		}
	}
	cmd := s.command(filepath.Join(s.bin, "initdb"), "-D", filepath.Join(s.dir, "data"),
		"-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	s.port = port
	f, err := os.OpenFile(filepath.Join(s.dir, "data", "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, config, s.port, s.dir)
	return errors.Join(err, f.Close())
}

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	// A session of its own keeps the terminal's Ctrl-C for the test alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Setsid: true}
	return cmd
}

func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.supervisor != nil {
		return errors.New("pgtest: the server runs already")
	}
	cmd := s.command("/bin/sh", "-c", supervise, "pgtest", s.bin, s.dir)
	control, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.supervisor, s.control = cmd, control
	if err := s.awaitReady(); err != nil {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log")) // may be missing; the error below says enough
		_ = s.endLocked("QUIT")                            // the failed start is the error to report
		return fmt.Errorf("PostgreSQL did not start: %w\n%s", err, log)
	}
	s.postmaster, err = s.readPID()
	return err
}

func (s *Server) awaitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := s.exec(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

func (s *Server) readPID() (int, error) {
	f, err := os.Open(filepath.Join(s.dir, "data", "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line))
}

func (s *Server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.supervisor != nil
}

func (s *Server) end(signal string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endLocked(signal)
}

func (s *Server) endLocked(signal string) error {
	if s.supervisor == nil {
		return errors.New("pgtest: the server does not run")
	}
	_, err := io.WriteString(s.control, signal+"\n")
	_ = s.supervisor.Wait() // its status is the server's, killed or not
	s.control.Close()
	s.supervisor = nil
	return err
}

// kill takes the children first noted together with their parent, so that none writes on.
func (s *Server) kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.supervisor == nil {
		return errors.New("pgtest: the server does not run")
	}
	// A stopped parent makes no new children.
	if err := syscall.Kill(s.postmaster, syscall.SIGSTOP); err != nil {
		return err
	}
	children, err := childrenOf(s.postmaster)
	if err != nil {
		return err
	}
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL) // may have ended by itself
	}
	if err := syscall.Kill(s.postmaster, syscall.SIGKILL); err != nil {
		return err
	}
	return s.endLocked("KILL")
}

func (s *Server) remove() {
	if s.running() {
		_ = s.end("QUIT") // what matters now is that the directory goes
	}
	_ = os.RemoveAll(s.dir)
}

// childrenOf reads the process table: field 4 of stat, after the name in parentheses, is the parent.
func childrenOf(parent int) ([]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		text := string(b)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if len(fields) < 2 || fields[1] != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
