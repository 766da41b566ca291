package vectorstore

import (
	"cmp"
	"slices"

	"github.com/stead-dev/stead"
)

// Filter selects files by their attributes. The zero Filter selects all.
type Filter struct {
	Type    string   // "eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"; "and", "or"
	Key     string   // of a comparison
	Values  []any    // that are compared with, strings, float64s and bools: one, but for "in" and "nin"
	Filters []Filter // of "and" and "or"
}

// Comparisons are the types of a filter with a key.
func Comparisons() []string { return []string{"eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"} }

// check counts the filters, and bounds how deep they lie.
func (f Filter) check(depth int, left *int) error {
	if *left--; *left < 0 || depth > maxFilterDepth {
		return stead.Invalid("filters", "filters has more than %d of them, or more than %d inside of each other", MaxFilters, maxFilterDepth)
	}
	for _, sub := range f.Filters {
		if err := sub.check(depth+1, left); err != nil {
			return err
		}
	}
	return nil
}

// allows says whether a file with these attributes is selected. One without the key differs from every value.
func (f Filter) allows(attributes map[string]any) bool {
	allowed := func(sub Filter) bool { return sub.allows(attributes) }
	have, ok := attributes[f.Key]
	equal := func(v any) bool { return ok && v == have }
	switch f.Type {
	case "":
		return true
	case "and":
		return !slices.ContainsFunc(f.Filters, func(sub Filter) bool { return !allowed(sub) })
	case "or":
		return slices.ContainsFunc(f.Filters, allowed)
	case "eq", "in":
		return slices.ContainsFunc(f.Values, equal)
	case "ne", "nin":
		return !slices.ContainsFunc(f.Values, equal)
	}
	if !ok || len(f.Values) != 1 {
		return false
	}
	c, comparable := compare(have, f.Values[0])
	if !comparable {
		return false
	}
	switch f.Type {
	case "gt":
		return c > 0
	case "gte":
		return c >= 0
	case "lt":
		return c < 0
	default:
		return c <= 0
	}
}

// compare orders numbers, and texts by their bytes; there is no order between the two.
func compare(a, b any) (int, bool) {
	switch a := a.(type) {
	case float64:
		b, ok := b.(float64)
		return cmp.Compare(a, b), ok
	case string:
		b, ok := b.(string)
		return cmp.Compare(a, b), ok
	}
	return 0, false
}
