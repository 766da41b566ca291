package ballast

import (
	"context"
	"os"
	"time"
)

// Tend makes the ballast, and makes it again when there is room, until ctx ends. It says in the log when
// the disk is full and when it is not any more.
func (b *Ballast) Tend(ctx context.Context) {
	if b.size == 0 {
		return
	}
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		b.look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look makes the ballast whole if that leaves twice the floor. With less it would be given up again soon,
// and whoever was let go on would be stopped again.
func (b *Ballast) look() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if missing := b.size - b.held; missing > 0 {
		if free, _, known := b.free(); known && free-missing >= 2*b.floor {
			b.make()
		}
	}
	if b.isFull() {
		b.warn()
	} else if b.warned {
		b.warned = false
		b.log.Info("the disk has room again: work goes on", "dir", b.dir)
	}
}

// make allocates what is missing. The mutex is held.
func (b *Ballast) make() {
	f, err := os.OpenFile(b.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = allocate(f, b.size)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		b.log.Warn("the ballast can't be made: a full disk will stop the journal", "file", b.path(), "err", err)
	}
	b.held = min(occupied(b.path()), b.size)
}

// warn says once that the disk is full. The mutex is held.
func (b *Ballast) warn() {
	if b.warned {
		return
	}
	b.warned = true
	free, _, _ := b.free()
	b.log.Error("the disk is full: no new work is begun; sessions can be read, cancelled and deleted", "dir", b.dir,
		"free_bytes", free, "ballast_bytes", b.held, "remedy", "delete sessions or files that are not needed, or give the disk more room")
}

// Ready makes room for what a start writes beside the journal, at most a slice of it.
func (b *Ballast) Ready() {
	b.Give("", 0, false)
}

// Status is how the room of a data directory stands, in bytes.
type Status struct {
	Free    int64 // beside the ballast
	Floor   int64 // of it, what only the journal takes
	Ballast int64 // that is there
	Whole   int64 // that should be there
	Known   bool  // false: this system does not say
}

// Status looks.
func (b *Ballast) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	free, _, known := b.free()
	return Status{Free: free, Floor: b.floor, Ballast: b.held, Whole: b.size, Known: known}
}
