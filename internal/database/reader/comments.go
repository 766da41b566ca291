package reader

import "strings"

// commentsOf finds the comments of a CREATE TABLE of SQLite, which has no other place for them: those before the columns, and in the line in which these
// begin, are the table's, one behind a column, in its line, is that column's, and one in lines of its own the next column's. Columns are in small letters.
func commentsOf(made string) (table string, columns map[string]string) {
	columns = map[string]string{}
	p := &createParser{text: made}
	for p.next() {
		switch {
		case p.comment != "" && (p.depth == 0 || p.last == "" && p.lines == p.opened):
			table = join(table, p.comment)
		case p.comment != "" && p.depth >= 1 && p.behind():
			columns[p.last] = join(columns[p.last], p.comment)
		case p.comment != "":
			p.waiting = join(p.waiting, p.comment)
		case p.word != "" && p.depth == 1 && p.begins:
			p.begins, p.column = false, strings.ToLower(p.word)
			p.last, p.line = p.column, p.lines
			if p.waiting != "" {
				columns[p.column] = join(columns[p.column], p.waiting)
				p.waiting = ""
			}
		}
	}
	return table, columns
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + " " + b
}

// createParser goes through a CREATE, piece by piece.
type createParser struct {
	text          string
	at, depth     int
	lines         int
	opened        int  // the line of the first parenthesis
	begins        bool // the next word names a column
	column, last  string
	line          int // where the last column was gone on with
	waiting       string
	comment, word string // the piece
}

// behind reports whether a comment stands in the line of a column.
func (p *createParser) behind() bool { return p.last != "" && p.line == p.lines }

// next moves to the next comment or word.
func (p *createParser) next() bool {
	p.comment, p.word = "", ""
	for p.at < len(p.text) {
		rest := p.text[p.at:]
		c := rest[0]
		switch {
		case strings.HasPrefix(rest, "--"):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			p.at += end
			p.comment = strings.TrimSpace(strings.TrimLeft(rest[:end], "-"))
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest[2:], "*/")
			if end < 0 {
				end = len(rest) - 2
			}
			p.comment = strings.Join(strings.Fields(strings.ReplaceAll(rest[2:2+end], "*", " ")), " ")
			p.at = min(p.at+end+4, len(p.text))
			if strings.Contains(rest[2:2+end], "\n") {
				defer func(n int) { p.lines += n }(strings.Count(rest[2:2+end], "\n"))
			}
		case strings.IndexByte(`"'`+"`[", c) >= 0:
			p.word = p.quoted(c)
		case c == '\n':
			p.lines++
			p.at++
		case c == '(':
			if p.depth++; p.depth == 1 {
				p.begins, p.opened = true, p.lines
			}
			p.at++
		case c == ')':
			p.depth--
			p.at++
		case c == ',':
			if p.at++; p.depth == 1 {
				p.begins = true
			}
		case c == ' ' || c == '\t' || c == '\r':
			p.at++
		default:
			n := 1
			for p.at+n < len(p.text) && strings.IndexByte(" \t\r\n(),\"'`[", p.text[p.at+n]) < 0 && !strings.HasPrefix(p.text[p.at+n:], "--") && !strings.HasPrefix(p.text[p.at+n:], "/*") {
				n++
			}
			p.word = rest[:n]
			p.at += n
		}
		if p.comment != "" || p.word != "" {
			if p.word != "" && !p.begins && p.depth >= 1 {
				p.line = p.lines // a column may go on over lines
			}
			return true
		}
	}
	return false
}

func (p *createParser) quoted(open byte) string {
	end := open
	if open == '[' {
		end = ']'
	}
	var b strings.Builder
	for p.at++; p.at < len(p.text); p.at++ {
		c := p.text[p.at]
		if c == end {
			if end != ']' && p.at+1 < len(p.text) && p.text[p.at+1] == end {
				p.at++
			} else {
				p.at++
				break
			}
		}
		if c == '\n' {
			p.lines++
		}
		b.WriteByte(c)
	}
	return b.String()
}
