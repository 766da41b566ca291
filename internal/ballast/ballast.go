// Package ballast keeps a part of the data directory's disk for the journal: what others fill must not
// keep a session from being cancelled, a turn from being ended, or anything from being deleted.
//
// Shape: a disk runs out of two things, blocks and inodes, and of each there is a reserve: DATA/ballast is a file that takes
// real blocks and holds nothing, DATA/ballast.files a directory of empty files. Going down with what is
// free of either on the disk, its own not counted:
//
//	               floor × 2 ── nothing that can wait is stored (Admit); above it everything goes on
//	               floor     ── new work is refused (Full), until there is twice the floor again
//	               0         ── the journal has no room: a slice of the ballast is given to it (Give)
//	ballast        a half    ── what runs already waits as well (Low); the rest is for ends and deletions
//	               0         ── writes fail, as they would without a ballast
//
// A slice is given to one file, as blocks beyond its end, so that whoever filled the disk does not get
// it; a file that can't be made becomes one of the empty ones, under its own name. When there is room again the ballast is made
// whole, and work goes on by itself. A file system without a fixed number of inodes (package volume) is never short of them.
//
// Units and limits: bytes, and files. A ballast has Bytes and Files, or 1/Share of a smaller file system; the floor has
// FloorBytes and FloorFiles, or 1/FloorShare.
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
	"github.com/stead-dev/stead/internal/volume"
)

const (
	// Bytes is the size of a ballast. 1,500 cancels and 1,500 deletions were seen to take less than a fiftieth of it.
	Bytes = 64 << 20
	// Files is how many inodes a ballast has. A start makes a handful of files beside those of the environments that it opens,
	// each of which needs about eight; cancelling and deleting make none.
	Files = 1024
	// Share: it is at most 1/Share of its file system.
	Share = 16
	// FloorBytes is half of what nothing but the journal may take of what is free beside the ballast: in the first half it
	// goes on as ever.
	FloorBytes = 64 << 20
	// FloorFiles is that of inodes: what sessions go on with, in blobs of large texts and files of environments, while what can
	// wait does.
	FloorFiles = 2048
	// FloorShare: that is at most 1/FloorShare of the file system.
	FloorShare = 32
	// Slices is into how many parts the ballast is given up.
	Slices = 16
	// Interval is how often it is looked whether there is room again.
	Interval = time.Second

	// PlentyBytes beyond twice the floor are so much that no disk is filled within PlentyFor: so long it is not looked again.
	PlentyBytes = 1 << 30
	// PlentyFiles is that of inodes.
	PlentyFiles = 1 << 16
	// PlentyFor is short enough for a disk that takes 20 GB, or a million files, a second.
	PlentyFor = 50 * time.Millisecond

	// FileName is the ballast's name in the data directory.
	FileName = "ballast"
	// FilesName is that of the directory with its empty files.
	FilesName = "ballast.files"

	// retryAfter is when whoever is refused may come again.
	retryAfter = 5 * time.Second
	blockBytes = 4 << 10 // slices are whole blocks
	statUnit   = 512     // of st_blocks
)

// Ballast is that of one data directory.
type Ballast struct {
	dir     string
	log     *slog.Logger
	journal bool // it is on this disk
	look    func() (volume.Room, bool)

	mu     sync.Mutex
	bytes  reserve
	files  reserve
	warned bool      // the log says that the disk is full
	plenty time.Time // when PlentyBytes and PlentyFiles were seen to be free; zero: it was less
}

// Open looks at the ballast of a data directory, which exists, and changes nothing: see Tend. journal: the journal
// is there. Where it is on another disk there is no ballast, and only Admit refuses.
func Open(dir string, journal bool, log *slog.Logger) *Ballast {
	b := &Ballast{dir: dir, log: log, journal: journal, look: func() (volume.Room, bool) { return volume.Of(dir) }}
	b.measure()
	return b
}

func (b *Ballast) measure() {
	room, known := b.look()
	if !known {
		return // nobody can say what is free: the disk fills as it did, and nothing is refused before
	}
	b.bytes = reserve{floor: min(FloorBytes, room.TotalBytes/FloorShare)}
	b.files = reserve{floor: min(FloorFiles, room.TotalFiles/FloorShare)}
	if b.journal {
		b.bytes.size = whole(min(Bytes, room.TotalBytes/Share), Slices*blockBytes)
		b.files.size = whole(min(Files, room.TotalFiles/Share), Slices)
	}
	b.bytes.held = min(occupied(b.path()), b.bytes.size)
	b.files.held = min(int64(len(b.spareFiles())), b.files.size)
}

func whole(n, unit int64) int64 { return n / unit * unit }

func (b *Ballast) path() string { return filepath.Join(b.dir, FileName) }

// Give makes room for a file whose write found none: so many bytes of the ballast, or a slice for 0, become blocks
// of the file's, beyond its end, or free ones where there is no such file. Where it is not sure that the write
// failed for that, it looks whether less than a slice is free, also of inodes: then a file that is not there is made of
// one of the ballast's, and others are freed. false: nothing was given.
func (b *Ballast) Give(file string, bytes int64, sure bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	room, known := b.look()
	files := !sure && known && b.files.held > 0 && room.Files < b.files.slice() && b.giveFiles(file)
	if b.bytes.held <= 0 || !sure && known && room.Bytes >= b.bytes.slice() {
		return files
	}
	return b.giveBytes(file, bytes) || files
}

// giveBytes: see Give. The mutex is held.
func (b *Ballast) giveBytes(file string, bytes int64) bool {
	if bytes <= 0 {
		bytes = b.bytes.slice()
	}
	bytes = (bytes + blockBytes - 1) / blockBytes * blockBytes
	left := max(b.bytes.held-bytes, 0)
	if err := os.Truncate(b.path(), left); err != nil {
		b.log.Error("the ballast can't be given up", "err", err)
		b.bytes.held = 0
		return false
	}
	given := b.bytes.held - left
	b.bytes.held = left
	extend(file, given)
	b.warn()
	return true
}

// Admit says whether so many bytes in so many new files, directories included, may be stored now beside the journal, by whoever can wait.
func (b *Ballast) Admit(bytes, files int64) error {
	room, known := b.look()
	if !known {
		return nil
	}
	// Twice the floor: who stores what can wait must not be the one by whom all others are stopped a moment later.
	if keep := 2 * b.bytes.floor; room.Bytes-bytes < keep {
		e := full("is nearly full", ", and what is left of it is for the journal")
		e.Err = fmt.Errorf("%d bytes are free and %d are asked for; %d stay free", room.Bytes, bytes, keep)
		return e
	}
	if keep := 2 * b.files.floor; files > 0 && keep > 0 && room.Files-files < keep {
		e := full(volume.NoFiles, ", and what is left of them is for the journal")
		e.Err = fmt.Errorf("%d inodes are free and %d are asked for; %d stay free", room.Files, files, keep)
		return e
	}
	return nil
}

// Full says why no new work is begun; nil when there is room for it.
func (b *Ballast) Full() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.journal {
		return nil
	}
	if lack := b.lack(); lack != "" {
		return full(lack, ": no new work is begun, and nothing that was accepted is lost")
	}
	return nil
}

// lack is what is wrong with the disk; "": there is room. It also keeps what the floors were found to be. The mutex is held.
func (b *Ballast) lack() string {
	var room volume.Room
	known := false
	if b.plenty.IsZero() || time.Since(b.plenty) >= PlentyFor {
		room, known = b.look()
		b.plenty = time.Time{}
		if known && b.bytes.plenty(room.Bytes, PlentyBytes) && b.files.plenty(room.Files, PlentyFiles) {
			b.plenty = time.Now()
		}
	}
	bytes, files := b.bytes.full(room.Bytes, known), b.files.full(room.Files, known)
	switch {
	case bytes:
		return "is full"
	case files:
		return volume.NoFiles
	}
	return ""
}

// Low reports whether so little of the ballast is left that what runs must wait as well.
func (b *Ballast) Low() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.low() || b.files.low()
}

// full is the error of a disk that lacks something.
func full(lack, so string) *stead.Error {
	return &stead.Error{
		Kind: stead.KindUnavailable, Code: stead.CodeStorageFull, Message: "the server's disk " + lack + so, RetryAfter: retryAfter,
		Hint: "Delete sessions or files that are not needed, or give the data directory's disk more room; the server goes on by itself",
	}
}
