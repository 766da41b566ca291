package runner

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// Memory is what sessions remember by themselves: see package memory/remember, which implements it.
type Memory interface {
	// Recall finds what bears on a query, best first, within its budget. It changes nothing.
	Recall(ctx context.Context, ask session.RecallAsk) (session.MemoryRecalled, error)
	// Question is what a model is asked about what was said; without a Text there is nothing to ask.
	Question(ctx context.Context, ask session.LearnAsk) (session.LearnQuestion, error)
	// Answer reads what the model said, and refuses what is not worth remembering or must not be.
	Answer(ask session.LearnAsk, said string) ([]session.Learned, []session.Refused, error)
	// Keep writes what was found, or (items) the messages. A second time changes nothing.
	Keep(ctx context.Context, ask session.LearnAsk, items bool) (session.MemoryKept, error)
	// Mount brings memory stores together with their files in an environment. It may be called again.
	Mount(ctx context.Context, ask session.MountAsk, files session.MountFiles) (session.Mounted, error)
	// Forgotten says which files show memories (STORE/ID) that are forgotten, and what takes their places: see environment.Forgetting.
	Forgotten(memories []string) (maxBytes int64, is func(name string, data []byte) (instead []byte, is bool))
	// Forget forgets all that comes from a session, or from one item of it. It may be called again.
	Forget(ctx context.Context, p stead.Principal, key stead.SessionKey, item string) (session.Erased, error)
	// Copied notes that a session is made as a copy of another one, and knows what that one was shown.
	Copied(ctx context.Context, from, to stead.SessionKey) error
	// Redact forgets what comes from an item that was redacted, whatever else it comes from in that session.
	Redact(ctx context.Context, p stead.Principal, key stead.SessionKey, item string) (session.Erased, error)
}

// recallTimeout is how long a turn waits for what is remembered; then it goes on without.
const recallTimeout = 10 * time.Second

// intendRecall journals the intent of a recall and plans it. A store that policies deny is left out; the turn
// goes on all the same.
func (a *actor) intendRecall(p *plan) error {
	attached := a.state.Created.Agent.Spec.Memory()
	ask := session.RecallAsk{
		Key: a.key, Principal: a.state.Created.Principal, Behind: a.state.Behind(), Alone: a.state.Alone(), Agent: a.state.Created.Agent.ID, Labels: a.state.Labels(),
		Teams: attached.Teams, Recall: *attached.Recall, Shown: a.state.Context.Shown(), Own: a.state.Context.Summary.Bytes > 0,
	}
	var called session.MemoryCalled
	waits := false
	for _, s := range attached.MemoryStores {
		decision, held, err := a.gateOrHold(p, recallKey(s.ID), func() session.EffectHeld { return a.recallEffect(s.ID) })
		if waits = waits || held; held {
			if err != nil {
				return err
			}
			continue
		}
		called.Stores = append(called.Stores, session.MemoryGate{Store: s.ID, Decision: decision})
		if err == nil {
			ask.Stores = append(ask.Stores, s.ID)
		}
	}
	if waits {
		return nil
	}
	if err := a.record(p, session.KindMemoryCalled, called); err != nil {
		return err
	}
	call := a.state.Tail
	ask.At = call
	if a.r.cfg.Memory == nil {
		return a.record(p, session.KindMemoryRecalled, session.MemoryRecalled{Call: call, Error: "This server keeps no memories."})
	}
	about, checks := a.state.Context.Unread(), a.checks()
	var keys []session.EffectKey
	for _, id := range ask.Stores {
		keys = append(keys, recallKey(id))
	}
	step := a.within(session.WithinRecall, keys...)
	req := a.state.Request(policy.MemoryRead, "")
	p.starts = append(p.starts, func() {
		flight, ctx := a.begin()
		go a.r.watched(ctx, req, func(ctx context.Context) { a.recall(ctx, flight, step, checks, call, ask, about) })
	})
	return nil
}

// recall looks up what is remembered and delivers it. That nothing could be found out is an outcome too: a turn
// does not fail for want of memories.
func (a *actor) recall(ctx context.Context, f *flight, step *policy.Step, checks *guardrail.Checks, call stead.Seq, ask session.RecallAsk, about []stead.Item) {
	within, cancel := context.WithTimeout(policy.InStep(ctx, step), recallTimeout)
	defer cancel()
	var out session.MemoryRecalled
	err := safely(func() (err error) {
		if about, err = a.r.loadItems(within, a.key, about); err != nil {
			return err
		}
		ask.Query = queryOf(about)
		if ask.Query == "" || len(ask.Stores) == 0 {
			return nil
		}
		out, err = a.r.cfg.Memory.Recall(within, ask)
		return err
	})
	if all := wanted(step, err); len(all) > 0 { // it is looked up again once they are answered
		a.deliver(f, holds(session.WithinRecall, "", all)...)
		return
	}
	switch {
	case err == nil:
	case stopped(ctx) != nil:
		out.Error = stopped(ctx).Message
	case errors.Is(within.Err(), context.DeadlineExceeded):
		out.Error = "What is remembered was not found in time."
	default:
		out.Error = clientMessage(err)
	}
	if err != nil {
		a.log.Warn("nothing was recalled", "err", err)
		out.Entries = nil
	}
	out.Call, out.Without = call, strings.TrimSpace(ask.NotAlone()+" "+out.Without)
	screenRecalled(ctx, checks, &out)
	a.deliver(f, pending{kind: session.KindMemoryRecalled, make: func(s *session.State) (any, error) {
		if s.Turn == nil || s.Turn.Recall != call {
			return nil, nil
		}
		fitting := out
		fitting.Fit(&s.View)
		return fitting, nil
	}})
}

// maxRecallQuery is how many bytes of the messages are looked up: the last ones.
const maxRecallQuery = 8 << 10

// queryOf is the text of messages.
func queryOf(items []stead.Item) string {
	var texts []string
	for _, it := range items {
		for _, c := range it.Content {
			if c.Type != stead.ContentInputImage && c.Text.Inline != "" {
				texts = append(texts, c.Text.Inline)
			}
		}
	}
	text := strings.Join(texts, "\n")
	if over := len(text) - maxRecallQuery; over > 0 {
		text = strings.ToValidUTF8(text[over:], "")
	}
	return strings.TrimSpace(text)
}
