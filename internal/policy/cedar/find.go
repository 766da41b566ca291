package cedar

import "github.com/cedar-policy/cedar-go/types"

// found are the policies of one set that may match a request. A question keeps it, for the next decision to use its room again.
type found struct {
	pile
	heads uses // of all policies whose heads speak of it
	asked bool // there are such policies
	seen  []uint64
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
	f.asked, f.repeats, f.seen = false, false, f.seen[:0]
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
	f.add(&sh.rest, rules)
	for i, uid := range q.about {
		if p := sh.things[uid]; p != nil && !contains(q.about[:i], uid) {
			f.add(p, rules)
		}
	}
	for i := range sh.attributes {
		f.byAttribute(&sh.attributes[i], q, rules)
	}
	for i := range sh.tags {
		f.byTags(&sh.tags[i], q, rules)
	}
}

func (f *found) byAttribute(on *onAttribute, q *question, rules int) {
	v, ok := q.attribute(on.of)
	if !ok { // what is optional, and asked for first: Cedar says the same of all of them
		for _, m := range []map[types.Value]*pile{on.is, on.has} {
			for _, p := range m {
				f.add(p, rules)
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
				f.add(on.has[member], rules)
			}
		}
	default:
		if hashable(v) {
			f.add(on.is[v], rules)
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
			f.byTag(on.by[name], v, rules)
		}
	case on.of == "labels":
		for name, values := range q.req.Labels {
			t := on.by[types.String(name)]
			if t == nil {
				continue
			}
			f.add(&t.has, rules)
			for _, v := range values { // of which one counts in each reading
				f.add(t.is[types.String(v)], rules)
			}
			if len(values) == 0 {
				f.add(t.is[types.String("")], rules)
			}
		}
	case on.of == "numbers":
		for name, v := range q.amounts {
			f.byTag(on.by[name], v, rules)
		}
	default:
		for name, v := range q.texts {
			f.byTag(on.by[name], v, rules)
		}
	}
}

// byTag finds those of a tag that is there; t is nil where there are none.
func (f *found) byTag(t *onTag, v types.Value, rules int) {
	if t == nil {
		return
	}
	f.add(&t.has, rules)
	if hashable(v) {
		f.add(t.is[v], rules)
	}
}

// add adds a pile's policies, each once; nil: there are none. rules is how many the set has.
func (f *found) add(p *pile, rules int) {
	if p == nil || p.empty() {
		return
	}
	f.looks.and(&p.looks)
	if !p.repeats {
		f.forbid, f.permit = append(f.forbid, p.forbid...), append(f.permit, p.permit...)
		f.shadowForbid, f.shadowPermit = append(f.shadowForbid, p.shadowForbid...), append(f.shadowPermit, p.shadowPermit...)
		return
	}
	const bits = 64
	if len(f.seen) == 0 {
		f.seen = append(f.seen, make([]uint64, (rules+bits-1)/bits)...)
	}
	for _, of := range [][]*rule{p.forbid, p.permit, p.shadowForbid, p.shadowPermit} {
		for _, r := range of {
			word, bit := &f.seen[r.place/bits], uint64(1)<<(r.place%bits)
			if *word&bit == 0 {
				*word |= bit
				to := f.of(r)
				*to = append(*to, r)
			}
		}
	}
}

func contains(list []types.EntityUID, uid types.EntityUID) bool {
	for _, x := range list {
		if x == uid {
			return true
		}
	}
	return false
}
