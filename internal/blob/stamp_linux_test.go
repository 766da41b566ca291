package blob

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stamp is the time that files are stamped with: that of the last tick, which is milliseconds ago, and more where processors wait for their host.
func stamp(t *testing.T) time.Time {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil {
		t.Fatal(err)
	}
	return time.Unix(now.Unix())
}
