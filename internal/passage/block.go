package passage

import "strings"

// A document may have millions of parts: each is told and let go, instead of being kept in a list beside the others.

// paragraphs are parted by empty lines.
func paragraphs(text string, tell func(block)) {
	line := 1
	for p := range strings.SplitSeq(text, "\n\n") {
		if strings.TrimSpace(p) != "" {
			body := strings.TrimLeft(p, "\n")
			tell(block{text: strings.TrimRight(body, "\n"), before: "\n\n", line: line + len(p) - len(body)})
		}
		line += strings.Count(p, "\n") + 2
	}
}

// lines are parts by themselves.
func lines(text string, tell func(block)) {
	line := 0
	for l := range strings.Lines(text) {
		if line++; strings.TrimSpace(l) != "" {
			tell(block{text: strings.TrimSuffix(l, "\n"), before: "\n", line: line})
		}
	}
}

// gather puts lines together until begins says that one begins a part.
func gather(text string, tell func(block), begins func(line string, blank bool) bool) {
	var part strings.Builder
	blank := false // the line before was empty
	told := false
	line, from := 0, 1 // the line at hand, and the one that the part begins with
	end := func() {
		if strings.TrimSpace(part.String()) != "" {
			tell(block{text: strings.TrimRight(part.String(), "\n"), before: "\n", line: from})
			told = true
		}
		part.Reset()
		from = line
	}
	for l := range strings.Lines(text) {
		line++
		if begins(l, blank) {
			end()
			if blank && told {
				part.WriteString("\n") // the empty line stays in front
				from--
			}
		}
		part.WriteString(l)
		blank = strings.TrimSpace(l) == ""
	}
	end()
}

// definitions begin at the left margin, after an empty line.
func definitions(text string, tell func(block)) {
	gather(text, tell, func(l string, blank bool) bool {
		return blank && strings.TrimSpace(l) != "" && !strings.HasPrefix(l, " ") && !strings.HasPrefix(l, "\t") && !strings.ContainsAny(l[:1], "})]")
	})
}

// members are those of the outermost value of indented JSON.
func members(text string, tell func(block)) {
	gather(text, tell, func(l string, _ bool) bool {
		return strings.HasPrefix(l, "  ") && len(l) > 2 && !strings.ContainsAny(l[2:3], " ]}")
	})
}

// records are those of CSV; the header, with the titles above it, leads all of them.
func records(text string, tell func(block)) {
	comma := separator(text)
	head, at := headOf(text, comma)
	told := false
	line := 1 + strings.Count(text[:at], "\n")
	for rest := text[at:]; rest != ""; {
		end := recordEnd(rest, comma)
		record := strings.Trim(rest[:end], "\n")
		from := line + end - len(strings.TrimLeft(rest[:end], "\n"))
		line += strings.Count(rest[:end], "\n")
		if rest = rest[end:]; record != "" {
			if !told && head.title != "" {
				tell(block{text: head.title, before: "\n"})
			}
			tell(block{text: record, before: "\n", lead: head.lead, line: from})
			told = true
		}
	}
	if !told {
		lines(text, tell)
	}
}

// recordEnd is the place behind the first record: its line ends it, unless that stands within a quoted field. A quote that
// ends no field is a letter, as spreadsheets have it. (A reader of the fields would take hundreds of bytes for each.)
func recordEnd(text string, comma byte) int {
	quoted, begins := false, true // within a quoted field; at the beginning of one
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quoted && c == '"':
			if next := text[i+1:]; strings.HasPrefix(next, `"`) {
				i++
			} else if next == "" || next[0] == comma || next[0] == '\n' {
				quoted = false
			}
		case quoted:
		case c == '\n':
			return i + 1
		case c == '"' && begins:
			quoted = true
		}
		begins = !quoted && c == comma
	}
	return len(text)
}

// sections are the paragraphs, lists, tables and fenced parts of Markdown, under their headings.
func sections(text string, tell func(block)) {
	s := scanner{text: text, tell: tell}
	for l := range strings.Lines(text) {
		s.number++
		s.line(strings.TrimSuffix(l, "\n"))
		s.at += len(l)
	}
	s.end()
}

// scanner reads Markdown line by line.
type scanner struct {
	text    string
	tell    func(block)
	at      int      // where the line at hand begins
	number  int      // of the line at hand, from 1
	first   int      // number of the line that the part begins with
	from    int      // the part at hand
	to      int      // its end; from: there is none
	path    []string // headings, by their level
	heading string   // path in one line
	fence   string   // that a fenced part ends with; "": none is open
	section bool     // the next part begins a section
}

func (s *scanner) line(l string) {
	trimmed := strings.TrimSpace(l)
	switch {
	case s.fence != "":
		s.take(l)
		if strings.HasPrefix(trimmed, s.fence) && strings.Trim(trimmed, s.fence[:1]) == "" {
			s.fence = ""
			s.end()
		}
	case strings.HasPrefix(trimmed, "```"), strings.HasPrefix(trimmed, "~~~"):
		s.end()
		s.fence = trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, trimmed[:1]))]
		s.take(l)
	case trimmed == "":
		s.end()
	default:
		if level, title, ok := heading(l); ok {
			s.end()
			s.enter(level, title)
		}
		s.take(l)
		if _, _, ok := heading(l); ok {
			s.end()
		}
	}
}

// take adds the line at hand to the part.
func (s *scanner) take(l string) {
	if s.from == s.to {
		s.from, s.first = s.at, s.number
	}
	s.to = s.at + len(l)
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
	s.path = append(s.path[:level-1], shortened(title))
	s.section = true
	var out []string
	for _, h := range s.path {
		if h != "" {
			out = append(out, h)
		}
	}
	s.heading = strings.Join(out, " > ")
}

// shortened is a title as it stands in the heading of each passage below it: all of it is in its own passage.
func shortened(title string) string {
	if len(title) <= MaxTitle {
		return title
	}
	const mark = "…"
	return strings.Clone(strings.ToValidUTF8(title[:MaxTitle-len(mark)], "")) + mark
}

func (s *scanner) end() {
	if s.from == s.to {
		return
	}
	b := block{text: s.text[s.from:s.to], before: "\n\n", heading: s.heading, section: s.section, line: s.first}
	s.from, s.to, s.section = 0, 0, false
	table(b, s.tell)
}

// table cuts a table that has a header into its rows; another part is told as it is.
func table(b block, tell func(block)) {
	header, rest, _ := strings.Cut(b.text, "\n")
	rule, rows, ok := strings.Cut(rest, "\n")
	if !ok || !strings.HasPrefix(header, "|") || strings.Trim(rule, "|-: ") != "" {
		tell(b)
		return
	}
	lead := b.text[:len(header)+1+len(rule)]
	const above = 2 // the header and its rule
	b.line += above
	for row := range strings.SplitSeq(rows, "\n") {
		tell(block{text: row, before: "\n", heading: b.heading, lead: lead, section: b.section, line: b.line})
		b.section = false
		b.line++
	}
}
