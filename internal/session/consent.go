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
//	                again   ─▶ the same, which makes a new page: of what was given nothing came, and the code is used up
//	                refused ─▶ it goes on without the server, and the agent is told; where the agent requires it, it fails
//	                deny    ─▶ the same, by who may answer what sessions ask
//	                cancel  ─▶ the turn is cancelled
//	  consent.lapsed        ─▶ as refused: the page's time is over
//
// A server that was answered about is not asked about again in the same turn.

// ConsentNeeded says that a tool server wants its user's consent, and that the turn waits. The page to open is not in the journal: it is
// shown to the user alone. It stands behind the outcome
// of what the server refused: a model call whose tools could not be listed, or a tool call.
type ConsentNeeded struct {
	Consent   string `json:"consent"` // id of what keeps it
	Server    string `json:"server"`  // label
	ServerURL string `json:"server_url"`
	Issuer    string `json:"issuer"` // the authorization server, where the user says yes or no
	Scope     string `json:"scope,omitempty"`
	ExpiresAt int64  `json:"expires_at"` // Unix milliseconds: nobody is waited for any longer
	// Call is the model call before which it was found out; 0: there was none. That call counts as no attempt.
	Call stead.Seq `json:"call,omitempty"`
}

// Decisions about a consent, beside deny and cancel.
const (
	DecisionGiven   = "given"
	DecisionAgain   = "again"
	DecisionRefused = "refused"
)

// ConsentResult says how a consent ended.
type ConsentResult struct {
	Consent  string          `json:"consent"`
	Decision string          `json:"decision"` // given, again, refused (at the authorization server), deny or cancel
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

// Settled is a tool server whose consent a turn has waited for.
type Settled struct {
	Server string    `json:"server"`
	Reason string    `json:"reason,omitempty"` // why the turn goes on without it; "": the consent was given
	Seq    stead.Seq `json:"seq"`              // of the event that ended the wait
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
	if slices.ContainsFunc(t.Consents, func(w *ConsentWait) bool { return w.Server == p.Server }) {
		return // two calls were refused at once: the first page may be open already
	}
	t.Consents = append(t.Consents, &ConsentWait{ConsentNeeded: p, Asked: e.Seq, Since: e.At})
}

func (v *View) consentDecided(e stead.Event, p ConsentResult) {
	w := v.Turn.Consent(p.Consent)
	if w == nil {
		return // a second answer, or one for a turn that has ended
	}
	v.LastActive = e.At
	switch p.Decision {
	case DecisionGiven:
		v.Turn.settleConsent(w, "", e.Seq)
	case DecisionAgain:
		v.Turn.dropConsent(w)
	case DecisionCancel:
		v.Turn.Cancelling = true
	default:
		if p.Decision == DecisionDeny {
			v.reasoned(p.By, p.Reason)
		}
		v.withoutConsent(w, cmp.Or(p.Reason, "The user did not allow it."), e.Seq)
	}
}

func (v *View) consentLapsed(e stead.Event, p ConsentLapsed) {
	if w := v.Turn.Consent(p.Consent); w != nil {
		v.withoutConsent(w, "Nobody allowed it in time.", e.Seq)
	}
}

// withoutConsent goes on without a server.
func (v *View) withoutConsent(w *ConsentWait, reason string, at stead.Seq) {
	t := v.Turn
	t.settleConsent(w, reason, at)
	for _, c := range t.Calls {
		if c.State == CallReady && c.Tool.Server == w.Server {
			t.finish(c, stead.ItemFailed, nil, ToldUnconsented(w.Server, reason))
		}
	}
	for _, s := range v.Created.Agent.Spec.Tools {
		if s.Required && s.ServerLabel == w.Server {
			t.Failure = &TurnError{model.CodeInvalid, "A required tool server can't be used. " + ToldUnconsented(w.Server, reason)}
		}
	}
}

// ToldUnconsented is what an agent is told of a server that it has to do without.
func ToldUnconsented(server, reason string) string {
	return "The tool server " + server + " wants its user's consent, and nothing was done there. " + reason
}

// dropConsent ends the wait.
func (t *TurnView) dropConsent(w *ConsentWait) {
	t.Consents = slices.DeleteFunc(t.Consents, func(o *ConsentWait) bool { return o == w })
}

// settleConsent ends the wait, and keeps how.
func (t *TurnView) settleConsent(w *ConsentWait, without string, at stead.Seq) {
	t.dropConsent(w)
	t.Settled = append(t.Settled, Settled{w.Server, without, at})
}

// SettledConsent is how the turn's wait for a server's consent ended; nil: it has waited for none.
func (t *TurnView) SettledConsent(server string) *Settled {
	for i := range t.Settled {
		if t.Settled[i].Server == server {
			return &t.Settled[i]
		}
	}
	return nil
}

// Consent finds a wait by its id; nil: the turn does not wait for that.
func (t *TurnView) Consent(id string) *ConsentWait {
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
		Type: ActionConsent, ServerLabel: w.Server, Consent: w.Consent, For: &v.Created.Principal, ExpiresAt: w.ExpiresAt / 1000, OnExpiry: DecisionDeny,
		Message:   "The tool server " + w.Server + " wants to know that its user lets the agent act for them. Open the page, and say yes or no there.",
		Arguments: mustJSON(map[string]string{"server_url": w.ServerURL, "issuer": w.Issuer, "scope": w.Scope}),
	}
	return RequiredAction{Type: ActionConsent, TurnID: TurnID(v.Key.Session, v.Turn.Seq), RequestID: w.RequestID(v.Key.Session), Request: r}
}
