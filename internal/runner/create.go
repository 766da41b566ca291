package runner

import (
	"context"
	"errors"
	"math"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
)

// How sessions are made: whole with their first input, or not at all.

// Create implements session.Service.
func (r *Runner) Create(ctx context.Context, p stead.Principal, req session.CreateRequest) (session.Session, error) {
	key := keyOf(p, stead.SessionID(newID(stead.SessionPrefix)))
	pin, saved, err := r.pin(ctx, p, req)
	if err != nil {
		return session.Session{}, err
	}
	decision, drafts, err := r.allowCreate(ctx, p, key, pin, req.Environment, stead.LabelsOf(req.Metadata))
	if err != nil {
		return session.Session{}, err
	}
	if _, _, err := r.cfg.Models.Resolve(pin.Spec.Model, callerOf(p, pin.Limited())); err != nil {
		return session.Session{}, modelError(err)
	}
	guarded, err := r.screenCreate(ctx, p, &pin, saved, &req)
	if err != nil {
		return session.Session{}, err
	}
	if req.Environment == nil {
		if err := agent.CheckEnvironment("", pin.Spec.Tools); err != nil {
			return session.Session{}, err
		}
	} else if req.Environment.Attach != "" {
		return r.attach(ctx, p, pin, req, guarded, drafts)
	}
	if err := r.attachable(ctx, p, req.VaultIDs, pin.Spec.Tools, req.Environment); err != nil {
		return session.Session{}, err
	}
	now := r.now()
	created := req.Created(pin, p)
	created.Decision, created.With = decision.Recorded(), len(req.Input) > 0
	computer := ""
	if plan := req.Environment; plan != nil {
		if created.Setup, err = r.setup(ctx, key, plan); err != nil {
			r.discard(ctx, key)
			return session.Session{}, err
		}
		computer, created.Environment = plan.Type, plan.Object(session.EnvironmentID(key.Session))
	}
	first, err := session.NewEvent(now, session.KindSessionCreated, created)
	if err != nil {
		return session.Session{}, err
	}
	events := []stead.Event{first}
	status := session.StatusIdle
	if len(req.Input) > 0 {
		e, err := r.messageEvent(ctx, key, p, session.Message{Input: req.Input, Guardrails: guarded.Findings, Traceparent: req.Traceparent})
		if err != nil {
			r.discard(ctx, key)
			return session.Session{}, err
		}
		events, status = append(events, e), session.StatusInProgress
	}
	key, err = r.bear(ctx, key, events, journal.Listing{Status: status, Metadata: req.Metadata, LastActive: now, Environment: computer}, req.Key, req.Digest, drafts)
	if err != nil {
		return session.Session{}, err
	}
	v, err := r.view(ctx, key)
	if err != nil {
		return session.Session{}, err
	}
	return v.Session(), nil
}

// bear stores a session that is made with its first events. With a key that made one before it is
// that one's.
func (r *Runner) bear(ctx context.Context, key stead.SessionKey, events []stead.Event, listing journal.Listing, idempotency, digest string, drafts [][]byte) (stead.SessionKey, error) {
	made, err := r.seed(key, events)
	if err != nil {
		return key, err
	}
	receipt, err := r.cfg.Store.Send(ctx, key, journal.Input{
		Create: &journal.Creation{Agent: made.Agent.ID, CreatedAt: events[0].At}, Events: events, If: -1, Key: idempotency, Digest: digest, Update: &listing, Audit: drafts,
	})
	if err != nil {
		r.forget(key)
		if stead.KindOf(err) != stead.KindUnavailable { // it may have been stored all the same
			r.discard(ctx, key)
		}
		return key, err
	}
	if receipt.Session == "" || receipt.Session == key.Session {
		return key, nil
	}
	r.forget(key) // the key made another session before
	r.discard(ctx, key)
	return stead.SessionKey{Project: key.Project, Session: receipt.Session}, nil
}

// seed puts a session that is about to be made into the caches, so that nobody has to read back
// what is just being written. Nothing is acted on before the store has it.
func (r *Runner) seed(key stead.SessionKey, events []stead.Event) (session.Session, error) {
	state, view := session.NewState(key), session.NewView(key) // each has one owner
	for i, e := range events {
		e.Seq = stead.Seq(i + 1)
		if err := state.Apply(e); err != nil {
			return session.Session{}, err
		}
		if err := view.Apply(e); err != nil {
			return session.Session{}, err
		}
	}
	r.states.put(key, state, saved{})
	r.views.put(view)
	return view.Session(), nil
}

// forget drops a session from the caches.
func (r *Runner) forget(key stead.SessionKey) {
	r.states.take(key, math.MaxInt64)
	r.views.drop(key)
}

// discard removes the blobs of a session that was not made, even when its caller is gone.
func (r *Runner) discard(ctx context.Context, key stead.SessionKey) {
	if err := r.cfg.Blobs.DeleteAll(context.WithoutCancel(ctx), key); err != nil {
		r.log.Warn("blobs of a session that was not made are left", "session", key.Session, "err", err)
	}
}

// pin resolves the agent that the session will run for good.
func (r *Runner) pin(ctx context.Context, p stead.Principal, req session.CreateRequest) (pin session.AgentPin, saved agent.Spec, err error) {
	pin = session.AgentPin{ID: req.AgentID, Spec: agent.Defaults()}
	if req.AgentID != "" {
		a, err := r.cfg.Agents.GetAgent(ctx, p.Project, req.AgentID, 0)
		if err != nil {
			return pin, saved, err
		}
		pin.Version, pin.Spec = a.Version, a.Spec
	} else {
		pin.ID = stead.AgentID(newID("agent_"))
	}
	saved = pin.Spec
	if req.Override != nil {
		if err := req.Override(&pin.Spec); err != nil {
			return pin, saved, err
		}
		if err := r.apart(ctx, p, &pin, saved); err != nil {
			return pin, saved, err
		}
	}
	if pin.Spec.Model == "" {
		return pin, saved, stead.Invalid("agent.model", "agent.model is required without an agent_id")
	}
	if req.Environment != nil {
		return pin, saved, nil
	}
	path := "agent.tools"
	if req.Override == nil {
		path = "" // the request names them by agent_id
	}
	return pin, saved, agent.CheckEnvironment(path, pin.Spec.Tools)
}

func modelError(err error) error {
	e := stead.Invalid("agent.model", "%s", clientMessage(err))
	if known, ok := errors.AsType[*stead.Error](err); ok {
		e.Message, e.Hint = known.Message, known.Hint
	}
	e.Code, e.Err = "model_not_found", err
	return e
}
