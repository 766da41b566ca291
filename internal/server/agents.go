package server

import (
	"math"
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
)

func (s *server) createAgent(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	patch, err := s.rulesFor(r.Context(), p).Decode("", req.Object)
	if err != nil {
		return err
	}
	var spec agent.Spec
	if err := patch.Apply(&spec); err != nil {
		return err
	}
	a, err := s.Agents.CreateAgent(r.Context(), p, spec, req.key, req.digest)
	if err != nil {
		return err
	}
	return s.write(w, a.Wire())
}

func (s *server) getAgent(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	version, err := agentVersion(r)
	if err != nil {
		return err
	}
	a, err := s.Agents.GetAgent(r.Context(), p, agentID(r), version)
	if version > 0 && stead.KindOf(err) == stead.KindNotFound {
		if newest, e := s.Agents.GetAgent(r.Context(), p, agentID(r), 0); e == nil {
			return stead.Errorf(stead.KindNotFound, "agent %s has no version %d: its newest is %d", newest.ID, version, newest.Version)
		}
	}
	if err != nil {
		return err
	}
	return s.write(w, a.Wire())
}

func (s *server) updateAgent(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	patch, err := s.rulesFor(r.Context(), p).Decode("", req.Object)
	if err != nil {
		return err
	}
	a, err := s.Agents.UpdateAgent(r.Context(), p, agentID(r), patch.Apply)
	if err != nil {
		return err
	}
	return s.write(w, a.Wire())
}

func (s *server) listAgents(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	q, err := idPage(r.URL.Query(), "agent_")
	if err != nil {
		return err
	}
	found, err := s.Agents.ListAgents(r.Context(), p, q)
	if err != nil {
		return err
	}
	data := make([]agent.Wire, len(found.Data))
	for i, a := range found.Data {
		data[i] = a.Wire()
	}
	return s.write(w, listOf(data, found.HasMore, func(a agent.Wire) string { return string(a.ID) }))
}

func (s *server) deleteAgent(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	id := agentID(r)
	if err := s.Agents.DeleteAgent(r.Context(), p, id); err != nil {
		return err
	}
	return s.write(w, deleted{string(id), true, "agent.deleted"})
}

func agentID(r *http.Request) stead.AgentID { return stead.AgentID(r.PathValue("id")) }

// agentVersion reads ?version=, ours: 0, the newest, where it is not there.
func agentVersion(r *http.Request) (int, error) {
	n, _, err := queryInt(r.URL.Query(), "version", 1, math.MaxInt32)
	return n, err
}
