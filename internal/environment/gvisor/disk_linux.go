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

// watchDisk measures the workspace. When it is too large, the commands that run are killed; when it
// has grown since by what commands left in the background, the environment ends. Commands that are
// started then may make room. So does one that grows while the node's disk is short of what the server needs.
func (b *box) watchDisk() {
	timer := time.NewTimer(diskPause)
	defer timer.Stop()
	limits := b.spec.Limits
	var killedAt *environment.Occupied // when commands were killed; nil: it fits
	var before *environment.Occupied   // what was measured last
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
				before, due = nil, time.Time{} // what was made until then is not the next command's doing
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
		why := limits.Above(size)
		if why == "" && before != nil {
			why = limits.Outgrown(size, *before) // the node's disk is short
		}
		before = &size
		switch {
		case why == "":
			killedAt = nil
		case b.cutCommands(why) > 0:
			killedAt, before = &size, nil // what was written until then is not the next command's doing
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
