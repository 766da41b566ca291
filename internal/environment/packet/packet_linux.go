// Package packet is how a driver talks with a process of its own that it has started: messages on a
// pair of sockets, each with descriptors, as unix(7) has them (SOCK_SEQPACKET, SCM_RIGHTS).
package packet

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxPassed is the most descriptors of a message: SCM_MAX_FD of the kernel.
const maxPassed = 253

// Pair makes the two ends of a connection: ours, and the one for a child. A message of most bytes fits
// into its buffer.
func Pair(most int) (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	_ = unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 2*most) // the default does too
	child := os.NewFile(uintptr(fds[1]), "child")
	conn, err := Conn(os.NewFile(uintptr(fds[0]), "server"))
	if err != nil {
		return nil, nil, errors.Join(err, child.Close())
	}
	return conn, child, nil
}

// Conn makes a connection of a socket's file, which it closes.
func Conn(f *os.File) (*net.UnixConn, error) {
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

// Send writes one message with descriptors.
func Send(c *net.UnixConn, data []byte, files []*os.File) error {
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, 0, len(files))
		for _, f := range files {
			fds = append(fds, int(f.Fd())) // which makes it block, as programs expect
		}
		rights = unix.UnixRights(fds...)
	}
	_, _, err := c.WriteMsgUnix(data, rights, nil)
	return err
}

// Receive reads one message with descriptors into buf. The caller closes the files. At the end it is
// net.ErrClosed: nobody sends empty messages.
func Receive(c *net.UnixConn, buf []byte) ([]byte, []*os.File, error) {
	rights := make([]byte, unix.CmsgSpace(4*maxPassed))
	n, rn, flags, _, err := c.ReadMsgUnix(buf, rights)
	if err != nil {
		return nil, nil, err
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		return nil, nil, errors.New("a message is too long")
	}
	if n == 0 {
		return nil, nil, net.ErrClosed
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

// Encode puts texts behind the JSON of v, ended by zero bytes, which none of them has: they may be no
// UTF-8, as arguments and variables are.
func Encode(v any, lists ...[]string) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Write(data)
	b.WriteByte(0)
	for _, list := range lists {
		for _, s := range list {
			b.WriteString(s)
			b.WriteByte(0)
		}
	}
	return b.Bytes(), nil
}

// Decode reads what Encode wrote: the JSON into v, and all texts in one list.
func Decode(data []byte, v any) ([]string, error) {
	head, rest, _ := bytes.Cut(data, []byte{0})
	if err := json.Unmarshal(head, v); err != nil {
		return nil, err
	}
	if len(rest) == 0 {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(string(rest), "\x00"), "\x00"), nil
}
