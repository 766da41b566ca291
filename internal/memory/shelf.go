package memory

import (
	"cmp"
	"fmt"
	"hash/fnv"

	"github.com/stead-dev/stead/internal/memory/recall"
)

// MaxIndexed is how many entries of all stores are indexed in memory at once; stores that were not
// searched for the longest time go first, and are read again when they are searched.
const MaxIndexed = 2_000_000

// facets is what searches filter by.
type facets struct {
	content *Content // without its texts
	expires int64
	said    uint64 // tells its text from others
	scope   int32  // of shelf.scopes
}

// shelf is the index of one store.
type shelf struct {
	*recall.Index[facets]
	scopes map[Scope]int32 // a number each, so that a filter compares numbers
	about  map[subject]map[string]bool
	ended  map[spot]map[string]string // items that what is superseded was learned from → its id → what superseded it
	cites  map[string][]spot          // those items, of what is superseded
}

// spot is where an item stands.
type spot struct{ session, item string }

// number tells it from others.
func (s spot) number() uint64 {
	sum := fnv.New64a()
	_, _ = fmt.Fprintf(sum, "%s\x00%s", s.session, s.item) // never fails
	return sum.Sum64()
}

// sort is what policies decide by: what somebody sees of one, they see of all.
func (f facets) sort() string { return sortOf(f.content) }

// from is the item that an entry is, or those that it was learned from: they say one thing, where they have the same words.
func (f facets) from() []uint64 {
	var out []uint64
	for _, src := range f.content.cited() {
		if src.Item != "" && f.content.Kind != KindPassage {
			out = append(out, spot{src.Session, src.Item}.number())
		}
	}
	return out
}

// subject is what entries are about that have another value each: of these one is true.
type subject struct {
	scope Scope
	kind  Kind
	name  string
}

func newShelf() shelf {
	return shelf{recall.New(facets.sort), map[Scope]int32{}, map[subject]map[string]bool{}, map[spot]map[string]string{}, map[string][]spot{}}
}

// subjectOf is what an entry is about; false: it does not say it.
func subjectOf(c *Content) (subject, bool) {
	name := c.Metadata[MetaSubject]
	return subject{c.Scope, c.Kind, spelled(name)}, name != ""
}

// forget takes an entry out of those of its subject.
func (s shelf) forget(id string) {
	for _, at := range s.cites[id] {
		if delete(s.ended[at], id); len(s.ended[at]) == 0 {
			delete(s.ended, at)
		}
	}
	delete(s.cites, id)
	_, old := s.Vector(id)
	if old.content == nil {
		return
	}
	if about, ok := subjectOf(old.content); ok {
		if delete(s.about[about], id); len(s.about[about]) == 0 {
			delete(s.about, about)
		}
	}
}

// numbers are those of scopes of which there are entries.
func (s shelf) numbers(scopes []Scope) []int32 {
	var out []int32
	for _, c := range scopes {
		if n, ok := s.scopes[c]; ok {
			out = append(out, n)
		}
	}
	return out
}

// Apply implements Shelf.
func (s shelf) Apply(r Record) error {
	s.forget(r.ID)
	if r.Data == nil {
		s.Remove(r.ID)
		return nil
	}
	e, err := entryOf(r)
	if err != nil {
		return err
	}
	kept := e.Content
	kept.Text, kept.Caption = "", ""
	if len(kept.Sources) < 2 { // Source says it
		kept.Sources = nil
	}
	session := ""
	if e.Kind == KindItem || e.Kind == KindPassage { // a fact has no neighbours: it is understood on its own
		session = e.Source.Session
	}
	scope, ok := s.scopes[e.Scope]
	if !ok {
		scope = int32(len(s.scopes)) //nolint:gosec // there are not more than entries
		s.scopes[e.Scope] = scope
	}
	said := fnv.New64a()
	_, _ = fmt.Fprintf(said, "%s\x00%s\x00%s", e.Text, e.Caption, e.Source.Author) // never fails
	vector, before := s.Vector(e.ID)
	s.Put(recall.Entry[facets]{
		ID: e.ID, Text: e.Text, Caption: e.Caption, Author: e.Source.Author, Session: session, Place: e.Source.Index,
		At: cmp.Or(e.Source.At, e.ValidFrom, e.CreatedAt), Importance: e.Importance, Facets: facets{&kept, r.ExpiresAt, said.Sum64(), scope},
	})
	if e.SupersededBy != "" && session == "" {
		for _, src := range e.cited() {
			at := spot{src.Session, src.Item}
			if s.ended[at] == nil {
				s.ended[at] = map[string]string{}
			}
			s.ended[at][e.ID] = e.SupersededBy
			s.cites[e.ID] = append(s.cites[e.ID], at)
		}
	}
	if about, ok := subjectOf(&kept); ok {
		if s.about[about] == nil {
			s.about[about] = map[string]bool{}
		}
		s.about[about][e.ID] = true
	}
	if vector != nil && before.said == said.Sum64() { // a label more is no other text
		s.SetVector(e.ID, vector)
	}
	return nil
}
