package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
)

// The kernel gives the lock of a killed process back when the last of it is gone, which may be a moment
// after whoever killed it starts it anew: for so long the lock is asked for again and again.
const (
	lockWait  = 3 * time.Second
	lockPause = 20 * time.Millisecond
	// pidWidth is longer than any process id.
	pidWidth = 20
)

// lockFile takes the lock that makes a process the owner of a database. The kernel gives it back
// when the process ends, however it ends, so a crash leaves nothing to clean up. It waits for lockWait,
// or until ctx ends; KindConflict when another process has the lock all that time.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "open lock file %s", path)
	}
	if err := acquire(ctx, f); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, lockedError(path, f)
		}
		return nil, stead.Wrap(stead.KindUnavailable, err, "lock %s", path)
	}
	if err := writePID(f); err != nil && !errors.Is(err, unix.ENOSPC) { // the lock holds without it
		f.Close()
		return nil, stead.Wrap(stead.KindUnavailable, err, "write lock file %s", path)
	}
	return f, nil
}

// acquire asks for the lock until it has it, or for lockWait.
func acquire(ctx context.Context, f *os.File) error {
	ctx, cancel := context.WithTimeout(ctx, lockWait)
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(lockPause):
		}
	}
}

func lockedError(path string, f *os.File) error {
	const maxPIDBytes = 32
	pid, _ := io.ReadAll(io.LimitReader(f, maxPIDBytes))
	who := strings.TrimSpace(string(pid))
	if who == "" {
		who = "unknown"
	}
	err := stead.Errorf(stead.KindConflict, "the database is open in another process (pid %s, lock file %s), and did not end within %s", who, path, lockWait)
	err.Hint = "Stop that process, or give this one a data directory of its own."
	return err
}

// writePID says who has the lock, for people. It writes over what is there, which needs no room on the disk.
func writePID(f *os.File) error {
	_, err := f.WriteAt(fmt.Appendf(nil, "%-*d\n", pidWidth, os.Getpid()), 0)
	return err
}
