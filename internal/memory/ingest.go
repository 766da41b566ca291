package memory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
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
	place := Place{p.Project, store}
	added := 0
	for from := 0; from < len(items); from += MaxChanges {
		n, err := s.ingest(ctx, p, place, items[from:min(from+MaxChanges, len(items))])
		if err != nil {
			return added, err
		}
		added += n
	}
	return added, s.stillThere(ctx, p, store)
}

func (s *Service) ingest(ctx context.Context, p stead.Principal, place Place, items []Content) (int, error) {
	now := milli(s.cfg.Now())
	changes := make([]Change, len(items))
	for i, c := range items {
		c.signed(p)
		if err := c.prepare(); err != nil {
			return 0, err
		}
		if err := s.mayHold(p, &c); err != nil {
			return 0, err
		}
		data, err := c.encode()
		if err != nil {
			return 0, err
		}
		changes[i] = Change{Record: Record{Place: place, ID: itemMemory(c.Source), CreatedAt: now, UpdatedAt: now, Data: data}, Once: true}
	}
	records, err := s.cfg.Store.WriteMemories(ctx, place, changes)
	added := 0
	for _, r := range records {
		if r.Version > 0 {
			added++
		}
	}
	return added, err
}

// itemMemory names the memory of an item: as items are named by where they stand, in their order.
func itemMemory(src Source) string {
	session := stead.SessionID(src.Session)
	if _, seq, index, ok := stead.ParseDerivedID(session, src.Item); ok {
		return fmt.Sprintf("%s%s%08x%04x", Prefix, strings.TrimPrefix(src.Session, stead.SessionPrefix), int64(seq), max(0, index))
	}
	sum := sha256.Sum256([]byte(src.Session + "\x00" + src.Item))
	return Prefix + hex.EncodeToString(sum[:16])
}

// ForgetMatching forgets every entry that a filter selects, valid or not, and says how many: those of a
// session, a scope, a user. The filter must select something.
func (s *Service) ForgetMatching(ctx context.Context, p stead.Principal, store string, f Filter) (int, error) {
	if _, err := s.open(ctx, p, policy.MemoryWrite, store); err != nil {
		return 0, err
	}
	if len(f.Scopes)+len(f.Kinds)+len(f.Labels)+len(f.Metadata) == 0 && f.Session == "" && f.From == 0 && f.Until == 0 {
		return 0, stead.Invalid("filters", "filters must say what is forgotten: scopes, kinds, labels, metadata, session_id, from or until")
	}
	if p.Bound {
		for _, c := range f.Scopes {
			if err := s.mayHold(p, &Content{Scope: c}); err != nil {
				return 0, err
			}
		}
	}
	f.Superseded = true
	q := Query{Place: Place{p.Project, store}, Limit: MaxChanges}
	forgotten := 0
	for {
		records, err := s.cfg.Store.ListMemories(ctx, q)
		if err != nil || len(records) == 0 {
			return forgotten, err
		}
		n, err := s.forgetOf(ctx, p, q.Place, records, &f)
		if forgotten += n; err != nil {
			return forgotten, err
		}
		q.After = records[len(records)-1].ID
	}
}

// forgetOf forgets those of the records that the filter selects.
func (s *Service) forgetOf(ctx context.Context, p stead.Principal, place Place, records []Record, f *Filter) (int, error) {
	n := 0
	for _, r := range records {
		e, err := entryOf(r)
		if err != nil {
			return n, err
		}
		if !f.allows(&e.Content, 0) || s.mayHold(p, &e.Content) != nil {
			continue
		}
		gone := Change{Record: r, Expected: AnyVersion}
		gone.Data = nil
		_, err = s.cfg.Store.WriteMemories(ctx, place, []Change{gone})
		switch stead.KindOf(err) {
		case "":
			n++
		case stead.KindNotFound: // somebody else forgot it
		default:
			return n, err
		}
	}
	return n, nil
}
