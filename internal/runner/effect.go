package runner

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// gateOrHold asks whether an effect may happen that can wait for an approval. held: it waits from now on, and nothing of it is to be
// done. What was approved of it passes, as long as it is what was shown, and policies want no more by now.
func (a *actor) gateOrHold(p *plan, what session.EffectHeld) (d policy.Decision, held bool, err error) {
	req := a.state.Request(what.Effect, what.Of)
	req.Carried, req.Waits = true, true
	d, err = policy.Check(a.ctx, a.r.cfg.Policy, req)
	w := a.state.Waiting(what.EffectKey)
	covered := w.Covers(what.Shown)
	switch n := d.Needs; {
	case n == nil:
	case w.Refused(what.Shown) != "":
		d.Needs, err = nil, stead.Errorf(stead.KindForbidden, "%s was not done: %s", what.Effect, w.Refusal)
	case covered && w.Lapsed && n.Default == policy.DefaultAllow:
		d.Allow, d.Needs, err = true, nil, nil
		d.Reason += "; nobody answered in time, and it is done then"
	case covered && w.Lapsed: // policies changed their mind meanwhile
		d.Needs, err = nil, stead.Errorf(stead.KindForbidden, "%s was not done: it needed approval, and nobody gave it in time", what.Effect)
	case covered && a.state.EffectLacks(w, n) == 0:
		d.Allow, d.Needs, err = true, nil, nil
		d.Approval = w.RequestID(a.key.Session)
	default:
		a.decided = a.r.draft(a.ctx, a.decided, req, d)
		p.waits++
		what.Decision = d
		return d, true, a.record(p, session.KindEffectHeld, what)
	}
	a.decided = a.r.draft(a.ctx, a.decided, req, d)
	return d, false, err
}

// within is a step of the session with what was answered about its effects. of are those of it that are steps themselves.
func (a *actor) within(name string, of ...session.EffectKey) *policy.Step {
	grants := a.state.Grants(name)
	for _, key := range of {
		if w := a.state.Waiting(key); w != nil && w.Passed {
			grants = append(grants, a.state.Grant(w))
		}
	}
	return policy.NewStep(grants)
}

// wanted are the effects within a step that want an approval: those that it was told of, and that an error is about.
func wanted(s *policy.Step, errs ...error) []policy.Wanting {
	out := s.Asked()
	for _, err := range errs {
		if w, ok := errors.AsType[*policy.Wanting](err); ok && !slices.ContainsFunc(out, func(o policy.Wanting) bool {
			return o.Request.Effect == w.Request.Effect && o.Request.Resource == w.Request.Resource && string(policy.Shown(o.Request)) == string(policy.Shown(w.Request))
		}) {
			out = append(out, *w)
		}
	}
	return out
}

// holds are the questions about effects within a step.
func holds(within, tool string, all []policy.Wanting) []pending {
	var out []pending
	for _, w := range all {
		out = append(out, pending{session.KindEffectHeld, func(s *session.State) (any, error) {
			if s.Turn == nil {
				return nil, nil
			}
			return s.HeldWithin(within, tool, w), nil
		}})
	}
	return out
}

// answerable refuses an answer that a question does not take; expired: its time is over.
func answerable(at string, in session.ApprovalInput, digest string, expired bool) error {
	switch in.Decision {
	case session.DecisionApprove, session.DecisionDeny, session.DecisionCancel, session.DecisionDelegate:
	default:
		return stead.Invalid(at+".response.decision", "decision must be approve, deny, cancel or delegate, not %.40q", in.Decision)
	}
	if in.Digest != "" && in.Digest != digest {
		e := stead.Errorf(stead.KindConflict, "request %.200s asks about something else than what you answer: its digest is %s, not %.80s", in.RequestID, digest, in.Digest)
		e.Code, e.Param, e.Hint = CodeDigest, at+".response.digest", "Look at the request again, and answer what it shows."
		return e
	}
	if expired {
		return stead.Errorf(stead.KindConflict, "the time for answering request %.200s is over", in.RequestID)
	}
	if (in.Decision == session.DecisionDelegate) != (in.To != nil) {
		return stead.Invalid(at+".response.to", "delegate says to whom, and no other decision does")
	}
	return nil
}

// effectEvent answers the question about an effect that is no tool call.
func (r *Runner) effectEvent(v *session.View, w *session.EffectWait, p stead.Principal, at string, in session.ApprovalInput) (stead.Event, error) {
	if in.Arguments != "" {
		return stead.Event{}, stead.Invalid(at+".response.arguments", "arguments are for a tool call: of %s nothing can be changed by who approves it", w.Effect)
	}
	digest := v.OfEffect(w).Digest
	err := answerable(at, in, digest, w.Expired(r.now()))
	if err == nil && in.To != nil {
		err = v.EffectAsked(w).MayDelegate(p, *in.To)
	}
	if err == nil && in.Decision == session.DecisionApprove {
		err = v.EffectAsked(w).MayApprove(p)
	}
	if err != nil {
		return stead.Event{}, err
	}
	return session.NewEvent(r.now(), session.KindInputEffect, session.EffectResult{Asked: w.Asked, Decision: in.Decision, To: in.To, Digest: digest, Reason: in.Reason, By: p})
}

// shownModel is what whoever answers is shown of a model call. What the model gets is said by its place in the journal: all of the
// session up to an event.
type shownModel struct {
	Model    string       `json:"model"` // as the agent names it
	Routes   []shownRoute `json:"routes"`
	Agent    string       `json:"agent"`
	Version  int          `json:"version"`
	Purpose  string       `json:"purpose,omitempty"`
	Input    shownInput   `json:"input"`
	Tools    []string     `json:"tools,omitempty"`
	Settings string       `json:"settings_sha256"` // of the agent as the session has it, and of what a response asks for
}

// shownRoute is where the call may go.
type shownRoute struct {
	Provider string `json:"provider"`
	Model    string `json:"model"` // as the provider knows it
	Region   string `json:"region,omitempty"`
}

type shownInput struct {
	Items int       `json:"items,omitempty"`
	Upto  stead.Seq `json:"upto"` // number of the session's last event of which the model gets something
}

// modelEffect is a model call as it is asked about. upto is for summaries, and for what is remembered: the last turn.
func (a *actor) modelEffect(purpose, name string, info model.Info, upto stead.Seq) session.EffectHeld {
	c := &a.state.Created
	out := shownModel{Model: name, Agent: string(c.Agent.ID), Version: c.Agent.Version, Purpose: purpose}
	out.Input.Upto = upto
	if purpose == session.PurposeCompact {
		out.Input.Items = len(a.state.Context.Items(upto))
	} else if purpose == session.PurposeStep {
		out.Input = shownInput{Items: len(a.state.Context.Entries) + len(a.state.Context.Held), Upto: a.state.Context.Last()}
	}
	for _, v := range info.Card.Versions {
		out.Routes = append(out.Routes, shownRoute{v.Provider, v.Model, v.Region})
	}
	if len(out.Routes) == 0 {
		out.Routes = []shownRoute{{info.Provider, info.Upstream, info.Region}}
	}
	for _, t := range c.Agent.Spec.Tools {
		switch {
		case t.ServerLabel != "":
			out.Tools = append(out.Tools, t.ServerLabel)
		case t.Name != "":
			out.Tools = append(out.Tools, t.Name)
		default:
			out.Tools = append(out.Tools, t.Type)
		}
	}
	settings := []any{c.Agent.Spec}
	if t := a.state.Turn; t != nil && t.Response != nil {
		settings = append(settings, t.Response.Ask)
	}
	out.Settings = sumOf(settings)
	return session.EffectHeld{EffectKey: session.EffectKey{Effect: policy.ModelCall, Of: name, Purpose: purpose}, Shown: encoded(out)}
}

// shownEnvironment is what whoever answers is shown of an environment that is to be set up or opened.
type shownEnvironment struct {
	Environment string          `json:"environment"`
	Agent       string          `json:"agent,omitempty"`
	Type        string          `json:"type"`
	Network     json.RawMessage `json:"network,omitempty"`
	Template    json.RawMessage `json:"template,omitempty"`
	Mounts      []shownMount    `json:"memory_stores,omitempty"` // that are files in it
	Vaults      []string        `json:"vault_ids,omitempty"`
	Setup       string          `json:"setup_sha256"` // of its whole configuration, what may not be shown too
}

type shownMount struct {
	Store  string `json:"id"`
	Path   string `json:"path"`
	Access string `json:"access"`
}

// environmentEffect is an action with the environment as it is asked about.
func (a *actor) environmentEffect(action session.Action) session.EffectHeld {
	c, setup := &a.state.Created, &a.state.Environment.Setup
	out := shownEnvironment{Environment: session.EnvironmentID(a.key.Session), Agent: string(c.Agent.ID), Type: setup.Type, Vaults: c.VaultIDs, Setup: sumOf(setup)}
	var config map[string]json.RawMessage
	if json.Unmarshal(setup.Config, &config) == nil {
		out.Network, out.Template = config["network"], config["template_id"]
	}
	if m := c.Agent.Spec.Memory(); m != nil && action == session.ActionOpen {
		for _, s := range m.MemoryStores {
			if s.Path != "" {
				out.Mounts = append(out.Mounts, shownMount{s.ID, s.Path, s.Access})
			}
		}
	}
	return session.EffectHeld{
		EffectKey: session.EffectKey{Effect: policy.EnvironmentEffect(string(action)), Of: out.Environment}, Shown: encoded(out),
		Postponed: action == session.ActionPrepare && !a.state.EnvironmentNeeded(),
	}
}

// shownMemory is what whoever answers is shown of memories that are looked up for a turn, or kept of turns.
type shownMemory struct {
	Store string      `json:"memory_store"`
	Agent string      `json:"agent"`
	Does  string      `json:"does"`
	Input *shownInput `json:"input,omitempty"` // what is looked up
	Turns []string    `json:"turns,omitempty"` // of which something is kept
	Found []string    `json:"found,omitempty"` // what
}

// recallEffect is the look at a memory store before a turn.
func (a *actor) recallEffect(store string) session.EffectHeld {
	out := shownMemory{Store: store, Agent: string(a.state.Created.Agent.ID), Does: "look up what is remembered about the turn's messages"}
	out.Input = &shownInput{Items: len(a.state.Context.Unread()), Upto: a.state.Context.Last()}
	return session.EffectHeld{EffectKey: session.EffectKey{Effect: policy.MemoryRead, Of: store, Purpose: session.PurposeRecall}, Shown: encoded(out)}
}

// keepEffect is a write of what was said in turns, or of what was taken out of it. What is written is not shown where it could be redacted.
func (a *actor) keepEffect(c session.KeepMemories, store string) session.EffectHeld {
	out := shownMemory{Store: store, Agent: string(a.state.Created.Agent.ID), Does: "write what was found worth remembering", Turns: a.turnIDs(c.Turns)}
	purpose := session.PurposeFound
	if c.Items {
		out.Does, purpose = "make the messages of turns searchable", session.PurposeItems
	} else if a.state.Learn.Extracted != nil {
		for _, f := range a.state.Learn.Extracted.Found {
			out.Found = append(out.Found, f.Kind)
		}
		out.Does += ", as " + session.KindMemoryExtracted + " of the journal has it"
	}
	return session.EffectHeld{EffectKey: session.EffectKey{Effect: policy.MemoryWrite, Of: store, Purpose: purpose}, Shown: encoded(out), Turns: c.Turns}
}

// rememberEffect is a call of a model that says what of turns is worth remembering.
func (a *actor) rememberEffect(name string, info model.Info, turns []stead.Seq) session.EffectHeld {
	what := a.modelEffect(session.PurposeRemember, name, info, turns[len(turns)-1])
	what.Turns = turns
	return what
}

func (a *actor) turnIDs(turns []stead.Seq) []string {
	out := make([]string, len(turns))
	for i, t := range turns {
		out[i] = session.TurnID(a.key.Session, t)
	}
	return out
}

// sumOf is the SHA-256 of a value as JSON, in hex.
func sumOf(v any) string {
	sum := sha256.Sum256(encoded(v))
	return hex.EncodeToString(sum[:])
}

// encoded is our own structs as JSON, which can't fail.
func encoded(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("runner: encode: " + err.Error())
	}
	return b
}
