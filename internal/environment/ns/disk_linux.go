package ns

import (
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

const (
	// diskPause is the least time between two measurements of the workspace while commands run.
	diskPause = 250 * time.Millisecond
	// diskIdlePause is that while none runs: processes in the background may write.
	diskIdlePause = 5 * time.Second
	// diskShare bounds the cost: a measurement is followed by as many times its duration of rest.
	diskShare = 10
)

// watchDisk measures the workspace again and again. What a box writes above its limit ends its
// commands, but only while it grows: else nobody could remove anything any more.
func (b *box) watchDisk() {
	limit, before := b.spec.Limits.DiskBytes, int64(0)
	pause := diskPause
	for {
		select {
		case <-b.dead:
			return
		case <-time.After(pause):
		}
		idle := b.idle()
		begin := time.Now()
		used, err := b.DiskUsage()
		pause = max(diskPause, diskShare*time.Since(begin))
		if idle {
			pause = max(pause, diskIdlePause)
		}
		if err != nil {
			continue // it changed under the measurement: there is a next time
		}
		b.disk.Store(used)
		if used > limit && used > before {
			b.killForDisk()
		}
		before = used
	}
}

func (b *box) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.running) == 0
}

// killForDisk kills every process of the box but init: whoever writes may be in any session.
func (b *box) killForDisk() {
	b.mu.Lock()
	for _, x := range b.running {
		x.mark(environment.ReasonDisk)
	}
	b.mu.Unlock()
	data, err := request{All: true}.encode()
	if err == nil {
		err = send(b.conn, data, nil)
	}
	if err != nil {
		b.end()
	}
}
