//go:build linux

package kubernetes

import (
	"net"
	"testing"
)

// serveUnix calls back for each connection to a socket.
func serveUnix(t *testing.T, path string, connected func()) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connected()
			c.Close()
		}
	}()
}
