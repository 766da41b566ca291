package server

import (
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

func (s *server) listSubagents(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	found, err := s.Sessions.Subagents(r.Context(), p, sessionID(r), q)
	if err != nil {
		return err
	}
	return s.write(w, listOf(found.Data, found.HasMore, func(a session.SubagentObject) string { return a.ID }))
}

func (s *server) getSubagent(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Sessions.Subagent(r.Context(), p, sessionID(r), r.PathValue("part"))
	if err != nil {
		return err
	}
	return s.write(w, found)
}

func (s *server) listSubagentItems(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	return s.subagentItems(w, r, p, "")
}

func (s *server) listSubagentTurnItems(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	turn := r.PathValue("turn")
	if _, err := s.Sessions.SubagentTurn(r.Context(), p, sessionID(r), r.PathValue("part"), turn); err != nil {
		return err // an unknown turn is no empty list
	}
	return s.subagentItems(w, r, p, turn)
}

func (s *server) subagentItems(w http.ResponseWriter, r *http.Request, p stead.Principal, turn string) error {
	q, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	found, err := s.Sessions.SubagentItems(r.Context(), p, sessionID(r), r.PathValue("part"), session.ItemQuery{PageQuery: q, Turn: turn})
	if err != nil {
		return err
	}
	return s.writeItems(w, p, found)
}

func (s *server) listSubagentTurns(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := page(r.URL.Query())
	if err != nil {
		return err
	}
	found, err := s.Sessions.SubagentTurns(r.Context(), p, sessionID(r), r.PathValue("part"), q)
	if err != nil {
		return err
	}
	return s.write(w, listOf(found.Data, found.HasMore, func(t session.Turn) string { return t.ID }))
}

func (s *server) getSubagentTurn(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	found, err := s.Sessions.SubagentTurn(r.Context(), p, sessionID(r), r.PathValue("part"), r.PathValue("turn"))
	if err != nil {
		return err
	}
	return s.write(w, found)
}
