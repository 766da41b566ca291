package runner

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
)

// Redacting says what would be redacted of an item, or was already, for whoever may delete the session. Nothing is changed.
func (r *Runner) Redacting(ctx context.Context, p stead.Principal, id stead.SessionID, item string) (session.Redaction, error) {
	key := keyOf(p, id)
	if err := r.allowDelete(ctx, p, key, item, true); err != nil {
		return session.Redaction{}, err
	}
	if v, err := r.view(ctx, key); err != nil {
		return session.Redaction{}, err
	} else if err := atRest(v); err != nil {
		return session.Redaction{}, err
	}
	item, err := r.source(ctx, key, item)
	if err != nil {
		return session.Redaction{}, err
	}
	pass, err := r.redacting(ctx, key, item, func(text string) (stead.Text, error) {
		return stead.Text{Digest: digestOf([]byte(text)), Bytes: len(text)}, nil
	})
	if err != nil {
		return session.Redaction{}, err
	}
	return pass.sum(session.Redaction{Session: id, Item: item, Events: []session.RedactedEvent{}}), nil
}

// atRest: while a turn runs, or something is made of what was said, the text is in memory, and may come into the journal again.
func atRest(v *session.View) error {
	var e *stead.Error
	switch {
	case v.Turn != nil:
		e = stead.Errorf(stead.KindConflict, "session %s has a turn in progress", v.Key.Session)
		e.Hint = "cancel the turn, or wait for its end"
	case v.Compacts(), v.Learn.Extract != nil, v.Learn.Extracted != nil, v.Learn.Keep != 0:
		e = stead.Errorf(stead.KindConflict, "session %s is being summarised, or remembered", v.Key.Session)
		e.Hint = "try again in a moment"
	default:
		return nil
	}
	return e
}

// Redact redacts an item, as planned by Redacting, and says what it did. It can be called again, after a crash as well: KindConflict
// means that it must be. It is done when nothing is Unnamed: texts beside the journal that are too young to be removed, see package blob,
// are left to a later call.
func (r *Runner) Redact(ctx context.Context, p stead.Principal, plan session.Redaction) (done session.Redaction, gone session.Erased, err error) {
	key := keyOf(p, plan.Session)
	if err := r.allowDelete(ctx, p, key, plan.Item, true); err != nil {
		return plan, gone, err
	}
	put := func(text string) (stead.Text, error) {
		digest, err := r.cfg.Blobs.Put(ctx, key, []byte(text))
		return stead.Text{Digest: digest, Bytes: len(text)}, err
	}
	// What was in memory when it was redacted may come into the journal once more: it is looked through until nothing was found.
	for done = plan; ; {
		v, err := r.view(ctx, key)
		if err == nil {
			err = atRest(v)
		}
		if err != nil {
			return done, gone, err
		}
		pass, err := r.redacting(ctx, key, plan.Item, put)
		if err != nil {
			return done, gone, err
		}
		n, err := r.unsaid(ctx, key, pass) // while it is known what was said
		if gone.Texts += n; err != nil {
			return done, gone, err
		}
		if done = pass.sum(done); len(pass.changes) == 0 && pass.before {
			break
		}
		if err := r.rewrite(ctx, p, key, pass, done.Events); err != nil {
			return done, gone, err
		}
	}
	if err := r.cfg.Store.Rewrite(ctx, key, nil); err != nil { // a snapshot may have been saved in between
		return done, gone, err
	}
	if r.cfg.Memory != nil {
		texts := gone.Texts
		gone, err = r.cfg.Memory.Redact(ctx, p, key, plan.Item)
		if gone.Texts = texts; err != nil {
			return done, gone, err
		}
	}
	done.Unnamed, err = r.unnamed(ctx, key, done.Unnamed)
	return done, gone, err
}

// unsaid takes what people wrote about the item from beside the audit log.
func (r *Runner) unsaid(ctx context.Context, key stead.SessionKey, pass *redactionPass) (int, error) {
	said := pass.redactor.Said()
	if r.cfg.Unsaid == nil || len(said) == 0 {
		return 0, nil
	}
	return r.cfg.Unsaid(ctx, key, said)
}

// rewrite makes the changes, and says so behind them.
func (r *Runner) rewrite(ctx context.Context, p stead.Principal, key stead.SessionKey, pass *redactionPass, events []session.RedactedEvent) error {
	if err := r.cfg.Store.Rewrite(ctx, key, pass.changes); err != nil {
		return err
	}
	e, err := session.NewEvent(r.now(), session.KindItemRedacted, pass.redactor.Event(events, p))
	if err != nil {
		return err
	}
	if _, err := r.cfg.Store.Send(ctx, key, journal.Input{Events: []stead.Event{e}, If: -1, Quiet: true}); err != nil {
		return err
	}
	r.forget(key)
	r.arrived(key)
	return nil
}

// source is the item that says first what an item says: a message between agents repeats what one of them said, or gave as a task, and
// is redacted with that.
func (r *Runner) source(ctx context.Context, key stead.SessionKey, item string) (string, error) {
	found, err := session.FindItem(key, r.reader(ctx, key), item, nil, r.texts(ctx, key))
	if err != nil {
		return "", err
	}
	if m, ok := found.(*session.AgentMessageItem); ok && m.Source != "" {
		return m.Source, nil
	}
	return item, nil
}

// redactionPass is what one look through a session's journal finds.
type redactionPass struct {
	redactor *session.Redactor
	changes  []journal.Change
	recorded []session.RedactedEvent // by earlier redactions of the item
	before   bool                    // there were some
}

// redacting looks through the journal, in which it changes nothing.
func (r *Runner) redacting(ctx context.Context, key stead.SessionKey, item string, put func(string) (stead.Text, error)) (*redactionPass, error) {
	found, err := session.FindItem(key, r.reader(ctx, key), item, nil, r.texts(ctx, key))
	if err != nil {
		return nil, err
	}
	redactor, ok := session.NewRedactor(key.Session, found, put)
	if !ok {
		return nil, stead.NotFound("item", item)
	}
	pass := &redactionPass{redactor: redactor}
	err = r.eachEvent(ctx, key, func(e stead.Event) error { return pass.look(key.Session, item, e) })
	return pass, err
}

func (s *redactionPass) look(id stead.SessionID, item string, e stead.Event) error {
	if e.Kind == session.KindItemRedacted {
		p, err := session.Decode[session.ItemRedacted](e)
		if err == nil && p.Is(id, item) {
			s.recorded, s.before = append(s.recorded, p.Events...), true
		}
		return err
	}
	next, err := s.redactor.Next(e)
	if err == nil && !bytes.Equal(next.Data, e.Data) {
		s.changes = append(s.changes, journal.Change{Seq: e.Seq, Old: e.Data, New: next.Data})
	}
	return err
}

// sum adds what this pass found to what was known: an event counts once, as it was at first and as it is at last.
func (s *redactionPass) sum(known session.Redaction) session.Redaction {
	known.Events, known.Unnamed = slices.Clone(known.Events), slices.Clone(known.Unnamed)
	for _, e := range s.recorded {
		known.Events = addRedacted(known.Events, e)
	}
	for _, c := range s.changes {
		known.Events = addRedacted(known.Events, session.RedactedEvent{Seq: c.Seq, Bytes: len(c.Old), SHA256: digestOf(c.New)})
		stay := session.Digests([]stead.Event{{Data: c.New}})
		for _, d := range session.Digests([]stead.Event{{Data: c.Old}}) {
			if !slices.Contains(stay, d) && !slices.Contains(known.Unnamed, d) {
				known.Unnamed, known.Blobs = append(known.Unnamed, d), known.Blobs+1
			}
		}
	}
	slices.SortFunc(known.Events, func(a, b session.RedactedEvent) int { return cmp.Compare(a.Seq, b.Seq) })
	return known
}

func addRedacted(all []session.RedactedEvent, e session.RedactedEvent) []session.RedactedEvent {
	if at := slices.IndexFunc(all, func(had session.RedactedEvent) bool { return had.Seq == e.Seq }); at >= 0 {
		all[at].SHA256 = e.SHA256
		return all
	}
	return append(all, e)
}

// unnamed removes what no event names any more, and returns which of the texts is still there: it is too young for that. A text
// that something else names, as a file with the same bytes, stays for that.
func (r *Runner) unnamed(ctx context.Context, key stead.SessionKey, digests []string) ([]string, error) {
	if len(digests) == 0 {
		return nil, nil
	}
	if err := r.sweep(ctx, key); err != nil {
		return nil, err
	}
	events, err := r.allEvents(ctx, key, nil)
	if err != nil {
		return nil, err
	}
	named := session.Digests(events)
	var left []string
	for _, d := range digests {
		if slices.Contains(named, d) {
			continue
		}
		switch blob, err := r.cfg.Blobs.Open(ctx, key, d); {
		case err == nil:
			blob.Close()
			left = append(left, d)
		case stead.KindOf(err) != stead.KindNotFound:
			return nil, err
		}
	}
	return left, nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// shortenRedacted makes items what a model is given: what was redacted is a word, however long it was.
func shortenRedacted(items []stead.Item) {
	short := func(parts []stead.Content) []stead.Content {
		own := false
		for i, c := range parts {
			text := session.ShortRedacted(c.Text.Inline)
			if len(text) == len(c.Text.Inline) {
				continue
			}
			if !own {
				parts, own = slices.Clone(parts), true
			}
			parts[i].Text = stead.NewText(text)
		}
		return parts
	}
	for i := range items {
		items[i].Content, items[i].Output = short(items[i].Content), short(items[i].Output)
	}
}
