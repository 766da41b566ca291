package server

import (
	"net/http"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/session"
)

func (s *server) sendEvents(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a request that sends events", "events"); err != nil {
		return err
	}
	inputs, err := inputEvents(req.Object)
	if err != nil {
		return err
	}
	send := session.SendRequest{Inputs: inputs, Traceparent: traceparent(r), Key: req.key, Digest: req.digest}
	if err := s.Sessions.Send(r.Context(), p, sessionID(r), send); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (s *server) listItems(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	return s.items(w, r, p, r.URL.Query().Get("turn_id"))
}

func (s *server) listTurnItems(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	turn := r.PathValue("turn")
	if _, err := s.Sessions.Turn(r.Context(), p, sessionID(r), turn); err != nil {
		return err // an unknown turn is no empty list
	}
	return s.items(w, r, p, turn)
}

func (s *server) items(w http.ResponseWriter, r *http.Request, p stead.Principal, turn string) error {
	q, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	found, err := s.Sessions.Items(r.Context(), p, sessionID(r), session.ItemQuery{PageQuery: q, Turn: turn})
	if err != nil {
		return err
	}
	return s.writeItems(w, p, found)
}

// writeItems writes a page of items as whoever asks may see them.
func (s *server) writeItems(w http.ResponseWriter, p stead.Principal, found session.Page[session.Item]) error {
	shown := found.Data
	if p.Session != "" {
		shown = slices.Clone(shown)
		for i, item := range shown {
			shown[i] = session.OutlinedItem(item)
		}
	}
	return s.write(w, listOf(shown, found.HasMore, session.Item.ItemID))
}

func (s *server) listTurns(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	found, err := s.Sessions.Turns(r.Context(), p, sessionID(r), q)
	if err != nil {
		return err
	}
	return s.write(w, listOf(found.Data, found.HasMore, func(t session.Turn) string { return t.ID }))
}

func (s *server) getTurn(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Sessions.Turn(r.Context(), p, sessionID(r), r.PathValue("turn"))
	if err != nil {
		return err
	}
	return s.write(w, found)
}

func (s *server) pauseSession(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	return s.lifecycle(w, r, p, s.Sessions.Pause)
}

func (s *server) resumeSession(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	return s.lifecycle(w, r, p, s.Sessions.Resume)
}

func (s *server) forkSession(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	if err := req.Only("a fork", "item_id", "metadata"); err != nil {
		return err
	}
	var fork session.ForkRequest
	if fork.Item, _, err = req.String("item_id"); err != nil {
		return err
	}
	if fork.Metadata, err = agent.Metadata(req.Object); err != nil {
		return err
	}
	made, err := s.Sessions.Fork(r.Context(), p, sessionID(r), fork)
	if err != nil {
		return err
	}
	return s.write(w, s.shown(p, made))
}
