package memory

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Forgetting where something comes from: what has no other source goes, what has loses the citation, and its earlier
// versions with it. A memory that was superseded by one that goes is true again: all that spoke against it is forgotten.

// MaxOrigins is how many sessions an entry can come from.
const MaxOrigins = 1 + MaxSources + MaxEdits

// Forgotten says what became of what was derived.
type Forgotten struct {
	Removed int // entries that are gone
	Changed int // entries that lost a source, and have others
}

func (f Forgotten) and(o Forgotten) Forgotten {
	return Forgotten{f.Removed + o.Removed, f.Changed + o.Changed}
}

// Origins are the sessions that a record comes from, by its Data: stores keep them beside it, so that what was
// derived from a session is found by its id.
func Origins(data []byte) []string {
	if !bytes.Contains(data, []byte(`"session_id"`)) {
		return nil
	}
	var c struct {
		Source  Source   `json:"source"`
		Sources []Source `json:"sources"`
		Edits   []Edit   `json:"edits"`
	}
	if json.Unmarshal(data, &c) != nil {
		return nil
	}
	var out []string
	add := func(session string) {
		if session != "" && !slices.Contains(out, session) {
			out = append(out, session)
		}
	}
	for _, src := range append(c.Sources, c.Source) {
		add(src.Session)
	}
	for _, e := range c.Edits {
		add(e.Session)
	}
	return out[:min(len(out), MaxOrigins)]
}

// ForgetSession forgets all that comes from a session, or from one item of it (item; "": all), in every store of the
// project. It asks no policy: whoever may delete the session may have it forgotten. It may be called again, also
// when it failed in between.
func (s *Service) ForgetSession(ctx context.Context, p stead.Principal, session, item string) (Forgotten, error) {
	if item == "" {
		if err := s.forgetAgain(ctx, p.Project, session); err != nil {
			return Forgotten{}, err
		}
	}
	of := origin{session: session}
	if item != "" {
		of.items = []string{item}
	}
	return s.forgetFrom(ctx, p, of)
}

// forgetFrom forgets what comes from somewhere, and what was made of that.
func (s *Service) forgetFrom(ctx context.Context, p stead.Principal, of origin) (Forgotten, error) {
	out, err := s.forgetSession(ctx, p, of, nil, nil)
	if err == nil && of.all() {
		err = s.cfg.Store.DropShowings(ctx, p.Project, of.session)
	}
	if err != nil {
		return out, err
	}
	more, err := s.follow(ctx, p, p.Project, nil)
	return out.and(more), err
}

// ForgetRedacted forgets what comes from an item that was redacted: also what other items of its session are cited for, since which
// of them says what is not known.
func (s *Service) ForgetRedacted(ctx context.Context, p stead.Principal, session, item string) (Forgotten, error) {
	return s.forgetFrom(ctx, p, origin{session: session, items: []string{item}, whole: true})
}

// origin is where something comes from that is to be forgotten.
type origin struct {
	session string
	items   []string  // of the session; none: all of it, and what its agent wrote over memories
	whole   bool      // as ForgetRedacted
	made    []Showing // to the session: what it made of these
}

// all reports whether nothing of the session stays.
func (o origin) all() bool { return len(o.items) == 0 && o.made == nil }

func (o origin) gone(e *Entry, src Source) bool {
	if o.made != nil {
		return slices.ContainsFunc(o.made, func(x Showing) bool { return x.made(e, src) })
	}
	return src.Session == o.session && (len(o.items) == 0 || slices.Contains(o.items, src.Item))
}

// left are the sources of an entry that stay.
func (o origin) left(e *Entry) []Source {
	return slices.DeleteFunc(slices.Clone(e.cited()), func(src Source) bool { return o.gone(e, src) })
}

// wrote reports whether an edit comes from there.
func (o origin) wrote(x Edit) bool {
	if o.made != nil {
		return slices.ContainsFunc(o.made, func(was Showing) bool { return was.wrote(x) })
	}
	return o.all() && x.Session == o.session
}

func (o origin) kept(src Source) bool { return !o.whole || src.Session != o.session }

// of reports whether anything of an entry, or of a version of it, comes from there.
func (o origin) of(e *Entry) bool {
	return len(o.left(e)) < len(e.cited()) || slices.ContainsFunc(e.Edits, o.wrote) || e.says(o.wrote)
}

// forgetSession forgets what may says is to be forgotten; nil: all of it. It is told to count, as Counting has it.
func (s *Service) forgetSession(ctx context.Context, p stead.Principal, of origin, may func(Record) (bool, error), count *Counting) (Forgotten, error) {
	var out Forgotten
	session := of.session
	after := Place{Project: p.Project}
	id := ""
	for {
		records, err := s.cfg.Store.OriginMemories(ctx, p.Project, session, after.Store, id, MaxChanges)
		if err != nil {
			return out, err
		}
		full := len(records) == MaxChanges
		if full {
			last := records[len(records)-1]
			after, id = last.Place, last.ID
		}
		if records, err = meant(records, of, may); err != nil {
			return out, err
		}
		if err := s.counted(ctx, count, records, func() error {
			for _, r := range records {
				did, err := s.uncite(ctx, r, of)
				if out = out.and(did); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return out, err
		}
		if !full {
			break
		}
	}
	if out == (Forgotten{}) || s.cfg.Record == nil {
		return out, nil
	}
	return out, s.cfg.Record(ctx, p, session, out)
}

// meant are those of the records of which anything comes from there, as far as may says so.
func meant(records []Record, of origin, may func(Record) (bool, error)) (out []Record, err error) {
	for _, r := range records {
		e, err := entryOf(r)
		if err != nil {
			return nil, err
		}
		if ok := of.of(&e); !ok {
			continue
		}
		if may != nil {
			if ok, err := may(r); err != nil {
				return nil, err
			} else if !ok {
				continue
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// uncite takes sources away from one entry.
func (s *Service) uncite(ctx context.Context, r Record, of origin) (Forgotten, error) {
	for range maxTries {
		e, err := entryOf(r)
		if err != nil {
			return Forgotten{}, err
		}
		changes, did, err := s.unciting(ctx, r, e, of)
		if stead.KindOf(err) == stead.KindNotFound {
			return Forgotten{}, nil // somebody else forgot it meanwhile
		}
		if err != nil || len(changes) == 0 {
			return Forgotten{}, err
		}
		_, err = s.cfg.Store.WriteMemories(ctx, r.Place, changes)
		if k := stead.KindOf(err); k != stead.KindConflict && k != stead.KindNotFound {
			return did, err
		}
		now, err := s.cfg.Store.ReadMemories(ctx, r.Place, []string{r.ID}) // somebody changed it, or what it superseded
		if err != nil || len(now) == 0 {
			return Forgotten{}, err
		}
		r = now[0]
	}
	return Forgotten{}, stead.Errorf(stead.KindConflict, "memory %.80q is changed all the time", r.ID)
}

// unciting are the changes of that: an entry that loses a source stays for what is kept of the others, and one that was written over
// says again what it said before.
func (s *Service) unciting(ctx context.Context, r Record, e Entry, of origin) ([]Change, Forgotten, error) {
	if !of.of(&e) {
		return nil, Forgotten{}, nil
	}
	left := of.left(&e)
	if len(left) < len(e.cited()) && !slices.ContainsFunc(left, of.kept) {
		left = nil
	}
	history, err := s.versions(ctx, r)
	if err != nil {
		return nil, Forgotten{}, err
	}
	byHand := e.Source.Session == "" && e.Source.Item == "" // somebody wrote it, and sessions only said it again
	is, stays := before(e, history, of.wrote)
	c := Change{Record: r, Expected: r.Version, Unsaid: is.Text != e.Text || is.Caption != e.Caption}
	if c.UpdatedAt = milli(s.cfg.Now()); !stays || len(left) == 0 && !byHand {
		c.Data = nil
		back, err := s.valid(ctx, r.Place, e, c.UpdatedAt)
		return append([]Change{c}, back...), Forgotten{Removed: 1}, err
	}
	if len(left) < len(e.cited()) {
		if is.Sources = left; !byHand {
			is.Source = left[0]
		}
		if writtenIn(is.WrittenBy) == of.session && of.all() && len(left) > 0 { // whose citation goes is not named either
			is.WrittenBy = string(stead.PrincipalAgent) + ":" + left[0].Session
		}
	}
	for _, v := range history {
		if len(of.left(&v)) < len(v.cited()) || v.says(of.wrote) {
			c.Drop = append(c.Drop, v.Version)
		}
	}
	c.Data, err = is.encode()
	return []Change{c}, Forgotten{Changed: 1}, err
}

// valid are the changes that make true again what an entry superseded. Where that entry was superseded itself, its successor's
// takes its place: of a row of values the last one is true, whichever of them goes. at is when they change; 0: they are no newer for it.
func (s *Service) valid(ctx context.Context, p Place, by Entry, at int64) ([]Change, error) {
	var ids []string
	for _, id := range []string{by.Supersedes, by.SupersededBy} {
		if id != "" {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := s.cfg.Store.ReadMemories(ctx, p, ids)
	if err != nil {
		return nil, err
	}
	var old, next *Entry
	records := map[string]Record{}
	for _, r := range found {
		e, err := entryOf(r)
		if err != nil {
			return nil, err
		}
		records[e.ID] = r
		switch {
		case e.ID == by.Supersedes && e.SupersededBy == by.ID:
			old = &e
		case e.ID == by.SupersededBy && e.Supersedes == by.ID:
			next = &e
		}
	}
	var changes []Change
	change := func(e *Entry) error {
		c := Change{Record: records[e.ID], Expected: e.Version}
		c.UpdatedAt = cmp.Or(at, c.UpdatedAt)
		var err error
		c.Data, err = e.Content.encode()
		changes = append(changes, c)
		return err
	}
	if old != nil {
		if old.again(); next != nil {
			old.end(next.ID, next.ValidFrom)
		}
		if err := change(old); err != nil {
			return nil, err
		}
	}
	if next != nil {
		if next.Supersedes = ""; old != nil {
			next.Supersedes = old.ID
		}
		if err := change(next); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// derived forgets what was extracted from items that are about to be forgotten: in every store, of what whoever forgets them could forget there
// as well; of an agent, in the same store. It goes before its items, so that a death in between leaves the way to the rest. What is spared stays: what
// is forgotten itself.
func (s *Service) derived(ctx context.Context, p stead.Principal, of []Entry, spared func(Record) bool) error {
	return s.derivedFrom(ctx, p, of, func(store string) func(Record) (bool, error) {
		reach := s.reach(ctx, p, store)
		return func(r Record) (bool, error) {
			if spared(r) {
				return false, nil
			}
			return reach(r)
		}
	}, nil)
}

// derivedFrom does so for what may, made for the store of an item, allows. An entry
// that was written by hand says what it wants of where it comes from: that it was taken in from there shows in its id.
func (s *Service) derivedFrom(ctx context.Context, p stead.Principal, of []Entry, may func(store string) func(Record) (bool, error), count *Counting) error {
	type place struct{ session, store string }
	items := map[place][]string{}
	for _, e := range of {
		if e.Kind == KindItem && e.Source.Session != "" && e.Source.Item != "" && e.ID == itemMemory(e.Source) {
			at := place{e.Source.Session, e.Store}
			items[at] = append(items[at], e.Source.Item)
		}
	}
	for at, said := range items {
		if _, err := s.forgetSession(ctx, p, origin{session: at.session, items: said}, may(at.store), count); err != nil {
			return err
		}
	}
	return nil
}

// reach says what whoever forgets something of a store could forget besides.
func (s *Service) reach(ctx context.Context, p stead.Principal, store string) func(Record) (bool, error) {
	looks := map[string]*sight{} // by store; nil: it may not be written
	return func(r Record) (bool, error) {
		look, known := looks[r.Store]
		if !known {
			ask := s.within.Request(p, policy.MemoryWrite, r.Store)
			ask.Optional = true
			_, err := policy.Check(ctx, s.cfg.Policy, ask)
			if k := stead.KindOf(err); err != nil && k != stead.KindForbidden && k != stead.KindNotFound {
				return false, err
			}
			if err == nil && (r.Store == store || p.Kind != stead.PrincipalAgent) {
				look = s.sight(ctx, p, r.Store)
			}
			looks[r.Store] = look
		}
		if look == nil {
			return false, nil
		}
		of, err := entryOf(r)
		if err != nil {
			return false, err
		}
		return look.sees(&of.Content) && look.writes(&of.Content) && s.mayHold(p, &of.Content) == nil, look.err
	}
}
