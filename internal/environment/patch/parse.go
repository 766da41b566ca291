package patch

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/stead-dev/stead"
)

// The markers.
const (
	begin     = "*** Begin Patch"
	end       = "*** End Patch"
	addFile   = "*** Add File:"
	delFile   = "*** Delete File:"
	updFile   = "*** Update File:"
	moveTo    = "*** Move to:"
	endOfFile = "*** End of File"
	place     = "@@"
)

// Parse reads a patch. Space around it and its markers, and a here-document around all of it, are
// forgiven.
func Parse(text string) (*Patch, error) {
	if len(text) > MaxBytes {
		return nil, &stead.Error{Kind: stead.KindTooLarge, Param: "patch", Message: fmt.Sprintf("the patch has %d bytes; the limit is %d", len(text), MaxBytes)}
	}
	lines := strings.Split(strings.ReplaceAll(strings.TrimSpace(text), "\r\n", "\n"), "\n")
	p := parser{lines: lines}
	if first := lines[0]; strings.HasPrefix(first, "<<") && len(lines) > 2 {
		word := strings.Trim(first[2:], `'"`)
		if word != "" && strings.TrimSpace(lines[len(lines)-1]) == word {
			p.at, p.lines = 1, lines[:len(lines)-1]
		}
	}
	return p.patch()
}

// parser goes through the lines of a patch.
type parser struct {
	lines []string
	at    int // the line that is next, from 0
}

// fail is an error in the line that is next.
func (p *parser) fail(hint, format string, args ...any) error {
	return &stead.Error{Kind: stead.KindInvalid, Param: "patch", Message: inLine(p.at+1, format, args...), Hint: hint}
}

// inLine makes a sentence about a line of the patch.
func inLine(line int, format string, args ...any) string {
	return fmt.Sprintf("line %d of the patch: ", line) + fmt.Sprintf(format, args...)
}

// marker is the next line without the space around it; "" behind the last one.
func (p *parser) marker() string {
	if p.at >= len(p.lines) {
		return ""
	}
	return strings.TrimSpace(p.lines[p.at])
}

func (p *parser) patch() (*Patch, error) {
	if p.marker() != begin {
		return nil, p.fail("", "a patch begins with the line %q, not with %s", begin, shown(p.marker()))
	}
	if strings.TrimSpace(p.lines[len(p.lines)-1]) != end {
		p.at = len(p.lines) - 1
		return nil, p.fail("If the patch was cut off, make it in smaller parts.", "a patch ends with the line %q, not with %s", end, shown(p.marker()))
	}
	p.lines = p.lines[:len(p.lines)-1]
	patch := &Patch{}
	for p.at++; p.at < len(p.lines); {
		if p.marker() == "" {
			p.at++
			continue
		}
		if len(patch.Operations) == MaxFiles {
			return nil, p.fail("", "a patch has at most %d files", MaxFiles)
		}
		o, err := p.operation()
		if err != nil {
			return nil, err
		}
		patch.Operations = append(patch.Operations, o)
	}
	if len(patch.Operations) == 0 {
		return nil, p.fail("", "the patch names no file")
	}
	return patch, nil
}

func (p *parser) operation() (Operation, error) {
	o := Operation{Line: p.at + 1}
	for kind, marker := range map[Kind]string{Add: addFile, Delete: delFile, Update: updFile} {
		if rest, ok := strings.CutPrefix(p.marker(), marker); ok {
			o.Kind, o.Path = kind, strings.TrimSpace(rest)
		}
	}
	if o.Kind == "" {
		return o, p.fail("Lines of an added file begin with \"+\"; lines of a hunk with a space, \"-\" or \"+\".",
			"expected %q, %q or %q, not %s", addFile, delFile, updFile, shown(p.lines[p.at]))
	}
	if o.Path == "" {
		return o, p.fail("", "the path is missing")
	}
	p.at++
	switch o.Kind {
	case Add:
		var content strings.Builder
		for ; p.at < len(p.lines) && strings.HasPrefix(p.lines[p.at], "+"); p.at++ {
			content.WriteString(p.lines[p.at][1:] + "\n")
		}
		o.Content = content.String()
		return o, nil
	case Delete:
		return o, nil
	}
	return o, p.update(&o)
}

func (p *parser) update(o *Operation) error {
	if rest, ok := strings.CutPrefix(p.marker(), moveTo); ok {
		if o.MoveTo = strings.TrimSpace(rest); o.MoveTo == "" {
			return p.fail("", "the path is missing")
		}
		p.at++
	}
	for {
		for p.at < len(p.lines) && p.marker() == "" {
			p.at++
		}
		if p.at == len(p.lines) || strings.HasPrefix(p.lines[p.at], "***") {
			break
		}
		h, err := p.hunk(len(o.Hunks) == 0)
		if err != nil {
			return err
		}
		o.Hunks = append(o.Hunks, h)
	}
	if len(o.Hunks) == 0 && o.MoveTo == "" {
		return p.fail("", "the update of %q has no hunk", o.Path)
	}
	return nil
}

// unified is what stands behind "@@" in a unified diff: numbers, which models get wrong, and perhaps
// a line above.
var unified = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^-\d+(,\d+)? \+\d+(,\d+)? @@ ?`) })

// hunk reads one hunk; the first of a file may lack its "@@".
func (p *parser) hunk(first bool) (Hunk, error) {
	h := Hunk{Line: p.at + 1}
	for strings.HasPrefix(p.marker(), place) {
		above := strings.TrimPrefix(strings.TrimLeft(p.lines[p.at], " \t")[len(place):], " ")
		above = unified().ReplaceAllString(above, "")
		if strings.TrimSpace(above) != "" {
			h.Above = append(h.Above, above)
		}
		p.at++
		first = true
	}
	if !first {
		return h, p.fail("", "a hunk begins with %q, not with %s", place, shown(p.lines[p.at]))
	}
	for ; p.at < len(p.lines); p.at++ {
		line := p.lines[p.at]
		switch {
		case p.marker() == endOfFile && !strings.HasPrefix(line, " "):
			h.AtEnd = true
			p.at++
			return h, p.notEmpty(h)
		case line == "":
			h.Lines = append(h.Lines, Line{' ', ""})
		case line[0] == ' ' || line[0] == '-' || line[0] == '+':
			h.Lines = append(h.Lines, Line{line[0], line[1:]})
		case strings.HasPrefix(line, "***") || strings.HasPrefix(line, place):
			return p.withoutTail(h), p.notEmpty(h)
		default:
			return h, p.fail("", "a line of a hunk begins with a space, \"-\" or \"+\", not like %s", shown(line))
		}
	}
	return p.withoutTail(h), p.notEmpty(h)
}

// withoutTail drops empty lines at the end of a hunk: they separate it from what follows.
func (p *parser) withoutTail(h Hunk) Hunk {
	n := len(h.Lines)
	for n > 0 && h.Lines[n-1] == (Line{' ', ""}) && p.lines[p.at-1-(len(h.Lines)-n)] == "" {
		n--
	}
	h.Lines = h.Lines[:n]
	return h
}

func (p *parser) notEmpty(h Hunk) error {
	for _, l := range h.Lines {
		if l.Op != ' ' {
			return nil
		}
	}
	p.at = h.Line - 1
	return p.fail("", "the hunk neither adds nor removes a line")
}

// shownBytes is how much of a line stands in a message.
const shownBytes = 160

func shown(line string) string {
	if line == "" {
		return "an empty line"
	}
	if len(line) > shownBytes {
		line = strings.ToValidUTF8(line[:shownBytes], "") + "…"
	}
	return fmt.Sprintf("%q", line)
}

// message is what a client may see of an error.
func message(err error) string {
	if e, ok := errors.AsType[*stead.Error](err); ok {
		return e.Message
	}
	return "the file can't be used"
}
