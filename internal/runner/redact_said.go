package runner

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
)

// noted is the most events that say what was redacted in one append.
const noted = 64

// RedactSaid redacts every item that a session's agents made behind an event, for whoever may delete the session, and returns what is redacted of
// these by then. It can be called again, after a crash as well. later and errors are as of Unshow.
func (r *Runner) RedactSaid(ctx context.Context, p stead.Principal, id stead.SessionID, since stead.Seq) (done []session.Redaction, later time.Duration, err error) {
	key := keyOf(p, id)
	if err := r.allowDelete(ctx, p, key, "", true); err != nil {
		return nil, 0, err
	}
	for { // as Redact
		v, err := r.view(ctx, key)
		if err == nil {
			err = atRest(v)
		}
		if err != nil {
			return nil, 0, err
		}
		pass, err := r.saidSince(ctx, key, since)
		if err != nil {
			return nil, 0, err
		}
		events, err := pass.note(r.now(), p)
		if err != nil {
			return nil, 0, err
		}
		if said := pass.said(); r.cfg.Unsaid != nil && len(said) > 0 {
			if _, err := r.cfg.Unsaid(ctx, key, said); err != nil {
				return nil, 0, err
			}
		}
		if err := r.unshow(ctx, key, pass.changes, nil); err != nil {
			return nil, 0, err
		}
		if len(events) == 0 {
			later, err := r.unshownTexts(ctx, key, pass.young)
			return pass.redactions(), later, err
		}
		for some := range slices.Chunk(events, noted) {
			if err := r.note(ctx, key, some); err != nil {
				return nil, 0, err
			}
		}
	}
}

// saidItem is an item that is redacted with others.
type saidItem struct {
	redactor *session.Redactor
	recorded *session.Redaction // nil: nothing is on record
	changed  []session.RedactedEvent
	blobs    int
}

// saidPass is what one look through a journal finds.
type saidPass struct {
	items     []*saidItem
	redactors []*session.Redactor // of each
	changes   []journal.Change
	young     int64
}

// saidSince looks through the journal, in which it changes nothing.
func (r *Runner) saidSince(ctx context.Context, key stead.SessionKey, since stead.Seq) (*saidPass, error) {
	of := session.NewSaidSince(key, since)
	if err := r.eachEvent(ctx, key, of.Next); err != nil {
		return nil, err
	}
	put := func(text string) (stead.Text, error) {
		digest, err := r.cfg.Blobs.Put(ctx, key, []byte(text))
		return stead.Text{Digest: digest, Bytes: len(text)}, err
	}
	pass, byID := &saidPass{}, map[string]*saidItem{}
	for _, it := range of.Items() {
		if redactor, ok := session.NewRedactor(key.Session, it, put); ok {
			one := &saidItem{redactor: redactor}
			pass.items, byID[it.ItemID()] = append(pass.items, one), one
			pass.redactors = append(pass.redactors, redactor)
		}
	}
	err := r.eachEvent(ctx, key, func(e stead.Event) error {
		switch {
		case e.Kind == session.KindItemRedacted:
			return pass.record(key.Session, e, byID)
		case e.Seq <= since:
			return nil
		}
		return pass.look(e)
	})
	return pass, err
}

func (s *saidPass) record(id stead.SessionID, e stead.Event, byID map[string]*saidItem) error {
	p, err := session.Decode[session.ItemRedacted](e)
	if err != nil || p.Prefix == "" || len(p.Memories) > 0 {
		return err
	}
	item := stead.DerivedID(p.Prefix, id, p.Seq, p.Index)
	one := byID[item]
	if one == nil {
		return nil
	}
	if p.Blobs > 0 {
		s.young = e.At
	}
	if one.recorded == nil {
		one.recorded = &session.Redaction{Session: id, Item: item}
	}
	for _, was := range p.Events {
		one.recorded.Events = addRedacted(one.recorded.Events, was)
	}
	one.recorded.Blobs += p.Blobs
	return nil
}

func (s *saidPass) look(e stead.Event) error {
	next, err := session.RedactAll(e, s.redactors, func(item int, was, is []byte) {
		it := s.items[item]
		it.changed = append(it.changed, session.RedactedEvent{Seq: e.Seq, Bytes: len(e.Data)})
		it.blobs += len(unnamedBy(was, is))
	})
	if err == nil && !bytes.Equal(next.Data, e.Data) {
		s.changes = append(s.changes, journal.Change{Seq: e.Seq, Old: e.Data, New: next.Data})
	}
	return err
}

// note says what was done, an item each: of those that are changed, and of those of which nothing is on record.
func (s *saidPass) note(at int64, by stead.Principal) ([]stead.Event, error) {
	sums := map[stead.Seq]string{}
	for _, c := range s.changes {
		sums[c.Seq] = digestOf(c.New)
	}
	var out []stead.Event
	for _, it := range s.items {
		if len(it.changed) == 0 && it.recorded != nil {
			continue
		}
		for i := range it.changed {
			it.changed[i].SHA256 = sums[it.changed[i].Seq]
		}
		said := it.redactor.Event(it.changed, by)
		said.Blobs = it.blobs
		e, err := session.NewEvent(at, session.KindItemRedacted, said)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// said is what people wrote about these items.
func (s *saidPass) said() (out []string) {
	for _, it := range s.items {
		out = append(out, it.redactor.Said()...)
	}
	return out
}

func (s *saidPass) redactions() []session.Redaction {
	var out []session.Redaction
	for _, it := range s.items {
		if it.recorded != nil {
			out = append(out, *it.recorded)
		}
	}
	return out
}
