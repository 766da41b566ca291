package runner

import (
	"context"
	"errors"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// wanting is a tool server that wants its user's consent.
type wanting struct {
	config agent.Tool
	err    *stead.Error
}

// unconsented is the error of a server that wants its user's consent; nil: it is another one, or none.
func unconsented(err error) *stead.Error {
	if e, ok := errors.AsType[*stead.Error](err); ok && e.Code == tool.CodeConsent {
		return e
	}
	return nil
}

func settledConsents(v *session.View) []session.Settled {
	if v.Turn == nil {
		return nil
	}
	return slices.Clone(v.Turn.Settled)
}

// consentable refuses a tool whose users can't be asked here.
func (r *Runner) consentable(at string, vaults []string, t agent.Tool) error {
	switch {
	case !t.Consents():
		return nil
	case r.cfg.Consent == nil:
		e := stead.Errorf(stead.KindNotImplemented, "this server asks nobody for their consent to tool servers")
		e.Param = at + ".transport.auth"
		return e
	case len(vaults) == 0:
		e := stead.Invalid("vault_ids", "the tool server %q is used with its user's consent, and the session has no vault to keep the token in", t.ServerLabel)
		e.Hint = "Name a vault in vault_ids: stead vaults create NAME makes one. Sessions of keys that are bound to a user need none."
		return e
	}
	return nil
}

// askConsent makes the page for a server.
func (r *Runner) askConsent(ctx context.Context, key stead.SessionKey, h holder, w wanting) (session.ConsentNeeded, error) {
	vaults := r.keeping(h, w.config)
	if r.cfg.Consent == nil || len(vaults) == 0 {
		return session.ConsentNeeded{}, w.err
	}
	v, err := r.view(ctx, key)
	if err != nil {
		return session.ConsentNeeded{}, err
	}
	asked := v.Request(policy.CredentialConsent, "")
	if e := asked.NotAlone("the consent of a user"); e != nil {
		return session.ConsentNeeded{}, e
	}
	var said []string
	if c, ok := errors.AsType[*tool.Challenge](w.err); ok {
		said = c.Fields
	}
	return r.cfg.Consent(ctx, asked, vaults[0], w.config.ServerLabel, w.config.Transport.ServerURL, said)
}

// consents asks for the consents that stand between the model and its tools. asks: the call has its outcome, and the turn waits.
// Of a server about which nobody can be asked the model is told, or the call fails where the agent requires it.
func (c *modelCall) consents(ctx context.Context, f *flight, tools *toolset) (asks bool, err error) {
	var needed []pending
	now := c.a.r.now()
	for _, w := range tools.wanting {
		label := w.config.ServerLabel
		said, reason := session.ConsentNeeded{}, ""
		if i := slices.IndexFunc(c.settled, func(s session.Settled) bool { return s.Server == label }); i >= 0 {
			reason = session.ToldUnconsented(label, c.settled[i].Reason)
			if c.settled[i].Reason == "" {
				reason = session.ToldUnconsented(label, stillRefused)
			}
			err = stead.Errorf(stead.KindForbidden, "%s", reason)
		} else if said, err = c.a.r.askConsent(ctx, c.a.key, c.holder, w); err != nil {
			reason = session.ToldUnconsented(label, "It could not be asked for: "+clientMessage(err)+".")
			c.a.log.Warn("a user can't be asked for their consent", "server", label, "err", err)
		}
		switch {
		case err != nil && (w.config.Required || ctx.Err() != nil):
			return false, &missingServerError{label, err}
		case err != nil:
			tools.without = append(tools.without, reason)
		default:
			asks = true
			if said.Consent != "" { // else somebody has just given it
				said.Call = c.seq
				needed = append(needed, happened(session.KindConsentNeeded, said))
			}
		}
	}
	if asks {
		// The model was not asked: the call ends without having cost anything.
		failed := session.ModelFailed{Call: c.seq, Error: session.TurnError{Code: model.CodeInvalid, Message: "A tool server wants its user's consent first."}, RetryAt: now}
		c.a.deliver(f, append([]pending{happened(session.KindModelFailed, failed)}, needed...)...)
	}
	return asks, nil
}

// stillRefused is what the model is told of a server that refuses what its own user has just allowed.
const stillRefused = "It was given, and the server refuses the agent nevertheless."

// unconsented ends an attempt of a call whose server wants its user's consent: nothing was done there, and once the consent is
// given the call is made.
func (c *toolCall) unconsented(ctx context.Context, f *flight, err error) bool {
	refused := unconsented(err)
	if refused == nil || c.config == nil {
		return false
	}
	v, err := c.a.r.view(ctx, c.a.key)
	if err == nil {
		v = v.At(f.thread)
	}
	if err != nil || v == nil || v.Turn == nil {
		return false // it is over, or lost like any other
	}
	c.sent = false
	lost := session.ToolLost{CallID: c.id, Reason: "its user's consent was waited for", RetryAt: c.a.r.now()}
	switch was := v.Turn.SettledConsent(c.server); {
	case was != nil && was.Reason == "" && was.Seq > c.at: // it was given since the call left
		c.a.deliver(f, happened(session.KindToolLost, lost))
	case was != nil:
		reason := was.Reason
		if reason == "" {
			reason = stillRefused
		}
		c.told(f, session.ToldUnconsented(c.server, reason))
	default:
		said, err := c.a.r.askConsent(ctx, c.a.key, c.holder, wanting{*c.config, refused})
		switch {
		case err != nil:
			c.a.log.Warn("a user can't be asked for their consent", "server", c.server, "err", err)
			c.told(f, session.ToldUnconsented(c.server, "It could not be asked for: "+clientMessage(err)+"."))
		case said.Consent == "":
			c.a.deliver(f, happened(session.KindToolLost, lost))
		default:
			lost.Unconsented = true
			c.a.deliver(f, happened(session.KindToolLost, lost), happened(session.KindConsentNeeded, said))
		}
	}
	return true
}

// told ends a call that was not made, with words for the model.
func (c *toolCall) told(f *flight, why string) {
	c.a.deliver(f, happened(session.KindToolReturned, session.ToolReturned{CallID: c.id, Error: why, NotSent: true}))
}

// ConsentWaits reports whether a session's turn waits for a consent, and what is to be decided of it. A session that was deleted
// waits for none.
func (r *Runner) ConsentWaits(ctx context.Context, key stead.SessionKey, consent string) (policy.Request, bool, error) {
	v, err := r.awaiting(ctx, key, consent)
	if v == nil || err != nil {
		return policy.Request{}, false, err
	}
	return v.Request(policy.CredentialConsent, ""), true, nil
}

// awaiting is a session's view from the thread whose turn waits for a consent; nil: none does.
func (r *Runner) awaiting(ctx context.Context, key stead.SessionKey, consent string) (*session.View, error) {
	v, err := r.view(ctx, key)
	if stead.KindOf(err) == stead.KindNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return v.AwaitingConsent(consent), nil
}

// ConsentEnded tells a session how a consent ended. It may be told twice; false: its turn does not wait for that, perhaps not yet.
func (r *Runner) ConsentEnded(ctx context.Context, key stead.SessionKey, res session.ConsentResult) (waited bool, err error) {
	v, err := r.awaiting(ctx, key, res.Consent)
	if v == nil || err != nil {
		return false, err
	}
	e, err := session.NewEvent(r.now(), session.KindInputConsent, res)
	if err != nil {
		return false, err
	}
	e.Thread = v.Focus()
	_, err = r.cfg.Store.Send(ctx, key, journal.Input{Events: []stead.Event{e}, If: -1}) // of a wait that is over it says nothing
	if stead.KindOf(err) == stead.KindNotFound {
		return false, nil
	}
	r.arrived(key)
	return err == nil, err
}

// consentEvent answers for a user that their consent is not waited for. That it is given, the authorization server says alone.
func (r *Runner) consentEvent(w *session.ConsentWait, p stead.Principal, at string, in session.ApprovalInput) (stead.Event, error) {
	switch in.Decision {
	case session.DecisionDeny, session.DecisionCancel:
	case session.DecisionApprove:
		e := stead.Invalid(at+".response.decision", "nobody can approve for the user of the tool server %.80q", w.Server)
		e.Hint = "The user opens the page that the request names, and says yes there."
		return stead.Event{}, e
	default:
		return stead.Event{}, stead.Invalid(at+".response.decision", "decision must be deny or cancel, not %.40q", in.Decision)
	}
	return session.NewEvent(r.now(), session.KindInputConsent, session.ConsentResult{Consent: w.Consent, Decision: in.Decision, Reason: in.Reason, By: p})
}
