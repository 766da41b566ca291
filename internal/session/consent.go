package session

import (
	"cmp"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// A tool server may take no calls until its user has let the agent act for them there (OAuth). The turn waits for that:
//
//	consent.needed ─▶ the turn waits: no lease, no process, a required action with a page to open
//	  input.consent given   ─▶ what was refused is done: tools are listed, the call is made
//	                refused ─▶ it goes on without the server, and the agent is told; where the agent requires it, it fails
//	                cancel  ─▶ the turn is cancelled
//	  consent.lapsed        ─▶ as refused: the page's time is over
//
// Each server is asked about once a turn.

// ConsentNeeded says that a tool server wants its user's consent, and that the turn waits. It stands behind the outcome
// of what the server refused: a model call whose tools could not be listed, or a tool call.
type ConsentNeeded struct {
	Consent   string `json:"consent"` // id of what keeps it
	Server    string `json:"server"`  // label
	ServerURL string `json:"server_url"`
	Issuer    string `json:"issuer"` // the authorization server, where the user says yes or no
	Scope     string `json:"scope,omitempty"`
	Link      string `json:"link"`       // the page to open
	ExpiresAt int64  `json:"expires_at"` // Unix milliseconds: nobody is waited for any longer
	// Call is the model call before which it was found out; 0: there was none. That call counts as no attempt.
	Call stead.Seq `json:"call,omitempty"`
}

// Decisions about a consent, beside deny and cancel.
const (
	DecisionGiven   = "given"
	DecisionRefused = "refused"
)

// ConsentResult says how a consent ended.
type ConsentResult struct {
	Consent  string          `json:"consent"`
	Decision string          `json:"decision"` // given, refused (at the authorization server), deny or cancel
	Reason   string          `json:"reason,omitempty"`
	By       stead.Principal `json:"by"`
}

// ConsentLapsed says that nobody gave a consent in time.
type ConsentLapsed struct {
	Consent string `json:"consent"`
}

// ConsentWait is a turn's wait for a consent.
type ConsentWait struct {
	ConsentNeeded
	Asked stead.Seq `json:"asked"` // of the consent.needed: names the question
	Since int64     `json:"since"` // Unix milliseconds
}

// RequestID names the question that the turn waits with.
func (w *ConsentWait) RequestID(s stead.SessionID) string {
	return stead.DerivedID("req", s, w.Asked, 0)
}

// LapseConsent ends the wait for a consent that nobody gave in time.
type LapseConsent struct{ Consent string }

func (LapseConsent) command() {}

// Without is a tool server that a turn goes on without, since nobody let the agent act there.
type Without struct {
	Server string `json:"server"`
	Reason string `json:"reason"` // "": the consent was given
}

func (v *View) consentNeeded(e stead.Event, p ConsentNeeded) {
	t := v.Turn
	if t == nil {
		return
	}
	if p.Call != 0 && t.Attempts > 0 { // the failed call that stands before this was none of the model's fault
		if t.Attempts--; t.Attempts == 0 {
			t.Steps--
		}
		t.RetryAt = 0
	}
	t.Consents = append(slices.DeleteFunc(t.Consents, func(w *ConsentWait) bool { return w.Server == p.Server }), &ConsentWait{ConsentNeeded: p, Asked: e.Seq, Since: e.At})
}

func (v *View) consentDecided(e stead.Event, p ConsentResult) {
	w := v.Turn.consent(p.Consent)
	if w == nil {
		return // a second answer, or one for a turn that has ended
	}
	v.LastActive = e.At
	switch p.Decision {
	case DecisionGiven:
		v.Turn.consented(w, "")
	case DecisionCancel:
		v.Turn.Cancelling = true
	default:
		v.withoutConsent(w, cmp.Or(p.Reason, "The user did not allow it."))
	}
}

func (v *View) consentLapsed(_ stead.Event, p ConsentLapsed) {
	if w := v.Turn.consent(p.Consent); w != nil {
		v.withoutConsent(w, "Nobody allowed it in time.")
	}
}

// withoutConsent goes on without a server.
func (v *View) withoutConsent(w *ConsentWait, reason string) {
	t := v.Turn
	t.consented(w, reason)
	for _, c := range t.Calls {
		if c.State == CallReady && c.Tool.Server == w.Server {
			t.finish(c, stead.ItemFailed, nil, "The call was not made: the tool server "+w.Server+" wants its user's consent. "+reason)
		}
	}
	for _, s := range v.Created.Agent.Spec.Tools {
		if s.Required && s.ServerLabel == w.Server {
			t.Failure = &TurnError{model.CodeInvalid, "The required tool server " + w.Server + " wants its user's consent. " + reason}
		}
	}
}

// consented ends the wait, and keeps how.
func (t *TurnView) consented(w *ConsentWait, without string) {
	t.Consents = slices.DeleteFunc(t.Consents, func(o *ConsentWait) bool { return o == w })
	t.Settled = append(t.Settled, Without{w.Server, without})
}

// consent finds a wait by its id; nil: the turn does not wait for that.
func (t *TurnView) consent(id string) *ConsentWait {
	if t == nil {
		return nil
	}
	for _, w := range t.Consents {
		if w.Consent == id {
			return w
		}
	}
	return nil
}

// ConsentByRequest finds the wait that a required action names; nil when there is none.
func (v *View) ConsentByRequest(requestID string) *ConsentWait {
	if v.Turn == nil {
		return nil
	}
	for _, w := range v.Turn.Consents {
		if w.RequestID(v.Key.Session) == requestID {
			return w
		}
	}
	return nil
}

// awaitsConsent reports whether a call's server waits for a consent.
func (t *TurnView) awaitsConsent(c *Call) bool {
	return slices.ContainsFunc(t.Consents, func(w *ConsentWait) bool { return w.Server == c.Tool.Server && c.Tool.Server != "" })
}

// lapses are the consents whose time is over.
func (s *State) lapses() []Command {
	var out []Command
	for _, w := range s.Turn.Consents {
		if s.Now >= w.ExpiresAt {
			out = append(out, LapseConsent{w.Consent})
		}
	}
	return out
}

// consentExpiry is the first time at which a consent lapses; 0: none is waited for.
func (t *TurnView) consentExpiry() int64 {
	first := int64(0)
	for _, w := range t.Consents {
		if first == 0 || w.ExpiresAt < first {
			first = w.ExpiresAt
		}
	}
	return first
}

func (v *View) consentAction(w *ConsentWait) RequiredAction {
	r := &ActionRequest{
		Type: ActionConsent, ServerLabel: w.Server, URL: w.Link, ExpiresAt: w.ExpiresAt / 1000, OnExpiry: DecisionDeny,
		Message:   "The tool server " + w.Server + " wants to know that its user lets the agent act for them. Open the page, and say yes or no there.",
		Arguments: mustJSON(map[string]string{"server_url": w.ServerURL, "issuer": w.Issuer, "scope": w.Scope}),
	}
	return RequiredAction{Type: ActionConsent, TurnID: TurnID(v.Key.Session, v.Turn.Seq), RequestID: w.RequestID(v.Key.Session), Request: r}
}
