//go:build amd64 || arm64

package landlock

import (
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment/seccomp"
)

// supervisor is the thread of a helper that does what Landlock has no rule for, in the place of commands
// that ask for it. It has their user and none of their borders, so that a file is theirs only if it lies
// in a place of theirs: see find.
type supervisor struct {
	places []place
	orders map[uint32]func(caller) (order, error)
}

// supervise makes the calling goroutine's thread the supervisor's. It says the thread's number, waits
// for the listener, and serves it for ever.
func (s setup) supervise(all []place, thread chan<- int, failed chan<- error, listener <-chan *seccomp.Listener) {
	runtime.LockOSThread()
	if err := s.become(); err != nil {
		failed <- err
		return
	}
	thread <- unix.Gettid()
	v := supervisor{all, supervised()}
	if l := <-listener; l != nil {
		v.serve(l)
	}
}

// serve answers calls until that fails; then all that would ask are refused.
func (v supervisor) serve(l *seccomp.Listener) {
	defer l.Close()
	for {
		call, err := l.Next()
		if err != nil {
			return
		}
		value, err := v.act(l, caller{call})
		l.Answer(call, value, errnoOf(err))
	}
}

// act does one call. What it is about is pinned before the caller is looked at for the last time, and
// found once more where the environment may change files before anything is done with it.
func (v supervisor) act(l *seccomp.Listener, c caller) (int, error) {
	read := v.orders[c.Number]
	if read == nil {
		return 0, unix.ENOSYS
	}
	o, err := read(c)
	if err != nil {
		return 0, err
	}
	pinned, err := c.resolve(o)
	if err != nil {
		return 0, err
	}
	defer unix.Close(pinned)
	if !l.Waiting(c.Call) {
		return 0, unix.ESRCH // it is gone: nobody reads this
	}
	found, err := find(v.places, pinned)
	if err != nil {
		return 0, err
	}
	defer unix.Close(found)
	return o.do(ownName(found))
}
