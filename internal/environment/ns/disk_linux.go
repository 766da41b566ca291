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
	// idleCPU is how little a box runs that has nothing to run but its init.
	idleCPU = 2 * time.Millisecond
)

// watchDisk measures the workspace again and again. What a box writes above its limit ends its
// commands, but only while it grows: else nobody could remove anything any more, or use a workspace
// that came with more. A box in which nothing has run since is not measured. Between two measurements it is looked
// whether the disk's inodes run out: see workspace.Dir.Lookout.
func (b *box) watchDisk() {
	var before *environment.Occupied // nil: not measured yet
	var cpu time.Duration
	rest := diskPause // what the last measurement has to be followed by
	due := time.Now() // a workspace is measured first before a command has changed it
	var look time.Time
	for {
		until := due
		if before != nil && look.Before(due) && !b.idle() {
			until = look
		}
		select {
		case <-b.dead:
			return
		case <-b.woken: // a command has begun: an idle pause is over
			if soon := time.Now().Add(rest); soon.Before(due) {
				due = soon
			}
			continue
		case <-time.After(time.Until(until)):
		}
		if until.Before(due) {
			grew, wait := b.Lookout(*before)
			look = time.Now().Add(wait)
			if !grew {
				continue
			}
			b.killForDisk(environment.ReasonNodeFiles)
			before = nil // what was made until the kill is not the next command's doing
		}
		idle := b.idle()
		now := b.group.Usage().CPU // 0: nobody counts it
		if idle && before != nil && now > 0 && now-cpu < idleCPU {
			due = time.Now().Add(diskIdlePause)
			continue
		}
		cpu = now
		begin := time.Now()
		used, err := b.Measure(b.spec.Limits.MostFiles())
		rest = max(diskPause, b.spec.Limits.Rest(time.Since(begin), used))
		due = time.Now().Add(rest)
		if idle {
			due = time.Now().Add(max(rest, diskIdlePause))
		}
		if err != nil {
			continue // it changed under the measurement: there is a next time
		}
		if why := b.spec.Limits.Outgrown(used, before); why != "" {
			b.killForDisk(why)
			// What was written until the kill is not the next command's doing.
			if now, err := b.Measure(b.spec.Limits.MostFiles()); err == nil {
				used = now
			}
		}
		b.disk.Store(used.Bytes)
		before = &used
	}
}

func (b *box) idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.running) == 0
}

// killForDisk kills every process of the box but init: whoever writes may be in any session. It
// returns when the commands that ran have ended.
func (b *box) killForDisk(why environment.Reason) {
	b.mu.Lock()
	killed := make([]*execution, 0, len(b.running))
	for _, x := range b.running {
		x.mark(why)
		killed = append(killed, x)
	}
	b.mu.Unlock()
	if err := b.tell(request{All: true}, nil); err != nil {
		b.end()
	}
	late := time.After(killTime)
	for _, x := range killed {
		select {
		case <-x.over:
		case <-b.dead:
			return
		case <-late:
			b.end() // init does not do what it is told
			return
		}
	}
}
