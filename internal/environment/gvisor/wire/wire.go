// Package wire is what the gvisor driver and the program stead-gvisor say to each other.
//
// Shape: a unix stream socket, one for each sandbox. Both sides send frames:
//
//	length, 4 bytes, big endian │ a JSON object of that length
//	└─ file descriptors ride on the first byte: a command's stdin, stdout, stderr
//
//	stead-gvisor                          driver
//	Reply{Hello}                    ─▶                  once, first
//	                                ◀─    Request{Boot}
//	Reply{Booted}                   ─▶
//	                                ◀─    Request{Claim}        once: a sandbox has one owner
//	Reply{Claimed}                  ─▶
//	                                ◀─    Request{Exec} + 3 files
//	Reply{Started} … Reply{Exited}  ─▶
//	                                ◀─    Request{Kill}         of what a Request{Exec} started
//	                                ◀─    Request{Count}        the processes of commands
//	Reply{Counted}                  ─▶
//	                                ◀─    Request{Sweep}        kills those of no command that runs
//	Reply{Swept}                    ─▶
//
// A Reply carries the ID of its Request, and Error when there is nothing else. The end of the socket
// is the end of the other side: the sandbox does not outlive it.
//
// Units and limits: frames have at most MaxFrame bytes and MaxFiles descriptors.
//
// Errors: ErrFrame for what can't be a frame of ours, io.EOF between frames, io.ErrUnexpectedEOF in
// one. After any of them the socket is of no more use.
package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// Version is that of this protocol. Both sides must have the same: they are built from one tree.
const Version = 2

const (
	// MaxFrame is the most bytes of a frame: a command's arguments and variables, when JSON writes each
	// of their bytes as six, and some room.
	MaxFrame = 1 << 20
	// MaxFiles is the most descriptors that ride on a frame.
	MaxFiles = 3

	headerBytes = 4
)

// ExitMemory is the exit code of a supervisor whose inside used more memory than Boot.MemoryBytes.
const ExitMemory = 3

// ExitSilent is the exit code of a supervisor whose first process inside did not answer in time.
const ExitSilent = 4

// ErrFrame says that what came is no frame of this protocol.
var ErrFrame = errors.New("not a frame of the gvisor driver's protocol")

// Request is what the driver sends: an ID of its choice, above 0, and one of the others.
type Request struct {
	ID    uint64 `json:"id"`
	Boot  *Boot  `json:"boot,omitempty"`
	Claim *Claim `json:"claim,omitempty"`
	Exec  *Exec  `json:"exec,omitempty"`
	Kill  *Kill  `json:"kill,omitempty"`
	Count *Count `json:"count,omitempty"`
	Sweep *Sweep `json:"sweep,omitempty"`
}

// Boot makes the sandbox. Paths are absolute, of the host.
type Boot struct {
	Dir       string   `json:"dir"`              // an empty directory, for mounts that nobody else sees
	Image     string   `json:"image,omitempty"`  // as in environment.Root
	Layers    []string `json:"layers,omitempty"` // topmost first
	Upper     string   `json:"upper,omitempty"`
	Mounts    []Mount  `json:"mounts,omitempty"`
	AsRoot    bool     `json:"as_root,omitempty"` // for a set-up, which may write to /run as well
	TmpBytes  int64    `json:"tmp_bytes"`         // size of /tmp
	ShmBytes  int64    `json:"shm_bytes"`         // size of /dev/shm
	DataBytes int64    `json:"data_bytes"`
	// MemoryBytes is how much the inside may use before the supervisor ends with ExitMemory; 0: something
	// else looks after it.
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	Processes   int   `json:"processes"`
	OpenFiles   int   `json:"open_files"`
}

// Mount shows a directory or file of the host, read-only.
type Mount struct {
	Source string `json:"source"`
	Target string `json:"target"`
}

// Claim gives a booted sandbox its workspace.
type Claim struct {
	Workspace string `json:"workspace"`
	Services  string `json:"services,omitempty"`
	Egress    bool   `json:"egress,omitempty"`
	AsRoot    bool   `json:"as_root,omitempty"`
}

// Exec starts a command. Stdin, stdout and stderr ride on it.
type Exec struct {
	Args []string `json:"args"`
	Env  []string `json:"env"`
	Dir  string   `json:"dir"`
}

// Kill kills the process group of the command that the Request with ID Exec started.
type Kill struct {
	Exec uint64 `json:"exec"`
}

// Count asks how many processes there are.
type Count struct{}

// Sweep kills the processes that belong to no command that runs: what earlier ones left behind.
type Sweep struct{}

// Reply is what stead-gvisor sends.
type Reply struct {
	ID      uint64   `json:"id"`
	Error   string   `json:"error,omitempty"`
	Hello   *Hello   `json:"hello,omitempty"`
	Booted  *Booted  `json:"booted,omitempty"`
	Claimed *Claimed `json:"claimed,omitempty"`
	Started *Started `json:"started,omitempty"`
	Exited  *Exited  `json:"exited,omitempty"`
	Counted *Counted `json:"counted,omitempty"`
	Swept   *Swept   `json:"swept,omitempty"`
}

// Hello comes first.
type Hello struct {
	Version int    `json:"version"`
	GVisor  string `json:"gvisor"` // version of the module
}

// Booted answers Boot.
type Booted struct{}

// Claimed answers Claim.
type Claimed struct {
	UID int `json:"uid"` // of commands, inside; 0 without AsRoot is root without any capability
}

// Started is the first answer to Exec.
type Started struct {
	PID int `json:"pid"` // inside
}

// Exited is the second one.
type Exited struct {
	Status uint32 `json:"status"` // as wait(2) has it
}

// Counted answers Count.
type Counted struct {
	Processes int `json:"processes"` // of those that Boot.Processes limits
}

// Swept answers Sweep.
type Swept struct {
	Killed int `json:"killed"` // or fewer; the inside says so
}

// Conn is one end of the socket. One goroutine receives; any may send.
type Conn struct {
	c  *net.UnixConn
	mu sync.Mutex // one frame at a time
}

// New makes a Conn of a unix stream socket, which it owns from now on.
func New(f *os.File) (*Conn, error) {
	defer f.Close() // FileConn has a copy
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("%s is no unix socket", f.Name())
	}
	return &Conn{c: u}, nil
}

// Close ends the connection, and a Receive that waits.
func (c *Conn) Close() error { return c.c.Close() }

// Send sends a Request or a Reply. The files stay the caller's.
func (c *Conn) Send(message any, files ...*os.File) error {
	body, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(body) > MaxFrame || len(files) > MaxFiles {
		return fmt.Errorf("a frame of %d bytes with %d files: the limits are %d and %d", len(body), len(files), MaxFrame, MaxFiles)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, headerBytes+len(body)), uint32(len(body)))
	frame = append(frame, body...)
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = syscall.UnixRights(fds...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n, _, err := c.c.WriteMsgUnix(frame, rights, nil)
	if err != nil {
		return err
	}
	for n < len(frame) { // a stream may take a part; the files went with its first byte
		m, err := c.c.Write(frame[n:])
		if err != nil {
			return err
		}
		n += m
	}
	return nil
}

// Receive reads the next frame into message, a *Request or a *Reply. The files are the caller's.
func (c *Conn) Receive(message any) ([]*os.File, error) {
	r := &reader{c: c.c}
	if err := Read(r, message); err != nil {
		closeAll(r.files)
		return nil, err
	}
	return r.files, nil
}

// Read reads one frame from a stream of bytes.
func Read(r io.Reader, message any) error {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(header[:])
	if size == 0 || size > MaxFrame {
		return fmt.Errorf("%w: %d bytes long", ErrFrame, size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(r, body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if err := json.Unmarshal(body, message); err != nil {
		return fmt.Errorf("%w: %w", ErrFrame, err)
	}
	return nil
}

// reader reads a frame's bytes and keeps the files that ride on them.
type reader struct {
	c     *net.UnixConn
	files []*os.File
}

func (r *reader) Read(p []byte) (int, error) {
	oob := make([]byte, syscall.CmsgSpace(4*MaxFiles))
	n, oobn, flags, _, err := r.c.ReadMsgUnix(p, oob)
	if errors.Is(err, io.EOF) {
		return n, io.EOF // without the operation that package net puts around it
	}
	if err != nil {
		return n, err
	}
	if oobn > 0 {
		if err := r.take(oob[:oobn]); err != nil {
			return n, err
		}
	}
	if flags&syscall.MSG_CTRUNC != 0 || len(r.files) > MaxFiles {
		return n, fmt.Errorf("%w: more than %d files", ErrFrame, MaxFiles)
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (r *reader) take(oob []byte) error {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFrame, err)
	}
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFrame, err)
		}
		for _, fd := range fds {
			syscall.CloseOnExec(fd) // ReadMsgUnix asks for it where the system can
			r.files = append(r.files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
