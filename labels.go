package stead

import (
	"maps"
	"slices"
)

// Labels are what text that goes to a model is labelled with: metadata, of a call or a session and of the
// responses that were made in it.
//
//	key → its values, the newest last; more than one where texts of several labels have come together
//
// Rules that keep text somewhere hold for each of the values, whatever was said later: the text is still
// there. A Labels is never changed, so that it can be shared.
type Labels map[string][]string

// LabelsOf are the labels of metadata alone.
func LabelsOf(metadata map[string]string) Labels {
	if len(metadata) == 0 {
		return nil
	}
	out := make(Labels, len(metadata))
	for k, v := range metadata {
		out[k] = []string{v}
	}
	return out
}

// And are both, of which the others are newer.
func (l Labels) And(newer Labels) Labels {
	switch {
	case len(newer) == 0:
		return l
	case len(l) == 0:
		return newer
	}
	out := maps.Clone(l)
	for k, values := range newer {
		older := slices.DeleteFunc(slices.Clone(out[k]), func(v string) bool { return slices.Contains(values, v) })
		out[k] = append(older, values...)
	}
	return out
}

// Has reports whether some of the text is labelled so.
func (l Labels) Has(key, value string) bool { return slices.Contains(l[key], value) }

// Newest is the value that a key was given last; "" for none.
func (l Labels) Newest(key string) string {
	if v := l[key]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// Count is how many values there are, of all keys together.
func (l Labels) Count() int {
	n := 0
	for _, v := range l {
		n += len(v)
	}
	return n
}
