package sqlite

import (
	"context"
	"strconv"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

// What is deleted is overwritten with zeros where it stood (secure_delete). It may stand in two more places: the
// write-ahead log, until that is begun anew; and the free room of pages from which SQLite moved it to others when it
// balanced a tree (rebuildPage in btree.c moves what a page has, and clears nothing). Purge sees to both.

const (
	// scrubChunk is how many pages are looked at by one read, and cleared by one write: 1 MiB.
	scrubChunk = 64
	// scrubbable is the first page number that a page of another sort may begin with so that it looks like one of a tree: 512 GiB.
	scrubbable = 2 << 24
	// truncateWait is how long the end of reads that need the log is waited for.
	truncateWait  = 10 * time.Second
	truncatePause = 20 * time.Millisecond
)

var _ journal.Purger = (*Store)(nil)

// Purge implements journal.Purger. Writes wait for one chunk of pages at a time, and for the end of the log to be moved.
func (s *Store) Purge(ctx context.Context) (journal.Purged, error) {
	if err := s.scrub(ctx); err != nil {
		return "", err
	}
	// Nearly all of the log is moved beside the committer.
	if _, err := s.readers.ExecContext(ctx, "PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		return "", translate(err, "move the write-ahead log")
	}
	for end := time.Now().Add(truncateWait); ; {
		busy := false
		err := s.do(ctx, &op{after: func(c *committer) (err error) {
			busy, err = c.truncate(ctx)
			return err
		}})
		if err != nil {
			return "", err
		}
		if !busy {
			return journal.Truncated, nil
		}
		if time.Now().After(end) {
			return "", stead.Errorf(stead.KindUnavailable, "something has been reading the database for more than %s, so that its write-ahead log can't be emptied", truncateWait)
		}
		select {
		case <-ctx.Done():
			return "", stead.Wrap(stead.KindUnavailable, ctx.Err(), "the write-ahead log was not emptied")
		case <-time.After(truncatePause):
		}
	}
}

// truncate empties the log, and reports whether somebody reads what is in it. Nobody waits for readers here: all writes would.
func (c *committer) truncate(ctx context.Context) (busy bool, err error) {
	if _, err := c.conn.ExecContext(ctx, "PRAGMA busy_timeout = 0"); err != nil {
		return false, translate(err, "empty the write-ahead log")
	}
	var frames, moved int
	err = c.conn.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved)
	if _, again := c.conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA busy_timeout = "+strconv.FormatInt(busyTimeout.Milliseconds(), 10)); err == nil {
		err = again
	}
	return busy, translate(err, "empty the write-ahead log")
}

// scrub clears the free room of all pages.
func (s *Store) scrub(ctx context.Context) error {
	var pages int64
	if err := s.readers.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages); err != nil {
		return translate(err, "count pages")
	}
	if pages >= scrubbable {
		return stead.Errorf(stead.KindUnavailable, "the database has %d pages: the free room of at most %d is cleared", pages, scrubbable-1)
	}
	const first = 2 // the first page has the schema alone
	for from := int64(first); from <= pages; from += scrubChunk {
		unclean, err := s.unclean(ctx, from, min(from+scrubChunk-1, pages))
		if err == nil && len(unclean) > 0 {
			err = s.do(ctx, &op{bytes: len(unclean) * pageBytes, write: func(g *group) error { return g.scrub(unclean) }})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unclean lists the pages, of these, that have anything in their free room.
func (s *Store) unclean(ctx context.Context, from, to int64) (out []int64, err error) {
	rows, err := s.readers.QueryContext(ctx, `WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
		SELECT n.i, d.data FROM n CROSS JOIN sqlite_dbpage d WHERE d.pgno = n.i`, from, to)
	if err != nil {
		return nil, translate(err, "read pages")
	}
	defer rows.Close()
	for rows.Next() {
		var number int64
		var page []byte
		if err := rows.Scan(&number, &page); err != nil {
			return nil, translate(err, "read pages")
		}
		if wipe(page) {
			out = append(out, number)
		}
	}
	return out, translate(rows.Err(), "read pages")
}

// scrub clears the free room of pages as they are by now.
func (g *group) scrub(pages []int64) error {
	ctx := context.Background()
	for _, number := range pages {
		var page []byte
		if err := g.c.conn.QueryRowContext(ctx, `SELECT data FROM sqlite_dbpage WHERE pgno = ?`, number).Scan(&page); err != nil {
			return failed(err, "read a page")
		}
		if !wipe(page) {
			continue
		}
		if err := g.execText(ctx, "clear the free room of a page", `UPDATE sqlite_dbpage SET data = ? WHERE pgno = ?`, page, number); err != nil {
			return err
		}
	}
	return nil
}
