package memorytest

import (
	"fmt"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

// writtenOver: what a session's agent made of a memory comes from that session. Whatever else became of the memory, it says what it
// would say without, in no version is anything left, and what a person or another session wrote stays.
func writtenOver(f *serviceFixture) {
	agent := func(s stead.SessionID) stead.Principal {
		p := f.user(string(s))
		p.Kind = stead.PrincipalAgent
		return p
	}
	write := func(id string, by ...string) {
		f.Helper()
		for i, who := range by {
			p := map[string]stead.Principal{"a": agent(sessionA), "b": agent(sessionB), "me": f.me, "label": f.me}[who]
			if _, err := f.Update(f.ctx, p, f.store, id, memory.AnyVersion, func(c *memory.Content) error {
				if who == "label" {
					c.Labels = append(c.Labels, "board")
				} else {
					c.Text = fmt.Sprintf("ada by %s%d", who, i)
				}
				return nil
			}); err != nil {
				f.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		by   string // who wrote over "ada by hand", in turn
		want string // without session a, and then without b as well
	}{
		{"a", "ada by hand[], ada by hand[]"},
		{"b a", "ada by b0[untrusted], ada by hand[]"},
		{"a b", "ada by hand[], ada by hand[]"}, // b may have said it in other words
		{"a me", "ada by me1[untrusted], ada by me1[untrusted]"},
		{"b a b", "ada by b0[untrusted], ada by hand[]"},
		{"a label", "ada by hand[board], ada by hand[board]"},
		{"a me b a", "ada by b2[untrusted], ada by me1[untrusted]"},
	} {
		e := f.add(note("ada by hand"))[0]
		write(e.ID, strings.Fields(c.by)...)
		var got []string
		for _, s := range []stead.SessionID{sessionA, sessionB} {
			if _, err := f.ForgetSession(f.ctx, f.me, string(s), ""); err != nil {
				f.Fatal(err)
			}
			is, err := f.Get(f.ctx, f.me, f.store, e.ID)
			if err != nil {
				f.Fatalf("%s: %v", c.by, err)
			}
			got = append(got, fmt.Sprintf("%s%v", is.Text, is.Labels))
			history, err := f.History(f.ctx, f.me, f.store, e.ID)
			if err != nil {
				f.Fatal(err)
			}
			for _, v := range history {
				if strings.Contains(v.WrittenBy, string(s)) || strings.Contains(v.Text, "by "+string(s[len(s)-1])) {
					f.Errorf("%s: without %s version %d is left: %+v", c.by, s, v.Version, v.Content)
				}
			}
		}
		if out := strings.Join(got, ", "); out != c.want {
			f.Errorf("%s: without a, and b, it says %q, want %q", c.by, out, c.want)
		}
		if found, err := f.node().Search(f.ctx, f.me, f.store, memory.Search{Query: "ada by hand me1 b2"}); err != nil || len(found.Hits) == 0 {
			f.Errorf("%s: it is not found: %v, %v", c.by, found, err)
		}
		if err := f.Forget(f.ctx, f.me, f.store, e.ID, memory.AnyVersion); err != nil {
			f.Fatal(err)
		}
	}
	// What a session added, and another one wrote over, and what two said and one of them wrote over.
	added := note("the vault is in the cellar")
	added.Source.Session = string(sessionA)
	made, err := f.Add(f.ctx, agent(sessionA), f.store, []memory.New{added}, "")
	if err != nil {
		f.Fatal(err)
	}
	write(made[0].ID, "b")
	f.learn(sessionA, 7, lesson(sessionA, "", "The sky is blue.", "1"))
	f.learn(sessionB, 7, lesson(sessionB, "", "The sky is blue.", "1"))
	for _, e := range f.entries() {
		if strings.Contains(e.Text, "sky") {
			write(e.ID, "b")
		}
	}
	if got, err := f.ForgetSession(f.ctx, f.me, string(sessionB), ""); err != nil || got != (memory.Forgotten{Changed: 2}) {
		f.Errorf("%+v, %v", got, err)
	}
	f.knows("Without what b wrote over", "The sky is blue. ← a:1; the vault is in the cellar ←")
	if got, err := f.ForgetSession(f.ctx, f.me, string(sessionA), ""); err != nil || got != (memory.Forgotten{Removed: 2}) {
		f.Errorf("%+v, %v", got, err)
	}
	// Of a memory whose versions before are not kept any more nothing is left.
	e := f.add(note("ada by hand"))[0]
	for range memory.MaxVersions {
		write(e.ID, "a", "a")
	}
	if got, err := f.ForgetSession(f.ctx, f.me, string(sessionA), ""); err != nil || got != (memory.Forgotten{Removed: 1}) {
		f.Errorf("%+v, %v", got, err)
	}
}

// entries are those of the store.
func (f *serviceFixture) entries() []memory.Entry {
	f.Helper()
	list, _, err := f.List(f.ctx, f.me, f.store, "", 100, false)
	if err != nil {
		f.Fatal(err)
	}
	return list
}

// trueAgain: what was superseded by a memory that goes is true again, whichever way that goes.
func trueAgain(f *serviceFixture) {
	clock := time.Now()
	n := f.nodeAt(func() time.Time { return clock })
	me, wrong := f.me, memory.Filter{Labels: []string{"wrong"}}
	for way, forget := range map[string]func(id string) error{
		"deleted": func(id string) error { return n.Forget(f.ctx, me, f.store, id, 1) },
		"by an agent": func(id string) error {
			p := f.user(string(sessionA))
			p.Kind = stead.PrincipalAgent
			return n.Forget(f.ctx, p, f.store, id, memory.AnyVersion)
		},
		"by a filter":   func(string) error { _, err := n.ForgetMatching(f.ctx, me, f.store, wrong); return err },
		"in all stores": func(string) error { _, _, err := n.ForgetEverywhere(f.ctx, me, wrong); return err },
		"of its session": func(string) error {
			_, err := n.ForgetMatching(f.ctx, me, f.store, memory.Filter{Session: "sess_x"})
			return err
		},
		"its time is over": func(string) error {
			clock = clock.Add(time.Hour)
			_, err := n.Sweep(f.ctx)
			return err
		},
	} {
		f.store = f.another()
		old, err := n.Add(f.ctx, me, f.store, []memory.New{note("the deploy window is on Tuesday")}, "")
		if err != nil {
			f.Fatal(err)
		}
		over := labelled("the deploy window is on Friday", memory.Scope{}, "wrong")
		over.Supersedes, over.Life, over.Source.Session = old[0].ID, time.Minute, "sess_x"
		made, err := n.Add(f.ctx, me, f.store, []memory.New{over}, "")
		if err != nil {
			f.Fatal(err)
		}
		if err := forget(made[0].ID); err != nil {
			f.Fatalf("%s: %v", way, err)
		}
		e, err := n.Get(f.ctx, me, f.store, old[0].ID)
		if err != nil || e.SupersededBy != "" || e.ValidUntil != 0 {
			f.Errorf("%s: %+v, %v", way, e.Content, err)
		}
		if found, err := n.Search(f.ctx, me, f.store, memory.Search{Query: "deploy window"}); err != nil || len(found.Hits) != 1 || found.Hits[0].ID != old[0].ID {
			f.Errorf("%s: found are %+v, %v", way, found.Hits, err)
		}
	}
	// By retention: the one that is older goes, and what is true again is no newer for it.
	f.store = f.another()
	old := f.add(note("the office is in Hamburg"))[0]
	over := note("the office is in Berlin")
	over.Supersedes = old.ID
	f.add(over)
	time.Sleep(5 * time.Millisecond)
	cut := time.Now().UnixMilli()
	if got, err := f.ForgetBefore(f.ctx, f.me, cut); err != nil || got < 2 || len(f.entries()) != 0 {
		f.Errorf("%d are forgotten, %v, and %v left", got, err, f.entries())
	}
}

// hadEnded: what was true no longer is not true again up to when something supersedes it.
func hadEnded(f *serviceFixture) {
	past := note("the office is in Hamburg")
	past.ValidFrom, past.ValidUntil = 1000, 5000
	old := f.add(past)[0]
	over := note("the office is in Berlin")
	over.Supersedes, over.ValidFrom = old.ID, 9000
	f.add(over)
	if got := f.find(memory.Search{Query: "office", AsOf: 7000}); len(got) != 0 {
		f.Errorf("between them %q is true", got)
	}
	if got := f.find(memory.Search{Query: "office", AsOf: 4000}); len(got) != 1 {
		f.Errorf("at first %q is true", got)
	}
}

// forgetAlong: a filter takes along what was derived from items, and of what several sessions say takes one away.
func forgetAlong(f *serviceFixture) {
	item := func(s stead.SessionID, text string) memory.Content {
		return memory.Content{Kind: memory.KindItem, Text: text, Confidence: 1, Importance: 0.5, Source: memory.Source{Session: string(s), Item: "1"}}
	}
	fill := func() {
		f.Helper()
		f.store = f.another()
		if _, err := f.Ingest(f.ctx, f.me, f.store, []memory.Content{item(sessionA, "window tuesday"), item(sessionB, "tuesday it is")}); err != nil {
			f.Fatal(err)
		}
		f.learn(sessionA, 7, lesson(sessionA, "", "The window is on Tuesday.", "1"), lesson(sessionA, "", "The cat is black.", "1"))
		f.learn(sessionB, 7, lesson(sessionB, "", "The window is on Tuesday.", "1"))
	}
	forget := func(when string, filter memory.Filter, forgotten int, left string) {
		f.Helper()
		n, err := f.ForgetMatching(f.ctx, f.me, f.store, filter)
		if err != nil || n != forgotten {
			f.Errorf("%s: %d, %v", when, n, err)
		}
		f.knows(when, left)
	}
	fill()
	forget("without b", memory.Filter{Session: string(sessionB)}, 2, "The cat is black. ← a:1; The window is on Tuesday. ← a:1; window tuesday ←")
	fill()
	forget("without a", memory.Filter{Session: string(sessionA)}, 3, "The window is on Tuesday. ← b:1; tuesday it is ←")
	fill()
	forget("without the items of a", memory.Filter{Session: string(sessionA), Kinds: []memory.Kind{memory.KindItem}}, 1, "The window is on Tuesday. ← b:1; tuesday it is ←")
	fill()
	forget("without items", memory.Filter{Kinds: []memory.Kind{memory.KindItem}}, 2, "")
}

// longItem: one message that takes more room than an entry may keeps none of the others out, and is found by its beginning.
func longItem(f *serviceFixture) {
	items := []memory.Content{}
	for i, text := range []string{"kryptonite " + strings.Repeat("<", memory.MaxContentBytes-100), "selenite " + strings.Repeat("\x01", memory.MaxContentBytes-100), "malachite"} {
		items = append(items, memory.Content{Kind: memory.KindItem, Text: text, Confidence: 1, Source: memory.Source{Session: string(sessionA), Item: fmt.Sprint(i)}})
	}
	if n, err := f.Ingest(f.ctx, f.me, f.store, items); n != 3 || err != nil {
		f.Fatalf("%d are taken in, %v", n, err)
	}
	for _, word := range []string{"kryptonite", "selenite", "malachite"} {
		if got := f.find(memory.Search{Query: word}); len(got) == 0 || !strings.HasPrefix(got[0], word) {
			f.Errorf("%s finds %.40q", word, got)
		}
	}
}

// noSecrets: what an agent writes by itself is refused where it holds a secret; in what a person writes secrets are masked.
func noSecrets(f *serviceFixture) {
	const secret = "The API key of billing is sk-proj-Ab3dEf9hIj2kLm4nOp6q"
	p := f.user(string(sessionA))
	p.Kind = stead.PrincipalAgent
	if _, err := f.Add(f.ctx, p, f.store, []memory.New{note(secret)}, ""); stead.KindOf(err) != stead.KindInvalid {
		f.Errorf("an agent adds a secret: %v", err)
	}
	e := f.add(note("The API key of billing is with Ada."))[0]
	say := func(c *memory.Content) error { c.Text = secret; return nil }
	if _, err := f.Update(f.ctx, p, f.store, e.ID, memory.AnyVersion, say); stead.KindOf(err) != stead.KindInvalid {
		f.Errorf("an agent writes a secret over a memory: %v", err)
	}
	if e, err := f.Update(f.ctx, f.me, f.store, e.ID, memory.AnyVersion, say); err != nil || e.Text != "The API key of billing is [secret]" {
		f.Errorf("a person writes %q, %v", e.Text, err)
	}
	n := note("The database login is root / toor123 since May.")
	n.Metadata = map[string]string{"how": "pwd: hunter2", "what": "database"}
	if e = f.add(n)[0]; e.Text != "The database [secret] since May." || e.Metadata["how"] != "[secret]" || e.Metadata["what"] != "database" {
		f.Errorf("a person adds %q with %v", e.Text, e.Metadata)
	}
}

// learnedLate: of several values the one that was said last is true, in whatever order they are learned, and when it goes the one before.
func learnedLate(f *serviceFixture) {
	said := map[string]memory.Lesson{}
	for i, city := range []string{"Hamburg", "Berlin", "Munich"} {
		session := []stead.SessionID{sessionA, sessionB, "sess_0000000000000000000000000000000c"}[i]
		l := lesson(session, "office", "The office is in "+city+".", "1")
		l.Sources[0].At = int64(1000 * (i + 1))
		said[city] = l
	}
	for _, order := range []string{"Berlin Hamburg", "Munich Hamburg Berlin", "Munich Berlin Hamburg", "Hamburg Munich Berlin"} {
		f.store = f.another()
		names := strings.Fields(order)
		last := ""
		for _, city := range names {
			l := said[city]
			f.learn(stead.SessionID(l.Sources[0].Session), 7, l)
			if last == "" || l.Sources[0].At > said[last].Sources[0].At {
				last = city
			}
		}
		if got := f.find(memory.Search{Query: "where is the office"}); len(got) != 1 || !strings.Contains(got[0], last) {
			f.Errorf("%s: what is true is %q", order, got)
		}
		if order == "Berlin Hamburg" {
			if _, err := f.ForgetSession(f.ctx, f.me, said[last].Sources[0].Session, ""); err != nil {
				f.Fatal(err)
			}
			if got := f.find(memory.Search{Query: "where is the office"}); len(got) != 1 || !strings.Contains(got[0], "Hamburg") {
				f.Errorf("without %s what is true is %q", last, got)
			}
		}
	}
}

// named: what a lesson says it supersedes is read by its id, not looked for by its words and kind.
func named(f *serviceFixture) {
	old := lesson(sessionA, "drink", "The user prefers coffee in the morning.", "1")
	old.Kind = memory.KindPreference
	f.learn(sessionA, 7, old)
	l := lesson(sessionB, "health", "Nothing with caffeine is allowed any more.", "1")
	l.Supersedes = f.entries()[0].ID
	if got := f.learn(sessionB, 7, l); got.Superseded != 1 {
		f.Errorf("%+v", got)
	}
	f.knows("Of two kinds", "Nothing with caffeine is allowed any more. ← b:1; The user prefers coffee in the morning. ← a:1 (was)")
	item := memory.Content{Kind: memory.KindItem, Text: "as it was said", Confidence: 1, Source: memory.Source{Session: string(sessionA), Item: "9"}}
	if _, err := f.Ingest(f.ctx, f.me, f.store, []memory.Content{item}); err != nil {
		f.Fatal(err)
	}
	for i, e := range f.entries() {
		if e.Kind == memory.KindItem { // nobody makes unsaid what was said
			again := lesson(sessionB, "", "It was never said like that.", "2")
			again.Supersedes = e.ID
			if got := f.learn(sessionB, stead.Seq(20+i), again); got.Superseded != 0 {
				f.Errorf("%+v", got)
			}
		}
	}
}

// changedLife: the next version of an entry is kept for as long as it says, from then on; where it says nothing, until what was said before.
func changedLife(f *serviceFixture) {
	lasting := note("the window is on Tuesday")
	lasting.Life = time.Hour
	e := f.add(lasting)[0]
	change := func(life *time.Duration, text string) memory.Entry {
		f.Helper()
		set := func(c *memory.Content) error { c.Text = text; return nil }
		var next memory.Entry
		var err error
		if life == nil {
			next, err = f.Update(f.ctx, f.me, f.store, e.ID, memory.AnyVersion, set)
		} else {
			next, err = f.UpdateLife(f.ctx, f.me, f.store, e.ID, memory.AnyVersion, *life, set)
		}
		if err != nil {
			f.Fatal(err)
		}
		return next
	}
	if next := change(nil, "on Friday"); next.ExpiresAt != e.ExpiresAt || e.ExpiresAt == 0 {
		f.Errorf("it ends at %d, not at %d", next.ExpiresAt, e.ExpiresAt)
	}
	day, never := 24*time.Hour, time.Duration(0)
	if next := change(&day, "on Sunday"); next.ExpiresAt < time.Now().Add(day-time.Minute).UnixMilli() {
		f.Errorf("it ends at %d", next.ExpiresAt)
	}
	if next := change(&never, "on no day"); next.ExpiresAt != 0 {
		f.Errorf("it ends at %d", next.ExpiresAt)
	}
	short := time.Millisecond
	change(&short, "now")
	time.Sleep(2 * short)
	f.left("When its time is over", "")
}
