package sqlite

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// indexBytes is more than the index of the log grows by at once: SQLite does that by 32 KiB. It writes one byte of
// each of its pages; where the file system's blocks are smaller the rest are holes, and using them on a full disk
// is a fault of memory, of which the driver makes SQLITE_IOERR_IN_PAGE (modernc.org/sqlite, lib/seh.go).
const indexBytes = 128 << 10

// What the store does on a full disk: it makes do with the room that it has, then asks for more, and what
// failed is tried again. Those who wait for it learn nothing of that.

// spared reports whether an operation that failed is to be tried again, because it failed for want of room and
// was given some.
func (s *Store) spared(err error) bool {
	switch {
	case s.spare == nil:
		return false
	case isFull(err):
		return s.spare(s.path+walSuffix, 0, true)
	}
	return mayBeFull(err) && s.spare(s.wanting(), indexBytes, false)
}

// wanting is the file for which room may be wanting, though nobody says which: the log where it is not there, for a disk without
// inodes can't have it made, else its index.
func (s *Store) wanting() string {
	if _, err := os.Lstat(s.path + walSuffix); errors.Is(err, fs.ErrNotExist) {
		return s.path + walSuffix
	}
	return s.path + indexSuffix
}

// spared is Store.spared for a group that has failed so many times before.
func (c *committer) spared(err error, before int) bool {
	if before == 0 && c.s.spare != nil && isFull(err) && c.fold(context.Background()) {
		return true
	}
	return c.s.spared(err)
}

// fold moves the write-ahead log into the database, whose room the log's next writes then use again. On a full
// disk that is where nearly all of a commit's room is: the database grows by much less. It reports whether the
// whole log was moved.
func (c *committer) fold(ctx context.Context) bool {
	for {
		var busy, frames, moved int
		err := c.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)").Scan(&busy, &frames, &moved)
		if err == nil {
			return frames > 0 && moved == frames
		}
		if !isFull(err) || !c.s.spare(c.s.path, c.growth(ctx), true) {
			return false
		}
	}
}

// growth is how many bytes the database lacks for what is in its log; 0 if that is not known.
func (c *committer) growth(ctx context.Context) int64 {
	var pages, size int64
	info, err := os.Stat(c.s.path)
	if err != nil || c.conn.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages) != nil || c.conn.QueryRowContext(ctx, "PRAGMA page_size").Scan(&size) != nil {
		return 0
	}
	return max(pages*size-info.Size(), 0)
}

// resume makes due again, in its old order, whatever was under way when the last process ended.
func (c *committer) resume(ctx context.Context) error {
	_, err := c.conn.ExecContext(ctx, `UPDATE session SET due_at = -due_at WHERE due_at < 0`)
	return translate(err, "mark interrupted sessions due")
}
