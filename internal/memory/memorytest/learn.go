package memorytest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
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
	found, _, err := f.List(f.ctx, f.me, f.store, "", 100, false)
	if err != nil {
		f.Fatal(err)
	}
	var out []string
	for _, e := range found {
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
	f.s.DropMemories(f.ctx, memory.Place{Project: f.me.Project, Store: f.store})
	forget(sessionA, "", memory.Forgotten{})
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
	if want := (memory.Taught{Added: 1, Merged: 1, Superseded: 1}); err != nil || taught != want {
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
