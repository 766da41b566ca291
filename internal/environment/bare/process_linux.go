package bare

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
)

func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// sweepEvery is the pause between two looks for processes that are left.
const sweepEvery = 5 * time.Millisecond

// sweep kills what the commands left in the background, whatever groups and sessions it is in, until
// nothing is found any more.
func (b *box) sweep(ctx context.Context) error {
	needle := []byte("\x00" + mark + "=" + b.id + "\x00")
	for {
		left, err := killMarked(needle)
		if err != nil || left == 0 {
			return err
		}
		select {
		case <-time.After(sweepEvery):
		case <-ctx.Done():
			return stead.Wrap(stead.KindUnavailable, ctx.Err(), "%d processes of the environment are left", left)
		}
	}
}

// killMarked kills every process whose environment has the needle, and returns how many there were.
func killMarked(needle []byte) (found int, err error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, stead.Wrap(stead.KindUnavailable, err, "the processes can't be listed")
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0) // holds on to the process, whoever gets its number later
		if err != nil {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err == nil && bytes.Contains(append([]byte{0}, env...), needle) {
			if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); !errors.Is(err, unix.ESRCH) {
				found++
			}
		}
		unix.Close(fd)
	}
	return found, nil
}
