package office

import (
	"strconv"
	"strings"
)

// markdown is the text that is being written.
type markdown struct{ out strings.Builder }

// part writes a paragraph, a heading or a table, parted from the one before.
func (m *markdown) part(text, before string) {
	if text == "" {
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

// table writes rows, of which the first is the header.
func (m *markdown) table(rows [][]string) {
	width := 0
	for _, r := range rows {
		width = max(width, len(r))
	}
	if width == 0 {
		return
	}
	var b strings.Builder
	for i, r := range rows {
		row(&b, r, width)
		if i == 0 {
			b.WriteString(strings.Repeat("|---", width) + "|\n")
		}
	}
	m.part(strings.TrimSuffix(b.String(), "\n"), "\n\n")
}

func row(b *strings.Builder, cells []string, width int) {
	for i := range width {
		b.WriteString("| ")
		if i < len(cells) {
			b.WriteString(strings.ReplaceAll(flat(cells[i]), "|", `\|`))
		}
		b.WriteString(" ")
	}
	b.WriteString("|\n")
}

func (m *markdown) String() string { return m.out.String() + "\n" }

// flat is a text in one line.
func flat(s string) string { return strings.Join(strings.Fields(s), " ") }

// escaped keeps a paragraph from being taken for a heading or the beginning of code.
func escaped(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if t := strings.TrimLeft(l, " \t"); strings.HasPrefix(t, "#") || strings.HasPrefix(t, "```") || strings.HasPrefix(t, "~~~") {
			lines[i] = `\` + t
		}
	}
	return strings.Join(lines, "\n")
}

func quoted(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return strconv.Quote(s)
}
