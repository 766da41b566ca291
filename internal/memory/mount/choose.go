package mount

import (
	"cmp"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

// choice is the part of a store that is files: of one with more than a mount holds, the most important entries, and of equals the newest.
type choice struct {
	best []memory.Entry
	left int // entries that are no files
}

func (c *choice) add(e memory.Entry) {
	if c.best = append(c.best, e); len(c.best) >= 2*MaxEntries { // no more is kept of a store of millions
		c.cut()
	}
}

// cut keeps the best.
func (c *choice) cut() {
	slices.SortFunc(c.best, func(a, b memory.Entry) int {
		return cmp.Or(cmp.Compare(b.Importance, a.Importance), cmp.Compare(b.CreatedAt, a.CreatedAt), strings.Compare(b.ID, a.ID))
	})
	if n := len(c.best); n > MaxEntries {
		clear(c.best[MaxEntries:])
		c.best, c.left = c.best[:MaxEntries], c.left+n-MaxEntries
	}
}

// choose takes what fits of what was read.
func (s *sync) choose(c choice) {
	c.cut()
	for _, e := range c.best {
		more := slices.DeleteFunc(slices.Clone(e.Labels), func(l string) bool { return slices.Contains(s.report.Labels, l) })
		if s.bytes+len(e.Text) > MaxBytes || len(s.report.Labels)+len(more) > MaxLabels {
			c.left++
			continue
		}
		s.entries[e.ID] = e
		s.bytes += len(e.Text)
		s.report.Labels = append(s.report.Labels, more...)
	}
	s.left = c.left
	const told = "\x00left " // no path: nothing was written there
	if s.left > 0 && s.seen[told+s.m.Store] == "" {
		s.seen[told+s.m.Store] = "told"
		s.refuse("%s shows %d memories of store %s, the most important and newest of them; %d others are no files (a directory holds %d, and %d bytes), but are found by searching", s.m.Dir, len(s.entries), s.m.Store, s.left, MaxEntries, MaxBytes)
	}
}

// elsewhere is an entry that there is, and that is no file for want of room.
func (s *sync) elsewhere(id string) (memory.Entry, bool, error) {
	if s.left == 0 {
		return memory.Entry{}, false, nil
	}
	e, err := s.in.Get(s.ctx, s.by, s.m.Store, id)
	switch stead.KindOf(err) {
	case "":
		return e, e.Kind != memory.KindItem && e.Kind != memory.KindPassage && !e.Redacted && s.in.Valid(e), nil
	case stead.KindUnavailable, stead.KindInternal:
		return e, false, err
	}
	return e, false, nil
}

// out takes a changed file of an entry that is not shown any more back, and leaves of it only that.
func (s *sync) out(at string, h head, e memory.Entry, text string, untouched bool) error {
	text = strings.TrimSpace(text)
	if !untouched && text != "" && text != strings.TrimSpace(e.Text) && !(h.version != e.Version && s.once(h, text)) {
		s.refuse("%s was not written: the directory does not hold its memory any more, which is less important or older than the others.", at)
		if err := s.aside(at, text, "its memory is no file any more"); err != nil {
			return err
		}
	}
	if h.elsewhere && text == "" {
		return nil
	}
	return s.write(at, []byte("---\nid: "+h.id+"\nelsewhere: true\n---\n"))
}
