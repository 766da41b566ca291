package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
)

const (
	// maxRecentRows is how many log rows wait in memory for their extents: about 1 MB, and a tenth
	// of a second to find again when a database is opened.
	maxRecentRows = 8192
	// maxExtentPlaces bounds the places of one extent.
	maxExtentPlaces = 512
)

// place is one row of the log.
type place struct {
	log         int64
	first, last stead.Seq
}

// run is the places of a session that no extent holds, in order. It only grows, so that a reader may
// keep a slice of it.
type run struct {
	places []place
	epoch  stead.Epoch // of the last
}

// placed is a place with what the committer must know of it.
type placed struct {
	session int64
	epoch   stead.Epoch
	place
}

// raise brings a tail and an epoch up to those of the run, which may be nil.
func (r *run) raise(tail *stead.Seq, epoch *stead.Epoch) {
	if r != nil {
		*tail = max(*tail, r.places[len(r.places)-1].last)
		*epoch = max(*epoch, r.epoch)
	}
}

// The places column of an extent is, for each log row, two uvarints: how much greater its id is than
// the one before (the first: than 0), and how many events it holds; before them one for the extent's
// first seq.

func encodePlaces(places []place) []byte {
	b := binary.AppendUvarint(nil, uint64(places[0].first))
	var log int64
	for _, p := range places {
		b = binary.AppendUvarint(b, uint64(p.log-log))
		b = binary.AppendUvarint(b, uint64(p.last-p.first+1))
		log = p.log
	}
	return b
}

func decodePlaces(out []place, b []byte) ([]place, error) {
	var log int64
	first, n := binary.Uvarint(b)
	for b = b[max(n, 0):]; len(b) > 0 && n > 0; {
		delta, m := binary.Uvarint(b)
		if m <= 0 {
			return nil, damaged(stead.Seq(first))
		}
		var count uint64
		if count, n = binary.Uvarint(b[m:]); n <= 0 {
			return nil, damaged(stead.Seq(first))
		}
		b = b[m+n:]
		log += int64(delta)
		out = append(out, place{log, stead.Seq(first), stead.Seq(first + count - 1)})
		first += count
	}
	return out, nil
}

// idList is the ids as a JSON array, the form in which one parameter holds many.
func idList(places []place) string {
	b := []byte{'['}
	for i, p := range places {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, p.log, 10)
	}
	return string(append(b, ']'))
}

// places returns, in the order of reading, the log rows that hold the events asked for. The look at
// memory comes first: what moves into extents after it is then seen in both, and taken once.
func (s *Store) places(ctx context.Context, id int64, opts journal.ReadOptions, limit int) ([]place, error) {
	var recent []place
	s.mu.Lock()
	if r := s.recent[id]; r != nil {
		recent = r.places
	}
	s.mu.Unlock()
	if opts.Desc {
		return s.placesDown(ctx, id, recent, opts.After, limit)
	}
	return s.placesUp(ctx, id, recent, max(opts.After, 0), limit)
}

func (s *Store) placesUp(ctx context.Context, id int64, recent []place, after stead.Seq, limit int) ([]place, error) {
	var out []place
	enough := func() bool { return len(out) > 0 && out[len(out)-1].last >= after+stead.Seq(limit) }
	take := func(p place) {
		seen := after
		if len(out) > 0 {
			seen = out[len(out)-1].last
		}
		if p.last > seen && !enough() {
			out = append(out, p)
		}
	}
	if len(recent) == 0 || recent[0].first > after+1 {
		if err := s.eachExtent(ctx, s.read.up, id, int64(after)+1, take, enough); err != nil {
			return nil, err
		}
	}
	for _, p := range recent {
		take(p)
	}
	return out, nil
}

func (s *Store) placesDown(ctx context.Context, id int64, recent []place, below stead.Seq, limit int) ([]place, error) {
	if below <= 0 {
		below = 1<<63 - 1
	}
	var out []place
	var events stead.Seq // in out and below the bound
	enough := func() bool { return events >= stead.Seq(limit) }
	take := func(p place) {
		if p.first < below && !enough() {
			events += min(p.last, below-1) - p.first + 1
			out = append(out, p)
			below = p.first
		}
	}
	for _, p := range slices.Backward(recent) {
		take(p)
	}
	if enough() {
		return out, nil
	}
	err := s.eachExtent(ctx, s.read.down, id, int64(below), take, enough)
	return out, err
}

// eachExtent hands the places of a query's extents to take, last first if they come in that order.
func (s *Store) eachExtent(ctx context.Context, st *sql.Stmt, id, bound int64, take func(place), enough func() bool) error {
	rows, err := st.QueryContext(ctx, id, bound)
	if err != nil {
		return translate(err, "read extents")
	}
	defer rows.Close()
	var scratch []place
	for !enough() && rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return translate(err, "read extents")
		}
		if scratch, err = decodePlaces(scratch[:0], b); err != nil {
			return err
		}
		if st == s.read.down {
			slices.Reverse(scratch)
		}
		for _, p := range scratch {
			take(p)
		}
	}
	return translate(rows.Err(), "read extents")
}

// loadRecent finds again, when a database is opened, the log rows that no extent holds.
func (c *committer) loadRecent(ctx context.Context) error {
	var mark, newest int64
	if err := c.conn.QueryRowContext(ctx, `SELECT log, (SELECT ifnull(max(id), 0) FROM log) FROM mark`).Scan(&mark, &newest); err != nil {
		return err
	}
	c.nextLog = max(mark, newest) + 1
	rows, err := c.conn.QueryContext(ctx, `SELECT id, session, first, last, epoch FROM log WHERE id > ? ORDER BY id`, mark)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var p placed
		if err := rows.Scan(&p.log, &p.session, &p.first, &p.last, &p.epoch); err != nil {
			return err
		}
		c.addRecent(p)
	}
	return rows.Err()
}

// addRecent notes a log row. s.mu is held, or the store is not open yet.
func (c *committer) addRecent(p placed) {
	r := c.s.recent[p.session]
	if r == nil {
		r = &run{}
		c.s.recent[p.session] = r
	}
	r.places = append(r.places, p.place)
	r.epoch = p.epoch
	c.recentRows++
}

// moveRecent writes the extents of the recent log rows when there are enough of them. By then many
// rows of one session make one row here, which an index kept at every append would scatter.
func (g *group) moveRecent(ops []*op) error {
	c := g.c
	if c.recentRows < c.maxRecent || !slices.ContainsFunc(ops, func(o *op) bool { return o.write != nil }) {
		return nil
	}
	// Only the committer changes recent, so it may look at it without the lock.
	for id, r := range c.s.recent {
		for some := range slices.Chunk(r.places, maxExtentPlaces) {
			if _, err := g.exec("write extents", c.st.insertExtent, id, int64(some[0].first), int64(some[len(some)-1].last), int64(r.epoch), encodePlaces(some)); err != nil {
				return err
			}
		}
	}
	g.moved = true
	_, err := g.exec("write extents", c.st.setMark, c.nextLog-1)
	return err
}

// publishPlaces brings recent up to date with a commit. s.mu is held.
func (g *group) publishPlaces() {
	c := g.c
	if g.moved {
		clear(c.s.recent)
		c.recentRows = 0
		c.s.moves++
	}
	for id := range g.gone {
		if r := c.s.recent[id]; r != nil {
			c.recentRows -= len(r.places)
			delete(c.s.recent, id)
		}
	}
	for _, p := range g.placed {
		if !g.gone[p.session] {
			c.addRecent(p)
		}
	}
}

// logsOf lists a session's log rows, those of this group included, as idList does.
func (g *group) logsOf(id int64) (string, error) {
	var all []place
	rows, err := g.c.st.extents.Query(id)
	if err != nil {
		return "", failed(err, "read extents")
	}
	defer rows.Close()
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return "", failed(err, "read extents")
		}
		if all, err = decodePlaces(all, b); err != nil {
			return "", &dbError{err}
		}
	}
	if err := rows.Err(); err != nil {
		return "", failed(err, "read extents")
	}
	if r := g.c.s.recent[id]; r != nil && !g.moved {
		all = append(all, r.places...)
	}
	for _, p := range g.placed {
		if p.session == id {
			all = append(all, p.place)
		}
	}
	return idList(all), nil
}
