package docker

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
)

// The engine sends the outputs of a container without a terminal as frames:
//
//	0        1 2 3   4
//	│ stream │ 0 0 0 │ length (big endian) │ payload …
//
// stream is 0 for standard input, which is echoed by nobody we know, 1 for standard output, 2 for
// standard error, 3 for an error of the engine itself. (Docker Engine API, "Attach to a container".)
const (
	streamStdin  = 0
	streamStdout = 1
	streamStderr = 2
	streamEngine = 3
	headerBytes  = 8
)

// maxStderr is how much of standard error is kept: the guest's last words.
const maxStderr = 4 << 10

// demux reads standard output out of the frames. It allocates nothing that the frames say.
type demux struct {
	r      io.Reader
	stream byte
	left   uint32 // of the frame under way

	mu   sync.Mutex
	errs []byte // the last maxStderr bytes of standard error and of the engine
}

func newDemux(r io.Reader) *demux { return &demux{r: r} }

// Read implements io.Reader for standard output. io.ErrUnexpectedEOF: a frame was cut short.
func (d *demux) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if d.left == 0 {
			if err := d.header(); err != nil {
				return 0, err
			}
			continue // a frame may be empty
		}
		if d.stream != streamStdout {
			if err := d.words(); err != nil {
				return 0, err
			}
			continue
		}
		n, err := d.r.Read(p[:min(len(p), int(min(d.left, 1<<30)))])
		d.left -= uint32(n)
		if err == io.EOF && d.left > 0 {
			err = io.ErrUnexpectedEOF
		}
		if n > 0 {
			return n, nil // an error comes again
		}
		if err != nil {
			return 0, err
		}
	}
}

func (d *demux) header() error {
	var h [headerBytes]byte
	if _, err := io.ReadFull(d.r, h[:]); err != nil {
		return err
	}
	if h[0] > streamEngine || h[1]|h[2]|h[3] != 0 {
		return fmt.Errorf("the engine's stream has a frame that begins with % x", h[:4])
	}
	d.stream, d.left = h[0], binary.BigEndian.Uint32(h[4:])
	return nil
}

// words keeps what is said on the other streams.
func (d *demux) words() error {
	var buf [512]byte
	n, err := d.r.Read(buf[:min(len(buf), int(min(d.left, 1<<30)))])
	d.left -= uint32(n)
	if d.stream != streamStdin {
		d.mu.Lock()
		d.errs = append(d.errs, buf[:n]...)
		d.errs = d.errs[max(len(d.errs)-maxStderr, 0):]
		d.mu.Unlock()
	}
	if err == io.EOF && d.left > 0 {
		return io.ErrUnexpectedEOF
	}
	if n > 0 {
		return nil
	}
	return err
}

// stderr is what was said last.
func (d *demux) stderr() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return string(d.errs)
}

// attached are a container's streams: writing is its standard input, reading its standard output.
type attached struct {
	net.Conn
	demux *demux
}

func (a *attached) Read(p []byte) (int, error) { return a.demux.Read(p) }
