package runner

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// The service of sessions: what every door calls. Each method asks the gate first.

func (r *Runner) allow(ctx context.Context, p stead.Principal, effect policy.Effect, key stead.SessionKey, resource string) error {
	return r.allowed(ctx, policy.Request{Principal: p, Session: key, Effect: effect, Resource: resource}, nil)
}

func (r *Runner) allowed(ctx context.Context, req policy.Request, drafts *[][]byte) error {
	p, key := req.Principal, req.Session
	if p.Session != "" && key.Session != "" && key.Session != p.Session { // a session token knows of no other
		return stead.NotFound("session", string(key.Session))
	}
	d, err := policy.Check(ctx, r.cfg.Policy, req)
	if err == nil && p.Bound && key.Session != "" {
		err = r.own(ctx, p, key)
	}
	if err == nil && drafts != nil {
		*drafts = r.draft(ctx, *drafts, req, d)
	}
	return err
}

// allowDelete asks whether a session, or an item of it, may go: with its labels, by which policies hold what must be kept.
func (r *Runner) allowDelete(ctx context.Context, p stead.Principal, key stead.SessionKey, item string, carried bool) error {
	req := policy.Request{Principal: p, Session: key, Effect: policy.SessionDelete, Resource: item, Carried: carried}
	switch v, err := r.view(ctx, key); {
	case err == nil:
		req.Labels = v.Labels()
	case stead.KindOf(err) != stead.KindNotFound: // whoever may not is not told that it is not there
		return err
	}
	return r.allowed(ctx, req, nil)
}

// allowWrite asks whether a session may be written to. The record of that goes with the input.
func (r *Runner) allowWrite(ctx context.Context, p stead.Principal, key stead.SessionKey) (drafts [][]byte, err error) {
	err = r.allowed(ctx, policy.Request{Principal: p, Session: key, Effect: policy.SessionWrite, Carried: true}, &drafts)
	return drafts, err
}

// allowCreate asks whether a session may be made of an agent. The record of that goes with the session's first events.
func (r *Runner) allowCreate(ctx context.Context, p stead.Principal, key stead.SessionKey, pin session.AgentPin, plan *session.EnvironmentPlan, labels stead.Labels) (policy.Decision, [][]byte, error) {
	req := policy.Request{
		Principal: p, Agent: pin.ID, Base: pin.Base, Effect: policy.SessionCreate, Resource: string(pin.ID), Pinned: pinned(pin, plan), Labels: labels, Model: pin.Spec.Model, Carried: true,
	}
	d, err := policy.Check(ctx, r.cfg.Policy, req)
	req.Session = key // policies know of none yet, its record does
	return d, r.draft(ctx, nil, req, d), err
}

// pinned names what a request that makes a session or an environment means by the ids in it: an agent, and a template, may be changed.
func pinned(pin session.AgentPin, plan *session.EnvironmentPlan) string {
	var out []string
	if pin.Version > 0 {
		out = append(out, fmt.Sprintf("version %d of agent %s", pin.Version, pin.ID))
	}
	if plan != nil && plan.Attach == "" {
		sum := sha256.Sum256(plan.Config)
		out = append(out, "environment "+hex.EncodeToString(sum[:]))
		if plan.BaseVersion > 0 {
			out = append(out, fmt.Sprintf("version %d of its template", plan.BaseVersion))
		}
	}
	return strings.Join(out, ", ")
}

// draft adds the audit record of a decision that was Carried.
func (r *Runner) draft(ctx context.Context, to [][]byte, req policy.Request, d policy.Decision) [][]byte {
	if r.cfg.Audit == nil {
		return to
	}
	if draft := r.cfg.Audit(ctx, req, d); draft != nil {
		to = append(to, draft)
	}
	return to
}

// madeBy reports whether a principal made a session.
func madeBy(v *session.View, p stead.Principal) bool {
	made := v.Created.Principal
	return made.Kind == p.Kind && made.ID == p.ID
}

// own refuses a bound principal the sessions that it did not make: to it they are not there.
func (r *Runner) own(ctx context.Context, p stead.Principal, key stead.SessionKey) error {
	v, err := r.view(ctx, key)
	if err != nil {
		return err
	}
	if !madeBy(v, p) {
		return stead.NotFound("session", string(key.Session))
	}
	return nil
}

// Serves says whom a session serves, to those who may cause an effect in it.
func (r *Runner) Serves(ctx context.Context, p stead.Principal, id stead.SessionID, effect policy.Effect) (stead.Principal, error) {
	key := keyOf(p, id)
	if err := r.allow(ctx, p, effect, key, ""); err != nil {
		return stead.Principal{}, err
	}
	v, err := r.view(ctx, key)
	if err != nil {
		return stead.Principal{}, err
	}
	return v.Created.Principal, nil
}

// ModelCall is the gate of the calls that belong to no session.
func (r *Runner) ModelCall(ctx context.Context, p stead.Principal, model string, labels stead.Labels, offers []policy.Offer) error {
	_, err := policy.Check(ctx, r.cfg.Policy, policy.Request{Principal: p, Effect: policy.ModelCall, Resource: model, Labels: labels, Offers: offers})
	return err
}

// Function is the gate of the functions that such a call's model asks for.
func (r *Runner) Function(ctx context.Context, p stead.Principal, model string, labels stead.Labels, function string, arguments []byte) error {
	req := functionOf(p, model, labels, function)
	req.Arguments = arguments
	_, err := policy.Check(ctx, r.cfg.Policy, req)
	return err
}

// Provided is the gate of tools that the model's provider runs in such a call by itself. All are asked about the same budgets.
func (r *Runner) Provided(ctx context.Context, p stead.Principal, model string, labels stead.Labels, offers []policy.Offer) (policy.Offer, error) {
	var budgets *policy.Budgets
	for _, o := range offers {
		req := functionOf(p, model, labels, o.Resource)
		req.Destination, req.Unforeseen, req.Origin, req.Budgets = o.Destination, true, session.DeclaredByProvider, budgets
		if o.Server != "" {
			req.Origin = session.DeclaredByAgent // whoever makes the call stands in its place
		}
		d, err := policy.Check(ctx, r.cfg.Policy, req)
		if err != nil {
			return o, err
		}
		budgets = cmp.Or(budgets, d.Budgets)
	}
	return policy.Offer{}, nil
}

// Unasked reports whether Function need not be asked about calls of a function, whatever their arguments.
func (r *Runner) Unasked(ctx context.Context, p stead.Principal, model string, labels stead.Labels, function string) bool {
	return policy.Foresee(ctx, r.cfg.Policy, functionOf(p, model, labels, function))
}

func functionOf(p stead.Principal, model string, labels stead.Labels, function string) policy.Request {
	return policy.Request{Principal: p, Effect: policy.ToolCall, Resource: function, Labels: labels, Model: model, Class: string(tool.Unknown), Origin: session.DeclaredByApplication}
}

// callerOf is for whom a session's model is looked for before there is a session.
func callerOf(p stead.Principal, a stead.AgentID) model.Caller {
	return model.Caller{Stateful: true, Project: p.Project, Agent: a, User: p.ID}
}

func keyOf(p stead.Principal, id stead.SessionID) stead.SessionKey {
	return stead.SessionKey{Project: p.Project, Session: id}
}

// newID makes a sortable id: the prefix and a UUIDv7 in hex.
func newID(prefix string) string {
	u := uuid.Must(uuid.NewV7())
	return prefix + hex.EncodeToString(u[:])
}

// Get implements session.Service.
func (r *Runner) Get(ctx context.Context, p stead.Principal, id stead.SessionID) (session.Session, error) {
	key := keyOf(p, id)
	if err := r.allow(ctx, p, policy.SessionRead, key, ""); err != nil {
		return session.Session{}, err
	}
	v, err := r.view(ctx, key)
	if err != nil {
		return session.Session{}, err
	}
	return v.Session(), nil
}

// List implements session.Service.
func (r *Runner) List(ctx context.Context, p stead.Principal, q session.ListQuery) (session.Page[session.Session], error) {
	var page session.Page[session.Session]
	if err := r.allow(ctx, p, policy.SessionRead, stead.SessionKey{}, ""); err != nil {
		return page, err
	}
	limit := pageLimit(q.PageQuery)
	if p.Bound || q.Folds() {
		return r.listOf(ctx, p, q, limit)
	}
	heads, err := r.cfg.Store.Heads(ctx, p.Project, journal.Query{
		Agent: q.Agent, Status: q.Status, Metadata: q.Metadata, After: stead.SessionID(q.After), Desc: q.Desc, Limit: limit + 1,
	})
	if err != nil {
		return page, err
	}
	if page.HasMore = len(heads) > limit; page.HasMore {
		heads = heads[:limit]
	}
	page.Data = make([]session.Session, 0, len(heads))
	for _, h := range heads {
		v, err := r.view(ctx, h.Key)
		if stead.KindOf(err) == stead.KindNotFound {
			continue // deleted meanwhile
		}
		if err != nil {
			return page, err
		}
		page.Data = append(page.Data, v.Session())
	}
	return page, nil
}

// listOf lists the sessions that a bound principal made, and those that fit what only their journals say, out of all.
func (r *Runner) listOf(ctx context.Context, p stead.Principal, q session.ListQuery, limit int) (session.Page[session.Session], error) {
	page := session.Page[session.Session]{Data: []session.Session{}}
	after := stead.SessionID(q.After)
	for {
		heads, err := r.cfg.Store.Heads(ctx, p.Project, journal.Query{
			Agent: q.Agent, Status: q.Status, Metadata: q.Metadata, After: after, Desc: q.Desc, Limit: stead.MaxPageSize,
		})
		if err != nil {
			return page, err
		}
		for _, h := range heads {
			after = h.Key.Session
			v, err := r.view(ctx, h.Key)
			if stead.KindOf(err) == stead.KindNotFound {
				continue // deleted meanwhile
			}
			if err != nil {
				return page, err
			}
			if p.Bound && !madeBy(v, p) || !q.Fits(v) {
				continue
			}
			if page.HasMore = len(page.Data) == limit; page.HasMore {
				return page, nil
			}
			page.Data = append(page.Data, v.Session())
		}
		if len(heads) < stead.MaxPageSize {
			return page, nil
		}
	}
}

func pageLimit(q session.PageQuery) int {
	if q.Limit <= 0 {
		return stead.DefaultPageSize
	}
	return min(q.Limit, stead.MaxPageSize)
}

// Update implements session.Service.
func (r *Runner) Update(ctx context.Context, p stead.Principal, id stead.SessionID, u session.Updated) (session.Session, error) {
	u.By = p
	written, err := u.Written()
	if err != nil {
		return session.Session{}, err
	}
	return r.amendAs(ctx, policy.Request{Principal: p, Session: keyOf(p, id), Effect: policy.SessionWrite, Written: written}, func(v *session.View) (string, any, error) {
		if u.Model != nil {
			if _, _, err := r.cfg.Models.Resolve(*u.Model, callerOf(p, v.Created.Agent.Limited())); err != nil {
				return "", nil, modelError(err)
			}
		}
		if u.Tools != nil && v.Environment == nil {
			if err := agent.CheckEnvironment("agent.tools", *u.Tools); err != nil {
				return "", nil, err
			}
		}
		if u.Tools != nil {
			if err := r.credentialed(ctx, v.Created.Principal, v.Created.VaultIDs, *u.Tools); err != nil {
				return "", nil, err
			}
		}
		if u.Metadata != nil && v.Said {
			if err := checkLabels(v.Labels(), nil, *u.Metadata); err != nil {
				return "", nil, err
			}
		}
		changed := u
		if u.Tools != nil {
			tools, at, said := screenTools(ctx, r.checksOf(v, p), *u.Tools, v.Created.Agent.Spec.Tools)
			if changed.Tools = &tools; said.Blocked != nil {
				return "", nil, said.Err("agent." + at)
			}
		}
		changed.Apart, err = r.remade(ctx, v, changed)
		return session.KindSessionUpdated, changed, err
	})
}

// remade asks whether whoever gives a session's agent other tools, or another model, may make one of that, as which it goes on. It is the
// agent's id from then on; "": it stays.
func (r *Runner) remade(ctx context.Context, v *session.View, u session.Updated) (stead.AgentID, error) {
	if u.Tools == nil && u.Model == nil {
		return "", nil
	}
	pin := v.Created.Agent
	if u.Model != nil {
		pin.Spec.Model = *u.Model
	}
	if u.Tools != nil {
		pin.Spec.Tools = *u.Tools
		if err := r.apart(ctx, u.By, &pin, v.Created.Agent.Spec); err != nil {
			return "", err
		}
	}
	req := policy.Request{Principal: u.By, Agent: pin.ID, Base: pin.Base, Effect: policy.SessionCreate, Resource: string(pin.ID), Pinned: pinned(pin, nil), Labels: v.Labels(), Model: pin.Spec.Model}
	if _, err := policy.Check(ctx, r.cfg.Policy, req); err != nil || pin.ID == v.Created.Agent.ID {
		return "", err
	}
	return pin.ID, nil
}

// Pause implements session.Service.
func (r *Runner) Pause(ctx context.Context, p stead.Principal, id stead.SessionID) (session.Session, error) {
	return r.amend(ctx, p, id, func(v *session.View) (string, any, error) {
		if v.Paused {
			return "", nil, nil
		}
		return session.KindSessionPaused, session.Paused{By: p}, nil
	})
}

// Resume implements session.Service.
func (r *Runner) Resume(ctx context.Context, p stead.Principal, id stead.SessionID) (session.Session, error) {
	return r.amend(ctx, p, id, func(v *session.View) (string, any, error) {
		if !v.Paused {
			return "", nil, nil
		}
		return session.KindSessionResumed, session.Paused{By: p}, nil
	})
}

// maxConflicts is how often a change that depends on the present state is tried anew when the
// session moves on meanwhile.
const maxConflicts = 64

// amend appends one event that depends on the present state; an empty kind appends nothing.
func (r *Runner) amend(ctx context.Context, p stead.Principal, id stead.SessionID, change func(*session.View) (string, any, error)) (session.Session, error) {
	return r.amendAs(ctx, policy.Request{Principal: p, Session: keyOf(p, id), Effect: policy.SessionWrite}, change)
}

// amendAs is amend for what asks more than that.
func (r *Runner) amendAs(ctx context.Context, req policy.Request, change func(*session.View) (string, any, error)) (session.Session, error) {
	key := req.Session
	if err := r.allowed(ctx, req, nil); err != nil {
		return session.Session{}, err
	}
	for range maxConflicts {
		v, err := r.view(ctx, key)
		if err != nil {
			return session.Session{}, err
		}
		kind, payload, err := change(v)
		if err != nil {
			return session.Session{}, err
		}
		if kind == "" {
			return v.Session(), nil
		}
		e, err := session.NewEvent(r.now(), kind, payload)
		if err != nil {
			return session.Session{}, err
		}
		after, err := copyView(v)
		if err != nil {
			return session.Session{}, err
		}
		e.Seq = v.Tail + 1
		if err := after.Apply(e); err != nil {
			return session.Session{}, err
		}
		_, err = r.cfg.Store.Send(ctx, key, journal.Input{
			Events: []stead.Event{e}, If: v.Tail,
			Update: &journal.Listing{Status: after.Status(), Metadata: after.Created.Metadata, LastActive: after.LastActive, Agent: after.Created.Agent.ID},
		})
		if stead.KindOf(err) == stead.KindTail {
			continue
		}
		if err != nil {
			return session.Session{}, err
		}
		r.arrived(key)
		return after.Session(), nil
	}
	return session.Session{}, stead.Errorf(stead.KindUnavailable, "the session is too busy to be changed; try again")
}

// Items implements session.Service.
func (r *Runner) Items(ctx context.Context, p stead.Principal, id stead.SessionID, q session.ItemQuery) (session.Page[session.Item], error) {
	v, err := r.readable(ctx, p, id)
	if err != nil {
		return session.Page[session.Item]{}, err
	}
	q.Limit, q.Gone = pageLimit(q.PageQuery), v.Gone()
	return session.ListItems(v.Key, r.reader(ctx, v.Key), q, r.texts(ctx, v.Key))
}

// Turns implements session.Service.
func (r *Runner) Turns(ctx context.Context, p stead.Principal, id stead.SessionID, q session.PageQuery) (session.Page[session.Turn], error) {
	v, err := r.readable(ctx, p, id)
	if err != nil {
		return session.Page[session.Turn]{}, err
	}
	q.Limit = pageLimit(q)
	return session.ListTurns(v, r.reader(ctx, v.Key), q)
}

// Turn implements session.Service.
func (r *Runner) Turn(ctx context.Context, p stead.Principal, id stead.SessionID, turn string) (session.Turn, error) {
	v, err := r.readable(ctx, p, id)
	if err != nil {
		return session.Turn{}, err
	}
	return session.FindTurn(v, r.reader(ctx, v.Key), turn)
}

func (r *Runner) readable(ctx context.Context, p stead.Principal, id stead.SessionID) (*session.View, error) {
	key := keyOf(p, id)
	if err := r.allow(ctx, p, policy.SessionRead, key, ""); err != nil {
		return nil, err
	}
	return r.view(ctx, key)
}

func (r *Runner) reader(ctx context.Context, key stead.SessionKey) session.EventReader {
	return func(after stead.Seq, limit int, desc bool) ([]stead.Event, error) {
		return r.cfg.Store.Read(ctx, key, journal.ReadOptions{After: after, Limit: limit, Desc: desc})
	}
}
