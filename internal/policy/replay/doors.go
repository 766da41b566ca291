package replay

import (
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// egressDecided is the kind of event that an environment's host writes before a connection.
const egressDecided = "egress.decided"

// outside asks about connections out of the environment that its network allows, and notes what leaves no trace here.
func (r *reader) outside(e stead.Event) (bool, error) {
	switch e.Kind {
	case egressDecided:
		c, err := session.Decode[egress.Record](e)
		then := policy.Allowed
		switch {
		case err != nil || c.Repeated > 0 || !c.Allowed && c.Rule != egress.RulePolicy:
			return true, err // of what the network refuses policies are not asked
		case !c.Allowed:
			then = policy.Denied
		}
		req := r.view.Request(policy.NetworkConnect, c.Host)
		req.Destination, req.Connection = c.To(), &policy.Connection{Port: c.Port, Kind: c.Kind}
		if c.Kind == egress.KindRequest {
			req.Connection.Method, req.Connection.Path = c.Method, c.Path
		}
		if c.Opened {
			r.gap(policy.CredentialUse, noCredentials)
		}
		r.ask(req, then, approvals{})
		return true, nil
	case session.KindConsentNeeded, session.KindInputConsent, session.KindConsentLapsed:
		r.gap(policy.CredentialConsent, "consents stand in the audit log alone")
		return true, nil
	}
	return false, nil
}

// by is who did something at a door, and what of it bears on what is asked.
type by struct {
	By     stead.Principal `json:"by"`
	ID     string          `json:"id"`
	Output []stead.Content `json:"output"`
}

// doors asks about what people and applications sent.
func (r *reader) doors(e stead.Event) (bool, error) {
	var effect policy.Effect
	switch e.Kind {
	case session.KindInputMessage, session.KindInputItems:
		return true, r.sentMessage(e)
	case session.KindInputToolResult, session.KindInputCancel, session.KindSessionPaused, session.KindSessionResumed, session.KindItemDeleted, session.KindInputArtifact:
		effect = policy.SessionWrite
	case session.KindInputApproval, session.KindInputEdit, session.KindInputDelegate, session.KindInputEffect, session.KindInputBudget, session.KindInputOutcome:
		effect = policy.ApprovalGive
	case session.KindInputFile:
		effect = policy.EnvironmentWrite
	case session.KindResponseDeleted, session.KindItemRedacted:
		effect = policy.SessionDelete
	default:
		return false, nil
	}
	p, err := session.Decode[by](e)
	if err != nil {
		return true, err
	}
	r.write(p.By, effect, p.ID)
	if e.Kind == session.KindInputOutcome && len(p.Output) > 0 { // which is something that the agent is told
		r.write(p.By, policy.SessionWrite, "")
	}
	return true, nil
}

// sentMessage asks about messages and items. Those that a session was made with were asked about with that.
func (r *reader) sentMessage(e stead.Event) error {
	p, err := session.Decode[session.Message](e)
	if err != nil {
		return err
	}
	var all []stead.Content
	for _, m := range p.Input {
		all = append(all, m.Content...)
	}
	for _, it := range p.Items {
		all = append(all, it.Content...)
	}
	if slices.ContainsFunc(all, func(c stead.Content) bool {
		return c.Type == stead.ContentInputFile || c.Type == stead.ContentInputImage
	}) {
		r.gap(policy.FileRead, "files that messages name are in the journal by what they hold, and not by their ids")
	}
	if with, err := r.cameWith(e); with || err != nil {
		return err
	}
	r.write(p.By, policy.SessionWrite, "")
	return nil
}

// atOnce is how many milliseconds lie at most between the first two events of a session that was made with its message, where the journal is
// older than the mark that says so.
const atOnce = 20

// cameWith reports whether the session was made with what an event brings.
func (r *reader) cameWith(e stead.Event) (bool, error) {
	if r.at == 0 || r.events[r.at-1].Kind != session.KindSessionCreated {
		return false, nil
	}
	made, err := session.Decode[session.Created](r.events[r.at-1])
	return made.With || e.At-r.events[r.at-1].At <= atOnce, err
}

// write asks about what somebody did with the session.
func (r *reader) write(p stead.Principal, effect policy.Effect, of string) {
	if p.ID == "" { // it was done before events said by whom
		return
	}
	req := policy.Request{Principal: p, Session: r.view.Key, Effect: effect, Resource: of}
	switch effect {
	case policy.EnvironmentWrite:
		req.Resource = session.EnvironmentID(r.view.Key.Session)
	case policy.SessionDelete:
		req.Labels = r.view.Labels()
	}
	r.ask(req, policy.Allowed, approvals{})
}
