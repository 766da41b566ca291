//go:build amd64 || arm64

package landlock

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// setup is the first message to a helper. Paths are the host's.
type setup struct {
	ABI       int      `json:"abi"`
	ID        int      `json:"id"` // user and group of commands; -1: the server's
	Workspace string   `json:"workspace"`
	Scratch   string   `json:"scratch"` // TMPDIR; the helper removes it at its end
	Services  string   `json:"services,omitempty"`
	Read      []string `json:"read,omitempty"` // of Spec.Mounts

	OpenFiles int   `json:"open_files"`
	FileBytes int64 `json:"file_bytes"`
	Processes int   `json:"processes,omitempty"`  // RLIMIT_NPROC; 0: the user is not its own
	DataBytes int64 `json:"data_bytes,omitempty"` // RLIMIT_DATA; 0: a control group does it
}

// request is a later message to a helper. An exec comes with stdin, stdout and stderr, and has its
// arguments and variables behind the JSON, as they may be no UTF-8.
type request struct {
	Exec uint32   `json:"exec,omitempty"` // number of the command to start, from 1
	Kill uint32   `json:"kill,omitempty"` // number of the command to kill, with its group
	All  bool     `json:"all,omitempty"`  // kill every process
	Dir  string   `json:"dir,omitempty"`
	NArg int      `json:"n,omitempty"`
	Args []string `json:"-"`
	Env  []string `json:"-"`
}

// reply is a message of a helper. One of the first three is set.
type reply struct {
	Ready   bool   `json:"ready,omitempty"`
	Started uint32 `json:"started,omitempty"`
	Exited  uint32 `json:"exited,omitempty"`
	Errno   int    `json:"errno,omitempty"`   // what was to be done was not done
	Message string `json:"message,omitempty"` // likewise, a sentence's part for people
	Status  int    `json:"status,omitempty"`  // of wait(2)
	CPU     int64  `json:"cpu_ns,omitempty"`
}

func (r reply) failed() bool { return r.Message != "" || r.Errno != 0 }

// packets makes the two ends of a connection: ours, and the one for a child.
func packets() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	child := os.NewFile(uintptr(fds[1]), "helper")
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
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("this is no unix socket"), c.Close())
	}
	return u, nil
}

// sendJSON writes one message.
func sendJSON(c *net.UnixConn, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = c.Write(data)
	return err
}

// send writes a request with descriptors.
func (r request) send(c *net.UnixConn, files []*os.File) error {
	r.NArg = len(r.Args)
	data, err := json.Marshal(r)
	if err != nil {
		return err
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
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, 0, len(files))
		for _, f := range files {
			fds = append(fds, int(f.Fd())) // which makes it block, as programs expect
		}
		rights = unix.UnixRights(fds...)
	}
	_, _, err = c.WriteMsgUnix(b.Bytes(), rights, nil)
	return err
}

// receive reads one request with its descriptors. The caller closes the files.
func receive(c *net.UnixConn, buf []byte) (request, []*os.File, error) {
	rights := make([]byte, unix.CmsgSpace(3*4))
	n, rn, flags, _, err := c.ReadMsgUnix(buf, rights)
	if err != nil {
		return request{}, nil, err
	}
	if n == 0 {
		return request{}, nil, net.ErrClosed // nobody sends empty messages
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return request{}, nil, errors.New("a message is too long")
	}
	var files []*os.File
	messages, err := unix.ParseSocketControlMessage(rights[:rn])
	if err != nil {
		return request{}, nil, err
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
	r, err := decode(buf[:n])
	return r, files, err
}

func decode(data []byte) (request, error) {
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
