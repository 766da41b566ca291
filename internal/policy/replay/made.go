package replay

import (
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// made asks about a session that was made, and about what its environment is made of; and about a changed one, which is asked about as one
// of that agent.
func (r *reader) made(e stead.Event) (bool, error) {
	switch e.Kind {
	case session.KindSessionCreated:
		p, err := session.Decode[session.Created](e)
		if err != nil || p.Principal.ID == "" {
			return true, err
		}
		r.ask(policy.Request{
			Principal: p.Principal, Agent: p.Agent.ID, Base: p.Agent.Base, Effect: policy.SessionCreate, Resource: string(p.Agent.ID),
			Labels: stead.LabelsOf(p.Metadata).And(r.first(p)), Model: p.Agent.Spec.Model, Before: p.Decision,
		}, policy.Allowed, approvals{})
		r.setUp(p.Principal, p.Setup)
		return true, nil
	case session.KindEnvironmentCreated:
		p, err := session.Decode[session.EnvironmentCreated](e)
		if err == nil {
			r.setUp(r.owner(), &p.Setup)
		}
		return true, err
	case session.KindSessionUpdated:
		p, err := session.Decode[session.Updated](e)
		if err != nil || p.By.ID == "" {
			return true, err
		}
		r.write(p.By, policy.SessionWrite, "")
		r.remade(p)
		return true, nil
	}
	return false, nil
}

// first are the labels of the response that a session was made for; nil: it was made for something else.
func (r *reader) first(c session.Created) stead.Labels {
	if c.Conversation || r.at+1 >= len(r.events) || r.events[r.at+1].Kind != session.KindInputMessage {
		return nil
	}
	if p, err := session.Decode[session.Message](r.events[r.at+1]); err == nil && p.Response != nil {
		return p.Labels.And(stead.LabelsOf(p.Response.Metadata()))
	}
	return nil // also of what can't be read: the fold says so
}

// remade asks whether whoever gave the agent other tools, or another model, may make a session of that.
func (r *reader) remade(p session.Updated) {
	if p.Tools == nil && p.Model == nil {
		return
	}
	pin := r.view.Created.Agent
	if p.Apart != "" {
		pin = pin.Apart(p.Apart)
	}
	if p.Model != nil {
		pin.Spec.Model = *p.Model
	}
	r.ask(policy.Request{
		Principal: p.By, Agent: pin.ID, Base: pin.Base, Effect: policy.SessionCreate, Resource: string(pin.ID), Labels: r.view.Labels(), Model: pin.Spec.Model,
	}, policy.Allowed, approvals{})
}

// owner is whom the session serves, also before the event that says it: an environment may stand before that.
func (r *reader) owner() stead.Principal {
	if r.view.Created.Principal.ID != "" {
		return r.view.Created.Principal
	}
	for _, e := range r.events {
		if e.Kind == session.KindSessionCreated {
			c, _ := session.Decode[session.Created](e) // one that can't be read is an error where it stands
			return c.Principal
		}
	}
	return stead.Principal{}
}

// named is what of an environment's configuration names things of the project.
type named struct {
	Template string `json:"environment_template_id"`
	Files    []struct {
		FileID string `json:"file_id"`
	} `json:"files"`
	Skills []struct {
		SkillID string `json:"skill_id"`
	} `json:"skills"`
}

// setUp asks about the template, files and skills that an environment was made of.
func (r *reader) setUp(p stead.Principal, s *environment.Setup) {
	var n named
	if s == nil || p.ID == "" || json.Unmarshal(s.Config, &n) != nil {
		return
	}
	read := func(effect policy.Effect, id string) {
		if id != "" {
			r.ask(policy.Request{Principal: p, Effect: effect, Resource: id}, policy.Allowed, approvals{})
		}
	}
	read(policy.TemplateRead, n.Template)
	for _, f := range n.Files {
		read(policy.FileRead, f.FileID)
	}
	for _, k := range n.Skills {
		read(policy.SkillRead, k.SkillID)
	}
}
