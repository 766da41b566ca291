package cedar

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"

	"github.com/stead-dev/stead/internal/policy"
)

// Cedar says what is wrong in words. Here they become mistakes: with the place of the name that is at fault, and
// the names that may have been meant.

// unreadable finds the place in the error of a text that is no Cedar.
var unreadable = regexp.MustCompile(`(?s)^(?:parse error at )?<input>:(\d+):(\d+):? ?(.*)$`)

// parseMistake is the mistake of a text that can't be parsed.
func parseMistake(source string, err error) policy.Mistake {
	text := strings.TrimPrefix(err.Error(), "parser error: ")
	m := policy.Mistake{Source: source, Problem: text}
	if found := unreadable.FindStringSubmatch(text); found != nil {
		m.Line, _ = strconv.Atoi(found[1])
		m.Column, _ = strconv.Atoi(found[2])
		m.Problem = "parse error: " + strings.TrimSpace(found[3])
	}
	return m
}

// where is a stretch of a text that a policy takes.
type where struct {
	text         string
	line, column int // of its beginning, from 1
}

// at is the place of what stands in it first; its beginning, where that does not.
func (w where) at(name string) (line, column int) {
	i := strings.Index(w.text, name)
	if name == "" || i < 0 {
		return w.line, w.column
	}
	before := w.text[:i]
	if last := strings.LastIndexByte(before, '\n'); last >= 0 {
		return w.line + strings.Count(before, "\n"), len(before) - last
	}
	return w.line, w.column + len(before)
}

var (
	unknownAction    = regexp.MustCompile("^unrecognized action `Action::(\"(?:[^`\\\\]|\\\\.)*\")`$")
	unknownType      = regexp.MustCompile("^unrecognized entity type `([^`]*)`$")
	unknownAttribute = regexp.MustCompile("^attribute `([^`]*)` in context for Action::(\"[^\"]*\") not found$")
)

// noAction is what Cedar says as well of a policy with a name that is not known.
const noAction = "unable to find an applicable action given the policy scope constraints"

// explain makes mistakes of what the validator says of one policy.
func explain(known *resolved.Schema, w where, said error) []policy.Mistake {
	var out []policy.Mistake
	lines := distinct(said.Error())
	named := slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "unrecognized ") })
	for _, line := range lines {
		if named && line == noAction {
			continue
		}
		m := policy.Mistake{Problem: line}
		fault := ""
		switch {
		case unknownAction.MatchString(line):
			fault = unknownAction.FindStringSubmatch(line)[1]
			m.Near = near(unquoted(fault), actionNames(known))
		case unknownType.MatchString(line):
			name := unknownType.FindStringSubmatch(line)[1]
			fault, m.Near = name+"::", near(name, typeNames(known))
			if !strings.Contains(w.text, fault) { // is Name
				fault = name
			}
		case unknownAttribute.MatchString(line):
			found := unknownAttribute.FindStringSubmatch(line)
			fault, m.Near = found[1], near(found[1], contextNames(known, unquoted(found[2])))
		}
		m.Line, m.Column = w.at(fault)
		out = append(out, m)
	}
	slices.SortStableFunc(out, func(a, b policy.Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.CompactFunc(out, func(a, b policy.Mistake) bool { return a.String() == b.String() && a.Column == b.Column })
}

// distinct are the first lines of a text that are not the same: a mistake is told for every kind of request that it is one in.
func distinct(text string) (out []string) {
	seen := map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		if seen[line] {
			continue
		}
		if seen[line], out = true, append(out, line); len(out) == maxMistakes {
			break
		}
	}
	return out
}

func unquoted(s string) string {
	if plain, err := strconv.Unquote(s); err == nil {
		return plain
	}
	return strings.Trim(s, `"`)
}

func actionNames(known *resolved.Schema) []string {
	var out []string
	for uid := range known.Actions {
		out = append(out, string(uid.ID))
	}
	return out
}

func typeNames(known *resolved.Schema) []string {
	var out []string
	for t := range known.Entities {
		out = append(out, string(t))
	}
	return out
}

// contextNames are those of an action's context, and of the records in it.
func contextNames(known *resolved.Schema, action string) []string {
	a, ok := known.Actions[uid(typeAction, action)]
	if !ok || a.AppliesTo == nil {
		return nil
	}
	return recordNames(a.AppliesTo.Context)
}

func recordNames(r resolved.RecordType) []string {
	var out []string
	for name, a := range r {
		out = append(out, string(name))
		if inner, ok := a.Type.(resolved.RecordType); ok {
			out = append(out, recordNames(inner)...)
		}
	}
	return out
}

// near are the names that are written much like one: at most three, the nearest first.
func near(name string, among []string) []string {
	const most, letters = 3, 3 // one letter of three may be another
	far := map[string]int{}
	for _, x := range among {
		if d := distance(name, x); d <= max(1, len(name)/letters) {
			far[x] = d
		}
	}
	out := slices.SortedFunc(maps.Keys(far), func(a, b string) int { return cmp.Or(cmp.Compare(far[a], far[b]), cmp.Compare(a, b)) })
	return out[:min(most, len(out))]
}

// maxNameBytes is the longest name for which others are looked for: comparing takes the square of it.
const maxNameBytes = 64

// distance is how many letters two names differ by (Levenshtein).
func distance(a, b string) int {
	if len(a) > maxNameBytes || len(b) > maxNameBytes {
		return maxNameBytes
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
