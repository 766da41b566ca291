package passage

import (
	"encoding/csv"
	"errors"
	"io"
	"strings"
)

// paragraphs are parted by empty lines.
func paragraphs(text string) []block {
	var out []block
	for _, p := range strings.Split(text, "\n\n") {
		if strings.TrimSpace(p) != "" {
			out = append(out, block{text: strings.Trim(p, "\n"), before: "\n\n"})
		}
	}
	return out
}

// lines are parts by themselves.
func lines(text string) []block {
	var out []block
	for l := range strings.Lines(text) {
		if strings.TrimSpace(l) != "" {
			out = append(out, block{text: strings.TrimSuffix(l, "\n"), before: "\n"})
		}
	}
	return out
}

// gather puts lines together until begins says that one begins a part.
func gather(text string, begins func(line string, blank bool) bool) []block {
	var out []block
	var part strings.Builder
	blank := false // the line before was empty
	end := func() {
		if strings.TrimSpace(part.String()) != "" {
			out = append(out, block{text: strings.TrimRight(part.String(), "\n"), before: "\n"})
		}
		part.Reset()
	}
	for l := range strings.Lines(text) {
		if begins(l, blank) {
			end()
			if blank && len(out) > 0 {
				part.WriteString("\n") // the empty line stays in front
			}
		}
		part.WriteString(l)
		blank = strings.TrimSpace(l) == ""
	}
	end()
	return out
}

// definitions begin at the left margin, after an empty line.
func definitions(text string) []block {
	return gather(text, func(l string, blank bool) bool {
		return blank && strings.TrimSpace(l) != "" && !strings.HasPrefix(l, " ") && !strings.HasPrefix(l, "\t") && !strings.ContainsAny(l[:1], "})]")
	})
}

// members are those of the outermost value of indented JSON.
func members(text string) []block {
	return gather(text, func(l string, _ bool) bool {
		return strings.HasPrefix(l, "  ") && len(l) > 2 && !strings.ContainsAny(l[2:3], " ]}")
	})
}

// records are those of CSV; the first one is the header of all. What is no CSV is lines.
func records(text string) []block {
	r := csv.NewReader(strings.NewReader(text))
	r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord = -1, true, true
	var out []block
	header := ""
	for {
		from := r.InputOffset()
		_, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return lines(text)
		}
		switch record := strings.Trim(text[from:r.InputOffset()], "\n"); {
		case record == "":
		case header == "":
			header = record
		default:
			out = append(out, block{text: record, before: "\n", lead: header})
		}
	}
	if len(out) == 0 {
		return lines(text)
	}
	return out
}

// sections are the paragraphs, lists, tables and fenced parts of Markdown, under their headings.
func sections(text string) []block {
	s := scanner{}
	for l := range strings.Lines(text) {
		s.line(strings.TrimSuffix(l, "\n"))
	}
	s.end()
	return s.out
}

// scanner reads Markdown line by line.
type scanner struct {
	out     []block
	part    []string
	path    []string // headings, by their level
	fence   string   // that a fenced part ends with; "": none is open
	section bool     // the next part begins a section
}

func (s *scanner) line(l string) {
	trimmed := strings.TrimSpace(l)
	switch {
	case s.fence != "":
		s.part = append(s.part, l)
		if strings.HasPrefix(trimmed, s.fence) && strings.Trim(trimmed, s.fence[:1]) == "" {
			s.fence = ""
			s.end()
		}
	case strings.HasPrefix(trimmed, "```"), strings.HasPrefix(trimmed, "~~~"):
		s.end()
		s.fence = trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, trimmed[:1]))]
		s.part = append(s.part, l)
	case trimmed == "":
		s.end()
	default:
		if level, title, ok := heading(l); ok {
			s.end()
			s.enter(level, title)
		}
		s.part = append(s.part, l)
		if _, _, ok := heading(l); ok {
			s.end()
		}
	}
}

// heading reads "## Title".
func heading(l string) (int, string, bool) {
	rest := strings.TrimLeft(l, "#")
	level := len(l) - len(rest)
	if level < 1 || level > 6 || rest != "" && !strings.HasPrefix(rest, " ") {
		return 0, "", false
	}
	return level, strings.TrimSpace(strings.TrimRight(rest, "# ")), true
}

func (s *scanner) enter(level int, title string) {
	for len(s.path) < level {
		s.path = append(s.path, "")
	}
	s.path = append(s.path[:level-1], title)
	s.section = true
}

func (s *scanner) end() {
	if len(s.part) == 0 {
		return
	}
	b := block{text: strings.Join(s.part, "\n"), before: "\n\n", heading: s.heading(), section: s.section}
	s.part, s.section = nil, false
	s.out = append(s.out, table(b)...)
}

// table cuts a table that has a header into its rows.
func table(b block) []block {
	rows := strings.Split(b.text, "\n")
	if len(rows) < 3 || !strings.HasPrefix(rows[0], "|") || strings.Trim(rows[1], "|-: ") != "" {
		return []block{b}
	}
	lead := rows[0] + "\n" + rows[1]
	out := make([]block, 0, len(rows)-2)
	for i, row := range rows[2:] {
		out = append(out, block{text: row, before: "\n", heading: b.heading, lead: lead, section: b.section && i == 0})
	}
	return out
}

func (s *scanner) heading() string {
	var out []string
	for _, h := range s.path {
		if h != "" {
			out = append(out, h)
		}
	}
	return strings.Join(out, " > ")
}
