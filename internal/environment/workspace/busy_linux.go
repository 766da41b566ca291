package workspace

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// longestFork is how long a process that was forked while a file was written may have it open: until it executes its own program.
const longestFork = time.Second

// awaitForks waits until nobody has a file open to write, as processes have that this one forked meanwhile: it could not be executed
// (ETXTBSY). The kernel gives a lease for reading only then; where it gives none at all there is no waiting.
//
// Source: github.com/golang/go/issues/22315; fcntl(2), "Leases".
func awaitForks(dir *os.Root, name string) {
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0) // whoever is inside may have put something else there
	if err != nil {
		return
	}
	defer f.Close() // which ends the lease
	for end := time.Now().Add(longestFork); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK); !errors.Is(err, unix.EAGAIN) {
			return
		}
	}
}
