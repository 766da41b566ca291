package semantic

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// maxNear is how many near terms an error names, maxListed how many of a list that is short enough to be named whole.
const (
	maxNear   = 3
	maxListed = 12
)

// term is a name with the words that stand for it.
type term struct {
	kind     string // "metric", "entity", "action", "dimension"
	name     string
	synonyms []string
	about    string
}

// terms are those of a model.
type terms struct{ all []term }

// plain is how terms are compared: small letters, with _ between the words.
func plain(s string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return r == '_' || r == '-' || r == ' ' || r == '\t' }), "_")
}

// find gives the term that a word stands for: by its name, or else by a synonym that no other has.
func find(what, word string, all []term) (term, error) {
	w := plain(word)
	for _, t := range all {
		if t.name == word || plain(t.name) == w {
			return t, nil
		}
	}
	var found []term
	for _, t := range all {
		if slices.ContainsFunc(t.synonyms, func(s string) bool { return plain(s) == w }) {
			found = append(found, t)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return term{}, unknown(what, word, all)
	}
	e := stead.Invalid(what, "%.80q is ambiguous: it may be %s", word, strings.Join(described(found), ", or "))
	e.Hint = "Name one of them."
	return term{}, e
}

func described(all []term) []string {
	out := make([]string, len(all))
	for i, t := range all {
		out[i] = t.name
		if t.about != "" {
			out[i] += " (" + t.about + ")"
		}
	}
	return out
}

// unknown is the error for a word that stands for nothing.
func unknown(what, word string, all []term) error {
	e := stead.Invalid(what, "there is no %s %.80q", what, word)
	near := nearest(word, all)
	switch {
	case len(near) > 0:
		e.Hint = "Did you mean " + strings.Join(near, ", or ") + "?"
	case len(all) == 0:
		e.Hint = fmt.Sprintf("There is no %s at all.", what)
	default:
		names := make([]string, 0, maxListed+1)
		for _, t := range all {
			if len(names) == maxListed {
				names = append(names, "…")
				break
			}
			names = append(names, t.name)
		}
		e.Hint = "There are: " + strings.Join(names, ", ") + "."
	}
	return e
}

// nearest are the terms whose names or synonyms are like a word, the nearest first.
func nearest(word string, all []term) []string {
	type candidate struct {
		text string
		d    int
	}
	w := plain(word)
	var out []candidate
	for _, t := range all {
		best, by := distanceWithin(w, plain(t.name)), ""
		if _, last, dotted := cutLast(t.name); dotted {
			best = min(best, distanceWithin(w, plain(last)))
		}
		for _, s := range t.synonyms {
			if d := distanceWithin(w, plain(s)); d < best {
				best, by = d, s
			}
		}
		if best == far {
			continue
		}
		text := t.name
		if by != "" {
			text += fmt.Sprintf(" (also called %q)", by)
		}
		out = append(out, candidate{text, best})
	}
	slices.SortStableFunc(out, func(a, b candidate) int { return cmp.Or(cmp.Compare(a.d, b.d), cmp.Compare(a.text, b.text)) })
	names := []string{}
	for _, c := range out[:min(maxNear, len(out))] {
		names = append(names, c.text)
	}
	return names
}

// far is the distance of words that are not alike.
const far = 1 << 20

// distanceWithin is how many letters two words differ by, far when that is more than a third of them. A word that is a part
// of the other is near.
func distanceWithin(a, b string) int {
	const shortest = 3 // of a part that says something
	d := distance(a, b)
	if d <= max(1, max(len(a), len(b))/3) {
		return d
	}
	if short := min(len(a), len(b)); short >= shortest && (strings.Contains(a, b) || strings.Contains(b, a)) {
		return max(len(a), len(b)) - short + 1
	}
	return far
}

// distance counts inserted, removed, changed and swapped letters (optimal string alignment).
func distance(a, b string) int {
	const longest = 128
	s, t := []rune(a), []rune(b)
	if len(s) > longest || len(t) > longest {
		return far
	}
	before, last, row := make([]int, len(t)+1), make([]int, len(t)+1), make([]int, len(t)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(s); i++ {
		row[0] = i
		for j := 1; j <= len(t); j++ {
			change := 1
			if s[i-1] == t[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(t)]
}

// cutLast cuts "a.b.c" into "a.b" and "c".
func cutLast(s string) (before, last string, dotted bool) {
	if i := strings.LastIndexByte(s, '.'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return "", s, false
}
