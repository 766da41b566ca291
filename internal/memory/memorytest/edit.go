package memorytest

import (
	"fmt"
	"strings"

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

func (f *serviceFixture) entries() []memory.Entry {
	f.Helper()
	list, _, err := f.List(f.ctx, f.me, f.store, "", 100, false)
	if err != nil {
		f.Fatal(err)
	}
	return list
}
