package patch

import (
	"strings"
	"unicode"
)

// How exactly lines were found.
const (
	exact = iota
	trailing
	around
	typography
)

// views are lines as each way of comparing sees them.
func views() []func(string) string {
	return []func(string) string{
		exact:      func(s string) string { return s },
		trailing:   func(s string) string { return strings.TrimRightFunc(s, unicode.IsSpace) },
		around:     strings.TrimSpace,
		typography: plain,
	}
}

// find looks for lines that stand together, from a line on, or at the end first; -1 for nowhere.
func find(lines, want []string, from int, atEnd bool) (at, how int) {
	last := len(lines) - len(want)
	if last < from {
		return -1, exact
	}
	for how, view := range views() {
		seen := make([]string, len(want))
		for i, w := range want {
			seen[i] = view(w)
		}
		if atEnd && matches(lines[last:], seen, view) {
			return last, how
		}
		for i := from; i <= last; i++ {
			if matches(lines[i:], seen, view) {
				return i, how
			}
		}
	}
	return -1, exact
}

func matches(lines, seen []string, view func(string) string) bool {
	for i, s := range seen {
		if view(lines[i]) != s {
			return false
		}
	}
	return true
}

// plain takes typographic characters for those of a keyboard.
func plain(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r >= '\u2010' && r <= '\u2015' || r == '\u2212':
			return '-'
		case r >= '\u2018' && r <= '\u201b':
			return '\''
		case r >= '\u201c' && r <= '\u201f':
			return '"'
		case r == '\u00a0' || r >= '\u2002' && r <= '\u200a' || r == '\u202f' || r == '\u205f' || r == '\u3000':
			return ' '
		}
		return r
	}, s))
}

// nearestSteps bounds the comparisons that are made for an error message.
const nearestSteps = 20_000_000

// nearest is the place with the most equal lines, and the first of the wanted lines that differs there;
// -1 when no line that says something is equal anywhere, or the file is too long to look.
func nearest(lines, want []string) (at, differs int) {
	at = -1
	if len(lines)*len(want) > nearestSteps {
		return at, 0
	}
	seen, there := make([]string, len(want)), make([]string, len(lines))
	for i, w := range want {
		seen[i] = plain(w)
	}
	for i, l := range lines {
		there[i] = plain(l)
	}
	best := 0
	for i := 1 - len(want); i < len(lines); i++ {
		equal, first := 0, -1
		for j, s := range seen {
			switch {
			case i+j >= 0 && i+j < len(there) && there[i+j] == s:
				if s != "" {
					equal++
				}
			case first < 0:
				first = j
			}
		}
		if i >= 0 && equal > best && first >= 0 {
			best, at, differs = equal, i, first
		}
	}
	return at, differs
}
