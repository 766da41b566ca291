package approval_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/policy"
)

// lapsing is a world in which what nobody answers within an hour is done.
func lapsing(t *testing.T) *world {
	w := newWorld(t, documenttest.NewMemory())
	w.needs[policy.VaultWrite] = &policy.Needs{Roles: []stead.Role{"approver", "owner"}, ExpiresMS: time.Hour.Milliseconds(), Default: policy.DefaultAllow}
	return w
}

// TestAnAnswerInTimeCounts: it is given a moment before the time is over, and recorded a moment after that. Meanwhile the request is not
// done, on whichever node; nor when the node dies that records it.
func TestAnAnswerInTimeCounts(t *testing.T) {
	for _, decision := range []string{approval.Deny, approval.Approve} {
		w := lapsing(t)
		two := w.node()
		first := waits(t, two.send(ada, "{}", "").ask(policy.VaultWrite))
		w.pass(time.Hour - time.Second)
		var meanwhile error
		slow := approval.NewDesk(approval.Config{Documents: w.docs, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: func() time.Time { w.mu.Lock(); defer w.mu.Unlock(); return w.now },
			Record: func(context.Context, audit.Record) error {
				w.pass(2 * time.Second)
				meanwhile = two.send(ada, "{}", "").ask(policy.VaultWrite)
				return nil
			}})
		must(t, approval.NewService(slow, w, w).Answer(t.Context(), eve, first.ID, approval.Answer{Decision: decision}))
		isKind(t, meanwhile, stead.KindUnavailable)
		then := two.send(ada, "{}", "").ask(policy.VaultWrite)
		if decision == approval.Deny {
			isKind(t, then, stead.KindForbidden)
		} else {
			must(t, then)
		}
	}

	w := lapsing(t)
	one, two := w.node(), w.node()
	first := waits(t, one.send(ada, "{}", "").ask(policy.VaultWrite))
	w.pass(time.Hour - time.Second)
	w.die = true
	isKind(t, one.answer(eve, first.ID, approval.Deny), stead.KindInternal)
	w.die, w.dead = false, false
	w.pass(5 * time.Second)
	isKind(t, two.send(ada, "{}", "").ask(policy.VaultWrite), stead.KindUnavailable) // it may be recorded yet
	w.pass(6 * time.Second)
	isKind(t, two.send(ada, "{}", "").ask(policy.VaultWrite), stead.KindForbidden)
	if q, err := two.s.Get(t.Context(), eve, first.ID); err != nil || q.Status(two.s.Now()) != approval.Denied {
		t.Errorf("%+v, %v", q, err)
	}
}

// TestATimeOfMonths: a policy that gives more time than a question has without one is kept to.
func TestATimeOfMonths(t *testing.T) {
	w := lapsing(t)
	w.needs[policy.VaultWrite].ExpiresMS = 2 * approval.MaxStands.Milliseconds()
	n := w.node()
	first := waits(t, n.send(ada, "{}", "").ask(policy.VaultWrite))
	w.pass(approval.MaxStands + time.Hour)
	if again := waits(t, n.send(ada, "{}", "").ask(policy.VaultWrite)); again.ID != first.ID {
		t.Errorf("asked anew: %v, %v", first, again)
	}
	w.pass(approval.MaxStands)
	must(t, n.send(ada, "{}", "").ask(policy.VaultWrite))
}

// TestQuestionsAreFewBesideMany: however many are kept that are over.
func TestQuestionsAreFewBesideMany(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	n := w.node()
	for i := range 3 { // used, and kept for their keys
		body := fmt.Sprintf("{%d}", i)
		must(t, n.answer(eve, waits(t, n.send(ada, body, "k").ask(policy.VaultWrite)).ID, approval.Approve))
		must(t, n.send(ada, body, "k").ask(policy.VaultWrite))
	}
	for i := range approval.MaxOpen {
		waits(t, n.send(ada, fmt.Sprint(i), "").ask(policy.VaultWrite))
	}
	isKind(t, n.send(ada, "more", "").ask(policy.VaultWrite), stead.KindLimited)
}

// TestABoundApprover answers what it sees, which is its own.
func TestABoundApprover(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	n, bound := w.node(), boss
	bound.Bound = true
	q := waits(t, n.send(ada, "{}", "").ask(policy.VaultWrite))
	isKind(t, n.answer(bound, q.ID, approval.Approve), stead.KindNotFound)
	own := waits(t, n.send(bound, "{}", "").ask(policy.VaultWrite))
	must(t, n.answer(bound, own.ID, approval.Approve))
}

// TestOneUnreadableQuestion keeps no other from being looked after.
func TestOneUnreadableQuestion(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	n := w.node()
	bad := document.Document{Key: document.Key{Project: "p", Kind: "approval", ID: approval.Prefix + "0"}, Version: 1, ExpiresAt: 1, Data: []byte(`[]`)}
	if _, err := w.docs.CreateDocument(t.Context(), bad, "", ""); err != nil {
		t.Fatal(err)
	}
	q := waits(t, n.send(ada, "{}", "").ask(policy.VaultWrite))
	w.pass(2 * time.Hour)
	if err := n.desk.SweepOnce(t.Context()); err == nil {
		t.Error("nobody hears of what can't be read")
	}
	if got := w.recorded(audit.ActExpire); len(got) != 1 || got[0].Resource != q.ID {
		t.Errorf("recorded: %+v", got)
	}
}

// TestWhatIsDoneBeside: what a request does without where it is not allowed asks nobody, and what was approved of the request stays used up.
func TestWhatIsDoneBeside(t *testing.T) {
	w := newWorld(t, documenttest.NewMemory())
	w.needs[policy.MemoryWrite] = &policy.Needs{Roles: []stead.Role{"owner"}}
	n := w.node()
	must(t, n.answer(eve, waits(t, n.send(ada, "{}", "").ask(policy.VaultWrite)).ID, approval.Approve))
	s := n.send(ada, "{}", "")
	must(t, s.ask(policy.VaultWrite))
	beside := policy.Request{Principal: ada, Effect: policy.MemoryWrite, Resource: "mem_1", Optional: true}
	d, err := policy.Check(s.ctx, n.gate, beside)
	isKind(t, err, stead.KindForbidden)
	if d.Open != nil {
		t.Errorf("asked: %+v", d.Open)
	}
	waits(t, n.send(ada, "{}", "").ask(policy.VaultWrite)) // not given back
	if open, _, err := n.s.List(t.Context(), boss, "", false, 10); err != nil || len(open) != 1 {
		t.Errorf("%d questions wait, %v", len(open), err)
	}
}
