package gvisor

import (
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

const (
	// diskPause is the shortest pause between two looks at the workspace's size.
	diskPause = 200 * time.Millisecond
)

// watchDisk measures the workspace. When it is too large, the commands that run are killed; when it
// has grown since by what commands left in the background, the environment ends. Commands that are
// started then may make room.
func (b *box) watchDisk() {
	timer := time.NewTimer(diskPause)
	defer timer.Stop()
	limits := b.spec.Limits
	var killedAt *environment.Occupied // when commands were killed; nil: it fits
	for {
		select {
		case <-b.process.dead:
			return
		case <-timer.C:
		}
		begin := time.Now()
		size, err := b.Measure(limits.MostFiles())
		timer.Reset(max(diskPause, limits.Rest(time.Since(begin), size)))
		if err != nil {
			continue // it is measured again
		}
		b.mu.Lock()
		b.usage.DiskBytes = size.Bytes
		b.mu.Unlock()
		why := limits.Above(size)
		switch {
		case why == "":
			killedAt = nil
		case b.cutCommands(why) > 0:
			killedAt = &size
		case killedAt != nil && limits.Outgrown(size, *killedAt) != "":
			_ = b.kill(why)
			return
		default:
			killedAt = &size
		}
	}
}

// cutCommands kills the commands that run, and returns how many.
func (b *box) cutCommands(why environment.Reason) int {
	b.mu.Lock()
	var all []*running
	for _, r := range b.commands {
		all = append(all, r)
	}
	b.mu.Unlock()
	for _, r := range all {
		r.cut(cutFor(why))
	}
	for _, r := range all {
		<-r.over
	}
	return len(all)
}
