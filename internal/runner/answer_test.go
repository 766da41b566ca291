package runner_test

import (
	"context"
	"iter"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
)

// overtaken lets something happen right before the first answer is stored.
type overtaken struct {
	journal.Full
	kind   string
	before func()
}

func (s *overtaken) Send(ctx context.Context, key stead.SessionKey, in journal.Input) (journal.Receipt, error) {
	if do := s.before; do != nil && in.Events[0].Kind == s.kind {
		s.before = nil
		do()
	}
	return s.Full.Send(ctx, key, in)
}

// TestOneAnswerCounts: of two answers to one question, the later one is refused, and not accepted and
// dropped: who was refused an approval must not believe that it was given.
func TestOneAnswerCounts(t *testing.T) {
	n := newNode(t)
	n.Kill()
	store := &overtaken{Full: n.store, kind: session.KindInputApproval}
	n.cfg.Store = store
	n.start("node-2")
	server := mcpServer()
	server.RequireApproval = &agent.Approval{Always: []string{"launch"}}
	s := n.create(`Call launch with {"n":1}`, server)
	s = n.until(s.ID, status(session.StatusRequiresAction))
	answer := func(decision string) error {
		in := session.ApprovalInput{RequestID: s.RequiredActions[0].RequestID, Decision: decision}
		return n.Send(context.Background(), me, s.ID, session.SendRequest{Inputs: []session.Input{{Approval: &in}}})
	}
	store.before = func() {
		if err := answer(session.DecisionDeny); err != nil {
			t.Error(err)
		}
	}
	if err := answer(session.DecisionApprove); stead.KindOf(err) != stead.KindInvalid {
		t.Errorf("the second answer: %v, want a refusal", err)
	}
	n.until(s.ID, status(session.StatusIdle))
	if calls := n.tools.log(); len(calls) != 0 {
		t.Errorf("%d calls were made although the first answer denied it", len(calls))
	}
}

// TestShownTextIsKept: what watchers saw of a call that then fails is in the journal.
func TestShownTextIsKept(t *testing.T) {
	n := newNode(t)
	n.Kill()
	journaled := make(chan struct{})
	n.cfg.Models = oneModel{m: modelFunc(func(_ context.Context, yield func(model.Delta, error) bool) {
		yield(model.Delta{Kind: model.TextDelta, Text: "the first words"}, nil)
		<-journaled // the next ones wait for more text
		yield(model.Delta{Kind: model.TextDelta, Text: ", and the last"}, nil)
		yield(model.Delta{}, &model.Error{Code: model.CodeInvalid, Message: "broken"})
	})}
	n.start("node-2")
	s := n.create("go")
	const called = 4 // created, message, turn.started, model.called
	if _, err := n.store.Wait(context.Background(), stead.SessionKey{Project: me.Project, Session: s.ID}, called); err != nil {
		t.Fatal(err)
	}
	close(journaled)
	n.until(s.ID, status(session.StatusIdle))
	if !strings.Contains(n.journal(s.ID), ", and the last") {
		t.Errorf("the journal lacks text that was shown:\n%s", n.journal(s.ID))
	}
}

type modelFunc func(ctx context.Context, yield func(model.Delta, error) bool)

func (f modelFunc) Generate(ctx context.Context, _ model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) { f(ctx, yield) }
}

// TestShutdownEndsTheNode: a node that has shut down holds nothing and gets nothing, at once and not
// when its lease runs out.
func TestShutdownEndsTheNode(t *testing.T) {
	n := newNode(t)
	ctx := context.Background()
	s := n.create("hello")
	n.until(s.ID, status(session.StatusIdle))
	if err := n.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n.Send(ctx, me, s.ID, session.SendRequest{Inputs: []session.Input{{Message: message("more")}}}); err != nil {
		t.Fatal(err)
	}
	if leases, _, err := n.store.Acquire(ctx, "node-1", 1); err != nil || len(leases) != 0 {
		t.Errorf("the node that has shut down gets %d leases, %v", len(leases), err)
	}
	if err := n.store.Heartbeat(ctx, "node-2", stead.LeaseTTL); err != nil {
		t.Fatal(err)
	}
	if leases, _, err := n.store.Acquire(ctx, "node-2", 1); err != nil || len(leases) != 1 {
		t.Errorf("the next node gets %d leases, want 1: %v", len(leases), err)
	}
}
