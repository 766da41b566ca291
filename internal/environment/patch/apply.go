package patch

import (
	"fmt"
	"strings"

	"github.com/stead-dev/stead"
)

// update makes a file's new content.
func update(content string, o Operation) (string, bool, error) {
	t := newText(content)
	u := updater{operation: o, lines: t.lines, fuzziest: exact}
	for i := range o.Hunks {
		if err := u.apply(i); err != nil {
			return "", false, err
		}
	}
	u.out = append(u.out, u.lines[u.copied:]...)
	keepsEnd := u.copied < len(u.lines) || len(o.Hunks) == 0
	return t.join(u.out, keepsEnd), u.fuzziest > exact, nil
}

// text is a file in lines, without their ends.
type text struct {
	lines []string
	crlf  bool // lines end with CR LF; their CR is cut off
	open  bool // the last line has no end
}

func newText(content string) text {
	if content == "" {
		return text{}
	}
	t := text{crlf: strings.Contains(content, "\r\n") && strings.Count(content, "\r\n") == strings.Count(content, "\n")}
	if t.crlf {
		content = strings.ReplaceAll(content, "\r\n", "\n")
	}
	t.lines = strings.Split(content, "\n")
	if n := len(t.lines); t.lines[n-1] == "" {
		t.lines = t.lines[:n-1]
	} else {
		t.open = true
	}
	return t
}

// join puts lines together. A last line without an end stays so when it is the one that was there.
func (t text) join(lines []string, keepsEnd bool) string {
	ending := "\n"
	if t.crlf {
		ending = "\r\n"
	}
	out := strings.Join(lines, ending)
	if len(lines) > 0 && !(t.open && keepsEnd) {
		out += ending
	}
	return out
}

// updater goes through a file from the top; hunks are in the order of their places.
type updater struct {
	operation Operation
	lines     []string // of the file
	copied    int      // lines that are in out, or removed
	out       []string
	fuzziest  int
}

func (u *updater) apply(number int) error {
	h := u.operation.Hunks[number]
	from := u.copied
	for _, above := range h.Above {
		i, how := find(u.lines, []string{above}, from, false)
		if i < 0 {
			return u.missing(number, []string{above})
		}
		u.fuzziest = max(u.fuzziest, how)
		from = i + 1
	}
	var old []string
	for _, l := range h.Lines {
		if l.Op != '+' {
			old = append(old, l.Text)
		}
	}
	if len(old) == 0 {
		if len(h.Above) == 0 || h.AtEnd {
			from = len(u.lines)
		}
		u.take(h, from)
		return nil
	}
	i, how := find(u.lines, old, from, h.AtEnd)
	if n := len(h.Lines) - 1; i < 0 && len(old) > 1 && h.Lines[n].Op == ' ' && strings.TrimSpace(h.Lines[n].Text) == "" {
		// A hunk's last line is often an empty one that only the patch has.
		h.Lines, old = h.Lines[:n], old[:len(old)-1]
		i, how = find(u.lines, old, from, h.AtEnd)
	}
	if i < 0 {
		return u.missing(number, old)
	}
	u.fuzziest = max(u.fuzziest, how)
	u.take(h, i)
	return nil
}

// take copies the file up to a hunk's place, and the hunk with the file's own context lines.
func (u *updater) take(h Hunk, at int) {
	u.out = append(u.out, u.lines[u.copied:at]...)
	for _, l := range h.Lines {
		switch l.Op {
		case '+':
			u.out = append(u.out, l.Text)
		case ' ':
			u.out = append(u.out, u.lines[at])
			at++
		case '-':
			at++
		}
	}
	u.copied = at
}

// missing says what was not found, and what is most like it.
func (u *updater) missing(number int, want []string) error {
	h := u.operation.Hunks[number]
	e := &stead.Error{Kind: stead.KindInvalid, Param: "patch",
		Message: inLine(h.Line, "hunk %d of %q was not found in the file: ", number+1, u.operation.Path),
		Hint:    "Read the file again and take the lines from it as they are."}
	if i, _ := find(u.lines, want, 0, false); i >= 0 {
		e.Message += fmt.Sprintf("its lines are at line %d, above the hunk or the \"@@\" line before", i+1)
		e.Hint = "Put the hunks into the order in which their lines are in the file."
		return e
	}
	at, differs := nearest(u.lines, want)
	if at < 0 {
		e.Message += "nothing is like " + shown(firstText(want))
		return e
	}
	e.Message += fmt.Sprintf("the closest place is line %d; there, instead of %s, ", at+1, shown(want[differs]))
	if at+differs < len(u.lines) {
		e.Message += fmt.Sprintf("line %d is %s", at+differs+1, shown(u.lines[at+differs]))
	} else {
		e.Message += "the file ends"
	}
	return e
}

func firstText(lines []string) string {
	for _, l := range lines {
		if strings.TrimSpace(l) != "" {
			return l
		}
	}
	return lines[0]
}
