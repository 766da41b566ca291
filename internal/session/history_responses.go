package session

import (
	"slices"

	"github.com/stead-dev/stead"
)

// FindResponse returns a response; KindNotFound, also for one that was deleted. v is the view at
// the tail.
func FindResponse(v *View, read EventReader, seq stead.Seq) (Response, error) {
	id := ResponseID(v.Key.Session, seq)
	if slices.Contains(v.Deleted, seq) {
		return Response{}, stead.NotFound("response", id)
	}
	turn, err := FindTurn(v, read, TurnID(v.Key.Session, seq))
	if stead.KindOf(err) == stead.KindNotFound {
		return Response{}, stead.NotFound("response", id)
	}
	if err != nil {
		return Response{}, err
	}
	events, err := read(seq-1, 1, false)
	if err != nil {
		return Response{}, err
	}
	if len(events) == 0 {
		return Response{}, stead.NotFound("response", id)
	}
	p, err := Decode[Message](events[0])
	if err != nil {
		return Response{}, err
	}
	if p.Response == nil {
		return Response{}, stead.NotFound("response", id)
	}
	return Response{
		Session: v.Key.Session, Seq: seq, Turn: turn, Ask: *p.Response, Conversation: v.Created.Conversation, Previous: p.Response.Previous,
	}, nil
}

// AddedItems are the items that an input.items event brought.
func AddedItems(key stead.SessionKey, e stead.Event, texts Texts) ([]Item, error) {
	in, err := Decode[ItemsInput](e)
	if err != nil {
		return nil, err
	}
	out := []Item{}
	for i, it := range in.Items {
		if item := givenItem(key.Session, "", e.Seq, i, it, texts); item != nil {
			out = append(out, item)
		}
	}
	return out, nil
}

// ResponseInput lists the items of a session before the output of a response: what it was made of. read
// gives the whole journal, which is folded up to there; gone are the items that were deleted.
func ResponseInput(key stead.SessionKey, read EventReader, seq stead.Seq, gone map[string]bool, texts Texts) ([]Item, error) {
	c := newCollector(NewView(key), texts)
	c.gone = gone
	err := forwards(OfThread(read, 0), 0, func(e stead.Event) (bool, error) {
		if e.Seq > seq && endsTurn(e) {
			return false, nil // it was cancelled before it began
		}
		return !(e.Seq >= seq && e.Kind == KindTurnStarted), c.step(e)
	})
	if err != nil {
		return nil, err
	}
	c.finish() // what waits to begin
	return c.items, nil
}

// ResponseOutput lists the output of a response. A fold may begin between two turns, and so where the
// response's own begins.
func ResponseOutput(key stead.SessionKey, read EventReader, seq stead.Seq, gone map[string]bool, texts Texts) ([]Item, error) {
	c := newCollector(&View{Key: key, Tail: seq - 1}, texts)
	c.gone = gone
	inputs := -1 // how many items there are before the output
	err := forwards(OfThread(read, 0), seq-1, func(e stead.Event) (bool, error) {
		if err := c.step(e); err != nil {
			return false, err
		}
		if inputs < 0 && e.Kind == KindTurnStarted {
			inputs = len(c.items)
		}
		return !(e.Seq > seq && endsTurn(e)), nil
	})
	if err != nil || inputs < 0 { // it waits to begin
		return []Item{}, err
	}
	c.finish()
	return c.items[inputs:], nil
}
