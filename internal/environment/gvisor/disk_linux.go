package gvisor

import (
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

const (
	// diskPause is the shortest pause between two looks at the workspace's size.
	diskPause = 200 * time.Millisecond
	// lookPause is when it is first looked behind a measurement whether the disk's inodes run out: see workspace.Dir.Lookout.
	lookPause = 10 * time.Millisecond
)

// watchDisk measures the workspace. When it grows above a limit, or while the node's disk is short of what the server needs,
// the commands that run are killed; when what commands left in the background goes on with it, the environment ends. What is
// above a limit and does not grow is left alone: else nobody could remove anything any more, however long that takes.
func (b *box) watchDisk() {
	timer := time.NewTimer(0) // measured before a command has changed it
	defer timer.Stop()
	limits := b.spec.Limits
	background := false              // it grew last with no command to kill for it
	var before *environment.Occupied // what was measured last; nil: what was made since then is not the next command's doing
	var due time.Time
	for {
		select {
		case <-b.process.dead:
			return
		case <-timer.C:
		}
		if left := time.Until(due); left > 0 {
			if before == nil {
				timer.Reset(left)
				continue
			}
			grew, wait := b.Lookout(*before)
			timer.Reset(min(left, wait))
			if grew && b.cutCommands(environment.ReasonNodeFiles) > 0 {
				before, due = nil, time.Time{}
			}
			continue
		}
		begin := time.Now()
		size, err := b.Measure(limits.MostFiles())
		rest := max(diskPause, limits.Rest(time.Since(begin), size))
		due = time.Now().Add(rest)
		timer.Reset(min(rest, lookPause))
		if err != nil {
			continue // it is measured again
		}
		b.mu.Lock()
		b.usage.DiskBytes = size.Bytes
		b.mu.Unlock()
		why := limits.Outgrown(size, before)
		before = &size
		switch {
		case why == "":
			background = background && limits.Above(size) != ""
		case b.cutCommands(why) > 0:
			before = nil
		case background:
			_ = b.kill(why)
			return
		default:
			background = true
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
