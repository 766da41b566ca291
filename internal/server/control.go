package server

import (
	"net/http"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/session"
)

// wireControlled is what became of sessions that were steered together.
type wireControlled struct {
	Object   string               `json:"object"` // "session.control"
	Action   string               `json:"action"`
	DryRun   bool                 `json:"dry_run"`
	Matched  int                  `json:"matched"`
	Changed  int                  `json:"changed"`
	Failed   int                  `json:"failed"`
	Failures []wireControlFailure `json:"failures"`
	LastID   *string              `json:"last_id"`
	HasMore  bool                 `json:"has_more"` // go on with after: last_id
}

type wireControlFailure struct {
	SessionID string `json:"session_id"`
	Message   string `json:"message"`
}

// controlSessions pauses, resumes or cancels all sessions that fit a filter, which must be there: that all are meant is
// to be said.
func (s *server) controlSessions(w http.ResponseWriter, r *http.Request, p stead.Principal) error {
	req, err := read(w, r)
	if err != nil {
		return err
	}
	ask, err := controlOf(req)
	if err != nil {
		return err
	}
	done, err := s.Sessions.Control(r.Context(), p, ask)
	if err != nil {
		return err
	}
	out := wireControlled{
		Object: "session.control", Action: string(ask.Action), DryRun: ask.Dry, Matched: done.Matched, Changed: done.Changed, Failed: done.Failed,
		Failures: make([]wireControlFailure, 0, len(done.Failures)), LastID: known(string(done.Last)), HasMore: done.More,
	}
	for _, f := range done.Failures {
		told, _, _ := wireErrorOf(f.Err)
		out.Failures = append(out.Failures, wireControlFailure{string(f.Session), told.Message})
	}
	return s.write(w, out)
}

func controlOf(req request) (ask session.ControlRequest, err error) {
	if err := req.Only("a control of sessions", "action", "filter", "after", "dry_run"); err != nil {
		return ask, err
	}
	action, err := param.Need(req.Enum("action", session.ControlActions()...))("action")
	if err != nil {
		return ask, err
	}
	filter, err := param.Need(req.Object.Object("filter"))("filter")
	if err != nil {
		return ask, err
	}
	if err := filter.Only("a filter of sessions", "agent_id", "status", "user", "metadata", "model", "tool", "labels"); err != nil {
		return ask, err
	}
	ask.Action = session.ControlAction(action)
	agent, _, err := filter.String("agent_id")
	if err != nil {
		return ask, err
	}
	ask.Agent = stead.AgentID(agent)
	if ask.Status, _, err = filter.Enum("status", session.StatusIdle, session.StatusInProgress, session.StatusRequiresAction, session.StatusFailed); err != nil {
		return ask, err
	}
	if ask.User, _, err = filter.String("user"); err != nil {
		return ask, err
	}
	if ask.Metadata, _, err = filter.StringMap("metadata"); err != nil {
		return ask, err
	}
	if ask.Model, _, err = filter.String("model"); err != nil {
		return ask, err
	}
	if ask.Tool, _, err = filter.String("tool"); err != nil {
		return ask, err
	}
	if ask.Labels, _, err = filter.StringMap("labels"); err != nil {
		return ask, err
	}
	after, _, err := req.String("after")
	if err != nil {
		return ask, err
	}
	ask.After = stead.SessionID(after)
	ask.Dry, _, err = req.Bool("dry_run")
	return ask, err
}
