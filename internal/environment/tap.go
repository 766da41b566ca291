//go:build unix

package environment

import (
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// tapBytes is what is read from a stream at once.
	tapBytes = 32 << 10
	// maxPipeBytes is the most that a pipe holds, when who writes to it has made it larger.
	maxPipeBytes = 1 << 20
)

// Tap passes one stream of a command on to its Output, from a pipe that this process reads. It goes on
// to the end of the stream: what comes after the Output is closed is dropped, so that a process in the
// background can write on. At the end it closes the file.
//
//	pipe ── the tap's goroutine ──▶ Output
//	  └──── Settle, when the command has ended ──▶ Output
type Tap struct {
	file   *os.File
	conn   syscall.RawConn
	stream Stream
	output *Output
	done   chan struct{}

	mu sync.Mutex // held from a read until what was read has been passed on
}

// NewTap begins to read. file is the reading end of a pipe, made by os.Pipe.
func NewTap(file *os.File, s Stream, o *Output) (*Tap, error) {
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	t := &Tap{file: file, conn: conn, stream: s, output: o, done: make(chan struct{})}
	go t.run()
	return t, nil
}

// Done is closed at the end of the stream.
func (t *Tap) Done() <-chan struct{} { return t.done }

// Stop ends it, whoever still holds the other end of the pipe.
func (t *Tap) Stop() { _ = t.file.SetReadDeadline(time.Now()) } // it fails when the stream has ended, which is as good

func (t *Tap) run() {
	defer close(t.done)
	defer t.file.Close()
	buf := make([]byte, tapBytes)
	for {
		var err error
		waited := t.conn.Read(func(fd uintptr) bool {
			_, err = t.pass(fd, buf)
			return err != syscall.EAGAIN
		})
		if waited != nil || err != nil {
			return
		}
	}
}

// pass reads once, without waiting, and passes on what came; at the end of the stream it is io.EOF.
func (t *Tap) pass(fd uintptr, buf []byte) (n int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		n, err = syscall.Read(int(fd), buf)
		if err != syscall.EINTR {
			break
		}
	}
	if err == nil && n == 0 {
		err = io.EOF
	}
	if n > 0 {
		t.output.Write(t.stream, buf[:n])
	}
	return max(n, 0), err
}

// Settle waits for the streams of a command that has ended: to their end, or OutputGrace long where
// somebody else holds one open. What lay in the pipes until then has been passed on when it returns,
// however slow the reader of the output is and whatever else this machine does: the time is one for
// those who hold streams open, not for reading them.
func Settle(taps ...*Tap) {
	grace := time.NewTimer(OutputGrace)
	defer grace.Stop()
	over := false
	for _, t := range taps {
		if !over {
			select {
			case <-t.done:
			case <-grace.C:
				over = true
			}
		}
		t.drain()
	}
}

// drain passes on what is in the pipe now. A writer that writes on could keep it up for ever: what was
// there in the beginning is not more than a pipe holds.
func (t *Tap) drain() {
	_ = t.conn.Control(func(fd uintptr) { // it fails when the stream has ended, with nothing in it
		buf := make([]byte, tapBytes)
		for left := maxPipeBytes; left > 0; {
			n, err := t.pass(fd, buf)
			if err != nil {
				return
			}
			left -= n
		}
	})
}

// Drain passes on what lies in a pipe that nobody reads any more, without waiting: for a reader that
// was stopped by a deadline, after which a Read gives nothing, whatever is there.
func Drain(file *os.File, pass func([]byte)) {
	conn, err := file.SyscallConn()
	if err != nil {
		return // it is closed: there is nothing in it
	}
	_ = conn.Control(func(fd uintptr) {
		buf := make([]byte, tapBytes)
		for left := maxPipeBytes; left > 0; {
			n, err := syscall.Read(int(fd), buf)
			if err == syscall.EINTR {
				continue
			}
			if err != nil || n <= 0 {
				return
			}
			pass(buf[:n])
			left -= n
		}
	})
}
