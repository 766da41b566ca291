package cedar

import "maps"

// uses says which parts of a request a policy looks into, or several do.
type uses struct {
	context   attributes
	labels    tagNames
	arguments tagNames // and numbers
}

// tagNames are the names of tags that are looked at.
type tagNames struct {
	written []names // in policies; those of labels may be among those of arguments, and the other way round
	any     bool    // a name is not written out
}

type names map[string]struct{}

// usesOf is what a policy, as Cedar writes it, looks into.
func usesOf(text string) uses {
	u := uses{context: attributesRead(text)}
	if u.context&(atLabels|atArguments|atNumbers) == 0 {
		return u
	}
	read, unwritten := tagsRead(text)
	tags := tagNames{any: unwritten}
	if len(read) > 0 {
		tags.written = []names{{}}
	}
	for _, name := range read {
		tags.written[0][name] = struct{}{}
	}
	if u.context&atLabels != 0 {
		u.labels = tags
	}
	if u.context&(atArguments|atNumbers) != 0 {
		u.arguments = tags
	}
	return u
}

// add counts in what one more policy looks into, while the index is made.
func (u *uses) add(more uses) {
	u.context |= more.context
	u.labels.add(more.labels)
	u.arguments.add(more.arguments)
}

func (t *tagNames) add(more tagNames) {
	t.any = t.any || more.any
	if len(more.written) > 0 && len(t.written) == 0 {
		t.written = []names{{}}
	}
	for _, m := range more.written {
		maps.Copy(t.written[0], m)
	}
}

// and counts in what others look into, while a decision is made.
func (u *uses) and(more *uses) {
	u.context |= more.context
	u.labels.and(&more.labels)
	u.arguments.and(&more.arguments)
}

func (t *tagNames) and(more *tagNames) {
	t.any, t.written = t.any || more.any, append(t.written, more.written...)
}

// reset forgets all, and keeps the room.
func (u *uses) reset() {
	u.context = 0
	u.labels.reset()
	u.arguments.reset()
}

func (t *tagNames) reset() {
	clear(t.written)
	*t = tagNames{written: t.written[:0]}
}

// has reports whether a tag of this name may be looked at.
func (t *tagNames) has(name string) bool {
	if t.any {
		return true
	}
	for _, m := range t.written {
		if _, ok := m[name]; ok {
			return true
		}
	}
	return false
}

// hasBytes is has for a name that was put together.
func (t *tagNames) hasBytes(name []byte) bool {
	if t.any {
		return true
	}
	for _, m := range t.written {
		if _, ok := m[string(name)]; ok {
			return true
		}
	}
	return false
}
