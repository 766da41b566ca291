package server

import (
	"context"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/responses"
)

// References are items that an input names by id (item_reference). An id leads to its session, so that an item
// is found wherever it was said, if the principal may read that. It brings the labels of that session along: rules
// about them hold for the text wherever it goes. Those are the labels of all that was said there, which may be
// more than the item's own: which text followed from which others nobody can tell.

// referenced puts the items in the place of their names, in the list of that name. Ids that are none of ours are
// refused, or left where foreign says that an upstream may know them.
func (s *server) referenced(ctx context.Context, p stead.Principal, req request, name string, foreign bool) (request, error) {
	raw, ok := req.Raw(name)
	if !ok || raw[0] != '[' || s.Responses == nil {
		return req, nil
	}
	list, _, err := req.List(name)
	if err != nil || len(list) > responses.MaxItems { // which the reader of items refuses
		return req, err
	}
	found := map[stead.SessionID]bool{}
	for i, raw := range list {
		entry, err := param.Parse(param.Index(name, i), raw)
		if err != nil {
			return req, err
		}
		if kind, _, _ := entry.String("type"); kind != "item_reference" {
			continue
		}
		id, err := param.Need(entry.String("id"))(entry.Path("id"))
		if err != nil {
			return req, err
		}
		session, ours := stead.SessionOf(id)
		if !ours && foreign {
			continue
		}
		missing := stead.Invalid(entry.Path("id"), "Item with id '%.80s' not found.", id)
		if !ours {
			return req, missing
		}
		if list[i], err = s.itemOf(ctx, p, session, id, missing); err != nil {
			return req, err
		}
		found[session] = true
	}
	if len(found) == 0 {
		return req, nil
	}
	whole, err := json.Marshal(list)
	if err != nil {
		return req, stead.Wrap(stead.KindInternal, err, "write the %s", name)
	}
	for session := range found {
		if req, err = s.labelledAs(ctx, p, req, session); err != nil {
			return req, err
		}
	}
	req.Object = req.With(name, whole)
	req.raw = req.JSON()
	return req, nil
}

// labelledAs gives a request the labels of a session, from which it has items by now: in this order none is missed.
func (s *server) labelledAs(ctx context.Context, p stead.Principal, req request, id stead.SessionID) (request, error) {
	labels, err := s.Responses.Labels(ctx, p, id)
	req.labels = req.labels.And(labels)
	return req, err
}

func (s *server) itemOf(ctx context.Context, p stead.Principal, session stead.SessionID, id string, missing error) (json.RawMessage, error) {
	item, err := s.Responses.Item(ctx, p, session, id)
	if stead.KindOf(err) == stead.KindNotFound {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	shown := responseItem(item, included{results: true, encrypted: true})
	if shown == nil {
		return nil, missing
	}
	raw, err := json.Marshal(shown)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "write item %s", id)
	}
	return raw, nil
}

// namesItem reports whether there may be a reference in a body; see namesFile. One that is written with escapes is
// not looked up, and so no text of ours goes anywhere.
func namesItem(b []byte) bool { return param.Mentions(b, `"item`, `_reference"`) }
