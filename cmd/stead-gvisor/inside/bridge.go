package inside

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"

	"github.com/stead-dev/stead/internal/environment/gvisor/wire"
)

// maxConnections is the most connections through the bridge at once; more wait.
const maxConnections = 256

// bridge listens on loopback and passes connections on to the egress socket, until the process ends.
func bridge(uid int) error {
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", wire.EgressPort))
	if err != nil {
		return fmt.Errorf("open the way to the proxy: %w", err)
	}
	d := newDialer(uid)
	go func() {
		slots := make(chan struct{}, maxConnections)
		for {
			slots <- struct{}{}
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { <-slots }()
				d.pass(c.(*net.TCPConn))
			}()
		}
	}()
	return nil
}

// dialer connects to the egress socket as the user that the commands are: the host looks at the
// sandbox's user when it decides who may connect, and root there is nobody in particular.
type dialer struct {
	ask chan chan dialed
}

type dialed struct {
	conn net.Conn
	err  error
}

func newDialer(uid int) dialer {
	d := dialer{make(chan chan dialed)}
	go func() {
		// Of this thread alone: the other ones stay root. It is never handed back.
		runtime.LockOSThread()
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESGID, ^uintptr(0), uintptr(uid), ^uintptr(0)); e != 0 {
			os.Exit(1)
		}
		if _, _, e := syscall.RawSyscall(syscall.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0)); e != 0 {
			os.Exit(1)
		}
		for to := range d.ask {
			c, err := dial()
			to <- dialed{c, err}
		}
	}()
	return d
}

// dial uses plain system calls, which stay on their thread.
func dial() (net.Conn, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "egress")
	defer f.Close()
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: wire.ServicesDir + "/" + wire.EgressSocket}); err != nil {
		return nil, err
	}
	return net.FileConn(f)
}

func (d dialer) pass(in *net.TCPConn) {
	defer in.Close()
	answer := make(chan dialed, 1)
	d.ask <- answer
	a := <-answer
	if a.err != nil {
		_, _ = io.WriteString(in, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		return
	}
	out := a.conn.(*net.UnixConn)
	defer out.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(out, in)
		_ = out.CloseWrite()
	}()
	_, _ = io.Copy(in, out)
	_ = in.CloseWrite()
	<-done
}
