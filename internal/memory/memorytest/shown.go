package memorytest

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

// spoken is an item of a session, as it was said at a place of its journal.
func spoken(session stead.SessionID, seq stead.Seq, author, text string) memory.Content {
	return memory.Content{Kind: memory.KindItem, Text: text, Confidence: 1, Importance: 0.5,
		Source: memory.Source{Session: string(session), Item: stead.DerivedID("msg", session, seq, 0), Author: author}}
}

// made is a lesson in a model's words, of items at a place.
func made(session stead.SessionID, at stead.Seq, text string, of ...stead.Seq) memory.Lesson {
	l := memory.Lesson{Content: memory.Content{Kind: memory.KindEpisode, Text: text, Confidence: 0.5, Importance: 0.5}}
	for _, seq := range of {
		l.Sources = append(l.Sources, memory.Source{Session: string(session), Item: stead.DerivedID("msg", session, seq, 0), Author: stead.RoleUser, Seen: int64(at)})
	}
	return l
}

// in is the service as the agent of a session has it that is at a place of its journal.
func (f *serviceFixture) in(session stead.SessionID, at stead.Seq) (*memory.Service, stead.Principal) {
	agent := f.me
	agent.Kind, agent.ID = stead.PrincipalAgent, string(session)
	return f.Service.In(memory.For{Principal: f.me, Session: stead.SessionKey{Project: f.me.Project, Session: session}, At: at}), agent
}

// show shows a session memories.
func (f *serviceFixture) show(session stead.SessionID, at stead.Seq, ids ...string) {
	f.Helper()
	var refs []memory.Ref
	for _, id := range ids {
		refs = append(refs, memory.Ref{Store: f.store, ID: id})
	}
	n, _ := f.in(session, at)
	if err := n.Show(f.ctx, refs); err != nil {
		f.Fatal(err)
	}
}

func (f *serviceFixture) ingest(items ...memory.Content) int {
	f.Helper()
	n, err := f.Ingest(f.ctx, f.me, f.store, items)
	if err != nil {
		f.Fatal(err)
	}
	return n
}

// texts are those of the store.
func (f *serviceFixture) texts() string {
	f.Helper()
	var out []string
	for _, e := range f.entries() {
		out = append(out, e.Text)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func (f *serviceFixture) left(when, want string) {
	f.Helper()
	if got := f.texts(); got != want {
		f.Errorf("%s there is\n%s\nand not\n%s", when, got, want)
	}
}

// id is that of the entry with a text.
func (f *serviceFixture) id(text string) string {
	f.Helper()
	list := f.entries()
	i := slices.IndexFunc(list, func(e memory.Entry) bool { return e.Text == text })
	if i < 0 {
		f.Fatalf("there is no %q", text)
	}
	return list[i].ID
}

// shownGoes: with a memory goes what models said and noted that had been shown it, in other sessions too that were shown that; what was
// said before it was shown stays, and what users said.
func shownGoes(f *serviceFixture) {
	secret := f.add(note("Ada earns ninety."))[0].ID
	f.ingest(spoken(sessionA, 3, stead.RoleUser, "Hi."), spoken(sessionA, 4, stead.RoleAssistant, "Hello."))
	f.show(sessionA, 5, secret)
	f.ingest(spoken(sessionA, 6, stead.RoleUser, "What does Ada earn?"), spoken(sessionA, 7, stead.RoleAssistant, "Ada earns 90."), spoken(sessionA, 8, "tool", "mem: ninety"))
	f.learn(sessionA, 9, made(sessionA, 9, "The user asked what Ada earns: ninety.", 6), lesson(sessionA, "", "The user has a cat.", "x"))
	n, agent := f.in(sessionA, 8)
	by := note("Ninety is what Ada gets.")
	by.Source.Session = string(sessionA)
	if _, err := n.Add(f.ctx, agent, f.store, []memory.New{by}, ""); err != nil {
		f.Fatal(err)
	}
	f.show(sessionB, 2, f.id("Ninety is what Ada gets."))
	f.ingest(spoken(sessionB, 3, stead.RoleAssistant, "As I know, it is ninety."), spoken(sessionB, 4, stead.RoleUser, "I like tea."))
	open := f.add(note("The office opens at nine."))[0]
	n, agent = f.in(sessionB, 5)
	if _, err := n.Update(f.ctx, agent, f.store, open.ID, memory.AnyVersion, func(c *memory.Content) error { c.Text += " Ada earns ninety."; return nil }); err != nil {
		f.Fatal(err)
	}
	if err := f.Forget(f.ctx, f.me, f.store, secret, memory.AnyVersion); err != nil {
		f.Fatal(err)
	}
	f.left("Behind the memory", "Hello.; Hi.; I like tea.; The office opens at nine.; The user has a cat.; What does Ada earn?")
	if e, err := f.History(f.ctx, f.me, f.store, open.ID); err != nil || slices.ContainsFunc(e, func(v memory.Entry) bool { return strings.Contains(v.Text, "ninety") }) {
		f.Errorf("an earlier version says it: %+v, %v", e, err)
	}
	// The sessions go on, and their models still know.
	if got := f.ingest(spoken(sessionA, 12, stead.RoleAssistant, "Ninety, as I said."), spoken(sessionA, 11, stead.RoleUser, "Say it again.")); got != 1 {
		f.Errorf("%d of a later turn are taken in", got)
	}
	if got := f.learn(sessionA, 14, made(sessionA, 14, "Ada's ninety came up again.", 11), lesson(sessionA, "", "The dog is brown.", "y")); got.Added != 1 || len(got.Refused) != 1 {
		f.Errorf("of a later turn is learned: %+v", got)
	}
	n, agent = f.in(sessionA, 15)
	by.Text = "The user wants to be told of pay rises."
	if _, err := n.Add(f.ctx, agent, f.store, []memory.New{by}, ""); err != nil {
		f.Errorf("what an agent is told to write down later: %v", err)
	}
	if err := f.Follow(f.ctx, f.me.Project); err != nil {
		f.Error(err)
	}
	f.left("Later", "Hello.; Hi.; I like tea.; Say it again.; The dog is brown.; The office opens at nine.; The user has a cat.; The user wants to be told of pay rises.; What does Ada earn?")
}

// shownAgain: what is shown once more counts from the first time, and what is shown beside it from then.
func shownAgain(f *serviceFixture) {
	first, second := f.add(note("Ada earns ninety."))[0].ID, f.add(note("Bob earns seventy."))[0].ID
	f.show(sessionA, 5, first, first)
	f.ingest(spoken(sessionA, 6, stead.RoleAssistant, "Ninety."))
	f.show(sessionA, 9, first)
	f.show(sessionA, 9, first, second)
	f.ingest(spoken(sessionA, 12, stead.RoleAssistant, "Seventy."))
	if err := f.Forget(f.ctx, f.me, f.store, second, memory.AnyVersion); err != nil {
		f.Fatal(err)
	}
	f.left("Behind the second", "Ada earns ninety.; Ninety.")
	if err := f.Forget(f.ctx, f.me, f.store, first, memory.AnyVersion); err != nil {
		f.Fatal(err)
	}
	f.left("Behind both", "")
}

// shownToWhoForgets: an agent that forgets a memory keeps what it wrote down in its place; what it said goes.
func shownToWhoForgets(f *serviceFixture) {
	old := f.add(note("The locker is 70."))[0].ID
	f.show(sessionA, 2, old)
	n, agent := f.in(sessionA, 4)
	by := note("The locker is 71 now.")
	by.Source.Session = string(sessionA)
	if _, err := n.Add(f.ctx, agent, f.store, []memory.New{by}, ""); err != nil {
		f.Fatal(err)
	}
	f.ingest(spoken(sessionA, 5, stead.RoleAssistant, "It was 70 and is 71."))
	n, agent = f.in(sessionA, 6)
	if err := n.Forget(f.ctx, agent, f.store, old, memory.AnyVersion); err != nil {
		f.Fatal(err)
	}
	f.left("Behind it", "The locker is 71 now.")
	if got := f.ingest(spoken(sessionA, 7, stead.RoleAssistant, "Not 70 any more.")); got != 0 {
		f.Error("what it says later is taken in")
	}
}

// shownBySessions: what sessions, scopes, stores and redactions take away takes along what was made of it; what ends by its time does not.
func shownBySessions(f *serviceFixture) {
	f.ingest(spoken(sessionA, 3, stead.RoleUser, "Okapi is cancelled."))
	f.show(sessionB, 1, f.id("Okapi is cancelled."))
	f.ingest(spoken(sessionB, 2, stead.RoleAssistant, "A says okapi is cancelled."))
	if got, err := f.ForgetSession(f.ctx, f.me, string(sessionA), ""); err != nil || got != (memory.Forgotten{Removed: 2}) {
		f.Errorf("forgetting the session: %+v, %v", got, err)
	}
	f.left("Without the session", "")

	const sessionC, sessionD, sessionE stead.SessionID = "sess_0000000000000000000000000000000c", "sess_0000000000000000000000000000000d", "sess_0000000000000000000000000000000e"
	scoped := note("Zed likes tapirs.")
	scoped.Scope = memory.Scope{Type: memory.ScopeUser, ID: "zed"}
	redacted, spent := f.add(note("The code is 7."))[0].ID, note("The window is open.")
	spent.Life = time.Millisecond
	old := f.add(spent)[0].ID
	f.show(sessionC, 1, f.add(scoped)[0].ID)
	f.show(sessionD, 1, redacted)
	f.show(sessionE, 1, old)
	f.ingest(spoken(sessionC, 2, stead.RoleAssistant, "Zed? Tapirs."), spoken(sessionD, 2, stead.RoleAssistant, "It is 7."), spoken(sessionE, 2, stead.RoleAssistant, "It is open."))
	if n, _, err := f.ForgetEverywhere(f.ctx, f.me, memory.Filter{Scopes: []memory.Scope{scoped.Scope}}); err != nil || n != 2 {
		f.Errorf("forgetting the scope: %d, %v", n, err)
	}
	if _, err := f.Redact(f.ctx, f.me, f.store, redacted, memory.AnyVersion); err != nil {
		f.Error(err)
	}
	time.Sleep(2 * time.Millisecond)
	if n, err := f.Sweep(f.ctx); err != nil || n != 1 {
		f.Errorf("swept %d, %v", n, err)
	}
	if err := f.Follow(f.ctx, f.me.Project); err != nil {
		f.Error(err)
	}
	f.left("Without a scope, a text and a time", "; It is open.")

	const sessionF stead.SessionID = "sess_0000000000000000000000000000000f"
	store, kept := f.store, f.another()
	f.store = kept
	f.show(sessionF, 1, f.add(note("Quaggas are back."))[0].ID)
	f.store = store
	f.ingest(spoken(sessionF, 2, stead.RoleAssistant, "There are quaggas."))
	if err := f.DeleteStore(f.ctx, f.me, kept); err != nil {
		f.Error(err)
	}
	f.left("Without a store", "; It is open.")
}

// shownCrash: a node that dies right behind a forgetting leaves the rest to another one; so does a write that was under way.
func shownCrash(f *serviceFixture) {
	now := time.Now()
	n := f.nodeAt(func() time.Time { return now })
	secret := f.add(note("Ada earns ninety."))[0].ID
	f.show(sessionA, 1, secret)
	f.ingest(spoken(sessionA, 2, stead.RoleAssistant, "Ninety."))
	place := memory.Place{Project: f.me.Project, Store: f.store}
	gone := memory.Change{Record: memory.Record{Place: place, ID: secret, UpdatedAt: now.UnixMilli()}, Expected: 1}
	if _, err := f.s.WriteMemories(f.ctx, place, []memory.Change{gone}); err != nil { // and here it dies
		f.Fatal(err)
	}
	f.left("Before", "Ninety.")
	if _, err := n.SweepForgotten(f.ctx); err != nil {
		f.Fatal(err)
	}
	f.left("Behind the sweep", "")
	late := spoken(sessionA, 3, stead.RoleAssistant, "Ninety still.")
	data := `{"kind":"item","content":"Ninety still.","scope":{"type":"project"},"source":{"session_id":"` + late.Source.Session + `","item_id":"` + late.Source.Item + `","author":"assistant"}}`
	_, err := f.s.WriteMemories(f.ctx, place, []memory.Change{{Record: memory.Record{Place: place, ID: "mem_0000000000000000000000000000000a000000030000", Data: []byte(data)}}})
	if err != nil {
		f.Fatal(err)
	}
	now = now.Add(time.Minute)
	if _, err := n.SweepForgotten(f.ctx); err != nil {
		f.Fatal(err)
	}
	f.left("A minute later", "")
	// What was found by a search and forgotten before it was shown: it is shown, and known to be forgotten.
	f.show(sessionB, 1, secret)
	if got := f.ingest(spoken(sessionB, 2, stead.RoleAssistant, "Ninety?"), spoken(sessionB, 2, stead.RoleUser, "Yes.")); got != 0 && f.texts() != "Yes." {
		f.Errorf("%d are taken in: %s", got, f.texts())
	}
	// A copy knows what the first one was shown.
	const copied stead.SessionID = "sess_0000000000000000000000000000000c"
	if err := f.Copied(f.ctx, f.me.Project, sessionB, copied); err != nil {
		f.Fatal(err)
	}
	if got := f.ingest(spoken(copied, 5, stead.RoleAssistant, "Ninety!")); got != 0 {
		f.Error("a copy says it again")
	}
}

// shownRaced: whatever comes first of showing, saying and forgetting, nothing that repeats it is left.
func shownRaced(f *serviceFixture) {
	for range 8 {
		secret := f.add(note("Ada earns ninety."))[0].ID
		var all sync.WaitGroup
		for i, session := range []stead.SessionID{"sess_0000000000000000000000000000001a", "sess_0000000000000000000000000000001b", "sess_0000000000000000000000000000001c"} {
			all.Go(func() {
				f.show(session, 1, secret)
				if _, err := f.Ingest(f.ctx, f.me, f.store, []memory.Content{spoken(session, stead.Seq(2+i), stead.RoleAssistant, "Ninety.")}); err != nil {
					f.Error(err)
				}
			})
		}
		all.Go(func() {
			if err := f.node().Forget(f.ctx, f.me, f.store, secret, memory.AnyVersion); err != nil {
				f.Error(err)
			}
		})
		if all.Wait(); f.texts() != "" {
			f.Fatalf("left is %s", f.texts())
		}
		for _, session := range []string{"sess_0000000000000000000000000000001a", "sess_0000000000000000000000000000001b", "sess_0000000000000000000000000000001c"} {
			if err := f.s.DropShowings(f.ctx, f.me.Project, session); err != nil {
				f.Fatal(err)
			}
		}
	}
}
