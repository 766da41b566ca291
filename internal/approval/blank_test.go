package approval_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/approval"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/policy"
)

// answering is a store in which a question is answered between reading and blanking it.
type answering struct {
	document.Store
	first func()
}

func (a *answering) UpdateDocument(ctx context.Context, d document.Document) (document.Document, error) {
	if do := a.first; do != nil {
		a.first = nil
		do()
	}
	return a.Store.UpdateDocument(ctx, d)
}

// What was erased does not stand in a question any more, whatever becomes of that; other questions stay, and so do answers.
func TestErasedTextsAreNotShown(t *testing.T) {
	docs := documenttest.NewMemory()
	w := newWorld(t, docs)
	n := w.node()
	long := strings.Repeat("so ", 4000)
	mine := waits(t, n.send(ada, `{"name":"`+long+`swordfish"}`, "").ask(policy.VaultWrite))
	other := waits(t, n.send(zoe, `{"name":"haddock"}`, "").ask(policy.VaultWrite))
	desk := approval.NewDesk(approval.Config{Documents: &answering{docs, func() { must(t, n.answer(eve, mine.ID, approval.Approve)) }}, Now: func() time.Time { return w.now }})
	blank := func() {
		must(t, desk.Blank(t.Context(), ada.Project, func(_ stead.SessionID, user string) bool { return user == "ada" }))
	}
	blank()
	blank()
	for id, want := range map[string][2]bool{mine.ID: {false, true}, other.ID: {true, false}} {
		q, err := n.s.Get(t.Context(), eve, id)
		must(t, err)
		shown := string(q.Shown(true)) + string(q.Shown(false))
		if (strings.Contains(shown, "swordfish") || strings.Contains(shown, "haddock")) != want[0] || (len(q.Approved) > 0) != want[1] {
			t.Errorf("%s, approved %d times, shows %.200s", id, len(q.Approved), shown)
		}
	}
	must(t, n.send(ada, `{"name":"`+long+`swordfish"}`, "").ask(policy.VaultWrite)) // what was approved passes
}

// A question that a version before blanked, and left open, is over too, and recorded so once; what was approved by then passes.
func TestWhatWasErasedBeforeIsNotApproved(t *testing.T) {
	for name, looks := range map[string]func(t *testing.T, n *node) error{
		"sent again": func(t *testing.T, n *node) error {
			waits(t, n.send(ada, `{"name":"swordfish"}`, "").ask(policy.VaultWrite))
			return nil
		},
		"erased again": func(t *testing.T, n *node) error {
			return n.desk.Blank(t.Context(), ada.Project, func(stead.SessionID, string) bool { return true })
		},
	} {
		t.Run(name, func(t *testing.T) {
			docs := documenttest.NewMemory()
			w := newWorld(t, docs)
			n := w.node()
			open := waits(t, n.send(ada, `{"name":"swordfish"}`, "").ask(policy.VaultWrite))
			given := waits(t, n.send(zoe, `{"name":"haddock"}`, "").ask(policy.VaultWrite))
			must(t, n.answer(eve, given.ID, approval.Approve))
			for _, id := range []string{open.ID, given.ID} {
				d, err := docs.GetDocument(t.Context(), document.Key{Project: ada.Project, Kind: "approval", ID: id})
				must(t, err)
				var fields map[string]json.RawMessage
				must(t, json.Unmarshal(d.Data, &fields))
				delete(fields, "whole")
				fields["view"] = json.RawMessage(`"erased"`)
				d.Data, err = json.Marshal(fields)
				must(t, err)
				d.Version++
				_, err = docs.UpdateDocument(t.Context(), d)
				must(t, err)
			}
			if err := n.answer(eve, open.ID, approval.Approve); err == nil {
				t.Error("it was approved by somebody who could not see it")
			}
			for range 2 {
				must(t, looks(t, n))
			}
			ends := 0
			for _, r := range w.log {
				if r.Action == audit.ActExpire {
					ends++
				}
			}
			if ends != 1 {
				t.Errorf("its end was recorded %d times", ends)
			}
			must(t, n.send(zoe, `{"name":"haddock"}`, "").ask(policy.VaultWrite))
		})
	}
}

// What nobody can see any more nobody can approve: an open question whose text is erased is over, also where nobody's answer would allow it. The same
// request is asked about anew.
func TestWhatWasErasedIsNotApproved(t *testing.T) {
	for name, becomes := range map[string]string{"refused when its time is over": "", "allowed when its time is over": policy.DefaultAllow} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, documenttest.NewMemory())
			w.needs[policy.VaultWrite].Default = becomes
			n := w.node()
			sent := func() error { return n.send(ada, `{"name":"swordfish"}`, "").ask(policy.VaultWrite) }
			first := waits(t, sent())
			for range 2 {
				must(t, n.desk.Blank(t.Context(), ada.Project, func(_ stead.SessionID, user string) bool { return user == "ada" }))
			}
			if err := n.answer(eve, first.ID, approval.Approve); err == nil {
				t.Error("it was approved by somebody who could not see it")
			}
			if again := waits(t, sent()); again.ID == first.ID {
				t.Error("the same question stands")
			}
			ends := 0
			for _, r := range w.log {
				if r.Action == audit.ActExpire && r.Resource == first.ID && r.Decision == audit.Deny {
					ends++
				}
			}
			if ends != 1 {
				t.Errorf("its end was recorded %d times", ends)
			}
		})
	}
}

// Why somebody answered goes with whom it is about, and with who wrote it; also where who answered died before it stood: then it is in the audit log
// before it goes, and does not come there behind the erasure.
func TestWhyPeopleAnsweredGoesToo(t *testing.T) {
	docs := documenttest.NewMemory()
	w := newWorld(t, docs)
	n := w.node()
	mine := waits(t, n.send(ada, `{"name":"swordfish"}`, "").ask(policy.VaultWrite))
	other := waits(t, n.send(zoe, `{"name":"haddock"}`, "").ask(policy.VaultWrite))
	cut := waits(t, n.send(ada, `{"name":"herring"}`, "").ask(policy.VaultWrite))
	for _, id := range []string{mine.ID, other.ID} {
		must(t, n.answer(eve, id, approval.Deny))
	}
	w.die = true
	if err := n.answer(eve, cut.ID, approval.Deny); err == nil {
		t.Fatal("a node that died answered")
	}
	w.die, w.dead = false, false
	says := func(id string) bool {
		t.Helper()
		d, err := docs.GetDocument(t.Context(), document.Key{Project: ada.Project, Kind: "approval", ID: id})
		must(t, err)
		return strings.Contains(string(d.Data), `"since"`)
	}
	if !says(mine.ID) || !says(other.ID) || !says(cut.ID) {
		t.Fatal("nothing says why")
	}
	w.pass(time.Minute) // until the node is given up
	blank := func(who string) {
		t.Helper()
		must(t, n.desk.Blank(t.Context(), ada.Project, func(_ stead.SessionID, user string) bool { return user == who }))
	}
	blank("ada")
	if says(mine.ID) || says(cut.ID) || !says(other.ID) {
		t.Errorf("of whom it is about: %t, cut off %t, another %t", says(mine.ID), says(cut.ID), says(other.ID))
	}
	if q, err := n.s.Get(t.Context(), eve, cut.ID); err != nil || q.Denial == nil || len(w.recorded(audit.ActAnswer)) != 4 {
		t.Errorf("the answer that was cut off: %+v, %v, %d records", q, err, len(w.recorded(audit.ActAnswer)))
	}
	if blank("eve"); says(other.ID) {
		t.Error("what somebody wrote stays when they are erased")
	}
	if q, err := n.s.Get(t.Context(), zoe, other.ID); err != nil || q.Denial == nil || strings.Contains(string(q.Shown(true)), "erased") {
		t.Errorf("what was asked by another: %+v, %v", q, err)
	}
}
