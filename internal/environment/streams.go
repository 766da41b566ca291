//go:build unix

package environment

import (
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stead-dev/stead"
)

// Streams are the pipes of one command's standard streams.
type Streams struct {
	theirs []*os.File  // stdin, stdout, stderr: the command's ends
	in     *os.File    // end of ours; nil: the command reads the null device
	outs   [2]*os.File // ends of ours; their taps close them
	taps   []*Tap
}

// OpenStreams makes them; without input the command reads the null device. An error is KindUnavailable.
func OpenStreams(input bool) (*Streams, error) {
	s := &Streams{}
	in, err := os.Open(os.DevNull)
	if err == nil && input {
		_ = in.Close()
		in, s.in, err = os.Pipe()
	}
	if err == nil {
		s.theirs = append(s.theirs, in)
	}
	for i := range s.outs {
		var w *os.File
		if err == nil {
			if s.outs[i], w, err = os.Pipe(); err == nil {
				s.theirs = append(s.theirs, w)
			}
		}
	}
	if err != nil {
		s.Close()
		return nil, stead.Wrap(stead.KindUnavailable, err, "make the pipes of a command")
	}
	return s, nil
}

// Theirs are the command's ends: stdin, stdout, stderr.
func (s *Streams) Theirs() []*os.File { return s.theirs }

// CloseTheirs closes the command's ends, of which it has its own now.
func (s *Streams) CloseTheirs() {
	for _, f := range s.theirs {
		_ = f.Close()
	}
	s.theirs = nil
}

// Start passes on what both outputs give, each to its end, and what stdin gives, if there is input. A
// stdin that blocks is left behind.
func (s *Streams) Start(stdin io.Reader, output *Output) error {
	for i, f := range s.outs {
		stream := Stdout
		if i == 1 {
			stream = Stderr
		}
		tap, err := NewTap(f, stream, output)
		if err != nil {
			return stead.Wrap(stead.KindUnavailable, err, "read what a command prints")
		}
		s.taps = append(s.taps, tap)
	}
	if in := s.in; in != nil {
		go func() {
			_, _ = io.Copy(in, stdin) // a command need not read its input
			_ = in.Close()
		}()
	}
	return nil
}

// Finish lets the input of a command that has ended go, and waits for its outputs as Settle does. It
// returns those that somebody may still hold open.
func (s *Streams) Finish(stdin io.Reader) []*Tap {
	if s.in != nil {
		_ = s.in.SetWriteDeadline(time.Now()) // its reader is gone, or not the command
		if c, ok := stdin.(io.Closer); ok {
			_ = c.Close() // it may still be read from: it is abandoned
		}
	}
	Settle(s.taps...)
	return s.taps
}

// Close closes all ends. A process in the background meets a closed pipe.
func (s *Streams) Close() {
	s.CloseTheirs()
	for _, f := range append(s.outs[:], s.in) {
		if f != nil {
			_ = f.Close()
		}
	}
}

// MaxBackgroundStreams is how many streams that outlive their commands are read and dropped in one
// environment; the writers of later ones meet a closed pipe.
const MaxBackgroundStreams = 256

// Background reads on for processes in the background: who writes on is not to die of it. Its zero
// value is ready.
type Background struct {
	mu    sync.Mutex
	taps  map[*Tap]bool
	ended bool
}

// Keep leaves streams to whoever still writes to them.
func (b *Background) Keep(taps []*Tap) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, tap := range taps {
		select {
		case <-tap.Done():
			continue
		default:
		}
		if b.ended || len(b.taps) >= MaxBackgroundStreams {
			tap.Stop()
			continue
		}
		if b.taps == nil {
			b.taps = map[*Tap]bool{}
		}
		b.taps[tap] = true
		go func() {
			<-tap.Done()
			b.mu.Lock()
			delete(b.taps, tap)
			b.mu.Unlock()
		}()
	}
}

// End stops them all: their writers are dead, and nothing more can come.
func (b *Background) End() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
	for tap := range b.taps {
		tap.Stop()
	}
}

// ExitOf says how a command ended. killed is why this side had it killed, "" if it had not; starved
// asks whether the kernel killed for memory meanwhile.
func ExitOf(status syscall.WaitStatus, killed Reason, starved func() bool) (code int, why Reason) {
	code = max(status.ExitStatus(), 0)
	if status.Signaled() {
		code = 128 + int(status.Signal())
	}
	died := status.Signaled() && status.Signal() == syscall.SIGKILL
	switch {
	case died && killed != "":
		return -1, killed
	case code != 0 && starved():
		if died {
			code = -1
		}
		return code, ReasonMemory
	}
	return code, ""
}

// maxQuoted is how many bytes of what a box says go into an error.
const maxQuoted = 300

// Quote cuts what a box says to what goes into an error.
func Quote(s string) string { return s[:min(len(s), maxQuoted)] }

// NotStarted is the error of a command that surely did not run.
func NotStarted(err error) error { return &NotStartedError{Err: err} }

// CannotRun is the error for a command that a box could not start, of what it says and of the system
// call's error.
func CannotRun(message string, errno syscall.Errno) error {
	e := stead.Errorf(stead.KindUnavailable, "can't %s", Quote(message))
	switch errno {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.EACCES, syscall.ENOEXEC, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EISDIR, syscall.EINVAL, syscall.EPERM:
		e.Kind, e.Param = stead.KindInvalid, "args"
		if strings.HasPrefix(message, "enter ") {
			e.Param = "dir"
		}
	case syscall.E2BIG:
		e.Kind, e.Param = stead.KindTooLarge, "args"
	case syscall.EAGAIN, syscall.ENOMEM:
		e.Err = errno
		e.Hint = "The environment's limit of processes or memory is reached: end some of its processes."
	}
	return NotStarted(e)
}

// LookPath finds a command's program as execvp(3) does, with the command's own directory and variables,
// and with standard where they have no PATH. Errors are system calls'.
func LookPath(name, dir string, env []string, standard string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	search := standard
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, "PATH="); ok {
			search = value
		}
	}
	var failed error = syscall.ENOENT
	for _, d := range strings.Split(search, ":") {
		if !path.IsAbs(d) {
			d = path.Join(dir, d)
		}
		file := path.Join(d, name)
		var st syscall.Stat_t
		if syscall.Stat(file, &st) != nil || st.Mode&syscall.S_IFMT != syscall.S_IFREG {
			continue
		}
		const executable = 1
		if err := syscall.Access(file, executable); err == nil {
			return file, nil
		}
		failed = syscall.EACCES
	}
	return "", failed
}
