package rig

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long a node may take to shut down when it is asked to.
const stopTimeout = 40 * time.Second

// NodeOptions say how a node is run.
type NodeOptions struct {
	Program string   // the built binary
	Dir     string   // for its configuration, data, log and ready file
	Config  string   // stead.yaml, whole
	Env     []string // added to the environment, "NAME=value"
	Data    string   // data directory; "" for Dir/data
	// Prefix is a command to run the program under, such as a shell that sets a limit. It must
	// exec the program, so that signals reach it.
	Prefix []string
}

// Node is one run after another of the binary, on one data directory and one address: a client
// that remembers the address finds it again after a restart.
type Node struct {
	opts NodeOptions
	addr string // "127.0.0.1:port", the same over restarts
	cmd  *exec.Cmd
	gone chan struct{} // closed when cmd has ended
	fate error         // of cmd, once gone
	Runs int           // starts so far
}

// NewNode prepares a node; Start runs it.
func NewNode(o NodeOptions) (*Node, error) {
	if o.Data == "" {
		o.Data = filepath.Join(o.Dir, "data")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "stead.yaml"), []byte(o.Config), 0o600); err != nil {
		return nil, err
	}
	port, err := FreePort()
	if err != nil {
		return nil, err
	}
	return &Node{opts: o, addr: fmt.Sprintf("127.0.0.1:%d", port)}, nil
}

// URL is the node's base address, without a slash at the end.
func (n *Node) URL() string { return "http://" + n.addr }

// LogPath is where the node's output goes, of all its runs.
func (n *Node) LogPath() string { return filepath.Join(n.opts.Dir, "stead.log") }

// Pid of the running process.
func (n *Node) Pid() int { return n.cmd.Process.Pid }

// Start runs the binary and returns when it serves.
func (n *Node) Start() error {
	if err := n.launch(); err != nil {
		return err
	}
	ready := filepath.Join(n.opts.Dir, "ready")
	err := Poll(StartTimeout, "the node to serve", func() error {
		select {
		case <-n.gone:
			return fmt.Errorf("it ended: %w", n.fate)
		default:
		}
		if _, err := os.Stat(ready); err != nil {
			return err
		}
		resp, err := http.Get(n.URL() + "/healthz")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
	if err != nil {
		return fmt.Errorf("start: %w\n%s", err, n.LogTail())
	}
	return nil
}

func (n *Node) launch() error {
	if n.cmd != nil {
		return errors.New("the node runs already")
	}
	ready := filepath.Join(n.opts.Dir, "ready")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	argv := append(append([]string{}, n.opts.Prefix...), n.opts.Program, "serve",
		"--config", filepath.Join(n.opts.Dir, "stead.yaml"),
		"--listen", n.addr, "--data", n.opts.Data, "--ready-file", ready)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), n.opts.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.OpenFile(n.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", strings.Join(argv, " "), err)
	}
	gone := make(chan struct{})
	go func() { n.fate = cmd.Wait(); close(gone) }()
	n.cmd, n.gone = cmd, gone
	n.Runs++
	return nil
}

// Kill is SIGKILL. It returns when the process is gone.
func (n *Node) Kill() {
	if n.cmd == nil {
		return
	}
	_ = n.cmd.Process.Kill()
	<-n.gone
	n.cmd = nil
}

// Freeze is SIGSTOP, Thaw SIGCONT.
func (n *Node) Freeze() error { return n.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen node run again.
func (n *Node) Thaw() error { return n.cmd.Process.Signal(syscall.SIGCONT) }

// Stop asks the node to shut down and waits for it; one that does not is killed and reported.
func (n *Node) Stop() error {
	if n.cmd == nil {
		return nil
	}
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-n.gone:
		n.cmd = nil
		return n.fate
	case <-time.After(stopTimeout):
		n.Kill()
		return fmt.Errorf("the node did not stop within %s\n%s", stopTimeout, n.LogTail())
	}
}

// Alive reports whether the process runs.
func (n *Node) Alive() bool {
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.gone:
		return false
	default:
		return true
	}
}

// logTailBytes is how much of a node's log a failure shows.
const logTailBytes = 4 << 10

// LogTail is the end of the node's log.
func (n *Node) LogTail() string {
	b, err := os.ReadFile(n.LogPath())
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b[max(0, len(b)-logTailBytes):]))
}
