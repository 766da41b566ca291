package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxNearBytes is the longest name that is compared letter by letter.
const maxNearBytes = 128

// Near returns the names most like the wanted one, best first: few letters apart, or one within
// the other.
func Near(want string, names []string) []string {
	type match struct {
		name string
		far  int
	}
	var found []match
	w := strings.ToLower(want)
	if w == "" || len(w) > maxNearBytes {
		return nil
	}
	for _, n := range names {
		l := strings.ToLower(n)
		if l == "" || len(l) > maxNearBytes {
			continue
		}
		d := distance(w, l)
		if d <= max(2, len(w)/4) || strings.Contains(l, w) || strings.Contains(w, l) {
			found = append(found, match{n, d})
		}
	}
	slices.SortFunc(found, func(a, b match) int {
		return cmp.Or(cmp.Compare(a.far, b.far), cmp.Compare(a.name, b.name))
	})
	var out []string
	for _, m := range found[:min(len(found), MaxHints)] {
		out = append(out, m.name)
	}
	return out
}

func didYouMean(names []string) string {
	if len(names) == 0 {
		return ""
	}
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%.80q", n)
	}
	return "Did you mean " + strings.Join(quoted, " or ") + "?"
}

// distance counts the bytes to insert, delete or replace between a and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
