package memory

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Update makes the next version of an entry: change gets the present content. expected is the version
// that must be the present one; AnyVersion: whichever it is.
func (s *Service) Update(ctx context.Context, p stead.Principal, store, id string, expected int64, change func(*Content) error) (Entry, error) {
	return s.update(ctx, p, store, id, expected, "", nil, change)
}

// UpdateLife is Update that also says how long the entry is kept from now on; 0: for ever.
func (s *Service) UpdateLife(ctx context.Context, p stead.Principal, store, id string, expected int64, life time.Duration, change func(*Content) error) (Entry, error) {
	if life < 0 {
		return Entry{}, stead.Invalid("ttl_seconds", "ttl_seconds must be positive, or 0: for ever")
	}
	return s.update(ctx, p, store, id, expected, "", &life, change)
}

// UpdateOnce is Update over whichever version there is, once a key: a second time gives the entry as it is by then.
func (s *Service) UpdateOnce(ctx context.Context, p stead.Principal, store, id, key string, change func(*Content) error) (Entry, error) {
	return s.update(ctx, p, store, id, AnyVersion, key, nil, change)
}

func (s *Service) update(ctx context.Context, p stead.Principal, store, id string, expected int64, key string, life *time.Duration, change func(*Content) error) (Entry, error) {
	return s.write(ctx, p, store, id, expected, func(look *sight, old Entry, c *Change) ([]Change, error) {
		next := old.Content
		next.Labels = slices.Clone(next.Labels)
		if err := change(&next); err != nil {
			return nil, err
		}
		if next.Text != old.Text || next.Caption != old.Caption || !maps.Equal(next.Metadata, old.Metadata) {
			if err := next.harmless(p); err != nil {
				return nil, err
			}
		}
		next.Supersedes, next.SupersededBy, next.Redacted = old.Supersedes, old.SupersededBy, false
		if p.Kind == stead.PrincipalAgent {
			next.Labels = append(next.Labels, old.Labels...)
		}
		if err := next.edited(old.Content, p, s.within.seen(), milli(s.cfg.Now())); err != nil {
			return nil, err
		}
		s.carried(&next)
		next.signed(p)
		if err := next.prepare(); err != nil {
			return nil, err
		}
		if err := s.mayHold(p, &next); err != nil {
			return nil, err
		}
		if err := look.mayWrite(&next); err != nil {
			return nil, err
		}
		if life != nil {
			if c.ExpiresAt = 0; *life > 0 {
				c.ExpiresAt = milli(s.cfg.Now().Add(*life))
			}
		}
		c.Key, c.Digest = key, ""
		if key != "" {
			c.Digest, _ = digestOf([]string{store, id, next.Text}) // texts are always encoded
		}
		var err error
		c.Data, err = next.encode()
		return nil, err
	})
}

// Redact takes away what an entry says, in all of its versions; that it was there stays.
func (s *Service) Redact(ctx context.Context, p stead.Principal, store, id string, expected int64) (Entry, error) {
	out, err := s.write(ctx, p, store, id, expected, func(_ *sight, old Entry, c *Change) ([]Change, error) {
		kept := old.Content
		kept.Text, kept.Caption, kept.Metadata, kept.Edits, kept.Redacted = "", "", nil, nil, true
		kept.WrittenBy = string(p.Kind) + ":" + p.ID
		c.Redact = true
		var err error
		c.Data, err = kept.encode()
		return nil, err
	})
	if err == nil {
		_, err = s.follow(ctx, p, p.Project, nil)
	}
	return out, err
}

// Forget deletes an entry with all of its versions, and of an item, before it, what was extracted from it: a death in between leaves the item, by
// which the rest is found when it is asked for again.
func (s *Service) Forget(ctx context.Context, p stead.Principal, store, id string, expected int64) error {
	return s.forget(ctx, p, store, id, expected, "")
}

// forget is Forget, which leaves another entry of the store, that goes behind this one.
func (s *Service) forget(ctx context.Context, p stead.Principal, store, id string, expected int64, behind string) error {
	w, err := s.writer(ctx, p, store)
	if err != nil {
		return err
	}
	r, err := s.record(ctx, w.place, id)
	if err != nil {
		return err
	}
	e, err := entryOf(r)
	if err == nil {
		err = w.may(&e)
	}
	if err == nil {
		err = (&Change{Record: Record{ID: id}, Expected: expected}).Fits(e.Version)
	}
	if err == nil {
		err = s.derived(ctx, p, []Entry{e}, func(r Record) bool { return r.Store == store && (r.ID == id || r.ID == behind) })
	}
	if err == nil {
		_, err = w.write(ctx, id, expected, func(_ *sight, e Entry, c *Change) ([]Change, error) {
			if c.Data = nil; p.Kind == stead.PrincipalAgent {
				c.By = p.ID
			}
			return s.valid(ctx, c.Place, e, milli(s.cfg.Now()))
		})
	}
	if err == nil {
		_, err = s.follow(ctx, p, p.Project, nil)
	}
	return err
}

// ForgetSaid is Forget of a memory together with what was said that it comes from, as far as the store has it and whoever forgets may forget
// that, which would say it again; it says how many those were. They go first: when it is made again, after a crash, nothing of it is left out.
func (s *Service) ForgetSaid(ctx context.Context, p stead.Principal, store, id string, expected int64) (int, error) {
	e, err := s.Get(ctx, p, store, id)
	if err != nil {
		return 0, err
	}
	if err := (&Change{Record: Record{ID: id}, Expected: expected}).Fits(e.Version); err != nil {
		return 0, err
	}
	if err := s.sight(ctx, p, store).mayWrite(&e.Content); err != nil {
		return 0, err
	}
	said := 0
	for _, src := range e.cited() {
		of := itemMemory(src)
		if src.Item == "" || of == id {
			continue
		}
		at, own := &Entry{ID: of}, Source{Session: src.Session, Item: src.Item, Author: stead.RoleAssistant}
		seq, _ := own.madeAt(at)
		if seq == math.MaxInt64 {
			seq = 0
		}
		key := stead.SessionKey{Project: p.Project, Session: stead.SessionID(src.Session)}
		heard := &For{Session: key, At: stead.Seq(seq)} // its session's model has heard it from there on
		if err := heard.Show(ctx, s.cfg.Store, milli(s.cfg.Now()), []Ref{{store, of}}); err != nil {
			return said, err
		}
		switch err := s.forget(ctx, p, store, of, AnyVersion, id); stead.KindOf(err) {
		case "":
			said++
		case stead.KindNotFound, stead.KindForbidden:
		default:
			return said, err
		}
	}
	err = s.Forget(ctx, p, store, id, AnyVersion)
	if said > 0 && stead.KindOf(err) == stead.KindNotFound {
		err = nil // it went with what it comes from
	}
	return said, err
}

// write makes one change over the present version, and over the next one when somebody else came
// between and no version was expected.
func (s *Service) write(ctx context.Context, p stead.Principal, store, id string, expected int64, fill func(*sight, Entry, *Change) ([]Change, error)) (Entry, error) {
	w, err := s.writer(ctx, p, store)
	if err != nil {
		return Entry{}, err
	}
	return w.write(ctx, id, expected, fill)
}

// writer is somebody who may write to a store.
type writer struct {
	s     *Service
	place Place
	look  *sight
}

func (s *Service) writer(ctx context.Context, p stead.Principal, store string) (*writer, error) {
	if _, err := s.open(ctx, p, policy.MemoryWrite, store); err != nil {
		return nil, err
	}
	return &writer{s, Place{p.Project, store}, s.sight(ctx, p, store)}, nil
}

// may is the error of an entry that the writer may not change.
func (w *writer) may(e *Entry) error {
	if err := w.look.one(*e); err != nil {
		return err
	}
	return w.look.mayWrite(&e.Content)
}

// write is Service.write.
func (w *writer) write(ctx context.Context, id string, expected int64, fill func(*sight, Entry, *Change) ([]Change, error)) (Entry, error) {
	s, place := w.s, w.place
	seen := func(e Entry, c *Change) ([]Change, error) {
		if err := w.may(&e); err != nil {
			return nil, err
		}
		return fill(w.look, e, c)
	}
	var err error
	for range maxTries {
		var made Entry
		if made, err = s.writeOnce(ctx, place, id, expected, seen); err == nil || stead.KindOf(err) != stead.KindConflict {
			return made, err
		}
		if now, gone := s.record(ctx, place, id); expected != AnyVersion && (gone != nil || now.Version != expected) {
			return made, err
		}
	}
	return Entry{}, err
}

// writeOnce is one try: fill may add changes of other entries.
func (s *Service) writeOnce(ctx context.Context, place Place, id string, expected int64, fill func(Entry, *Change) ([]Change, error)) (Entry, error) {
	old, err := s.record(ctx, place, id)
	if err != nil {
		return Entry{}, err
	}
	e, err := entryOf(old)
	if err != nil {
		return Entry{}, err
	}
	c := Change{Record: old, Expected: old.Version}
	if expected != AnyVersion {
		c.Expected = expected
	}
	c.UpdatedAt = milli(s.cfg.Now())
	others, err := fill(e, &c)
	if err != nil {
		return Entry{}, err
	}
	records, err := s.cfg.Store.WriteMemories(ctx, place, append([]Change{c}, others...))
	if err != nil || c.Data == nil {
		return Entry{}, err
	}
	return entryOf(records[0])
}
