package tooltest

import (
	"context"
	"io"
	"net"
	"net/http"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// serveLines serves each connection as a stdio server would, until the listener is closed.
func (s *Server) serveLines(listener net.Listener, current *sdk.Server, done chan struct{}) {
	defer close(done)
	for {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		s.track(c, http.StateNew)
		go func() {
			defer s.track(c, http.StateClosed)
			defer c.Close()
			_ = current.Run(context.Background(), &sdk.IOTransport{Reader: c, Writer: c}) // ends with the connection
		}()
	}
}

// Relay makes a stdio server of one that listens with Options.Lines: what the process is told goes
// there, and it ends when either side does.
func Relay(address string, in io.Reader, out io.Writer) error {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	go func() {
		_, _ = io.Copy(c, in)
		c.Close()
	}()
	_, _ = io.Copy(out, c)
	return nil
}
