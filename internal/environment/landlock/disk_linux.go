package landlock

import (
	"errors"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

const (
	// diskPause is the least time between two measurements while commands run.
	diskPause = 250 * time.Millisecond
	// diskIdlePause is that while none runs: processes in the background may write.
	diskIdlePause = 5 * time.Second
)

// watchDisk measures workspace and TMPDIR again and again. What is written above the limit ends all
// processes, but only while it grows: else nobody could remove anything any more. Between two measurements it is looked
// whether the disk's inodes run out: see workspace.Dir.Lookout.
func (b *box) watchDisk() {
	var before *environment.Occupied     // nil: not measured yet, or what was made until the kill is not the next command's doing
	var ownBefore environment.Occupied   // without TMPDIR
	due, look := time.Now(), time.Time{} // a workspace is measured first before a command has changed it
	rested := due                        // when the last measurement may be followed by one
	for {
		if !b.idle() && rested.Before(due) {
			due = rested // a command has begun: an idle pause is over
		}
		until := due
		if before != nil && look.Before(due) && !b.idle() {
			until = look
		}
		select {
		case <-b.dead:
			return
		case <-time.After(min(time.Until(until), diskPause)):
		}
		switch now := time.Now(); {
		case now.Before(until): // a command may have begun
			continue
		case until.Before(due):
			grew, wait := b.Lookout(ownBefore)
			if look = time.Now().Add(wait); grew {
				b.killAll(environment.ReasonNodeFiles)
				before, due = nil, now.Add(diskPause)
			}
			continue
		}
		begin := time.Now()
		own, err1 := b.Measure(b.spec.Limits.MostFiles())
		tmp, err2 := b.tmp.Measure(b.spec.Limits.MostFiles())
		all := own.Plus(tmp)
		rested = time.Now().Add(max(diskPause, b.spec.Limits.Rest(time.Since(begin), all)))
		due = rested
		if idle := time.Now().Add(diskIdlePause); b.idle() && due.Before(idle) {
			due = idle
		}
		if errors.Join(err1, err2) != nil {
			continue // it changed under the measurement: there is a next time
		}
		b.disk.Store(own.Bytes)
		if why := b.spec.Limits.Outgrown(all, before); why != "" {
			b.killAll(why)
			before = nil
			continue
		}
		before, ownBefore = &all, own
	}
}

func (b *box) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.running) == 0
}

// killAll has everything killed that runs inside, and says why to the commands that it hits.
func (b *box) killAll(why environment.Reason) {
	b.mu.Lock()
	for _, x := range b.running {
		x.mark(why)
	}
	b.mu.Unlock()
	if (request{All: true}).send(b.conn, nil) != nil {
		b.end()
	}
}
