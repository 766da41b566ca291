package memorytest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/policy"
)

const (
	sessionA stead.SessionID = "sess_0000000000000000000000000000000a"
	sessionB stead.SessionID = "sess_0000000000000000000000000000000b"
)

// lesson is a fact that a session's items say.
func lesson(session stead.SessionID, subject, text string, items ...string) memory.Lesson {
	l := memory.Lesson{Subject: subject, Content: memory.Content{Kind: memory.KindFact, Text: text, Confidence: 0.5, Importance: 0.5}}
	for _, item := range items {
		l.Sources = append(l.Sources, memory.Source{Session: string(session), Item: item})
	}
	return l
}

func (f *serviceFixture) learn(session stead.SessionID, at stead.Seq, lessons ...memory.Lesson) memory.Taught {
	f.Helper()
	agent := f.me
	agent.Kind, agent.ID = stead.PrincipalAgent, string(session)
	done, err := f.Learn(f.ctx, agent, f.store, session, at, lessons)
	if err != nil {
		f.Fatal(err)
	}
	return done
}

// known are the facts of the store, with what they cite and whether they are true still.
func (f *serviceFixture) known() string {
	f.Helper()
	var out []string
	for _, e := range f.entries() {
		line := e.Text + " ←"
		for _, s := range e.Sources {
			line += " " + s.Session[len(s.Session)-1:] + ":" + s.Item
		}
		if e.SupersededBy != "" {
			line += " (was)"
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func (f *serviceFixture) knows(when, want string) {
	f.Helper()
	if got := f.known(); got != want {
		f.Errorf("%s it knows\n%s\nand not\n%s", when, got, want)
	}
}

// forgetDerived: what a deleted session alone says goes, with its versions and from the index; what others say too
// cites it no more; what it superseded is true again.
func forgetDerived(f *serviceFixture) {
	items := []memory.Content{{Kind: memory.KindItem, Text: "my editor is vim", Confidence: 1, Importance: 0.5, Source: memory.Source{Session: string(sessionA), Item: "1"}}}
	if _, err := f.Ingest(f.ctx, f.me, f.store, items); err != nil {
		f.Fatal(err)
	}
	f.learn(sessionA, 7, lesson(sessionA, "editor", "The editor is vim.", "1", "2"), lesson(sessionA, "", "The cat is black.", "2"), lesson(sessionA, "", "The dog is brown.", "1"))
	f.learn(sessionB, 7, lesson(sessionB, "editor", "The editor is emacs.", "1"), lesson(sessionB, "", "The cat is black!", "1"))
	f.knows("At first", "The cat is black. ← a:2 b:1; The dog is brown. ← a:1; The editor is emacs. ← b:1; The editor is vim. ← a:1 a:2 (was); my editor is vim ←")

	other := f.node() // its index has all of it
	if found, err := other.Search(f.ctx, f.me, f.store, memory.Search{Query: "emacs"}); err != nil || len(found.Hits) != 1 {
		f.Fatal(found, err)
	}
	forget := func(session stead.SessionID, item string, want memory.Forgotten) {
		f.Helper()
		got, err := f.ForgetSession(f.ctx, f.me, string(session), item)
		if err != nil || got != want {
			f.Errorf("forgetting %s %s: %+v, %v, want %+v", session, item, got, err, want)
		}
	}
	forget(sessionB, "", memory.Forgotten{Removed: 1, Changed: 1})
	f.knows("Without the second session", "The cat is black. ← a:2; The dog is brown. ← a:1; The editor is vim. ← a:1 a:2; my editor is vim ←")
	if found, err := other.Search(f.ctx, f.me, f.store, memory.Search{Query: "emacs"}); err != nil || len(found.Hits) != 0 {
		f.Errorf("the index of another node still finds %v, %v", found.Hits, err)
	}
	forget(sessionB, "", memory.Forgotten{})

	found, _, err := f.List(f.ctx, f.me, f.store, "", 100, false)
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range found { // the item goes, and with it what it alone said
		if e.Kind == memory.KindItem {
			if err := f.Forget(f.ctx, f.me, f.store, e.ID, memory.AnyVersion); err != nil {
				f.Fatal(err)
			}
		}
		history, err := f.History(f.ctx, f.me, f.store, e.ID)
		if e.Kind != memory.KindItem && (err != nil || strings.Contains(fmt.Sprint(history), string(sessionB))) {
			f.Errorf("an earlier version says still where it came from: %v, %v", history, err)
		}
	}
	f.knows("Without the item", "The cat is black. ← a:2; The editor is vim. ← a:2")
	if got, err := f.ForgetRedacted(f.ctx, f.me, string(sessionA), "item_none"); err != nil || got != (memory.Forgotten{}) {
		f.Errorf("an item that nothing comes from: %+v, %v", got, err)
	}
	f.s.DropMemories(f.ctx, memory.Place{Project: f.me.Project, Store: f.store})
	forget(sessionA, "", memory.Forgotten{})
}

// redactedGoes: what was made of several items goes with the one that is redacted, but for what another session or a person says too.
func redactedGoes(f *serviceFixture) {
	agent := f.me
	agent.Kind = stead.PrincipalAgent
	both := lesson(sessionA, "", "The PIN of Ada is 4711.", "1", "2")
	for at, s := range []stead.SessionID{sessionA, sessionB} {
		said := lesson(s, "", "The sky is blue.", "1")
		lessons := []memory.Lesson{said}
		if s == sessionA {
			lessons = append(lessons, both)
		}
		if _, err := f.Learn(f.ctx, agent, f.store, s, stead.Seq(7+at), lessons); err != nil {
			f.Fatal(err)
		}
	}
	item := both.Sources[0].Item
	got, err := f.ForgetRedacted(f.ctx, f.me, string(sessionA), item)
	if err != nil || got != (memory.Forgotten{Removed: 1, Changed: 1}) {
		f.Errorf("%+v, %v", got, err)
	}
	f.knows("Without what was redacted", "The sky is blue. ← b:1")
}

// learnedAtOnce: the same place of a journal learns once, whoever does it and how often; of two values of one subject
// one is true.
func learnedAtOnce(f *serviceFixture) {
	var work sync.WaitGroup
	for n := range 6 {
		session := []stead.SessionID{sessionA, sessionB}[n%2]
		service := f.node()
		work.Go(func() {
			agent := f.me
			agent.Kind = stead.PrincipalAgent
			if _, err := service.Learn(f.ctx, agent, f.store, session, 7, []memory.Lesson{lesson(session, "editor", "The editor is "+string(session[len(session)-1:])+".", "1"), lesson(session, "", "The sky is blue.", "1")}); err != nil {
				f.Error(err)
			}
		})
	}
	work.Wait()
	got := f.known()
	if strings.Count(got, "The editor is") != 2 || strings.Count(got, "(was)") != 1 || strings.Count(got, "The sky is blue.") != 1 {
		f.Errorf("it knows %s", got)
	}
}

// learnedBehind: what is true from a time on that has not come yet by a node's clock is no news there.
func learnedBehind(f *serviceFixture) {
	f.learn(sessionA, 7, lesson(sessionA, "editor", "The editor is vim.", "1"), lesson(sessionA, "", "The sky is blue.", "1"))
	behind := f.nodeAt(func() time.Time { return time.Now().Add(-30 * time.Second) })
	taught, err := behind.Learn(f.ctx, f.me, f.store, sessionB, 7, []memory.Lesson{lesson(sessionB, "editor", "The editor is emacs.", "1"), lesson(sessionB, "", "The sky is blue.", "1")})
	if want := (memory.Taught{Added: 1, Merged: 1, Superseded: 1}); err != nil || !reflect.DeepEqual(taught, want) {
		f.Errorf("%+v, %v; want %+v", taught, err, want)
	}
}

// since: a write that looked at the store as it was up to a revision is refused when somebody wrote after that.
func since(f *fixture) {
	first := f.write(change("mem_1", "one"))
	late := change("mem_2", "two")
	late.Since = first[0].Revision
	if _, err := f.s.WriteMemories(f.ctx, late.Place, []memory.Change{late}); stead.KindOf(err) != stead.KindConflict {
		f.Errorf("it was written over what it had not seen: %v", err)
	}
	late.Since++
	f.write(late)
}

// rowOfValues: of one value after the other the last one that is left is true, whichever is forgotten; and what says itself
// until when it is true says so again.
func rowOfValues(f *serviceFixture) {
	const sessionC stead.SessionID = "sess_0000000000000000000000000000000c"
	for _, order := range []string{"b", "c", "bc", "cb", "ab", "a"} {
		f.store = f.another()
		for i, session := range []stead.SessionID{sessionA, sessionB, sessionC} {
			l := lesson(session, "editor", "The editor is "+[]string{"vim", "emacs", "nano"}[i]+".", "1")
			l.Sources[0].At = int64(1000 * (i + 1))
			f.learn(session, 7, l)
		}
		for _, s := range order {
			if _, err := f.ForgetSession(f.ctx, f.me, "sess_0000000000000000000000000000000"+string(s), ""); err != nil {
				f.Fatal(err)
			}
		}
		want := map[string]string{
			"b": "The editor is nano. ← c:1; The editor is vim. ← a:1 (was)", "c": "The editor is emacs. ← b:1; The editor is vim. ← a:1 (was)",
			"bc": "The editor is vim. ← a:1", "cb": "The editor is vim. ← a:1", "ab": "The editor is nano. ← c:1",
			"a": "The editor is emacs. ← b:1 (was); The editor is nano. ← c:1",
		}[order]
		f.knows("Without "+order, want)
	}
	f.store = f.another()
	own := lesson(sessionA, "visitor", "The visitor is Anna.", "1")
	own.ValidFrom, own.ValidUntil = 1000, 9000
	f.learn(sessionA, 7, own)
	list, _, err := f.List(f.ctx, f.me, f.store, "", 10, false)
	if err != nil || len(list) != 1 {
		f.Fatal(list, err)
	}
	over := note("The visitor is Ben.")
	over.Supersedes, over.ValidFrom, over.Source = list[0].ID, 500, memory.Source{Session: string(sessionB), Item: "1"}
	f.add(over)
	if _, err := f.ForgetSession(f.ctx, f.me, string(sessionB), ""); err != nil {
		f.Fatal(err)
	}
	if e, err := f.Get(f.ctx, f.me, f.store, list[0].ID); err != nil || e.SupersededBy != "" || e.ValidFrom != 1000 || e.ValidUntil != 9000 || e.Before != nil {
		f.Errorf("what was true from 1000 until 9000 is again from %d until %d, %+v, %v", e.ValidFrom, e.ValidUntil, e.Before, err)
	}
}

// whatIsTheSame: words in another order, or with other labels, are another memory; the rest merges.
func whatIsTheSame(f *serviceFixture) {
	f.learn(sessionA, 7, lesson(sessionA, "", "Anna owes Ben 500 euros.", "1"))
	f.learn(sessionB, 7, lesson(sessionB, "", "Ben owes Anna 500 euros.", "1"), lesson(sessionB, "", "anna owes ben 500 Euros", "2"))
	f.knows("Of two debts", "Anna owes Ben 500 euros. ← a:1 b:2; Ben owes Anna 500 euros. ← b:1")
	f.store = f.another()
	secret := lesson(sessionB, "", "The bank account is DE1.", "1")
	secret.Labels = []string{"salary"}
	f.learn(sessionA, 7, lesson(sessionA, "", "The bank account is DE1.", "1"))
	f.learn(sessionB, 7, secret)
	again := secret
	again.Sources = []memory.Source{{Session: string(sessionB), Item: "2"}}
	f.learn(sessionB, 8, again)
	list, _, err := f.List(f.ctx, f.me, f.store, "", 10, false)
	if err != nil || len(list) != 2 {
		f.Fatalf("%+v, %v", list, err)
	}
	for _, e := range list {
		labelled := slices.Contains(e.Labels, "salary")
		if want := map[bool]int{false: 1, true: 2}[labelled]; len(e.Sources) != want || labelled == (e.Confidence == 0.5) {
			f.Errorf("%q with %q cites %v and is sure by %v", e.Text, e.Labels, e.Sources, e.Confidence)
		}
	}
}

// labelsApart: what has other labels is true beside it, whichever was learned first and however it is meant; of those with the same labels the
// last one is.
func labelsApart(f *serviceFixture) {
	said := func(at stead.Seq, text string, labels ...string) memory.Lesson {
		l := lesson(sessionA, "office of the CEO", text, fmt.Sprint(at))
		l.Sources[0].At, l.Labels = int64(at)*1000, labels
		f.learn(sessionA, at, l)
		return l
	}
	said(7, "It is in Graz.")
	said(8, "It is in Oslo.", "secret")
	said(9, "It is in Bern.", "secret")
	list, _, err := f.List(f.ctx, f.me, f.store, "", 10, false)
	if err != nil || len(list) != 3 {
		f.Fatal(list, err)
	}
	for _, e := range list {
		if e.Text == "It is in Graz." {
			named := lesson(sessionA, "", "The CEO sits in Rome.", "1")
			named.Supersedes, named.Labels = e.ID, []string{"secret"}
			f.learn(sessionA, 10, named)
		}
	}
	f.knows("Of one office", "It is in Bern. ← a:9; It is in Graz. ← a:7; It is in Oslo. ← a:8 (was); The CEO sits in Rome. ← a:1")
	said(11, "It is in Wien.")
	f.knows("Later", "It is in Bern. ← a:9; It is in Graz. ← a:7 (was); It is in Oslo. ← a:8 (was); It is in Wien. ← a:11; The CEO sits in Rome. ← a:1")
}

// undecided: where policies can't be asked about one of those that a lesson is compared with, also about the last, nothing is learned beside it.
func undecided(f *serviceFixture) {
	one, two := note("The sky over Graz is blue."), note("The sky over Graz is blue.")
	one.Labels, one.Kind, one.Importance = []string{"board"}, memory.KindFact, 1
	two.Kind, two.Importance = memory.KindFact, 0 // which is looked at when those with other labels were
	f.add(one, two)
	asked := 0
	away := memory.NewService(memory.Config{Documents: f.s, Store: f.s, Now: time.Now, Policy: undecidedRule(func(r policy.Request) error {
		if r.Effect != policy.MemoryEntryWrite || len(r.Entry.Labels) > 0 {
			return nil
		}
		asked++
		return errors.New("away")
	})})
	agent := f.user(string(sessionB))
	agent.Kind = stead.PrincipalAgent
	if done, err := away.Learn(f.ctx, agent, f.store, sessionB, 7, []memory.Lesson{lesson(sessionB, "", "The sky over Graz is wide.", "1")}); stead.KindOf(err) != stead.KindUnavailable || asked != 1 {
		f.Errorf("%+v, %v, asked %d times", done, err, asked)
	}
	f.knows("Of what nobody could decide about", "The sky over Graz is blue. ←; The sky over Graz is blue. ←")
}

// undecidedRule allows what it can decide about.
type undecidedRule func(policy.Request) error

func (r undecidedRule) Decide(_ context.Context, q policy.Request) (policy.Decision, error) {
	return policy.Decision{Allow: true, By: "test"}, r(q)
}

// learnedUnseen: what a session's user may not see is neither superseded nor made surer by the session.
func learnedUnseen(f *serviceFixture) {
	board := lesson(sessionA, "plan", "The plan is to merge with Acme.", "1")
	board.Labels = []string{"board"}
	f.learn(sessionA, 7, board)
	list, _, err := f.List(f.ctx, f.me, f.store, "", 10, false)
	if err != nil || len(list) != 1 {
		f.Fatal(list, err)
	}
	n := f.ruled(func(r policy.Request) bool {
		return r.Effect != policy.MemoryEntryRead || r.Principal.ID != "eve" || !slices.Contains(r.Entry.Labels, "board")
	})
	eve := n.In(memory.For{Principal: f.user("eve"), Agent: "agent_x", Session: stead.SessionKey{Project: f.me.Project, Session: sessionB}})
	agent := f.user(string(sessionB))
	agent.Kind = stead.PrincipalAgent
	named := lesson(sessionB, "", "The plan is to wait.", "2")
	named.Supersedes = list[0].ID
	if done, err := eve.Learn(f.ctx, agent, f.store, sessionB, 9, []memory.Lesson{lesson(sessionB, "plan", "The plan is to sell.", "1"), named}); err != nil || done.Superseded != 0 {
		f.Errorf("%+v, %v", done, err)
	}
	if e, err := f.Get(f.ctx, f.me, f.store, list[0].ID); err != nil || e.Version != 1 {
		f.Errorf("what eve may not see is %+v after her session, %v", e, err)
	}
}

// labelsCarried: what an agent writes has the labels of what its session was shown, however it writes it.
func labelsCarried(f *serviceFixture) {
	agent := f.user(string(sessionA))
	agent.Kind = stead.PrincipalAgent
	in := f.In(memory.For{Principal: f.me, Session: stead.SessionKey{Project: f.me.Project, Session: sessionA}, Labels: stead.Labels{"memory": {"salary"}, "untrusted": {"web"}}})
	old := f.add(note("the income of somebody"))[0]
	made, err := in.Add(f.ctx, agent, f.store, []memory.New{note("anna's income is 90000")}, "")
	if err != nil {
		f.Fatal(err)
	}
	if _, err := in.Update(f.ctx, agent, f.store, old.ID, memory.AnyVersion, func(c *memory.Content) error { c.Text = "anna's income"; return nil }); err != nil {
		f.Fatal(err)
	}
	if _, err := in.Ingest(f.ctx, agent, f.store, []memory.Content{{Kind: memory.KindItem, Text: "she earns 90000", Source: memory.Source{Session: string(sessionA), Item: "1"}}}); err != nil {
		f.Fatal(err)
	}
	if _, err := in.Learn(f.ctx, agent, f.store, sessionA, 7, []memory.Lesson{lesson(sessionA, "", "Anna earns much.", "1")}); err != nil {
		f.Fatal(err)
	}
	list, _, err := f.List(f.ctx, f.me, f.store, "", 10, false)
	if err != nil || len(list) != 4 {
		f.Fatalf("%d memories, %v", len(list), err)
	}
	for _, e := range list {
		if !slices.Equal(e.Labels, []string{"salary", "untrusted"}) {
			f.Errorf("%q has the labels %q", e.Text, e.Labels)
		}
	}
	if !slices.Contains(made[0].Labels, "salary") {
		f.Errorf("the answer has the labels %q", made[0].Labels)
	}
}

// updatedOnce: an update that is made again with its key, by whoever took over, does not write over what came after it.
func updatedOnce(f *serviceFixture) {
	e := f.add(note("one"))[0]
	say := func(text string) func(*memory.Content) error {
		return func(c *memory.Content) error { c.Text = text; return nil }
	}
	for range 2 {
		if got, err := f.UpdateOnce(f.ctx, f.me, f.store, e.ID, "key", say("two")); err != nil || got.Version != 2 {
			f.Fatalf("%+v, %v", got, err)
		}
	}
	if _, err := f.Update(f.ctx, f.me, f.store, e.ID, memory.AnyVersion, say("three")); err != nil {
		f.Fatal(err)
	}
	if got, err := f.node().UpdateOnce(f.ctx, f.me, f.store, e.ID, "key", say("two")); err != nil || got.Text != "three" || got.Version != 3 {
		f.Errorf("made again it is %+v, %v", got, err)
	}
	if _, err := f.UpdateOnce(f.ctx, f.me, f.store, e.ID, "key", say("four")); stead.KindOf(err) != stead.KindConflict {
		f.Errorf("its key for another text: %v", err)
	}
}
