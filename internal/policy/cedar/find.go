package cedar

import (
	"slices"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/stead-dev/stead/internal/policy"
)

// found are the policies of one set that may match a request, by what a match of theirs means. A question keeps it, for the next
// decision to use its room again.
type found struct {
	forbid, permit             []*rule // in force
	shadowForbid, shadowPermit []*rule
	looks                      uses // of all of them
	heads                      uses // of all policies whose heads speak of it
	asked                      bool // there are such policies
	seen                       []uint64
}

// of is where a policy belongs.
func (f *found) of(r *rule) *[]*rule {
	switch {
	case r.Mode == policy.Shadow && r.Effect == "permit":
		return &f.shadowPermit
	case r.Mode == policy.Shadow:
		return &f.shadowForbid
	case r.Effect == "permit":
		return &f.permit
	}
	return &f.forbid
}

func (f *found) empty() bool {
	return len(f.forbid)+len(f.permit)+len(f.shadowForbid)+len(f.shadowPermit) == 0
}

// reset forgets what was found, and keeps the room.
func (f *found) reset() {
	for _, l := range []*[]*rule{&f.forbid, &f.permit, &f.shadowForbid, &f.shadowPermit} {
		clear(*l)
		*l = (*l)[:0]
	}
	f.heads.reset()
	f.looks.reset()
	clear(f.seen)
	f.asked, f.seen = false, f.seen[:0]
}

// byHeads finds what may be looked into.
func (f *found) byHeads(sh *shelf, about []types.EntityUID) {
	if sh == nil {
		return
	}
	if sh.headless != nil {
		f.asked = true
		f.heads.and(sh.headless)
	}
	for i, uid := range about {
		if u := sh.heads[uid]; u != nil && !contains(about[:i], uid) {
			f.asked = true
			f.heads.and(u)
		}
	}
}

// find finds the policies that a request has a fact for.
func (f *found) find(sh *shelf, q *question, rules int) {
	f.add(&sh.rest, q, rules)
	for i, uid := range q.about {
		if p := sh.things[uid]; p != nil && !contains(q.about[:i], uid) {
			f.add(p, q, rules)
		}
	}
	for i := range sh.attributes {
		f.byAttribute(&sh.attributes[i], q, rules)
	}
	for i := range sh.tags {
		f.byTags(&sh.tags[i], q, rules)
	}
	for i := range sh.ranges {
		f.byRange(&sh.ranges[i], q, rules)
	}
}

func (f *found) byAttribute(on *onAttribute, q *question, rules int) {
	v, ok := q.attribute(on.of)
	if !ok { // what is optional, and asked for first: Cedar says the same of all of them
		for _, m := range []map[types.Value]*pile{on.is, on.has} {
			for _, p := range m {
				f.add(p, q, rules)
			}
		}
		return
	}
	switch v := v.(type) {
	case types.Set:
		if len(on.has) == 0 {
			return
		}
		for member := range v.All() {
			if hashable(member) {
				f.add(on.has[member], q, rules)
			}
		}
	default:
		if hashable(v) {
			f.add(on.is[v], q, rules)
		}
	}
}

// hashable reports whether a value is of those that keys have: maps can't ask for all others.
func hashable(v types.Value) bool {
	switch v.(type) {
	case types.String, types.Long, types.Boolean:
		return true
	}
	return false
}

func (f *found) byTags(on *onTags, q *question, rules int) {
	switch {
	case q.given != nil:
		of, ok := q.given.Get(on.of)
		uid, isOne := of.(types.EntityUID)
		if !ok || !isOne {
			return // and so it has no tags
		}
		e, _ := q.Get(uid)
		for name, v := range e.Tags.All() {
			f.byTag(on, name, v, q, rules)
		}
	case on.of == "labels":
		for name, values := range q.req.Labels {
			f.add(on.has[types.String(name)], q, rules)
			for _, v := range values { // of which one counts in each reading
				f.add(on.is[tagged{types.String(name), types.String(v)}], q, rules)
			}
			if len(values) == 0 {
				f.add(on.is[tagged{name: types.String(name)}], q, rules)
			}
		}
	case on.of == "numbers":
		for name, v := range q.amounts {
			f.byTag(on, name, v, q, rules)
		}
	default:
		for name, v := range q.texts {
			f.byTag(on, name, v, q, rules)
		}
	}
}

// byTag finds those of a tag that is there.
func (f *found) byTag(on *onTags, name types.String, v types.Value, q *question, rules int) {
	f.add(on.has[name], q, rules)
	if text, ok := v.(types.String); ok {
		f.add(on.is[tagged{name, text}], q, rules)
	}
}

// fewEntries is how many policies of a pile have what they look into counted one by one, which makes less of the request than what
// all of the pile do.
const fewEntries = 4

// add adds those of a pile's policies that may match, each once; nil: there are none. rules is how many the set has.
func (f *found) add(p *pile, q *question, rules int) {
	if p == nil || len(p.entries) == 0 {
		return
	}
	const bits = 64
	if p.repeats && len(f.seen) == 0 {
		f.seen = append(f.seen, make([]uint64, (rules+bits-1)/bits)...)
	}
	var few [fewEntries]*rule
	n := 0
	for i := range p.entries {
		e := &p.entries[i]
		if !q.meets(e.also) {
			continue
		}
		if p.repeats {
			word, bit := &f.seen[e.place/bits], uint64(1)<<(e.place%bits)
			if *word&bit != 0 {
				continue
			}
			*word |= bit
		}
		to := f.of(e.rule)
		*to = append(*to, e.rule)
		if n < fewEntries {
			few[n] = e.rule
		}
		n++
	}
	if n > fewEntries {
		f.looks.and(p.looks)
		return
	}
	for _, r := range few[:n] {
		f.looks.and(&r.looks)
	}
}

// meets reports whether a request may have one of each.
func (q *question) meets(all []anyOf) bool {
	for _, of := range all {
		one := false
		for i := range of {
			if one = q.may(&of[i]); one {
				break
			}
		}
		if !one {
			return false
		}
	}
	return true
}

// may reports whether a request may have a fact.
func (q *question) may(k *key) bool {
	switch k.kind {
	case isAbout:
		return contains(q.about, k.thing)
	case valueIs:
		v, ok := q.attribute(k.of)
		return !ok || hashable(v) && v == k.value
	case hasTag, tagIs:
		return q.mayTag(k)
	case inRange:
		v, known := q.operand(k.operand)
		return !known || v != nil && k.passed(v)
	}
	return true
}

// mayTag is may for tags.
func (q *question) mayTag(k *key) bool {
	if q.given != nil {
		return true
	}
	var v types.Value
	var ok bool
	switch k.of {
	case "labels":
		values, ok := q.req.Labels[string(k.name)]
		return ok && (k.kind == hasTag || len(values) == 0 || slices.ContainsFunc(values, func(v string) bool { return types.String(v).Equal(k.value) }))
	case "numbers":
		v, ok = q.amounts[k.name]
	default:
		v, ok = q.texts[k.name]
	}
	return ok && (k.kind == hasTag || v.Equal(k.value))
}

func contains(list []types.EntityUID, uid types.EntityUID) bool {
	for _, x := range list {
		if x == uid {
			return true
		}
	}
	return false
}
