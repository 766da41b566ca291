package gvisor

import (
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

const (
	// diskPause is the shortest pause between two looks at the workspace's size; measuring takes at
	// most one part in diskShare of the time.
	diskPause = 200 * time.Millisecond
	diskShare = 20
)

// watchDisk measures the workspace. When it is too large, the commands that run are killed; when it
// has grown since by what commands left in the background, the environment ends. Commands that are
// started then may make room.
func (b *box) watchDisk() {
	timer := time.NewTimer(diskPause)
	defer timer.Stop()
	var killedAt int64 // size at which commands were killed; 0: it fits
	for {
		select {
		case <-b.process.dead:
			return
		case <-timer.C:
		}
		begin := time.Now()
		size, err := b.DiskUsage()
		timer.Reset(max(diskPause, diskShare*time.Since(begin)))
		if err != nil {
			continue // it is measured again
		}
		b.mu.Lock()
		b.usage.DiskBytes = size
		b.mu.Unlock()
		switch {
		case size <= b.spec.Limits.DiskBytes:
			killedAt = 0
		case b.cutCommands() > 0:
			killedAt = size
		case killedAt > 0 && size > killedAt:
			_ = b.kill(environment.ReasonDisk)
			return
		default:
			killedAt = size
		}
	}
}

// cutCommands kills the commands that run, and returns how many.
func (b *box) cutCommands() int {
	b.mu.Lock()
	var all []*running
	for _, r := range b.commands {
		all = append(all, r)
	}
	b.mu.Unlock()
	for _, r := range all {
		r.cut(cutFor(environment.ReasonDisk))
	}
	for _, r := range all {
		<-r.over
	}
	return len(all)
}
