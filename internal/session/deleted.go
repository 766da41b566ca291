package session

import (
	"slices"

	"github.com/stead-dev/stead"
)

// ItemDeleted takes an item out of a conversation: out of its lists, and out of what the model is given
// from here on. A call and its output are given to a model together or not at all, so that deleting
// either takes both from it. What the item said stays in the journal, and in a summary that was made of
// it, until the session is deleted.
type ItemDeleted struct {
	// Prefix, Seq and Index make the item's id, without the session: a copy of the session has the same.
	Prefix string          `json:"prefix"`
	Seq    stead.Seq       `json:"seq"`
	Index  int             `json:"index"`
	CallID string          `json:"call_id,omitempty"` // of a call or its output
	By     stead.Principal `json:"by"`
}

// DeletionOf is the deletion of an item; false for what has no place in the journal.
func DeletionOf(session stead.SessionID, item Item, by stead.Principal) (ItemDeleted, bool) {
	prefix, seq, index, ok := stead.ParseDerivedID(session, item.ItemID())
	out := ItemDeleted{Prefix: prefix, Seq: seq, Index: index, By: by}
	switch it := item.(type) {
	case *FunctionCallItem:
		out.CallID = it.CallID
	case *FunctionOutputItem:
		out.CallID = it.CallID
	}
	return out, ok && index >= 0
}

func (d ItemDeleted) id(session stead.SessionID) string {
	return stead.DerivedID(d.Prefix, session, d.Seq, d.Index)
}

// Gone are the ids of the items that were deleted.
func (v *View) Gone() map[string]bool {
	if len(v.GoneItems) == 0 {
		return nil
	}
	out := make(map[string]bool, len(v.GoneItems))
	for _, d := range v.GoneItems {
		out[d.id(v.Key.Session)] = true
	}
	return out
}

func (v *View) itemDeleted(e stead.Event, p ItemDeleted) {
	v.GoneItems = append(v.GoneItems, p)
	v.LastActive = e.At
	if i := slices.Index(v.HandedBack, p.CallID); i >= 0 && p.CallID != "" {
		v.HandedBack = slices.Delete(v.HandedBack, i, i+1)
	}
	v.Asked = slices.DeleteFunc(v.Asked, func(c *Call) bool { return c.QuestionID(v.Key.Session) == p.id(v.Key.Session) })
}

// deleted takes an item out of what the model is given.
func (c *Context) deleted(e stead.Event) error {
	p, err := Decode[ItemDeleted](e)
	if err != nil {
		return err
	}
	gone := func(en *Entry) bool {
		at := en.Seq
		if en.Call > 0 {
			at = en.Call // what a model said is named by the call that it answers
		}
		return at == p.Seq && en.Index == p.Index || p.CallID != "" && en.Item.CallID == p.CallID
	}
	c.Entries, c.Held = slices.DeleteFunc(c.Entries, gone), slices.DeleteFunc(c.Held, gone)
	return nil
}

// FindItem returns an item of a session; KindNotFound.
func FindItem(key stead.SessionKey, read EventReader, id string, gone map[string]bool, texts Texts) (Item, error) {
	_, seq, index, ok := stead.ParseDerivedID(key.Session, id)
	if !ok || index < 0 || seq < 1 || gone[id] {
		return nil, stead.NotFound("item", id)
	}
	at, err := read(seq-1, 1, false)
	if err != nil {
		return nil, err
	}
	if len(at) > 0 {
		read = OfThread(read, at[0].Thread)
	}
	view, err := safePoint(key, read, seq, 0)
	if err != nil {
		return nil, err
	}
	c := newCollector(view, texts)
	err = forwards(read, view.Tail, func(e stead.Event) (bool, error) {
		if err := c.step(e); err != nil {
			return false, err
		}
		at := c.place(id)
		settled := at >= 0 && !c.openIn(at, at+1)
		return !settled && !(e.Seq >= seq && endsTurn(e)), nil
	})
	if err != nil {
		return nil, err
	}
	c.finish()
	if at := c.place(id); at >= 0 {
		return c.items[at], nil
	}
	return nil, stead.NotFound("item", id)
}

// deletions copies what was deleted behind the cut of what is in the copy, which shows nothing that its
// source hides.
func (f *fork) deletions(cut stead.Seq, later []stead.Event) error {
	for _, e := range later {
		var ours bool
		var err error
		switch e.Kind {
		case KindItemDeleted:
			p, bad := Decode[ItemDeleted](e)
			ours, err = p.Seq <= cut, bad
		case KindInputArtifact:
			e, ours, err = f.artifactDeleted(cut, e)
		}
		if err != nil {
			return err
		}
		if !ours {
			continue
		}
		if err := f.add(e); err != nil {
			return err
		}
	}
	return nil
}

// artifactDeleted is the deletion of an artifact as it is in the copy; ours is false for one that the copy
// does not have.
func (f *fork) artifactDeleted(cut stead.Seq, e stead.Event) (out stead.Event, ours bool, err error) {
	p, err := Decode[ArtifactInput](e)
	if err != nil {
		return e, false, err
	}
	seq, index, ok := p.place()
	at, moved := f.moved[seq]
	switch {
	case !ok || seq > cut && !moved:
		return e, false, nil
	case moved:
		e, err = edit(e, func(p *ArtifactInput) { p.ID = stead.DerivedID("artifact", f.key.Session, at, index) })
	}
	return e, true, err
}
