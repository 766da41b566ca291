package server

import (
	"context"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/responses"
)

// referenced puts the items that an input names by id (item_reference) in the place of their names. An id
// leads to its session, so that an item is found wherever it was said, if the principal may read that.
func (s *server) referenced(ctx context.Context, p stead.Principal, o param.Object) (param.Object, error) {
	raw, ok := o.Raw("input")
	if !ok || raw[0] != '[' {
		return o, nil
	}
	list, _, err := o.List("input")
	if err != nil || len(list) > responses.MaxItems { // which the reader of items refuses
		return o, err
	}
	found := false
	for i, raw := range list {
		entry, err := param.Parse(param.Index("input", i), raw)
		if err != nil {
			return o, err
		}
		if kind, _, _ := entry.String("type"); kind != "item_reference" {
			continue
		}
		found = true
		if list[i], err = s.itemOf(ctx, p, entry); err != nil {
			return o, err
		}
	}
	if !found {
		return o, nil
	}
	whole, err := json.Marshal(list)
	if err != nil {
		return o, stead.Wrap(stead.KindInternal, err, "write the input")
	}
	return o.With("input", whole), nil
}

func (s *server) itemOf(ctx context.Context, p stead.Principal, reference param.Object) (json.RawMessage, error) {
	id, err := param.Need(reference.String("id"))(reference.Path("id"))
	if err != nil {
		return nil, err
	}
	missing := stead.Invalid(reference.Path("id"), "Item with id '%.80s' not found.", id)
	session, ok := stead.SessionOf(id)
	if !ok {
		return nil, missing
	}
	item, err := s.Responses.Item(ctx, p, session, id)
	if stead.KindOf(err) == stead.KindNotFound {
		return nil, missing
	}
	if err != nil {
		return nil, err
	}
	shown := responseItem(item, true)
	if shown == nil {
		return nil, missing
	}
	raw, err := json.Marshal(shown)
	if err != nil {
		return nil, stead.Wrap(stead.KindInternal, err, "write item %s", id)
	}
	return raw, nil
}
