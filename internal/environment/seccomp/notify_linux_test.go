//go:build amd64 || arm64

package seccomp_test

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead/internal/environment/seccomp"
)

// TestListen has one call of one thread answered, which the kernel then does not make.
func TestListen(t *testing.T) {
	if !seccomp.CanListen() {
		t.Fatal("this kernel does not know SECCOMP_RET_USER_NOTIF")
	}
	const number = unix.SYS_GETPGID
	filter := []seccomp.Instruction{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, JF: 1, K: number},
		{Code: unix.BPF_RET | unix.BPF_K, K: seccomp.Ask},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	type answer struct {
		value uintptr
		err   unix.Errno
	}
	listeners, answers, threads := make(chan *seccomp.Listener), make(chan answer), make(chan int, 1)
	go func() { // its thread keeps the filter, and ends with it
		runtime.LockOSThread()
		l, err := seccomp.Listen(filter)
		if err != nil {
			t.Error(err)
		}
		threads <- unix.Gettid()
		listeners <- l
		if l == nil {
			return
		}
		if _, err := seccomp.Listen(filter); err == nil {
			t.Error("a second listener is laid over the first")
		}
		for range 3 {
			v, _, e := unix.Syscall(number, 4711, 0, 0)
			answers <- answer{v, e}
		}
	}()
	l := <-listeners
	if l == nil {
		t.FailNow()
	}
	thread := <-threads
	for _, want := range []answer{{42, 0}, {^uintptr(0), unix.EXDEV}} {
		c, err := l.Next()
		if err != nil {
			t.Fatal(err)
		}
		if c.Number != number || c.Args[0] != 4711 || c.Thread != thread || !l.Waiting(c) {
			t.Errorf("%+v, want %d of thread %d with 4711", c, number, thread)
		}
		l.Answer(c, 42, want.err)
		if got := <-answers; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if l.Waiting(c) {
			t.Error("a call waits that was answered")
		}
	}
	l.Close()
	if got := <-answers; got.err != unix.ENOSYS {
		t.Errorf("without a listener: %+v, want ENOSYS", got)
	}
}
