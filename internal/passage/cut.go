package passage

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// block is a part of a document that belongs together.
type block struct {
	text    string
	before  string // what stands between it and the block before
	heading string // that it stands under
	lead    string // what every passage of it begins with: a table's header
	section bool   // it begins a section
	line    int    // of the document that it begins at, from 1
}

// Cut makes passages of a document. Size must be from MinSize to MaxSize, and Overlap at most its half.
func (d Document) Cut(p Plan) []Passage {
	c := cutter{size: p.Size * BytesPerToken, overlap: p.Overlap * BytesPerToken, lined: !d.Converted, paged: d.Paged}
	long := "" // a header that would fill its passages: it stands in front of the first
	d.blocks(func(b block) {
		if len(b.lead) > c.size/2 {
			if b.lead != long {
				long = b.lead
				c.add(block{text: b.lead, before: b.before, heading: b.heading, section: b.section})
			}
			b.lead = ""
		}
		c.add(b)
	})
	c.flush(0)
	return c.out
}

// blocks tells a document's parts, in order.
func (d Document) blocks(tell func(block)) {
	switch d.Format {
	case Markdown:
		sections(d.Text, tell)
	case Code:
		definitions(d.Text, tell)
	case JSON:
		members(d.Text, tell)
	case JSONLines:
		lines(d.Text, tell)
	case CSV:
		records(d.Text, tell)
	default:
		paragraphs(d.Text, tell)
	}
}

// cutter fills passages with blocks. Sizes are bytes.
type cutter struct {
	size, overlap int
	out           []Passage
	now           strings.Builder // the passage at hand, without its lead
	first         block           // of it: its heading and lead are the passage's
	fresh         bool            // it has more than what it repeats
	lined         bool            // passages say which lines they are
	paged         bool            // sections are pages
	marks         []mark          // of the passage at hand, in order
}

// mark says that what stands at a place of the passage at hand is of a line. Until the next mark, lines are counted.
type mark struct{ at, line int }

// lineAt is the line of a place in a text; 0: it is not known.
func lineAt(text string, marks []mark, at int) int {
	for i := len(marks) - 1; i >= 0; i-- {
		if m := marks[i]; m.at <= at && m.line > 0 {
			return m.line + strings.Count(text[m.at:at], "\n")
		}
	}
	return 0
}

// room is what is left of the passage at hand.
func (c *cutter) room() int {
	room := c.size - c.now.Len()
	if c.first.lead != "" {
		room -= len(c.first.lead) + 1
	}
	return room
}

func (c *cutter) add(b block) {
	if c.fresh && (b.lead != c.first.lead || b.section && (c.paged || c.now.Len() >= c.size/2)) {
		c.flush(0)
	}
	if need := len(b.before) + len(b.text); c.fresh && need > c.room() {
		c.flush(min(c.overlap, c.size-len(b.lead)-1-need))
	}
	for {
		if !c.fresh {
			c.first = b
		}
		if c.now.Len() > 0 {
			c.now.WriteString(b.before)
		}
		if c.lined {
			c.marks = append(c.marks, mark{c.now.Len(), b.line})
		}
		room := c.room()
		if len(b.text) <= room {
			c.now.WriteString(b.text)
			c.fresh = c.fresh || b.text != ""
			return
		}
		head := cutHead(b.text, room)
		c.now.WriteString(head)
		c.fresh = true
		b.text, b.before = b.text[len(head):], ""
		if b.line > 0 {
			b.line += strings.Count(head, "\n")
		}
		c.flush(min(c.overlap, (c.size-len(b.lead))/2))
	}
}

// flush ends the passage at hand; the next one begins with what it repeats of it, at most so many bytes.
func (c *cutter) flush(repeat int) {
	text, marks := c.now.String(), c.marks
	c.now.Reset()
	c.marks = nil
	if !c.fresh {
		return
	}
	c.fresh = false
	whole := text
	if c.first.lead != "" {
		whole = c.first.lead + "\n" + text
	}
	if whole = strings.Trim(whole, "\n"); strings.TrimSpace(whole) != "" {
		c.out = append(c.out, Passage{Heading: c.first.heading, Text: whole, Lines: c.lines(text, marks), Page: c.page()})
	}
	if repeat > 0 {
		rest := tail(text, repeat)
		c.now.WriteString(rest)
		c.marks = shifted(text, marks, len(text)-len(rest))
	}
}

// page is the one that the passage at hand is on.
func (c *cutter) page() int {
	n := 0
	if c.paged {
		_, _ = fmt.Sscanf(c.first.heading, "Page %d", &n) // 0 where it says none
	}
	return n
}

// lines are the first and the last line of a passage's text; nil where they are not the document's.
func (c *cutter) lines(text string, marks []mark) []int {
	body := strings.TrimSpace(text)
	from := strings.Index(text, body)
	if !c.lined || body == "" {
		return nil
	}
	first, last := lineAt(text, marks, from), lineAt(text, marks, from+len(body)-1)
	if first == 0 || last == 0 {
		return nil
	}
	return []int{first, last}
}

// shifted are the marks of what is left of a text behind its first n bytes.
func shifted(text string, marks []mark, n int) []mark {
	out := []mark{{0, lineAt(text, marks, n)}}
	for _, m := range marks {
		if m.at > n {
			out = append(out, mark{m.at - n, m.line})
		}
	}
	return out
}

// ends are where a text may be cut, best first; the cut is behind them.
func ends() []string { return []string{"\n\n", "\n", ". ", "? ", "! ", "; ", " "} }

// cutHead returns the beginning of a text that is longer than n bytes: at most n, and at least half of
// that, to the best end there is.
func cutHead(text string, n int) string {
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	for _, end := range ends() {
		if at := strings.LastIndex(text[:n], end); at >= n/2 {
			return text[:at+len(end)]
		}
	}
	return text[:n]
}

// tail returns the end of a text, at most n bytes, from the best beginning there is.
func tail(text string, n int) string {
	if len(text) <= n {
		return text
	}
	from := len(text) - n
	for from < len(text) && !utf8.RuneStart(text[from]) {
		from++
	}
	rest := text[from:]
	for _, end := range ends() {
		if at := strings.Index(rest, end); at >= 0 && at < len(rest)/2 {
			return rest[at+len(end):]
		}
	}
	return rest
}
