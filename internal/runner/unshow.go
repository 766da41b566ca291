package runner

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
)

// youngFor is how long a text beside the journal is kept that no event names any more.
const youngFor = blob.Grace + time.Minute

// Unshowing is what is to be taken out of a session.
type Unshowing struct {
	Eraser stead.Principal // who erases it; the zero one: nobody
	Since  stead.Seq       // the event behind which it was shown
	Names  []string        // of memories and documents, STORE/ID
	Wait   time.Duration   // for a workspace to be stored without it; until it is, the session is in use
}

// Unshow takes out of a session's journal what it was shown of memories and documents that are forgotten, and the files that showed it out of its
// workspace and its checkpoints. It can be called again, after a crash as well, and by several nodes. later is when what stood beside the journal
// will be old enough to be removed. KindConflict while the session is in use, KindForbidden where a policy keeps it from being deleted by this server,
// and by who erases as well, if anybody does: what one of them may is done.
func (r *Runner) Unshow(ctx context.Context, key stead.SessionKey, what Unshowing) (later time.Duration, err error) {
	if later, err = r.unshowItems(ctx, key, what); err != nil {
		return 0, err
	}
	files, err := r.unshowFiles(ctx, key, what)
	return max(later, files), err
}

// mayUnshow is in whose name something is taken out of a session.
func (r *Runner) mayUnshow(ctx context.Context, key stead.SessionKey, eraser stead.Principal) (stead.Principal, error) {
	by := asServer(key)
	err := r.allowDelete(ctx, by, key, "", true)
	if stead.KindOf(err) == stead.KindForbidden && eraser.ID != "" {
		return eraser, r.allowDelete(ctx, eraser, key, "", true)
	}
	return by, err
}

func (r *Runner) unshowItems(ctx context.Context, key stead.SessionKey, what Unshowing) (later time.Duration, err error) {
	for { // what was in memory may come into the journal once more: it is looked through until nothing was found
		v, err := r.view(ctx, key)
		if err == nil {
			err = atRest(v) // before it is looked through: a turn may be about to say what it found
		}
		if err != nil {
			return 0, err
		}
		pass, err := r.unshowing(ctx, key, what)
		if err != nil || len(pass.found) == 0 {
			return 0, err
		}
		by, err := r.mayUnshow(ctx, key, what.Eraser)
		if err != nil {
			return 0, err
		}
		if said := pass.unshower.Said(); r.cfg.Unsaid != nil && len(said) > 0 {
			if _, err := r.cfg.Unsaid(ctx, key, said); err != nil {
				return 0, err
			}
		}
		changes := pass.changes()
		events, err := pass.events(r.now(), by)
		if err != nil {
			return 0, err
		}
		if err := r.unshow(ctx, key, changes, events); err != nil {
			return 0, err
		}
		if len(changes)+len(events) == 0 {
			return r.unshownTexts(ctx, key, pass.young)
		}
	}
}

// unshow makes the changes, and says so behind them. The snapshot goes in any case: it may have been saved in between.
func (r *Runner) unshow(ctx context.Context, key stead.SessionKey, changes []journal.Change, events []stead.Event) error {
	rewrite := func() error { return r.cfg.Store.Rewrite(ctx, key, changes) }
	if r.cfg.Deleting != nil && len(changes) > 0 {
		if err := r.cfg.Deleting(ctx, rewrite); err != nil {
			return err
		}
	} else if err := rewrite(); err != nil {
		return err
	}
	if len(events) == 0 {
		return nil
	}
	return r.note(ctx, key, events)
}

// note says behind what was written anew that it was.
func (r *Runner) note(ctx context.Context, key stead.SessionKey, events []stead.Event) error {
	if _, err := r.cfg.Store.Send(ctx, key, journal.Input{Events: events, If: -1, Quiet: true}); err != nil {
		return err
	}
	r.forget(key)
	r.arrived(key)
	return nil
}

// unshownTexts removes what stood beside the journal, of which the youngest became nameless at a time (Unix milliseconds; 0: there are none).
func (r *Runner) unshownTexts(ctx context.Context, key stead.SessionKey, young int64) (time.Duration, error) {
	if young == 0 {
		return 0, nil
	}
	if err := r.sweep(ctx, key); err != nil {
		return 0, err
	}
	return max(time.UnixMilli(young).Add(youngFor).Sub(r.cfg.Now()), 0), nil
}

// unshowPass is what one look through a session's journal finds.
type unshowPass struct {
	unshower *session.Unshower
	found    []session.Unshown
	recorded []session.ItemRedacted
	young    int64 // when texts beside the journal were last named no more
}

// unshowing looks through the journal, in which it changes nothing.
func (r *Runner) unshowing(ctx context.Context, key stead.SessionKey, what Unshowing) (*unshowPass, error) {
	get := func(t stead.Text) (string, error) {
		err := r.loadText(ctx, key, &t)
		return t.Inline, err
	}
	put := func(text string) (stead.Text, error) {
		digest, err := r.cfg.Blobs.Put(ctx, key, []byte(text))
		return stead.Text{Digest: digest, Bytes: len(text)}, err
	}
	pass := &unshowPass{unshower: session.NewUnshower(what.Since, what.Names, get, put)}
	err := r.eachEvent(ctx, key, func(e stead.Event) error {
		if e.Kind == session.KindItemRedacted {
			p, err := session.Decode[session.ItemRedacted](e)
			if pass.recorded = append(pass.recorded, p); p.Blobs > 0 {
				pass.young = e.At
			}
			return err
		}
		found, err := pass.unshower.Next(e)
		if err == nil && found != nil {
			pass.found = append(pass.found, *found)
		}
		return err
	})
	return pass, err
}

// eachEvent calls do for each event of a journal.
func (r *Runner) eachEvent(ctx context.Context, key stead.SessionKey, do func(stead.Event) error) error {
	for after := stead.Seq(0); ; {
		events, err := r.cfg.Store.Read(ctx, key, journal.ReadOptions{After: after})
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := do(e); err != nil {
				return err
			}
			after = e.Seq
		}
		if len(events) < stead.MaxReadEvents {
			return nil
		}
	}
}

func (s *unshowPass) changes() (out []journal.Change) {
	for _, f := range s.found {
		if !bytes.Equal(f.Event.Data, f.Was) {
			out = append(out, journal.Change{Seq: f.Event.Seq, Old: f.Was, New: f.Event.Data})
		}
	}
	return out
}

// events say what was done, an item each: of those that are changed, and of those of which nothing is on record since whoever changed them died.
func (s *unshowPass) events(at int64, by stead.Principal) ([]stead.Event, error) {
	var said []session.ItemRedacted
	for _, f := range s.found {
		known := slices.ContainsFunc(s.recorded, func(p session.ItemRedacted) bool { return p.Unshown(f) })
		if bytes.Equal(f.Event.Data, f.Was) && known {
			continue
		}
		i := slices.IndexFunc(said, func(p session.ItemRedacted) bool { return p.Prefix == f.Prefix && p.Seq == f.Seq && p.Index == f.Index })
		if i < 0 {
			i, said = len(said), append(said, session.ItemRedacted{Prefix: f.Prefix, Seq: f.Seq, Index: f.Index, By: by})
		}
		p := &said[i]
		p.Events = append(p.Events, session.RedactedEvent{Seq: f.Event.Seq, Bytes: len(f.Was), SHA256: digestOf(f.Event.Data)})
		p.Memories = append(p.Memories, f.Memories...)
		p.Blobs += len(unnamedBy(f.Was, f.Event.Data))
	}
	out := make([]stead.Event, len(said))
	for i, p := range said {
		var err error
		if out[i], err = session.NewEvent(at, session.KindItemRedacted, p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// unnamedBy are the texts beside the journal that an event named before it was written anew, and does not any more.
func unnamedBy(was, is []byte) []string {
	stay := session.Digests([]stead.Event{{Data: is}})
	return slices.DeleteFunc(session.Digests([]stead.Event{{Data: was}}), func(d string) bool { return slices.Contains(stay, d) })
}

// Unshown is what was taken out of a session's journal of memories and documents (STORE/ID), by item.
func (r *Runner) Unshown(ctx context.Context, key stead.SessionKey, names []string) ([]session.Redaction, error) {
	var out []session.Redaction
	err := r.eachEvent(ctx, key, func(e stead.Event) error {
		if e.Kind != session.KindItemRedacted {
			return nil
		}
		p, err := session.Decode[session.ItemRedacted](e)
		if err != nil || len(p.Events) == 0 || !slices.ContainsFunc(p.Memories, func(m string) bool { return slices.Contains(names, m) }) {
			return err
		}
		item := "" // a summary, or what was extracted
		if p.Prefix != "" {
			item = stead.DerivedID(p.Prefix, key.Session, p.Seq, p.Index)
		}
		i := slices.IndexFunc(out, func(x session.Redaction) bool { return x.Item == item })
		if i < 0 {
			i, out = len(out), append(out, session.Redaction{Session: key.Session, Item: item})
		}
		for _, was := range p.Events {
			out[i].Events = addRedacted(out[i].Events, was)
		}
		out[i].Blobs, out[i].Files = out[i].Blobs+p.Blobs, out[i].Files+p.Files
		return nil
	})
	return out, err
}
