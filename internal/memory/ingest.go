package memory

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Ingest takes items of conversations in, each once, however often it is called and by however many, and
// says how many were new. One that was forgotten stays forgotten: its id derives from the item's.
func (s *Service) Ingest(ctx context.Context, p stead.Principal, store string, items []Content) (int, error) {
	if _, err := s.open(ctx, p, policy.MemoryWrite, store); err != nil {
		return 0, err
	}
	place, look := Place{p.Project, store}, s.sight(ctx, p, store)
	added := 0
	for from := 0; from < len(items); from += MaxChanges {
		n, err := s.ingest(ctx, p, look, place, items[from:min(from+MaxChanges, len(items))])
		if err != nil {
			return added, err
		}
		added += n
	}
	return added, s.stillThere(ctx, p, store)
}

func (s *Service) ingest(ctx context.Context, p stead.Principal, look *sight, place Place, items []Content) (int, error) {
	now := milli(s.cfg.Now())
	var sessions []string
	for _, c := range items {
		sessions = append(sessions, c.Source.Session)
	}
	old, err := s.staleOf(ctx, p.Project, sessions...)
	if err != nil {
		return 0, err
	}
	var changes []Change
	for _, c := range items {
		if old.of(&Entry{ID: itemMemory(c.Source), Content: c}) {
			continue // it may repeat what is forgotten
		}
		s.carried(&c)
		c.signed(p)
		if err := c.prepare(); err != nil {
			return 0, err
		}
		if err := s.mayHold(p, &c); err != nil {
			return 0, err
		}
		if err := look.mayWrite(&c); err != nil {
			return 0, err
		}
		data, err := c.encodeItem()
		if err != nil {
			return 0, err
		}
		changes = append(changes, Change{Record: Record{Place: place, ID: itemMemory(c.Source), CreatedAt: now, UpdatedAt: now, Data: data}, Once: true})
	}
	if len(changes) == 0 {
		return 0, nil
	}
	records, err := s.cfg.Store.WriteMemories(ctx, place, changes)
	added := 0
	for _, r := range records {
		if r.Version > 0 {
			added++
		}
	}
	if err != nil {
		return added, err
	}
	return added, s.staleMeanwhile(ctx, p, old)
}

// itemMemory names the memory of an item: as items are named by where they stand, in their order.
func itemMemory(src Source) string {
	if part := src.Part; part > 0 {
		src.Part = 0
		return fmt.Sprintf("%s%02x", itemMemory(src), part)
	}
	session := stead.SessionID(src.Session)
	if _, seq, index, ok := stead.ParseDerivedID(session, src.Item); ok {
		return fmt.Sprintf("%s%s%08x%04x", Prefix, strings.TrimPrefix(src.Session, stead.SessionPrefix), int64(seq), max(0, index))
	}
	sum := sha256.Sum256([]byte(src.Session + "\x00" + src.Item))
	return Prefix + hex.EncodeToString(sum[:16])
}

// ForgetMatching forgets every entry that a filter selects and the principal sees, valid or not, and says how many: those of a
// session, a scope, a user. The filter must select something.
func (s *Service) ForgetMatching(ctx context.Context, p stead.Principal, store string, f Filter) (int, error) {
	if _, err := s.open(ctx, p, policy.MemoryWrite, store); err != nil {
		return 0, err
	}
	if err := s.forgettable(p, &f); err != nil {
		return 0, err
	}
	return s.forgetIn(ctx, p, store, f, s.sight(ctx, p, store), nil)
}

// forgettable says why nothing can be forgotten by a filter; nil: something can.
func (s *Service) forgettable(p stead.Principal, f *Filter) error {
	if len(f.Scopes)+len(f.Kinds)+len(f.Labels)+len(f.Metadata) == 0 && f.Session == "" && f.WrittenBy == "" && f.From == 0 && f.Until == 0 {
		return stead.Invalid("filters", "filters must say what is forgotten: scopes, kinds, labels, metadata, session_id, written_by, from or until")
	}
	if p.Bound {
		for _, c := range f.Scopes {
			if err := s.mayHold(p, &Content{Scope: c}); err != nil {
				return err
			}
		}
	}
	return nil
}

// forgetIn forgets what look sees; nil: everything. Whether p may was asked. It is told to count, as Counting has it.
func (s *Service) forgetIn(ctx context.Context, p stead.Principal, store string, f Filter, look *sight, count *Counting) (int, error) {
	f.Superseded = true
	q := Query{Place: Place{p.Project, store}, Limit: MaxChanges}
	forgotten := 0
	for {
		records, err := s.cfg.Store.ListMemories(ctx, q)
		if err == nil && len(records) == 0 {
			more, err := s.follow(ctx, p, p.Project, count)
			return forgotten + more.Removed, err
		}
		if err != nil {
			return forgotten, err
		}
		n, err := s.forgetOf(ctx, p, q.Place, records, &f, look, count)
		if forgotten += n; err != nil {
			return forgotten, err
		}
		q.After = records[len(records)-1].ID
	}
}

// ForgetBefore forgets every entry of the project that was not changed since a time (Unix milliseconds), and says how many.
func (s *Service) ForgetBefore(ctx context.Context, p stead.Principal, before int64) (int, error) {
	if err := s.allow(ctx, p, policy.MemoryWrite, ""); err != nil {
		return 0, err
	}
	n, after := 0, ""
	var kept []error // of stores that may not be written to: the others go
	for {
		const page = 100
		stores, more, err := s.ListStores(ctx, p, after, page, false)
		if err != nil {
			return n, errors.Join(append(kept, err)...)
		}
		for _, st := range stores {
			after = st.ID
			gone, err := s.forgetBefore(ctx, p, st.ID, before)
			if n += gone; err != nil {
				kept = append(kept, fmt.Errorf("memory store %s: %w", st.ID, err))
			}
			if stead.KindOf(err) == stead.KindUnavailable {
				return n, errors.Join(kept...)
			}
		}
		if !more {
			return n, errors.Join(kept...)
		}
	}
}

func (s *Service) forgetBefore(ctx context.Context, p stead.Principal, store string, before int64) (n int, err error) {
	if _, err := s.open(ctx, p, policy.MemoryWrite, store); err != nil {
		return 0, err
	}
	q := Query{Place: Place{p.Project, store}, Limit: MaxChanges}
	for {
		records, err := s.cfg.Store.ListMemories(ctx, q)
		if err != nil || len(records) == 0 {
			return n, err
		}
		for _, r := range records {
			q.After = r.ID
			done, err := s.remove(ctx, r, 0, true, func(r Record, _ Entry) bool { return r.UpdatedAt < before }) // or it is in use again
			if err != nil {
				return n, err
			}
			if done {
				n++
			}
		}
	}
}

// remove forgets a record, if it is still what is meant by the time, and makes true again what it superseded; at: as in valid. spent: as
// in Change.
func (s *Service) remove(ctx context.Context, r Record, at int64, spent bool, meant func(Record, Entry) bool) (bool, error) {
	for range maxTries {
		e, broken := entryOf(r)
		if !meant(r, e) {
			return false, nil
		}
		var back []Change
		if broken == nil { // else it goes all the same
			var err error
			if back, err = s.valid(ctx, r.Place, e, at); err != nil {
				return false, err
			}
		}
		gone := Change{Record: r, Expected: r.Version, Spent: spent}
		gone.Data, gone.UpdatedAt = nil, cmp.Or(at, r.UpdatedAt)
		_, err := s.cfg.Store.WriteMemories(ctx, r.Place, append([]Change{gone}, back...))
		if k := stead.KindOf(err); err == nil || k != stead.KindConflict && k != stead.KindNotFound {
			return err == nil, err
		}
		now, err := s.cfg.Store.ReadMemories(ctx, r.Place, []string{r.ID}) // somebody changed it, or what it superseded
		if err != nil || len(now) == 0 {
			return false, err
		}
		r = now[0]
	}
	return false, stead.Errorf(stead.KindConflict, "memory %.80q is changed all the time", r.ID)
}

// forgotten says which entries are forgotten by a filter.
func (s *Service) forgotten(p stead.Principal, f *Filter, look *sight) func(*Entry) bool {
	other := *f
	other.Session, other.Superseded = "", true
	of := origin{session: f.Session}
	return func(e *Entry) bool {
		return other.allows(&e.Content, 0) && (f.Session == "" || of.of(e)) && s.mayHold(p, &e.Content) == nil && (look == nil || look.sees(&e.Content) && look.writes(&e.Content))
	}
}

// WouldForget says how many entries ForgetMatching, or without a store ForgetEverywhere, would select now, and in how many stores: what was made
// of them would go besides. It forgets nothing.
func (s *Service) WouldForget(ctx context.Context, p stead.Principal, store string, f Filter) (entries, stores int, err error) {
	in := []string{store}
	if store != "" {
		_, err = s.open(ctx, p, policy.MemoryWrite, store)
	} else {
		in, err = s.openAll(ctx, p)
	}
	if err == nil {
		err = s.forgettable(p, &f)
	}
	for _, store := range in {
		if err != nil {
			break
		}
		look, n := s.sight(ctx, p, store), 0
		selected := s.forgotten(p, &f, look)
		err = s.each(ctx, Query{Place: Place{p.Project, store}}, func(e *Entry) (bool, error) {
			if selected(e) {
				n++
			}
			return true, look.err
		})
		if entries += n; n > 0 {
			stores++
		}
	}
	return entries, stores, err
}

// each reads the entries that a query selects, for as long as do says so: at first as many at once as its limit says (0: as can be), then ever more.
func (s *Service) each(ctx context.Context, q Query, do func(*Entry) (bool, error)) error {
	for q.Limit = cmp.Or(q.Limit, MaxChanges); ; q.Limit = min(2*q.Limit, MaxChanges) {
		records, err := s.cfg.Store.ListMemories(ctx, q)
		if err != nil {
			return err
		}
		for _, r := range records {
			e, err := entryOf(r)
			if err != nil {
				return err
			}
			if more, err := do(&e); err != nil || !more {
				return err
			}
			q.After = r.ID
		}
		if len(records) < q.Limit {
			return nil
		}
	}
}

// forgetOf forgets those of the records that the filter selects, and, before them, what was derived from those that are items: see derived. Of what
// a session and others say the session is forgotten, and no more. It says how many of those selected are forgotten.
func (s *Service) forgetOf(ctx context.Context, p stead.Principal, place Place, records []Record, f *Filter, look *sight, count *Counting) (int, error) {
	selected := s.forgotten(p, f, look)
	var chosen []Record
	var items []Entry
	for _, r := range records {
		e, err := entryOf(r)
		if err != nil {
			return 0, err
		}
		if selected(&e) {
			chosen, items = append(chosen, r), append(items, e)
		} else if look != nil && look.err != nil {
			return 0, look.err
		}
	}
	spared := func(r Record) bool { // what is forgotten itself goes as such
		e, err := entryOf(r)
		return err != nil || r.Place == place && selected(&e)
	}
	var err error
	if look == nil { // all of it, whoever sees it
		err = s.derivedFrom(ctx, p, items, func(string) func(Record) (bool, error) {
			return func(r Record) (bool, error) { return !spared(r), nil }
		}, count)
	} else {
		err = s.derived(ctx, p, items, spared)
	}
	if err != nil {
		return 0, err
	}
	n := 0
	return n, s.counted(ctx, count, chosen, func() error {
		for _, r := range chosen {
			done, err := s.forgetOne(ctx, r, f, selected)
			if err != nil {
				return err
			}
			if done {
				n++
			}
		}
		return nil
	})
}

// forgetOne forgets one record of those that a filter selects.
func (s *Service) forgetOne(ctx context.Context, r Record, f *Filter, selected func(*Entry) bool) (bool, error) {
	if f.Session != "" {
		did, err := s.uncite(ctx, r, origin{session: f.Session})
		return did != Forgotten{}, err
	}
	return s.remove(ctx, r, milli(s.cfg.Now()), false, func(_ Record, e Entry) bool { return selected(&e) })
}
