package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/session"
)

// An export is a file: what it says of who made the session and which agent it is proves nothing.

// adopt makes an imported session the importer's, who must be allowed to make one of the agent and model that it will run. The records
// of that go with its events.
func (r *Runner) adopt(ctx context.Context, p stead.Principal, key stead.SessionKey, events []stead.Event) ([]stead.Event, [][]byte, error) {
	v, err := folded(key, events)
	if err != nil {
		return nil, nil, err
	}
	pin, err := r.proved(ctx, p, v.Created.Agent)
	if err != nil {
		return nil, nil, err
	}
	plan, err := r.fitted(ctx, p, v)
	if err != nil {
		return nil, nil, err
	}
	decision, drafts, err := r.allowCreate(ctx, p, key, pin, plan, v.Labels())
	if err != nil {
		return nil, nil, err
	}
	events, err = refitted(key, events, v, plan)
	if err == nil {
		events, err = recreated(events, func(c *session.Created) {
			c.Principal, c.Decision = p, decision.Recorded()
			c.Agent.ID, c.Agent.Version, c.Agent.Base = pin.ID, pin.Version, pin.Base
		})
	}
	if err == nil {
		err = adopted(p, pin, plan, key, events)
	}
	return events, drafts, err
}

// fitted is the environment that an imported session has here; nil: none. What the file says that it is made of is asked for by whoever imports it.
func (r *Runner) fitted(ctx context.Context, p stead.Principal, v *session.View) (*session.EnvironmentPlan, error) {
	e := v.Environment
	if e == nil {
		return nil, nil
	}
	if r.cfg.Foreign == nil {
		return nil, noEnvironments()
	}
	plan, err := r.cfg.Foreign(ctx, p, session.ForeignEnvironment{
		Type: e.Setup.Type, Config: e.Setup.Config, Made: e.Status != session.EnvironmentPending && e.Status != session.EnvironmentIsFailed,
		Content: func(digest string) ([]byte, error) {
			if !slices.ContainsFunc(e.Setup.Blobs, func(t stead.Text) bool { return t.Digest == digest }) {
				return nil, stead.Errorf(stead.KindInvalid, "the environment names %.80q, which the file does not bring along with it", digest)
			}
			return r.cfg.Blobs.Get(ctx, v.Key, digest)
		},
	})
	return &plan, err
}

// refitted makes the environment what it was planned to be, in the event that it stands in.
func refitted(key stead.SessionKey, events []stead.Event, v *session.View, plan *session.EnvironmentPlan) ([]stead.Event, error) {
	if plan == nil {
		return recreated(events, func(c *session.Created) { c.Setup = nil })
	}
	setup := environment.Setup{Type: plan.Type, Config: plan.Config, Blobs: v.Environment.Setup.Blobs, Works: plan.Works}
	object := plan.Object(session.EnvironmentID(key.Session))
	attached := session.CreatedAt(events) > 0
	if attached {
		var err error
		events, err = rewritten(events, 0, func(c *session.EnvironmentCreated) { c.Setup, c.Object = setup, object })
		if err != nil {
			return nil, err
		}
	}
	return recreated(events, func(c *session.Created) {
		if c.Setup, c.Environment = &setup, object; attached {
			c.Setup = nil
		}
	})
}

// adopted refuses a journal that makes the session somebody else's after all, or another agent's, or gives it what is not the importer's to give.
func adopted(p stead.Principal, pin session.AgentPin, plan *session.EnvironmentPlan, key stead.SessionKey, events []stead.Event) error {
	v, err := folded(key, events)
	if err != nil {
		return err
	}
	c := &v.Created
	if c.Principal != p || c.Agent.ID != pin.ID || c.Agent.Version != pin.Version || c.Agent.Base != pin.Base || len(c.VaultIDs)+len(v.Effects)+len(v.Asked) > 0 ||
		(plan == nil) != (v.Environment == nil) || plan != nil && (!bytes.Equal(v.Environment.Setup.Config, plan.Config) || v.Environment.Setup.Sealed != nil) {
		return stead.Errorf(stead.KindInvalid, "the session's events make it another one than whoever imports it may have")
	}
	return nil
}

// proved is an agent under the name that it may have here: its own, if this project has the very same version of it. Any other is an
// agent of its own, as one that is given inline: policies, memories and figures of an agent are not had by saying its name.
func (r *Runner) proved(ctx context.Context, p stead.Principal, pin session.AgentPin) (session.AgentPin, error) {
	if pin.Version > 0 {
		a, err := r.cfg.Agents.GetAgent(ctx, p.Project, pin.ID, pin.Version)
		switch stead.KindOf(err) {
		case "":
			if same, err := sameSpec(a.Spec, pin.Spec); same || err != nil {
				return session.AgentPin{ID: pin.ID, Version: pin.Version, Spec: pin.Spec}, err // whatever it says that it was made from
			}
		case stead.KindNotFound:
		default:
			return pin, err
		}
	}
	return session.AgentPin{ID: stead.AgentID(newID("agent_")), Spec: pin.Spec}, nil
}

func sameSpec(a, b agent.Spec) (bool, error) {
	one, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	other, err := json.Marshal(b)
	return bytes.Equal(one, other), err
}

// recreated changes the event that made a session.
func recreated(events []stead.Event, change func(*session.Created)) ([]stead.Event, error) {
	return rewritten(events, session.CreatedAt(events), change)
}

// rewritten changes one event.
func rewritten[T any](events []stead.Event, at int, change func(*T)) ([]stead.Event, error) {
	p, err := session.Decode[T](events[at])
	if err != nil {
		return nil, err
	}
	change(&p)
	e, err := session.NewEvent(events[at].At, events[at].Kind, p)
	if err != nil {
		return nil, err
	}
	e.Seq = events[at].Seq
	events = slices.Clone(events)
	events[at] = e
	return events, nil
}
