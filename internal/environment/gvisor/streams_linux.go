package gvisor

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// readBytes is how much of a stream is read at a time.
const readBytes = 32 << 10

// streams are the pipes of one command.
type streams struct {
	theirs []*os.File // stdin, stdout, stderr
	in     *os.File   // nil without input
	outs   [2]*os.File
	group  sync.WaitGroup // readers of outs
	output *environment.Output
}

func openStreams(input bool) (*streams, error) {
	s := &streams{}
	var err error
	open := func(write bool) *os.File {
		if err != nil {
			return nil
		}
		var r, w *os.File
		if r, w, err = os.Pipe(); err != nil {
			return nil
		}
		if write {
			s.theirs = append(s.theirs, w)
			return r
		}
		s.theirs = append(s.theirs, r)
		return w
	}
	if input {
		s.in = open(false)
	} else {
		var null *os.File
		if null, err = os.Open(os.DevNull); err == nil {
			s.theirs = append(s.theirs, null)
		}
	}
	s.outs[0], s.outs[1] = open(true), open(true)
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// pump moves bytes until the command's ends are closed.
func (s *streams) pump(stdin io.Reader, output *environment.Output) {
	s.output = output
	if s.in != nil {
		in := s.in
		go func() {
			_, _ = io.Copy(in, stdin) // a command need not read its input
			_ = in.Close()
		}()
	}
	for i, f := range s.outs {
		s.group.Go(func() {
			buffer := make([]byte, readBytes)
			for {
				n, err := f.Read(buffer)
				if n > 0 {
					output.Write(environment.Stream(i+1), buffer[:n])
				}
				if err != nil {
					return
				}
			}
		})
	}
}

// finish waits for the end of the outputs, but not longer than the grace, and lets the input go.
func (s *streams) finish(stdin io.Reader) {
	if s.in != nil {
		_ = s.in.SetWriteDeadline(time.Now()) // a write that waits for a reader
		if c, ok := stdin.(io.Closer); ok {
			_ = c.Close()
		}
	}
	deadline := time.Now().Add(environment.OutputGrace)
	for _, f := range s.outs {
		_ = f.SetReadDeadline(deadline)
	}
	s.group.Wait()
	for i, f := range s.outs {
		// The deadline is for those who hold a stream open, not for a reader that is slow.
		environment.Drain(f, func(b []byte) { s.output.Write(environment.Stream(i+1), b) })
	}
}

func (s *streams) closeTheirs() {
	for _, f := range s.theirs {
		_ = f.Close()
	}
	s.theirs = nil
}

func (s *streams) close() {
	s.closeTheirs()
	for _, f := range append(s.outs[:], s.in) {
		if f != nil {
			_ = f.Close()
		}
	}
}
