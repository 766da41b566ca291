// Package ballast keeps a part of the data directory's disk for the journal: what others fill must not
// keep a session from being cancelled, a turn from being ended, or anything from being deleted.
//
// Shape: DATA/ballast is a file that takes real blocks and holds nothing. Going down with the room that is
// free on the disk, its own not counted:
//
//	               floor × 2 ── nothing that can wait is stored (Admit); above it everything goes on
//	               floor     ── new work is refused (Full), until there is twice the floor again
//	               0         ── the journal has no room: a slice of the ballast is given to it (Give)
//	ballast        a half    ── what runs already waits as well (Low); the rest is for ends and deletions
//	               0         ── writes fail, as they would without a ballast
//
// A slice is given to one file, as blocks beyond its end, so that whoever filled the disk does not get
// it. When there is room again the ballast is made whole, and work goes on by itself.
//
// Units and limits: bytes. A ballast has Bytes, or 1/Share of a smaller file system; the floor has
// FloorBytes, or 1/FloorShare.
//
// Errors: Admit and Full return KindUnavailable with stead.CodeStorageFull and what to do about it.
// Giving and making report nothing: where they can't be had, the disk is as full as it is.
//
// Concurrency: all methods may be called from many goroutines. One process at a time has a ballast:
// whoever calls Give or Tend owns the data directory.
//
// Source: fallocate(2), FALLOC_FL_KEEP_SIZE; the ballast files of CockroachDB's documentation
// (cluster setup troubleshooting, automatic ballast files) are deleted by hand, these by whoever needs the room.
package ballast

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/stead-dev/stead"
)

const (
	// Bytes is the size of a ballast. 1,500 cancels and 1,500 deletions were seen to take less than a fiftieth of it.
	Bytes = 64 << 20
	// Share: it is at most 1/Share of its file system.
	Share = 16
	// FloorBytes is half of what nothing but the journal may take of what is free beside the ballast: in the first half it
	// goes on as ever.
	FloorBytes = 64 << 20
	// FloorShare: that is at most 1/FloorShare of the file system.
	FloorShare = 32
	// Slices is into how many parts the ballast is given up.
	Slices = 16
	// Interval is how often it is looked whether there is room again.
	Interval = time.Second

	// PlentyBytes beyond twice the floor are so much that no disk is filled within PlentyFor: so long it is not looked again.
	PlentyBytes = 1 << 30
	// PlentyFor is short enough for a disk that takes 20 GB a second.
	PlentyFor = 50 * time.Millisecond

	// FileName is the ballast's name in the data directory.
	FileName = "ballast"

	// retryAfter is when whoever is refused may come again.
	retryAfter = 5 * time.Second
	blockBytes = 4 << 10 // slices are whole blocks
	statUnit   = 512     // of st_blocks
)

// Ballast is that of one data directory.
type Ballast struct {
	dir  string
	log  *slog.Logger
	free func() (free, total int64, known bool)

	size  int64 // of the whole ballast; 0: there is none, since the journal is elsewhere
	floor int64

	mu     sync.Mutex
	held   int64     // of the ballast that is there
	short  bool      // the floor was reached, and twice of it not yet again
	warned bool      // the log says that the disk is full
	plenty time.Time // when more than PlentyBytes were seen to be free; zero: it was less
}

// Open looks at the ballast of a data directory, which exists, and changes nothing: see Tend. most is
// Bytes, or 0 where the journal is on another disk: then there is no ballast, and only Admit refuses.
func Open(dir string, most int64, log *slog.Logger) *Ballast {
	b := &Ballast{dir: dir, log: log, free: func() (int64, int64, bool) { return room(dir) }}
	b.measure(most)
	return b
}

func (b *Ballast) measure(most int64) {
	_, total, known := b.free()
	if !known {
		return // nobody can say what is free: the disk fills as it did, and nothing is refused before
	}
	b.size = min(most, total/Share) / (Slices * blockBytes) * (Slices * blockBytes)
	b.floor = min(FloorBytes, total/FloorShare)
	b.held = min(occupied(b.path()), b.size)
}

func (b *Ballast) path() string { return filepath.Join(b.dir, FileName) }

// Give makes room for a file whose write found none: so many bytes of the ballast, or a slice for 0, become blocks
// of the file's, beyond its end, or free ones where there is no such file. Where it is not sure that the write
// failed for that, it looks whether less than a slice is free. false: nothing was given.
func (b *Ballast) Give(file string, bytes int64, sure bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held <= 0 {
		return false
	}
	if free, _, known := b.free(); !sure && known && free >= b.size/Slices {
		return false
	}
	if bytes <= 0 {
		bytes = b.size / Slices
	}
	bytes = (bytes + blockBytes - 1) / blockBytes * blockBytes
	left := max(b.held-bytes, 0)
	if err := os.Truncate(b.path(), left); err != nil {
		b.log.Error("the ballast can't be given up", "err", err)
		b.held = 0
		return false
	}
	given := b.held - left
	b.held = left
	extend(file, given)
	b.warn()
	return true
}

// Admit says whether so many bytes that can wait may be stored now, beside the journal.
func (b *Ballast) Admit(bytes int64) error {
	free, _, known := b.free()
	// Twice the floor: who stores what can wait must not be the one by whom all others are stopped a moment later.
	if !known || free-bytes >= 2*b.floor {
		return nil
	}
	e := full("the server's disk is nearly full, and what is left of it is for the journal")
	e.Err = fmt.Errorf("%d bytes are free and %d are asked for; %d stay free", free, bytes, 2*b.floor)
	return e
}

// Full says why no new work is begun; nil when there is room for it.
func (b *Ballast) Full() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size == 0 || !b.isFull() {
		return nil
	}
	return full("the server's disk is full: no new work is begun, and nothing that was accepted is lost")
}

// isFull also keeps what the floor was found to be. The mutex is held.
func (b *Ballast) isFull() bool {
	if !b.plenty.IsZero() && time.Since(b.plenty) < PlentyFor {
		return b.held < b.size
	}
	free, _, known := b.free()
	if known {
		b.short = free < b.floor || b.short && free < 2*b.floor
	}
	if b.plenty = (time.Time{}); known && free >= 2*b.floor+PlentyBytes {
		b.plenty = time.Now()
	}
	return b.short || b.held < b.size
}

// Low reports whether so little of the ballast is left that what runs must wait as well.
func (b *Ballast) Low() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size > 0 && b.held < b.size/2 && b.isFull()
}

// full is the error of a full disk.
func full(message string) *stead.Error {
	return &stead.Error{
		Kind: stead.KindUnavailable, Code: stead.CodeStorageFull, Message: message, RetryAfter: retryAfter,
		Hint: "Delete sessions or files that are not needed, or give the data directory's disk more room; the server goes on by itself",
	}
}
