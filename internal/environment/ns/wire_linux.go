package ns

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// setup is the first message to an init: everything about its box.
type setup struct {
	Image  *source  `json:"image,omitempty"` // nil: the host's root
	Layers []source `json:"layers,omitempty"`
	Upper  *source  `json:"upper,omitempty"`
	// Host are directories of the host's root, by their names without the first slash, that come with
	// their owners translated, so that a set-up can change them. Others are opened by init.
	Host      map[string]source `json:"host,omitempty"`
	Workspace source            `json:"workspace"`
	Services  *source           `json:"services,omitempty"`
	Mounts    []mount           `json:"mounts,omitempty"`

	AsRoot   bool  `json:"as_root,omitempty"`
	Switch   bool  `json:"switch,omitempty"` // commands take agentID; else they keep the only id there is
	Egress   bool  `json:"egress,omitempty"`
	TmpBytes int64 `json:"tmp_bytes"`

	OpenFiles int   `json:"open_files"`
	FileBytes int64 `json:"file_bytes"`
	Processes int   `json:"processes,omitempty"`  // RLIMIT_NPROC; 0: a control group does it
	DataBytes int64 `json:"data_bytes,omitempty"` // RLIMIT_DATA; 0: a control group does it
}

// source is a directory or file of the host: a path that init opens, or, when only the server may open
// it, a mount among the descriptors of the message.
type source struct {
	Path string `json:"path,omitempty"`
	FD   int    `json:"fd"` // index; -1: none, see Path
}

// mount is a Spec.Mounts entry.
type mount struct {
	Source source `json:"source"`
	Target string `json:"target"`
	File   bool   `json:"file,omitempty"`
}

// request is a later message to an init. An exec comes with stdin, stdout and stderr.
type request struct {
	Exec uint32   `json:"exec,omitempty"` // number of the command to start, from 1
	Kill uint32   `json:"kill,omitempty"` // number of the command to kill with its session
	All  bool     `json:"all,omitempty"`  // kill every process but init
	Dir  string   `json:"dir,omitempty"`
	Args []string `json:"-"` // behind the JSON, with Env: they may be no UTF-8
	Env  []string `json:"-"`
	NArg int      `json:"n,omitempty"`
}

// reply is a message of an init. One of the three is set.
type reply struct {
	Ready   bool   `json:"ready,omitempty"`
	Started uint32 `json:"started,omitempty"`
	Exited  uint32 `json:"exited,omitempty"`
	// Errno and Message: what was to be done was not done. Message is a sentence's part for people.
	Errno   int    `json:"errno,omitempty"`
	Message string `json:"message,omitempty"`
	Status  int    `json:"status,omitempty"` // of wait(2)
	CPU     int64  `json:"cpu_ns,omitempty"`
}

// maxPassed is the most descriptors of a message: SCM_MAX_FD of the kernel.
const maxPassed = 253

// packets makes the two ends of a connection: ours, and the one for a child.
func packets() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	_ = unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 2*maxRequestBytes) // the default does too
	child := os.NewFile(uintptr(fds[1]), "box")
	conn, err := connOf(os.NewFile(uintptr(fds[0]), "server"))
	if err != nil {
		return nil, nil, errors.Join(err, child.Close())
	}
	return conn, child, nil
}

// connOf makes a connection of a socket's file, which it closes.
func connOf(f *os.File) (*net.UnixConn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return c.(*net.UnixConn), nil // a unix socket makes no other
}

// send writes one message with descriptors.
func send(c *net.UnixConn, data []byte, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err := c.WriteMsgUnix(data, rights, nil)
	return err
}

// receive reads one message with descriptors into buf. The caller closes the files.
func receive(c *net.UnixConn, buf []byte) ([]byte, []*os.File, error) {
	rights := make([]byte, unix.CmsgSpace(4*maxPassed))
	n, rn, flags, _, err := c.ReadMsgUnix(buf, rights)
	if err != nil {
		return nil, nil, err
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return nil, nil, errors.New("a message is too long")
	}
	if n == 0 {
		return nil, nil, net.ErrClosed // the end: nobody sends empty messages
	}
	var files []*os.File
	messages, err := unix.ParseSocketControlMessage(rights[:rn])
	if err != nil {
		return nil, nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue // other messages carry no descriptors
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return buf[:n], files, nil
}

// encode puts arguments and variables behind the JSON, ended by zero bytes, which none of them has.
func (r request) encode() ([]byte, error) {
	r.NArg = len(r.Args)
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Write(data)
	b.WriteByte(0)
	for _, list := range [][]string{r.Args, r.Env} {
		for _, s := range list {
			b.WriteString(s)
			b.WriteByte(0)
		}
	}
	return b.Bytes(), nil
}

func decodeRequest(data []byte) (request, error) {
	var r request
	head, rest, _ := bytes.Cut(data, []byte{0})
	if err := json.Unmarshal(head, &r); err != nil {
		return r, err
	}
	if len(rest) > 0 {
		list := strings.Split(strings.TrimSuffix(string(rest), "\x00"), "\x00")
		if r.NArg > len(list) {
			return r, errors.New("arguments are missing")
		}
		r.Args, r.Env = list[:r.NArg], list[r.NArg:]
	}
	return r, nil
}
