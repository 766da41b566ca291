package cedar

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/stead-dev/stead"
)

// A tag has one value, and a label may have several, of texts that came together. Policies are asked about
// each combination of those that they look into, and all must hold: what is forbidden of one of them is
// forbidden, and what is permitted must be so for each.

// readings are the combinations of the labels that policies look into: one, unless such a label has several values. heads are the
// looks of all policies whose heads speak of the request, which bound how many there may be.
func readings(labels stead.Labels, heads, looks *uses) ([]types.Record, error) {
	if heads.context&atLabels == 0 || len(labels) == 0 {
		return onlyEmpty, nil
	}
	ways, n := []types.RecordMap{newest(labels, looks)}, 1
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		if len(labels[k]) < 2 || !heads.labels.has(k) {
			continue
		}
		if n *= len(labels[k]); n > MaxReadings {
			return nil, fmt.Errorf("%s and others have more than %d combinations of values", k, MaxReadings)
		}
		if !looks.labels.has(k) {
			continue
		}
		var more []types.RecordMap
		for _, way := range ways {
			for _, v := range labels[k] {
				way = maps.Clone(way)
				way[types.String(k)] = types.String(v)
				more = append(more, way)
			}
		}
		ways = more
	}
	out := make([]types.Record, len(ways))
	for i, way := range ways {
		out[i] = types.NewRecord(way)
	}
	return out, nil
}

// newest are the values that the labels that policies look into were given last. The others nobody sees.
func newest(labels stead.Labels, looks *uses) types.RecordMap {
	out := types.RecordMap{}
	for k := range labels {
		if looks.labels.has(k) {
			out[types.String(k)] = types.String(labels.Newest(k))
		}
	}
	return out
}

// onlyEmpty is the one reading where there are no labels.
var onlyEmpty = []types.Record{{}}

// tagsRead are the names of the tags that a policy, as Cedar writes it, asks for; any: there may be others.
func tagsRead(text string) (names []string, any bool) {
	for _, asked := range []string{"hasTag(", "getTag("} {
		for _, rest := range strings.Split(text, asked)[1:] {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil || !strings.HasPrefix(rest[len(quoted):], ")") {
				return nil, true
			}
			name, err := strconv.Unquote(quoted)
			if err != nil || strings.Contains(quoted, `\`) { // Cedar escapes in its own way
				return nil, true
			}
			names = append(names, name)
		}
	}
	return names, false
}

// join is what all readings say together.
func (s *Set) join(ways []matches) matches {
	var out matches
	var plain, asks []*rule
	lacking := false // of one reading no permit speaks
	for _, m := range ways {
		out.forbid, out.failed, out.errors = append(out.forbid, m.forbid...), append(out.failed, m.failed...), append(out.errors, m.errors...)
		allows, onApproval := apart(m.permit)
		switch {
		case len(allows) > 0:
			plain = append(plain, allows...)
		case len(onApproval) > 0:
			asks = append(asks, onApproval...)
		default:
			lacking = true
		}
	}
	slices.Sort(out.errors)
	out.errors = slices.Compact(out.errors)
	switch {
	case lacking && s.deny: // and so none is left
	case len(asks) > 0:
		out.permit = asks
	case !lacking:
		out.permit = plain
	}
	return out
}

// and are the matches of both.
func (m matches) and(x matches) matches {
	if x.none() {
		return m
	}
	return matches{
		forbid: slices.Concat(m.forbid, x.forbid), permit: slices.Concat(m.permit, x.permit),
		failed: slices.Concat(m.failed, x.failed), errors: slices.Concat(m.errors, x.errors),
	}
}

// none reports whether no policy spoke.
func (m matches) none() bool { return len(m.forbid)+len(m.permit)+len(m.failed) == 0 }
