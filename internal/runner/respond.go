package runner

import (
	"context"
	"fmt"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/session"
)

// Responses and conversations of the Responses API are sessions: a response is a turn of one.

var _ session.Responses = (*Runner)(nil)

// Respond implements session.Responses.
func (r *Runner) Respond(ctx context.Context, p stead.Principal, req session.RespondRequest) (session.Response, error) {
	if _, _, err := r.cfg.Models.Resolve(req.Ask.Spec.Model, callerOf(p, "")); err != nil {
		return session.Response{}, about("model", modelError(err))
	}
	if req.Conversation != "" {
		return r.respondIn(ctx, p, keyOf(p, req.Conversation), "conversation", req)
	}
	if req.Previous != "" {
		return r.respondAfter(ctx, p, req)
	}
	return r.respondNew(ctx, p, req)
}

// about says of an error which field of this door it is about.
func about(param string, err error) error {
	if e, ok := err.(*stead.Error); ok {
		own := *e
		own.Param = param
		return &own
	}
	return err
}

// respondNew makes a session for the response.
func (r *Runner) respondNew(ctx context.Context, p stead.Principal, req session.RespondRequest) (session.Response, error) {
	if err := checkOutputs(nil, req.Items); err != nil {
		return session.Response{}, err
	}
	if err := checkLabels(nil, req.Labels, req.Ask.Metadata()); err != nil {
		return session.Response{}, err
	}
	key, first, drafts, err := r.conceive(ctx, p, req.Ask.Spec, nil, req.Labels.And(stead.LabelsOf(req.Ask.Metadata())), false, true)
	if err != nil {
		return session.Response{}, err
	}
	if req, err = r.screenRespond(ctx, p, stead.SessionKey{}, req); err != nil {
		return session.Response{}, err
	}
	if req.Items, req.Ask.Approved, err = session.AllowGiven(req.Items); err != nil {
		return session.Response{}, err
	}
	e, err := r.responseEvent(ctx, key, p, req)
	if err != nil {
		r.discard(ctx, key)
		return session.Response{}, err
	}
	events, err := recreated([]stead.Event{first}, func(c *session.Created) {
		c.Agent.Spec.Instructions, c.Agent.Spec.Tools = req.Ask.Spec.Instructions, req.Ask.Spec.Tools
	}) // as guardrails left them
	if err != nil {
		return session.Response{}, err
	}
	made, err := r.bear(ctx, key, append(events, e), journal.Listing{Status: session.StatusInProgress, LastActive: e.At}, req.Key, req.Digest, drafts)
	if err != nil {
		return session.Response{}, err
	}
	const inputSeq = 2 // behind session.created
	return r.response(ctx, made, inputSeq)
}

// conceive makes the first event of a session that runs an agent of its own. labels are what policies are
// told: those of a response are its own, and not the session's metadata.
func (r *Runner) conceive(ctx context.Context, p stead.Principal, spec agent.Spec, metadata map[string]string, labels stead.Labels, conversation, with bool) (stead.SessionKey, stead.Event, [][]byte, error) {
	key := keyOf(p, stead.SessionID(newID(stead.SessionPrefix)))
	pin := session.AgentPin{ID: stead.AgentID(newID("agent_")), Spec: spec}
	decision, drafts, err := r.allowCreate(ctx, p, key, pin, nil, labels)
	if err != nil {
		return key, stead.Event{}, nil, err
	}
	created := session.CreateRequest{Metadata: metadata}.Created(pin, p)
	created.Conversation, created.Decision, created.With = conversation, decision.Recorded(), with
	e, err := session.NewEvent(r.now(), session.KindSessionCreated, created)
	return key, e, drafts, err
}

// respondAfter goes on in the session of the previous response, or, when that one is not its last
// any more, in a copy of the session that ends with it.
func (r *Runner) respondAfter(ctx context.Context, p stead.Principal, req session.RespondRequest) (session.Response, error) {
	id, seq, ok := session.ParseResponseID(req.Previous)
	if !ok {
		return session.Response{}, previousNotFound(req.Previous)
	}
	key := keyOf(p, id)
	if _, err := r.allowWrite(ctx, p, key); err != nil { // it is asked, and recorded, for where the response goes
		return session.Response{}, err
	}
	v, err := r.view(ctx, key)
	if stead.KindOf(err) == stead.KindNotFound {
		return session.Response{}, previousNotFound(req.Previous)
	}
	if err != nil {
		return session.Response{}, err
	}
	previous, err := session.FindResponse(v, r.reader(ctx, key), seq)
	if stead.KindOf(err) == stead.KindNotFound {
		return session.Response{}, previousNotFound(req.Previous)
	}
	if err != nil {
		return session.Response{}, err
	}
	if previous.Turn.CompletedAt == nil {
		return session.Response{}, stead.Errorf(stead.KindConflict, "the previous response %s is still %s", req.Previous, previous.Turn.Status)
	}
	if req, err = r.screenRespond(ctx, p, key, req); err != nil {
		return session.Response{}, err
	}
	req.Ask.Previous = req.Previous
	if v.Turn == nil && v.Last == seq && !v.Created.Conversation {
		out, err := r.respondIn(ctx, p, key, "previous_response_id", req)
		if stead.KindOf(err) != stead.KindConflict {
			return out, err
		}
		if again, err := r.repeated(ctx, key, req); err != nil || again.Seq > 0 {
			return again, err
		}
	} else if again, err := r.repeated(ctx, key, req); err != nil || again.Seq > 0 {
		return again, err
	}
	if err := session.Unasked(req.Items); err != nil {
		return session.Response{}, err // they were answered, or passed over: the copy would have questions of its own
	}
	return r.respondBeside(ctx, p, previous, req)
}

func previousNotFound(id string) error {
	e := stead.Invalid("previous_response_id", "Previous response with id '%.80s' not found.", id)
	e.Code = "previous_response_not_found"
	return e
}

// repeated finds what the same request made before in this session; Seq 0: nothing.
func (r *Runner) repeated(ctx context.Context, key stead.SessionKey, req session.RespondRequest) (session.Response, error) {
	if req.Key == "" {
		return session.Response{}, nil
	}
	probe, err := session.NewEvent(r.now(), session.KindTimerFired, session.TimerFired{})
	if err != nil {
		return session.Response{}, err
	}
	const never = 1 << 62 // no session has this tail: only a known key gets through
	receipt, err := r.cfg.Store.Send(ctx, key, journal.Input{Events: []stead.Event{probe}, If: never, Key: req.Key, Digest: req.Digest})
	switch {
	case err == nil && receipt.Replayed:
		return r.response(ctx, key, receipt.First)
	case stead.KindOf(err) == stead.KindTail:
		return session.Response{}, nil
	}
	return session.Response{}, err
}

// respondBeside answers in a copy of the session up to the previous response.
func (r *Runner) respondBeside(ctx context.Context, p stead.Principal, previous session.Response, req session.RespondRequest) (session.Response, error) {
	copied, err := r.fork(ctx, p, previous.Session, session.ForkRequest{Turn: previous.Turn.ID}, req.Ask.Spec.Model)
	if err != nil {
		return session.Response{}, err
	}
	return r.respondIn(ctx, p, keyOf(p, copied.ID), "previous_response_id", req)
}

// respondIn stores the response in a session that is at rest. param names the field that led there.
func (r *Runner) respondIn(ctx context.Context, p stead.Principal, key stead.SessionKey, param string, req session.RespondRequest) (session.Response, error) {
	drafts, err := r.allowWrite(ctx, p, key)
	if err != nil {
		return session.Response{}, err
	}
	req, err = r.screenRespond(ctx, p, key, req)
	if err != nil {
		return session.Response{}, err
	}
	receipt, err := r.atRest(ctx, key, param, req.Key, req.Digest, drafts, func(v *session.View) (_ stead.Event, err error) {
		if req.Conversation != "" && !v.Created.Conversation {
			return stead.Event{}, stead.NotFound("session", string(key.Session))
		}
		if err := checkOutputs(v.HandedBack, req.Items); err != nil {
			return stead.Event{}, err
		}
		if err := checkLabels(v.Labels(), req.Labels, req.Ask.Metadata()); err != nil {
			return stead.Event{}, err
		}
		in := req
		if in.Items, in.Ask.Approved, err = v.Allow(req.Items); err != nil {
			return stead.Event{}, err
		}
		return r.responseEvent(ctx, key, p, in)
	})
	if stead.KindOf(err) == stead.KindNotFound && req.Conversation != "" {
		return session.Response{}, about(param, stead.NotFound("conversation", session.ConversationID(req.Conversation)))
	}
	if err != nil {
		return session.Response{}, err
	}
	return r.response(ctx, key, receipt.First)
}

// atRest appends one event to a session without a turn. A repeated key gets the first receipt.
func (r *Runner) atRest(ctx context.Context, key stead.SessionKey, param, idempotency, digest string, drafts [][]byte, event func(*session.View) (stead.Event, error)) (journal.Receipt, error) {
	for range maxConflicts {
		v, err := r.view(ctx, key)
		if err != nil {
			return journal.Receipt{}, err
		}
		in := journal.Input{If: v.Tail, Key: idempotency, Digest: digest, Audit: drafts}
		if v.Turn != nil || v.Failed != nil {
			in.If = 1 << 62 // only a known key gets through
		}
		e, err := event(v)
		if err != nil && (idempotency == "" || stead.KindOf(err) != stead.KindInvalid) {
			return journal.Receipt{}, err
		}
		if err != nil { // a repeated request no longer fits what it has changed itself
			refused := err
			if e, err = session.NewEvent(r.now(), session.KindTimerFired, session.TimerFired{}); err != nil {
				return journal.Receipt{}, err
			}
			in.If, in.Events = 1<<62, []stead.Event{e}
			receipt, err := r.cfg.Store.Send(ctx, key, in)
			if stead.KindOf(err) == stead.KindTail {
				return receipt, refused
			}
			return receipt, err
		}
		in.Events = []stead.Event{e}
		if in.Update, err = listingAfter(v, in.Events); err != nil {
			return journal.Receipt{}, err
		}
		receipt, err := r.cfg.Store.Send(ctx, key, in)
		switch {
		case stead.KindOf(err) != stead.KindTail:
			r.arrived(key)
			return receipt, err
		case v.Failed != nil:
			return receipt, stead.Errorf(stead.KindConflict, "session %s has failed and takes no more input", key.Session)
		case v.Turn != nil:
			return receipt, locked(param)
		}
	}
	return journal.Receipt{}, stead.Errorf(stead.KindUnavailable, "the session is too busy; try again")
}

// locked is the error for a change of a conversation that has a response under way.
func locked(param string) error {
	e := stead.Errorf(stead.KindConflict, "another response of this conversation is in progress")
	e.Code, e.Param, e.Hint = "conversation_locked", param, "Wait until it has ended, or cancel it."
	return e
}

// checkOutputs holds the input against the calls that the application was given: each output has its
// call, and no call is left without one. The sentences are those that clients of the API know.
func checkOutputs(open []string, items []stead.Item) error {
	open = slices.Clone(open)
	for i, it := range items {
		switch it.Type {
		case stead.ItemFunctionCall:
			open = append(open, it.CallID)
		case stead.ItemFunctionCallOutput:
			at := slices.Index(open, it.CallID)
			if at < 0 {
				return stead.Invalid(fmt.Sprintf("input[%d].call_id", i), "No tool call found for function call output with call_id %.80s.", it.CallID)
			}
			open = slices.Delete(open, at, at+1)
		}
	}
	if len(open) > 0 {
		return stead.Invalid("input", "No tool output found for function call %.80s.", open[0])
	}
	return nil
}

// checkLabels refuses metadata, and items from elsewhere, that give a conversation more labels than it can keep.
func checkLabels(labelled, brought stead.Labels, metadata map[string]string) error {
	if n := labelled.And(brought).And(stead.LabelsOf(metadata)).Count(); n > stead.MaxLabels && n > labelled.Count() {
		e := stead.Invalid("metadata", "the metadata of all that is said in a conversation may have %d different values together, and with this it has %d", stead.MaxLabels, n)
		e.Hint = "Leave out what is different in each response, or begin a new conversation."
		return e
	}
	return nil
}

func (r *Runner) responseEvent(ctx context.Context, key stead.SessionKey, p stead.Principal, req session.RespondRequest) (stead.Event, error) {
	items, err := r.spillItems(ctx, key, req.Items)
	if err != nil {
		return stead.Event{}, err
	}
	return session.NewEvent(r.now(), session.KindInputMessage, session.Message{Items: items, Labels: req.Labels, Response: &req.Ask, By: p, Guardrails: req.Guarded.Findings, Traceparent: req.Traceparent})
}
