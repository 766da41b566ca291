package ns

import (
	"io"
	"net"
	"path"
	"strconv"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// bridgeTime bounds how long the bridge waits for the proxy to accept.
const bridgeTime = 10 * time.Second

// bridge passes connections to the loopback's EgressPort on to the egress proxy's socket. Its
// connections count among init's open files, of which a command may have as many.
func bridge(openFiles int) error {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(environment.EgressPort)))
	if err != nil {
		return err
	}
	slots := make(chan struct{}, max(1, min(maxBridged, (openFiles-initFiles)/2)))
	go func() {
		for {
			slots <- struct{}{} // those above the limit wait in the listener's queue
			c, err := l.Accept()
			if err != nil {
				<-slots
				time.Sleep(time.Millisecond) // out of files for a moment
				continue
			}
			go func() {
				defer func() { <-slots }()
				pass(c.(*net.TCPConn))
			}()
		}
	}()
	return nil
}

// pass joins one connection with the proxy, both ways, each to its end.
func pass(in *net.TCPConn) {
	defer in.Close()
	c, err := net.DialTimeout("unix", path.Join(environment.ServicesDir, environment.EgressSocket), bridgeTime)
	if err != nil {
		return
	}
	out := c.(*net.UnixConn)
	defer out.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(out, in) // whatever ends it, the other side is told
		_ = out.CloseWrite()
	}()
	_, _ = io.Copy(in, out)
	_ = in.CloseWrite()
	<-done
}
