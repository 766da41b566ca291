package session

import (
	"maps"
	"slices"

	"github.com/stead-dev/stead"
)

// Fork makes the events of a new session, a copy of a session's past up to and including an item
// ("": all of it). events are the source's, whole; key is the source's. The copy is idle: a turn
// that would run is cancelled at a time (Unix milliseconds), a pause is lifted, and a session that
// failed goes on. metadata replaces the source's unless it is nil.
//
// The copied events keep their Seq, so that the ids of items differ from the source's in the
// session's part only. What comes after the item is left out: later events, later items of the same
// reply or input, text of a reply that is not part of the copy. An mcp_call holds its own output,
// so outcomes of copied calls are copied as well, wherever they stand; and so is what stored the
// workspace as it was at the item: see behind. Where nothing did, the copy begins with an older
// checkpoint, and its agent is told which commands may be missing in it.
//
// It fails with KindInvalid for an unknown item, and for events that do not fold.
func Fork(key stead.SessionKey, events []stead.Event, item string, at int64, origin Origin, metadata map[string]string) ([]stead.Event, error) {
	if CreatedAt(events) < 0 {
		return nil, stead.Errorf(stead.KindInvalid, "a session begins with %s", KindSessionCreated)
	}
	if origin.How == OriginImport {
		if err := madeOnce(events); err != nil {
			return nil, err
		}
	}
	cut, err := findCut(key, events, item)
	if err != nil {
		return nil, err
	}
	came, err := foreign(events)
	if err != nil {
		return nil, stead.Wrap(stead.KindInvalid, err, "the session's events can't be read")
	}
	f := &fork{key: key, at: at, view: NewView(key), foreign: origin.How == OriginImport || cut.seq < came, expired: slices.ContainsFunc(events, expires)}
	for _, e := range events[:cut.seq] {
		if e.Kind == KindSessionFailed {
			break
		}
		if e, err = cut.trim(e); err != nil {
			return nil, err
		}
		if err := f.add(e); err != nil {
			return nil, err
		}
		f.last = e.Seq
	}
	if item != "" {
		if err := f.behind(cut, events[cut.seq:]); err != nil {
			return nil, err
		}
	}
	if err := f.rest(); err != nil {
		return nil, err
	}
	if err := f.deletions(cut.seq, events[cut.seq:]); err != nil {
		return nil, err
	}
	origin.Seq, origin.Events = f.last, stead.Seq(len(f.events))
	if origin.Foreign = min(came, origin.Events); origin.How == OriginImport {
		origin.Foreign = origin.Events
	}
	if err := recreate(f.events, &origin, metadata, f.view); err != nil {
		return nil, err
	}
	return f.events, nil
}

// ThroughTurn is a session's past up to the end of a turn, without what was deleted of it later;
// KindNotFound for an unknown one, KindConflict for one that has not ended.
func ThroughTurn(key stead.SessionKey, events []stead.Event, turn string) ([]stead.Event, error) {
	_, seq, _, ok := stead.ParseDerivedID(key.Session, turn)
	if !ok || seq > stead.Seq(len(events)) {
		return nil, stead.NotFound("turn", turn)
	}
	for i, e := range events[seq:] {
		if !endsTurn(e) {
			continue
		}
		f := &fork{view: &View{Key: key, Tail: e.Seq}}
		if err := f.deletions(e.Seq, events[int(seq)+i+1:]); err != nil {
			return nil, err
		}
		return append(slices.Clip(events[:int(seq)+i+1]), f.events...), nil
	}
	return nil, stead.Errorf(stead.KindConflict, "turn %s has not ended", turn)
}

// CreatedAt is the index of the event that made a session, -1 for none. Before it there is only what
// was done with an environment that it attached.
func CreatedAt(events []stead.Event) int {
	if len(events) > 0 && events[0].Kind == KindEnvironmentCreated {
		return slices.IndexFunc(events, func(e stead.Event) bool { return e.Kind == KindSessionCreated })
	}
	if len(events) == 0 || events[0].Kind != KindSessionCreated {
		return -1
	}
	return 0
}

// cut is the place of the last item that is copied.
type cut struct {
	seq stead.Seq // of the event that made the item known for good
	// call is the model call that the item belongs to, and index its last item that is copied.
	call  stead.Seq
	index int
	// drop is a model call whose reply comes later: nothing of its text is copied.
	drop stead.Seq
	// input is the index of an item of input in its event, -1 for other items.
	input int
	// lists is how many lists of tools are copied of the event that has the item; 0: the item is none.
	lists int
	// view is the source's, as of seq; nil where nothing comes behind it.
	view *View
}

// findCut folds the events until the item has its place.
func findCut(key stead.SessionKey, events []stead.Event, id string) (cut, error) {
	all := cut{seq: stead.Seq(len(events)), input: -1}
	if id == "" {
		return all, nil
	}
	prefix, seq, index, ok := stead.ParseDerivedID(key.Session, id)
	if !ok || index < 0 {
		return cut{}, stead.Invalid("item_id", "no item with id %.80q in this session", id)
	}
	c := newCollector(NewView(key), inlineTexts)
	for _, e := range events {
		if err := c.step(e); err != nil {
			return cut{}, stead.Wrap(stead.KindInvalid, err, "the session's events can't be read")
		}
		if e.Seq == seq && prefix != callPrefix && (e.Kind == KindInputMessage || e.Kind == KindInputItems) {
			return c.inputCut(e, id, index)
		}
		if c.place(id) < 0 {
			continue
		}
		out := cut{seq: e.Seq, input: -1, view: c.proj.view}
		about, err := callOf(e)
		if err != nil {
			return cut{}, err
		}
		if about != "" { // a call that was shown as a question first: its own item stands where it was made, behind the whole reply
			out.drop = c.streaming()
			return out, nil
		}
		if seq < e.Seq { // the id names the model call
			out.call, out.index = seq, index
		} else if e.Kind == KindToolsListed {
			out.lists = index + 1
		}
		out.drop = c.streaming()
		return out, nil
	}
	c.finish()
	if c.place(id) < 0 {
		return cut{}, stead.Invalid("item_id", "no item with id %.80q in this session", id)
	}
	all.call, all.index = seq, index // it is being streamed
	return all, nil
}

// inputCut is the cut after an item of an input. A reply that was under way is not part of the copy.
func (c *collector) inputCut(e stead.Event, id string, index int) (cut, error) {
	p, err := Decode[Message](e)
	if err != nil {
		return cut{}, err
	}
	if index >= len(p.Input)+len(p.Items) {
		return cut{}, stead.Invalid("item_id", "no item with id %.80q in this session", id)
	}
	return cut{seq: e.Seq, input: index, drop: c.streaming(), view: c.proj.view}, nil
}

// streaming is the model call in flight, 0 for none.
func (c *collector) streaming() stead.Seq {
	if t := c.proj.view.Turn; t != nil && t.Model != nil {
		return t.Model.Seq
	}
	return 0
}

// inlineTexts stands in where only places count, not contents.
func inlineTexts(t stead.Text) string { return t.Inline }

// trim takes out of an event what comes after the cut.
func (c cut) trim(e stead.Event) (stead.Event, error) {
	switch {
	case e.Kind == KindInputMessage && c.input >= 0 && e.Seq == c.seq:
		return edit(e, func(p *Message) {
			p.Input = p.Input[:min(c.input+1, len(p.Input))]
			p.Items = p.Items[:min(c.input+1, len(p.Items))]
		})
	case e.Kind == KindInputItems && c.input >= 0 && e.Seq == c.seq:
		return edit(e, func(p *ItemsInput) { p.Items = p.Items[:c.input+1] })
	case e.Kind == KindToolsListed && c.lists > 0 && e.Seq == c.seq:
		return edit(e, func(p *ToolsListed) { p.Servers = p.Servers[:min(c.lists, len(p.Servers))] })
	case e.Kind == KindModelReplied && c.call > 0:
		return edit(e, func(p *ModelReplied) {
			if p.Call == c.call && c.index < len(p.Items) {
				p.Items = p.Items[:c.index+1]
			}
		})
	case e.Kind == KindModelStreamed && (c.call > 0 || c.drop > 0):
		return edit(e, func(p *ModelStreamed) {
			p.Segments = slices.DeleteFunc(p.Segments, func(s Segment) bool {
				return p.Call == c.drop || p.Call == c.call && s.Index > c.index
			})
		})
	}
	return e, nil
}

func edit[T any](e stead.Event, change func(*T)) (stead.Event, error) {
	p, err := Decode[T](e)
	if err != nil {
		return e, err
	}
	change(&p)
	out, err := NewEvent(e.At, e.Kind, p)
	out.Seq, out.Thread = e.Seq, e.Thread
	return out, err
}

// fork collects the events of the copy.
type fork struct {
	key    stead.SessionKey
	at     int64
	view   *View
	events []stead.Event
	last   stead.Seq               // of the source: the last event copied
	moved  map[stead.Seq]stead.Seq // of the source → of the copy: what stands behind the cut
	ended  bool                    // the turn of the cut has, in the source
	// foreign: the source is another server's.
	foreign bool
	expired bool // the source's environment is gone, or going: the copy's is gone, whatever the cut is
}

// add appends an event under the next Seq, and folds it.
func (f *fork) add(e stead.Event) error {
	e, err := undropped(e)
	if err != nil {
		return err
	}
	e.Seq = f.view.Tail + 1
	if err := f.view.Apply(e); err != nil {
		return stead.Wrap(stead.KindInvalid, err, "the session's events can't be read")
	}
	f.events = append(f.events, e)
	return nil
}

// rest brings the copy to rest.
func (f *fork) rest() error {
	write := func(kind string, payload any) error {
		e, err := NewEvent(f.at, kind, payload)
		if err != nil {
			return err
		}
		e.Thread = f.view.Focus()
		return f.add(e)
	}
	for _, s := range slices.Backward(f.view.Subagents) { // those below before those above
		if err := f.view.On(s.ID, func() error { return restThread(f.view, write) }); err != nil {
			return err
		}
	}
	if err := restThread(f.view, write); err != nil {
		return err
	}
	if f.view.Learn.Owes() { // the source remembers what was said in it
		if err := write(KindMemoryKept, MemoryKept{Dropped: true}); err != nil {
			return err
		}
	}
	if len(f.view.Effects)+len(f.view.Asked) > 0 {
		if err := write(KindSessionCopied, struct{}{}); err != nil {
			return err
		}
	}
	if f.view.Environment != nil {
		if err := write(KindEnvironmentCopied, EnvironmentCopied{Foreign: f.foreign}); err != nil {
			return err
		}
		if f.expired && f.view.Environment.Status != EnvironmentIsExpired {
			if err := write(KindEnvironmentExpired, EnvironmentExpired{}); err != nil {
				return err
			}
		}
	}
	if f.view.Paused {
		return write(KindSessionResumed, struct{}{})
	}
	return nil
}

// restThread ends what a thread does.
func restThread(v *View, write func(kind string, payload any) error) error {
	if c := v.Compact; c != nil {
		failed := ModelFailed{Call: c.Seq, Error: TurnError{"server_error", "The session was copied while the summary was being made."}}
		if err := write(KindModelFailed, failed); err != nil {
			return err
		}
	}
	if v.Turn != nil {
		return write(KindTurnCancelled, TurnEnded{})
	}
	return nil
}

// recreate rewrites the first event: where the copy comes from, and its metadata. v is the copy's state without
// that: what was said under the source's metadata keeps it as labels.
func recreate(events []stead.Event, origin *Origin, metadata map[string]string, v *View) error {
	created := CreatedAt(events)
	for i, e := range events {
		var err error
		switch {
		case i == created:
			events[i], err = edit(e, func(p *Created) {
				origin.Of = p.made()
				p.Origin = origin
				if origin.How == OriginImport {
					p.VaultIDs = nil // of another server: who imports a file has not chosen these
					unseal(p.Setup)
				}
				if metadata != nil {
					p.Metadata = maps.Clone(metadata)
					if v.Said {
						p.Labels = v.Labelled
					}
				}
			})
		case e.Kind == KindEnvironmentCreated && origin.How == OriginImport:
			events[i], err = edit(e, func(p *EnvironmentCreated) {
				p.VaultIDs = nil
				unseal(&p.Setup)
			})
		case e.Kind == KindSessionUpdated && (metadata != nil || origin.How == OriginImport):
			events[i], err = edit(e, func(p *Updated) {
				if metadata != nil {
					p.Metadata = nil
				}
				if origin.How == OriginImport {
					p.Apart = "" // which agent it is here is for who imports it to show
				}
			})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
