package ballast

import (
	"context"
	"os"
	"time"
)

// Tend makes the ballast, and makes it again when there is room, until ctx ends. It says in the log when
// the disk is full and when it is not any more.
func (b *Ballast) Tend(ctx context.Context) {
	if !b.journal {
		return
	}
	tick := time.NewTicker(Interval)
	defer tick.Stop()
	for {
		b.tend()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// tend makes the ballast whole where there is room for it.
func (b *Ballast) tend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	room, known := b.look()
	if b.bytes.makes(room.Bytes, known) {
		b.makeBytes()
	}
	if b.files.makes(room.Files, known) {
		b.makeFiles()
	}
	if b.lack() != "" {
		b.warn()
	} else if b.warned {
		b.warned = false
		b.log.Info("the disk has room again: work goes on", "dir", b.dir)
	}
}

// makeBytes allocates what is missing. The mutex is held.
func (b *Ballast) makeBytes() {
	f, err := os.OpenFile(b.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = allocate(f, b.bytes.size)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		b.log.Warn("the ballast can't be made: a full disk will stop the journal", "file", b.path(), "err", err)
	}
	b.bytes.held = min(occupied(b.path()), b.bytes.size)
}

// warn says once that the disk is full. The mutex is held.
func (b *Ballast) warn() {
	if b.warned {
		return
	}
	b.warned = true
	room, _ := b.look()
	b.log.Error("the disk "+b.lack()+": no new work is begun; sessions can be read, cancelled and deleted", "dir", b.dir,
		"free_bytes", room.Bytes, "ballast_bytes", b.bytes.held, "free_inodes", room.Files, "ballast_inodes", b.files.held,
		"remedy", "delete sessions or files that are not needed, or give the disk more room")
}

// Ready makes room for what a start writes beside the journal, at most a slice of it.
func (b *Ballast) Ready() {
	b.Give("", 0, false)
}

// Status is how the room of a data directory stands.
type Status struct {
	Bytes Level
	Files Level // all 0 where the file system has no fixed number of inodes
	Known bool  // false: this system does not say
}

// Level is how it stands with bytes, or with files.
type Level struct {
	Free    int64 // beside the ballast
	Floor   int64 // of it, what only the journal takes
	Ballast int64 // that is there
	Whole   int64 // that should be there
}

// Lacks is how much more has to be free for work to begin; at most 0: nothing. Before its first start a node has no
// ballast, and needs the room for one.
func (l Level) Lacks() int64 { return 2*l.Floor + l.Whole - l.Ballast - l.Free }

// Status looks.
func (b *Ballast) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	room, known := b.look()
	return Status{Bytes: b.bytes.level(room.Bytes), Files: b.files.level(room.Files), Known: known}
}
