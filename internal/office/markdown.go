package office

import (
	"slices"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
)

// markdown is the text that is being written. What would make it longer than MaxText is left out, and err says so.
type markdown struct {
	out  strings.Builder
	held int // bytes of what is yet to be written
}

// hold counts what a reader keeps before it writes it: text, and what a cell or a row takes though it is empty.
func (m *markdown) hold(n int) { m.held += n }

const (
	cellBytes = 16
	rowBytes  = 24
)

func (m *markdown) err() error {
	if m.out.Len() <= MaxText && m.held <= MaxText {
		return nil
	}
	return stead.Errorf(stead.KindTooLarge, "it has more than %d bytes of text", MaxText)
}

// part writes a paragraph, a heading or a line of a table, parted from the one before.
func (m *markdown) part(text, before string) {
	if text == "" || m.out.Len() > MaxText {
		return
	}
	if m.out.Len() > 0 {
		m.out.WriteString(before)
	}
	m.out.WriteString(text)
}

func (m *markdown) heading(level int, title string) {
	if title = flat(title); title != "" {
		m.part(strings.Repeat("#", min(max(level, 1), 6))+" "+title, "\n\n")
	}
}

func (m *markdown) paragraph(text string) { m.part(escaped(strings.TrimSpace(text)), "\n\n") }

// item is one of a list; those that follow each other stay together.
func (m *markdown) item(level int, text string, first bool) {
	before := "\n"
	if first {
		before = "\n\n"
	}
	if text = flat(text); text != "" {
		m.part(strings.Repeat("  ", min(level, 8))+"- "+text, before)
	}
}

// table writes rows, of which the first is the header: it alone is as wide as the widest of them, so that one wide row
// among many makes not all of them wide.
func (m *markdown) table(rows [][]string) {
	width := 0
	for _, r := range rows {
		width = max(width, len(r))
	}
	if width == 0 {
		return
	}
	for i, r := range rows {
		before := "\n"
		if i == 0 {
			before = "\n\n"
			r = append(slices.Clone(r), make([]string, width-len(r))...)
		}
		m.part(row(r), before)
		if i == 0 {
			m.part(strings.Repeat("|---", width)+"|", "\n")
		}
	}
}

func row(cells []string) string {
	if len(cells) == 0 {
		return "|"
	}
	var b strings.Builder
	for _, c := range cells {
		b.WriteString("| ")
		b.WriteString(strings.ReplaceAll(flat(c), "|", `\|`))
		b.WriteString(" ")
	}
	b.WriteString("|")
	return b.String()
}

func (m *markdown) String() string { return m.out.String() + "\n" }

// flat is a text in one line.
func flat(s string) string {
	var b strings.Builder
	for word := range strings.FieldsSeq(s) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(word)
	}
	return b.String()
}

// escaped keeps a paragraph from being taken for a heading or the beginning of code.
func escaped(s string) string {
	var b strings.Builder
	for l := range strings.Lines(s) {
		if t := strings.TrimLeft(l, " \t"); strings.HasPrefix(t, "#") || strings.HasPrefix(t, "```") || strings.HasPrefix(t, "~~~") {
			l = `\` + t
		}
		b.WriteString(l)
	}
	return b.String()
}

func quoted(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return strconv.Quote(s)
}
