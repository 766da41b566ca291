package server

import (
	"context"
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/remember"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/session"
)

type wireIngested struct {
	Object  string `json:"object"` // "memory.ingest"
	Session string `json:"session_id"`
	Items   int    `json:"items"` // messages of the session
	Added   int    `json:"added"` // of which were new
}

type wireForgotten struct {
	Object    string `json:"object"` // "memory.forgotten"
	Forgotten int    `json:"forgotten"`
	Stores    int    `json:"memory_stores"` // in which something was
	DryRun    bool   `json:"dry_run"`       // nothing was: so many would be, without what was made of them
}

// ingestSession makes each message of a session, or of a conversation, or of what a response belongs to, a memory of kind item, once:
// whoever may read the session and write the store may do it as often as he likes.
func (s *server) ingestSession(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("an ingestion", "session_id", "scope", "tool_outputs"); err != nil {
		return err
	}
	id, err := param.Need(req.String("session_id"))("session_id")
	if err != nil {
		return err
	}
	if of, _, ok := session.ParseResponseID(id); ok {
		id = string(of)
	}
	id = sessionNamed(id)
	tools, has, err := req.Bool("tool_outputs")
	if err != nil {
		return err
	}
	var scope memory.Scope
	if err := memoryScope(req.Object, &scope); err != nil {
		return err
	}
	if _, err := s.Memory.Ingest(r.Context(), p, r.PathValue("id"), nil); err != nil {
		return err // who may not write the store learns nothing of the session
	}
	items, err := s.messages(r.Context(), p, stead.SessionID(id), tools || !has)
	if err != nil {
		return err
	}
	labels, err := s.Responses.Labels(r.Context(), p, stead.SessionID(id))
	if err != nil {
		return err
	}
	of, err := s.Sessions.Get(r.Context(), p, stead.SessionID(id))
	if err != nil {
		return err
	}
	also := s.Memory.LabelsOf(labels)
	if of.Owner.Kind != p.Kind || of.Owner.ID != p.ID { // what another one said nobody has vouched for
		also = append([]string{memory.LabelUntrusted}, also...)
	}
	for i := range items {
		items[i].Scope, items[i].Labels = scope, append(items[i].Labels, also...)
	}
	added, err := s.Memory.Ingest(r.Context(), p, r.PathValue("id"), items)
	if err != nil {
		return err
	}
	return s.write(w, wireIngested{"memory.ingest", id, len(items), added})
}

// forgetMemories forgets in one store, or without an id in all of the project.
func (s *server) forgetMemories(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a forgetting", "filters", "dry_run"); err != nil {
		return err
	}
	filters, err := param.Need(req.Object.Object("filters"))("filters")
	if err != nil {
		return err
	}
	f, err := memoryFilter(filters)
	if err != nil {
		return err
	}
	dry, _, err := req.Bool("dry_run")
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	var n, stores int
	switch {
	case dry:
		n, stores, err = s.Memory.WouldForget(r.Context(), p, id, f)
	case id == "":
		n, stores, err = s.Memory.ForgetEverywhere(r.Context(), p, f)
	default:
		n, err = s.Memory.ForgetMatching(r.Context(), p, id, f)
		stores = min(n, 1)
	}
	if err != nil {
		return err
	}
	return s.write(w, wireForgotten{"memory.forgotten", n, stores, dry})
}

// messages reads the messages of a session as entries, and with tools what tools said, oldest first, each with the time of its turn.
func (s *server) messages(ctx context.Context, p stead.Principal, id stead.SessionID, tools bool) ([]memory.Content, error) {
	times := map[string]int64{}
	q := session.PageQuery{Limit: stead.MaxPageSize}
	for {
		turns, err := s.Sessions.Turns(ctx, p, id, q)
		if err != nil {
			return nil, err
		}
		for _, t := range turns.Data {
			times[t.ID] = t.CreatedAt * millis
			q.After = t.ID
		}
		if !turns.HasMore {
			break
		}
	}
	var out []memory.Content
	said := session.Said{Tools: tools}
	q.After = ""
	for {
		items, err := s.Sessions.Items(ctx, p, id, session.ItemQuery{PageQuery: q})
		if err != nil {
			return nil, err
		}
		for _, it := range items.Data {
			q.After = it.ItemID()
			if m, ok := said.Of(it); ok {
				m.At = times[turnOf(it)]
				out = append(out, remember.Message(id, m)...)
			}
		}
		if !items.HasMore {
			return out, nil
		}
	}
}

// turnOf is the turn that an item is of; "": it was put there without one.
func turnOf(it session.Item) string {
	switch i := it.(type) {
	case *session.MessageItem:
		return i.TurnID
	case *session.FunctionOutputItem:
		return i.TurnID
	case *session.MCPCallItem:
		return i.TurnID
	case *session.CommandItem:
		return i.TurnID
	}
	return ""
}
