package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory/recall"
)

// lecture is one Learn in the making.
type lecture struct {
	s      *Service
	look   *sight // what whoever learns does not see is not there
	place  Place
	by     stead.Principal
	now    int64
	since  int64             // what others write from here on has not been looked at; 0: that does not matter
	work   map[string]*draft // by id: what is new or changes
	order  []string
	taught Taught
	old    stale // what is not written, since it may repeat what is forgotten
}

// draft is an entry that is about to be written.
type draft struct {
	Record
	content Content
	fresh   bool
}

// lessonMemory names the memory of a lesson: by where it was found.
func lessonMemory(session stead.SessionID, at stead.Seq, i int) string {
	return fmt.Sprintf("%s%s%08x%04x", Prefix, strings.TrimPrefix(string(session), stead.SessionPrefix), int64(at), i)
}

func (l *lecture) prepare(ctx context.Context, session stead.SessionID, at stead.Seq, lessons []Lesson) error {
	ids := make([]string, len(lessons))
	for i := range lessons {
		ids[i] = lessonMemory(session, at, i)
	}
	if len(ids) == 0 {
		return nil
	}
	there, err := l.s.cfg.Store.ReadMemories(ctx, l.place, ids)
	if err != nil {
		return err
	}
	for i, lesson := range lessons {
		if slices.ContainsFunc(there, func(r Record) bool { return r.ID == ids[i] }) {
			l.taught.Added++ // it was written before: whoever wrote it did not live to say so
			continue
		}
		if err := l.learn(ctx, ids[i], lesson, ids); err != nil {
			return err
		}
	}
	return nil
}

// learn finds out what becomes of one lesson.
func (l *lecture) learn(ctx context.Context, id string, lesson Lesson, own []string) error {
	c := lesson.Content
	l.s.carried(&c)
	c.signed(l.by)
	if len(c.Sources) > 0 {
		c.Source = c.Sources[0]
	}
	c.ValidFrom = cmp.Or(c.ValidFrom, c.Source.At, l.now)
	if lesson.Subject != "" {
		c.Metadata = map[string]string{MetaSubject: lesson.Subject}
	}
	old := c.Supersedes
	c.Supersedes, c.SupersededBy = "", ""
	if err := c.prepare(); err != nil {
		return err
	}
	if err := l.look.mayWrite(&c); err != nil { // the others are kept
		if l.look.err == nil {
			l.taught.Refused = append(l.taught.Refused, Untaught{c.Kind, err.Error()})
		}
		return l.look.err
	}
	if l.old.of(&Entry{ID: id, Content: c}) {
		l.taught.Refused = append(l.taught.Refused, Untaught{c.Kind, "its session was shown what is forgotten by now"})
		return nil
	}
	near, err := l.near(ctx, c, lesson.Subject, own)
	if err != nil {
		return err
	}
	near = slices.DeleteFunc(near, func(n *draft) bool { return !sameLabels(n.content.Labels, c.Labels) })
	for _, n := range near {
		if sameWords(n.content.Text, c.Text) {
			l.merge(n, c)
			return nil
		}
	}
	made := &draft{Record: Record{Place: l.place, ID: id, CreatedAt: l.now}, content: c, fresh: true}
	named, err := l.named(ctx, old, c.Scope)
	if err != nil {
		return err
	}
	if named != nil && sameLabels(named.content.Labels, c.Labels) {
		l.supersede(named, made)
	}
	about := spelled(lesson.Subject)
	slices.SortStableFunc(near, func(a, b *draft) int { return b.content.weight() - a.content.weight() }) // one is ended: of several that stand beside each other a user's word
	for _, n := range near {
		if of, ok := subjectOf(&n.content); ok && of.name == about {
			l.supersede(n, made)
		}
	}
	l.put(made)
	l.taught.Added++
	return nil
}

// near are the entries that a lesson may repeat or contradict: valid ones of its scope and kind, as they are with what
// was learned so far.
func (l *lecture) near(ctx context.Context, c Content, about string, own []string) ([]*draft, error) {
	var out []*draft
	for _, id := range l.order {
		if d := l.work[id]; d.content.Scope == c.Scope && d.content.Kind == c.Kind && d.content.SupersededBy == "" {
			out = append(out, d)
		}
	}
	seen := map[string]bool{}
	take := func(hits []Hit) {
		for _, h := range hits {
			if seen[h.ID] || l.work[h.ID] != nil || slices.Contains(own, h.ID) || h.SupersededBy != "" || !l.look.writes(&h.Content) {
				continue
			}
			seen[h.ID] = true
			out = append(out, &draft{Record: Record{Place: l.place, ID: h.ID, Version: h.Version, CreatedAt: h.CreatedAt, ExpiresAt: h.ExpiresAt}, content: h.Content})
		}
	}
	of, err := l.ofSubject(ctx, subject{c.Scope, c.Kind, spelled(about)})
	if err != nil {
		return nil, err
	}
	take(of)
	for _, same := range []func(*Content) bool{nil, func(o *Content) bool { return sameLabels(o.Labels, c.Labels) }} { // of two with one text a search shows one
		f := Filter{Scopes: []Scope{c.Scope}, Kinds: []Kind{c.Kind}, same: same}
		hits, err := l.s.find(ctx, l.place, Search{Query: about + " " + c.Text, Limit: nearHits, Filter: f, sight: l.look, at: l.now + clocks, now: l.now})
		if err == nil {
			err = l.look.err
		}
		if err != nil {
			return nil, err
		}
		take(hits)
	}
	return out, l.look.err
}

// ofSubject are the valid entries of a subject that whoever learns sees, at most MaxRecords: looked up by its name, however many others share
// its words.
func (l *lecture) ofSubject(ctx context.Context, about subject) ([]Hit, error) {
	q := Search{sight: l.look, at: l.now + clocks, now: l.now}
	var found []recall.Hit
	err := l.s.shelves.With(ctx, l.place, func(x shelf) {
		allow, see := q.lets(x), q.sight.see()
		for id := range x.about[about] {
			if _, f := x.Vector(id); see(f) && allow(f) && len(found) < MaxRecords {
				found = append(found, recall.Hit{ID: id})
			}
		}
	})
	if err == nil {
		err = l.look.err
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b recall.Hit) int { return cmp.Compare(a.ID, b.ID) })
	hits, err := l.s.load(ctx, l.place, found, q)
	slices.SortStableFunc(hits, func(a, b Hit) int { return cmp.Compare(b.said(), a.said()) }) // it is the last one that is superseded
	return hits, err
}

// named is the entry that a lesson says it supersedes, of whatever kind; nil: there is none of its scope that whoever learns sees.
func (l *lecture) named(ctx context.Context, id string, scope Scope) (*draft, error) {
	if d := l.work[id]; d != nil && !d.fresh && d.content.Scope == scope && d.content.SupersededBy == "" {
		return d, nil
	}
	if id == "" || l.work[id] != nil {
		return nil, nil
	}
	r, err := l.s.record(ctx, l.place, id)
	if stead.KindOf(err) == stead.KindNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e, err := entryOf(r)
	if err != nil || e.Scope != scope || e.SupersededBy != "" || e.Kind == KindItem || e.Kind == KindPassage || !l.look.sees(&e.Content) || !l.look.writes(&e.Content) {
		return nil, cmp.Or(err, l.look.err)
	}
	return &draft{Record: r, content: e.Content}, nil
}

// merge adds to an entry that it was said again: where, and that it is surer. What users alone said stays their word whoever says it back, and becomes it
// once they say it: others are not cited beside them then.
func (l *lecture) merge(d *draft, c Content) {
	l.taught.Merged++
	if d.byPerson() {
		return
	}
	sources, again := slices.Clone(d.content.cited()), slices.Clone(c.Sources)
	if d.content.weight() == 2 || c.weight() == 2 {
		others := func(src Source) bool { return src.Author != stead.RoleUser }
		sources, again = slices.DeleteFunc(sources, others), slices.DeleteFunc(again, others)
	}
	for _, src := range again {
		if !slices.ContainsFunc(sources, func(o Source) bool { return o.Session == src.Session && o.Item == src.Item }) && len(sources) < MaxSources {
			sources = append(sources, src)
		}
	}
	if slices.Equal(sources, d.content.cited()) {
		return // it is known to be said there
	}
	const surest = 0.99
	d.content.Sources = sources
	d.content.Confidence = max(d.content.Confidence, min(surest, 1-(1-d.content.Confidence)*(1-c.Confidence)))
	d.content.Importance = max(d.content.Importance, c.Importance)
	l.put(d)
}

// byPerson reports whether it was not learned: no agent wrote it.
func (d *draft) byPerson() bool {
	return !d.fresh && !slices.Contains(d.content.Labels, LabelUntrusted)
}

// sameLabels compares labels, besides the one that says that an agent wrote it.
func sameLabels(a, b []string) bool {
	named := func(of []string) []string {
		out := slices.DeleteFunc(slices.Clone(of), func(l string) bool { return l == LabelUntrusted })
		slices.Sort(out)
		return out
	}
	return slices.Equal(named(a), named(b))
}

// weight is whose word an entry is that was learned: 2 where it cites users alone, 1 where others are cited beside them (an agent that says it back, a tool's
// output), 0 where no user said it.
func (c *Content) weight() int {
	users, all := 0, c.cited()
	for _, src := range all {
		if src.Author == stead.RoleUser {
			users++
		}
	}
	switch users {
	case 0:
		return 0
	case len(all):
		return 2
	}
	return 1
}

// supersede ends an entry where another begins, unless a person wrote it, or it has more weight: then both stay. One that was said after all that is learned now says, and
// was learned before, is what is true: then it is the other one that is ended.
func (l *lecture) supersede(d, by *draft) {
	if d.byPerson() || by.content.Supersedes != "" || by.content.SupersededBy != "" {
		return
	}
	if began := by.content.ValidFrom; by.content.Source.At != 0 && by.content.said() < d.content.said() {
		if by.content.weight() > d.content.weight() {
			return
		}
		if by.content.end(d.ID, max(began, d.content.ValidFrom)); d.content.Supersedes == "" {
			d.content.Supersedes = by.ID
			l.put(d)
			return
		}
		// What that one superseded itself is known by then: there is no place between the two.
		by.content.SupersededBy, by.content.Before = "", nil
		return
	}
	if d.content.weight() > by.content.weight() {
		return
	}
	by.content.Supersedes = d.ID
	by.content.ValidFrom = max(by.content.ValidFrom, d.content.ValidFrom)
	d.content.end(by.ID, by.content.ValidFrom)
	l.taught.Superseded++
	l.put(d)
}

func (l *lecture) put(d *draft) {
	if l.work[d.ID] == nil {
		l.order = append(l.order, d.ID)
	}
	l.work[d.ID] = d
}

func (l *lecture) write(ctx context.Context) error {
	changes := make([]Change, 0, len(l.order))
	for _, id := range l.order {
		d := l.work[id]
		data, err := d.content.encode()
		if err != nil {
			return err
		}
		c := Change{Record: d.Record, Expected: d.Version, Once: d.fresh, Since: l.since}
		c.UpdatedAt, c.Data = l.now, data
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		return nil
	}
	_, err := l.s.cfg.Store.WriteMemories(ctx, l.place, changes)
	return err
}

// said is when an entry was said last, in Unix milliseconds; 0: nobody knows.
func (c *Content) said() int64 {
	last := max(c.ValidFrom, c.Source.At)
	for _, s := range c.Sources {
		last = max(last, s.At)
	}
	return last
}

// cited are all places that an entry comes from.
func (c *Content) cited() []Source {
	if len(c.Sources) > 0 {
		return c.Sources
	}
	if c.Source.Session != "" || c.Source.Item != "" {
		return []Source{c.Source}
	}
	return nil
}

// sameWords reports whether two texts say the same in the same words and order, whatever their articles, signs and case.
func sameWords(a, b string) bool { return slices.Equal(wordsOf(a), wordsOf(b)) }

func wordsOf(text string) []string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	return slices.DeleteFunc(words, func(w string) bool { return w == "a" || w == "an" || w == "the" })
}
