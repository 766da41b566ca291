package runner

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// Send implements session.Service.
func (r *Runner) Send(ctx context.Context, p stead.Principal, id stead.SessionID, req session.SendRequest) error {
	key := keyOf(p, id)
	drafts, err := r.allowInputs(ctx, p, key, req.Inputs)
	if err != nil {
		return err
	}
	if len(req.Inputs) == 0 {
		return stead.Invalid("events", "events must hold at least one event")
	}
	if err := r.takes(req.Inputs); err != nil {
		return err
	}
	first, rest, ok := splitAtCancel(req)
	if !ok {
		return r.send(ctx, p, key, req, drafts)
	}
	if err := r.Send(ctx, p, id, first); err != nil {
		return err
	}
	return r.Send(ctx, p, id, rest)
}

// allowInputs asks about each input as what it is: an answer to a question is given, anything else is written.
func (r *Runner) allowInputs(ctx context.Context, p stead.Principal, key stead.SessionKey, inputs []session.Input) (drafts [][]byte, err error) {
	gives := func(in session.Input) bool { return in.Approval != nil || in.Outcome != nil }
	writes := func(in session.Input) bool { return !gives(in) || in.Outcome != nil && len(in.Outcome.Output) > 0 } // an output is something that the agent is told
	if slices.ContainsFunc(inputs, gives) {
		if err := r.allow(ctx, p, policy.ApprovalGive, key, ""); err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(inputs, writes) {
			return nil, nil
		}
	}
	return r.allowWrite(ctx, p, key)
}

// splitAtCancel parts a request in which a message comes behind a cancel: the message is for the next
// turn, so it is stored once the cancelled one has ended. The second part has a key of its own, made
// of the first's, so that the whole request can be repeated.
func splitAtCancel(req session.SendRequest) (first, rest session.SendRequest, ok bool) {
	at := slices.IndexFunc(req.Inputs, cancels) + 1
	if at == 0 || !hasMessage(req.Inputs[at:]) {
		return req, rest, false
	}
	first, rest = req, req
	first.Inputs, rest.Inputs = req.Inputs[:at], req.Inputs[at:]
	if req.Key != "" {
		rest.Key = "behind:" + blob.Digest([]byte(req.Key))
	}
	return first, rest, true
}

// send stores inputs that belong together, and with them the record that they were allowed.
func (r *Runner) send(ctx context.Context, p stead.Principal, key stead.SessionKey, req session.SendRequest, drafts [][]byte) error {
	req, repeated, err := r.screenSend(ctx, p, key, req)
	if err != nil || repeated {
		return err
	}
	if req.Inputs, err = r.checkEdits(ctx, key, p, req.Inputs); err != nil {
		return err
	}
	for try := range maxConflicts {
		v, err := r.view(ctx, key)
		if err != nil {
			return err
		}
		if v.Turn != nil && v.Turn.Cancelling && hasMessage(req.Inputs) {
			if v, err = r.cancelled(ctx, v); err != nil {
				return err
			}
		}
		in := journal.Input{If: v.Tail, Key: req.Key, Digest: req.Digest, Audit: r.answerDrafts(ctx, v, p, req.Inputs, slices.Clip(drafts))}
		var answers bool
		in.Events, answers, err = r.inputEvents(ctx, v, p, req.Inputs, req.Traceparent)
		if err != nil {
			return r.replayedOr(ctx, key, req, err)
		}
		after, err := viewAfter(v, in.Events)
		if err != nil {
			return err
		}
		in.Update = listingOf(after)
		if edits(req.Inputs) { // what others approved is void: they are asked anew
			in.Audit = r.askDrafts(ctx, v.Asks(), after, in.Audit)
		}
		if !answers && try >= maxMessageConflicts {
			// A message needs no particular state. The session moves on faster than its listing can
			// be kept: its holder will.
			in.If, in.Update = -1, nil
		}
		_, err = r.cfg.Store.Send(ctx, key, in)
		if stead.KindOf(err) != stead.KindTail {
			r.arrived(key)
			return err
		}
	}
	return stead.Errorf(stead.KindUnavailable, "the session is too busy to take an answer; try again")
}

// maxCancelWait is how long a message waits for the end of a turn that was cancelled. It takes
// longer only while the session's holder is dead.
const maxCancelWait = 5 * time.Second

// cancelled waits until the cancelled turn has ended and returns the view then: a message that
// comes behind a cancel is for the next turn, and would else end unanswered with this one.
func (r *Runner) cancelled(ctx context.Context, v *session.View) (*session.View, error) {
	key, turn := v.Key, v.Turn.Seq
	wait, cancel := context.WithTimeout(ctx, maxCancelWait)
	defer cancel()
	for v.Turn != nil && v.Turn.Seq == turn {
		_, err := r.cfg.Store.Wait(wait, key, v.Tail)
		if wait.Err() != nil {
			return nil, stead.Wrap(stead.KindUnavailable, wait.Err(), "the session's turn is still being cancelled; try again")
		}
		if err != nil {
			return nil, err
		}
		if v, err = r.view(ctx, key); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func hasMessage(inputs []session.Input) bool {
	return slices.ContainsFunc(inputs, func(in session.Input) bool { return in.Message != nil })
}

// maxMessageConflicts is how often a message is tried on a session that moves on meanwhile before it
// is stored wherever the tail is.
const maxMessageConflicts = 4

// listingAfter is what lists show once the events are stored at the view's tail.
func listingAfter(v *session.View, events []stead.Event) (*journal.Listing, error) {
	next, err := viewAfter(v, events)
	if err != nil {
		return nil, err
	}
	return listingOf(next), nil
}

func listingOf(v *session.View) *journal.Listing {
	return &journal.Listing{Status: v.Status(), Metadata: v.Created.Metadata, LastActive: v.LastActive}
}

// replayedOr answers a repeated request like the first time: what it answered is not open any more,
// but its key is known. Anything else gets the error.
func (r *Runner) replayedOr(ctx context.Context, key stead.SessionKey, req session.SendRequest, invalid error) error {
	if req.Key == "" {
		return invalid
	}
	probe, err := session.NewEvent(r.now(), session.KindTimerFired, session.TimerFired{})
	if err != nil {
		return invalid
	}
	const never = 1 << 62 // no session has this tail: only a known key gets through
	receipt, err := r.cfg.Store.Send(ctx, key, journal.Input{Events: []stead.Event{probe}, If: never, Key: req.Key, Digest: req.Digest})
	if err == nil && receipt.Replayed {
		return nil
	}
	switch stead.KindOf(err) {
	case stead.KindConflict, stead.KindUnavailable: // whether it was answered before is not known
		return err
	}
	return invalid
}

// inputEvents checks the inputs against the session and makes their events. answers is true when
// one of them depends on the present state.
func (r *Runner) inputEvents(ctx context.Context, v *session.View, p stead.Principal, inputs []session.Input, parent string) (events []stead.Event, answers bool, err error) {
	if v.Failed != nil {
		return nil, false, stead.Errorf(stead.KindConflict, "session %s has failed and takes no more input", v.Key.Session)
	}
	turn, unread := stead.Seq(0), 0 // that runs when an input arrives; 0: none
	if v.Turn != nil {
		turn, unread = v.Turn.Seq, v.Turn.Unread
	}
	answered := map[string]int{} // by the request: the input that answers it
	for i, in := range inputs {
		at := fmt.Sprintf("events[%d]", i)
		if id := in.Answers(); id != "" {
			if first, twice := answered[id]; twice {
				return nil, false, stead.Invalid(at+".request_id", "%s answers request %.80q, as events[%d] does: one answer counts", at, id, first)
			}
			answered[id] = i
		}
		var e stead.Event
		switch {
		case in.Message != nil:
			if unread++; unread > stead.MaxSteeringMessages {
				e := stead.Errorf(stead.KindLimited, "the session would have %d messages that its agent has not read yet; the limit is %d", unread, stead.MaxSteeringMessages)
				e.Code = "active_turn_not_steerable"
				return nil, false, e
			}
			e, err = r.messageEvent(ctx, v.Key, p, session.Message{Input: in.Message, Guardrails: in.Guarded.Findings, Traceparent: parent})
			if turn == 0 {
				turn = v.Tail + 1 + stead.Seq(i) // each input is one event: it makes the turn
			}
		case in.Cancel:
			// Of a turn that this very request makes, it holds at that place only.
			answers = answers || turn > v.Tail
			e, err = session.NewEvent(r.now(), session.KindInputCancel, session.CancelInput{By: p, Turn: turn})
		case in.Result != nil:
			answers = true
			v := askedFrom(v, v.OfCallID(in.Result.CallID))
			e, err = r.resultEvent(ctx, v, p, at, *in.Result, in.Guarded)
			e.Thread = v.Focus()
		case in.Approval != nil:
			answers = true
			v := askedFrom(v, v.OfRequest(in.Approval.RequestID))
			e, err = r.approvalEvent(v, p, at, *in.Approval, in.Guarded)
			e.Thread = v.Focus()
		case in.Outcome != nil:
			answers = true
			v := askedFrom(v, v.OfRequest(in.Outcome.RequestID))
			e, err = r.outcomeEvent(ctx, v, p, at, *in.Outcome, in.Guarded)
			e.Thread = v.Focus()
		default:
			err = stead.Invalid(at, "%s is empty", at)
		}
		if err != nil {
			return nil, false, err
		}
		events = append(events, e)
	}
	return events, answers, nil
}

// askedFrom is a session's view from where something is asked; v where nothing is.
func askedFrom(v, from *session.View) *session.View {
	if from != nil {
		return from
	}
	return v
}

func (r *Runner) messageEvent(ctx context.Context, key stead.SessionKey, p stead.Principal, said session.Message) (stead.Event, error) {
	own := make([]session.InputMessage, len(said.Input))
	for i, m := range said.Input {
		own[i].Content = append([]stead.Content(nil), m.Content...)
		if err := r.spillInput(ctx, key, own[i].Content); err != nil {
			return stead.Event{}, err
		}
	}
	said.Input, said.By = own, p
	return session.NewEvent(r.now(), session.KindInputMessage, said)
}

func (r *Runner) resultEvent(ctx context.Context, v *session.View, p stead.Principal, at string, in session.ToolResultInput, g session.Guarded) (stead.Event, error) {
	c := v.CallByID(in.CallID)
	if c == nil || c.State != session.CallWaiting {
		// The SDK's tool dispatcher knows this very sentence (lib/beta/agents/tool-dispatcher).
		return stead.Event{}, stead.Invalid(at+".call_id", "Unknown pending tool call: %s", in.CallID)
	}
	if turn := session.TurnID(v.Key.Session, v.Turn.Seq); in.TurnID != "" && in.TurnID != turn {
		return stead.Event{}, stead.Invalid(at+".turn_id", "call %.80s belongs to turn %s, not %.80s", in.CallID, turn, in.TurnID)
	}
	output := append([]stead.Content(nil), in.Output...)
	if err := r.spillInput(ctx, v.Key, output); err != nil {
		return stead.Event{}, err
	}
	return session.NewEvent(r.now(), session.KindInputToolResult, session.ToolResult{
		CallID: in.CallID, Success: in.Success, Output: output, Error: in.Error, By: p, Guardrails: g.Findings,
	})
}

// CodeDigest is the code of an answer to something else than what the request shows.
const CodeDigest = "approval_digest_mismatch"

func (r *Runner) approvalEvent(v *session.View, p stead.Principal, at string, in session.ApprovalInput, g session.Guarded) (stead.Event, error) {
	if v.Turn != nil && v.Turn.Budget != nil && v.Turn.Budget.RequestID(v.Key.Session) == in.RequestID {
		if in.Arguments != "" || in.To != nil {
			return stead.Event{}, stead.Invalid(at+".response", "arguments and to are for a call that waits for approval")
		}
		return r.budgetEvent(v, p, at, in)
	}
	if in.Extra != nil {
		return stead.Event{}, stead.Invalid(at+".response.extra", "extra is for a budget that is used up")
	}
	if w := v.ConsentByRequest(in.RequestID); w != nil {
		return r.consentEvent(w, p, at, in)
	}
	if w := v.EffectByRequest(in.RequestID); w != nil {
		return r.effectEvent(v, w, p, at, in)
	}
	c := v.CallByRequest(in.RequestID)
	if c == nil || c.State != session.CallApproval {
		return stead.Event{}, stead.Invalid(at+".request_id", "Unknown pending approval request: %.200s", in.RequestID)
	}
	digest := v.Digest(c)
	if err := answerable(at, in, digest, c.Expired(r.now())); err != nil {
		return stead.Event{}, err
	}
	if in.To != nil {
		if err := v.MayDelegate(c, p, *in.To); err != nil {
			return stead.Event{}, err
		}
		return session.NewEvent(r.now(), session.KindInputDelegate, session.ApprovalDelegated{CallID: c.CallID, To: *in.To, Reason: in.Reason, By: p})
	}
	if in.Arguments != "" && in.Decision != session.DecisionApprove {
		return stead.Event{}, stead.Invalid(at+".response.arguments", "arguments are for approve alone")
	}
	if in.Decision == session.DecisionApprove {
		if err := v.MayApprove(c, p); err != nil {
			return stead.Event{}, err
		}
	}
	if in.Arguments != "" && !in.Checked { // the question came between the check and this look
		return stead.Event{}, stead.Errorf(stead.KindConflict, "request %.200s has just been asked; answer it again", in.RequestID)
	}
	if in.Arguments != "" {
		return session.NewEvent(r.now(), session.KindInputEdit, session.ApprovalEdit{
			CallID: c.CallID, Arguments: json.RawMessage(in.Arguments), Digest: digest, Reason: in.Reason, Ask: in.Ask, By: p, Guardrails: g.Findings,
		})
	}
	return session.NewEvent(r.now(), session.KindInputApproval, session.ApprovalResult{CallID: c.CallID, Decision: in.Decision, Digest: digest, Reason: in.Reason, By: p})
}

func (r *Runner) outcomeEvent(ctx context.Context, v *session.View, p stead.Principal, at string, in session.OutcomeInput, g session.Guarded) (stead.Event, error) {
	c := v.CallByRequest(in.RequestID)
	if c == nil || c.State != session.CallUnknown {
		return stead.Event{}, stead.Invalid(at+".request_id", "Unknown pending outcome request: %.200s", in.RequestID)
	}
	switch in.Decision {
	case session.DecisionHappened, session.DecisionNotHappened, session.DecisionGiveUp:
	default:
		return stead.Event{}, stead.Invalid(at+".response.decision", "decision must be happened, not_happened or give_up, not %.40q", in.Decision)
	}
	output := append([]stead.Content(nil), in.Output...)
	if err := r.spillInput(ctx, v.Key, output); err != nil {
		return stead.Event{}, err
	}
	return session.NewEvent(r.now(), session.KindInputOutcome, session.OutcomeResult{CallID: c.CallID, Decision: in.Decision, Output: output, By: p, Guardrails: g.Findings})
}

// Approvals implements session.Service.
func (r *Runner) Approvals(ctx context.Context, p stead.Principal, q session.PageQuery) (session.Page[session.Approval], error) {
	page := session.Page[session.Approval]{Data: []session.Approval{}}
	if err := r.allow(ctx, p, policy.SessionRead, stead.SessionKey{}, ""); err != nil {
		return page, err
	}
	limit := pageLimit(q)
	at, skip := stead.SessionID(""), q.After
	if q.After != "" {
		s, ok := stead.SessionOf(q.After)
		if !ok {
			return page, stead.Invalid("after", "after must be the id of an approval")
		}
		// The session of the cursor itself may have more entries behind it.
		more, err := r.approvalsOf(ctx, p, keyOf(p, s))
		if err != nil {
			return page, err
		}
		page.Data = append(page.Data, afterRequest(more, s, skip)...)
		at = s
	}
	for len(page.Data) <= limit {
		heads, err := r.cfg.Store.Heads(ctx, p.Project, journal.Query{Status: session.StatusRequiresAction, After: at, Desc: q.Desc, Limit: stead.MaxPageSize})
		if err != nil {
			return page, err
		}
		for _, h := range heads {
			more, err := r.approvalsOf(ctx, p, h.Key)
			if err != nil {
				return page, err
			}
			page.Data = append(page.Data, more...)
			at = h.Key.Session
		}
		if len(heads) < stead.MaxPageSize {
			break
		}
	}
	if page.HasMore = len(page.Data) > limit; page.HasMore {
		page.Data = page.Data[:limit]
	}
	return page, nil
}

// approvalsOf lists a session's approvals in the order of their ids' places.
func (r *Runner) approvalsOf(ctx context.Context, p stead.Principal, key stead.SessionKey) ([]session.Approval, error) {
	v, err := r.view(ctx, key)
	if stead.KindOf(err) == stead.KindNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	all := v.Approvals()
	if p.Bound && r.own(ctx, p, key) != nil {
		return nil, nil
	}
	slices.SortFunc(all, func(a, b session.Approval) int { return byPlace(key.Session, a.ID, b.ID) })
	return all, nil
}

// byPlace orders requests by where they stand in the journal.
func byPlace(s stead.SessionID, a, b string) int {
	_, seqA, indexA, _ := stead.ParseDerivedID(s, a)
	_, seqB, indexB, _ := stead.ParseDerivedID(s, b)
	return cmp.Or(cmp.Compare(seqA, seqB), cmp.Compare(indexA, indexB))
}

// afterRequest is what stands behind a request, which may have been answered meanwhile.
func afterRequest(all []session.Approval, s stead.SessionID, id string) []session.Approval {
	for i, a := range all {
		if byPlace(s, a.ID, id) > 0 {
			return all[i:]
		}
	}
	return nil
}
