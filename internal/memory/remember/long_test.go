package remember_test

import (
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/remember"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// A message that is longer than an entry is found by its last word too: it is several entries, each made once, and they go together.
func TestLongMessagesAreSearchableToTheirEnd(t *testing.T) {
	m, me := open(t, policy.AllowLocal{})
	made, err := m.CreateStore(t.Context(), me, memory.StoreFields{Name: "s"}, "")
	if err != nil {
		t.Fatal(err)
	}
	key := stead.SessionKey{Project: me.Project, Session: "sess_0000000000000000000000000000000a"}
	said := strings.Repeat("Füller über nichts, line after line. ", 5500) + "The final word is zyzzyva."
	ask := session.LearnAsk{Key: key, Principal: me, Alone: true, Agent: "agent_1", At: 7, Extraction: agent.Extraction{Store: made.ID, Scope: "project"},
		Messages: []session.LearnMessage{{Item: stead.DerivedID("msg", key.Session, 3, 0), Role: stead.RoleUser, Text: said, At: 1}}}
	parts := len(said)/memory.MaxContentBytes + 1
	for _, want := range []int{parts, 0} {
		if out, err := remember.New(m).Keep(t.Context(), ask, true); err != nil || out.Added != want {
			t.Fatalf("added %d, want %d (%v)", out.Added, want, err)
		}
	}
	found, err := m.Search(t.Context(), me, made.ID, memory.Search{Query: "zyzzyva"})
	if err != nil || len(found.Hits) == 0 || !strings.HasSuffix(found.Hits[0].Text, "zyzzyva.") || found.Hits[0].Metadata[remember.MetaPart] == "" {
		t.Fatalf("%d hits, %v", len(found.Hits), err)
	}
	all := ""
	list, _, err := m.List(t.Context(), me, made.ID, "", 100, false)
	for _, e := range list {
		all += e.Text
	}
	if err != nil || all != said {
		t.Errorf("the parts are not the message: %d bytes of %d, %v", len(all), len(said), err)
	}
	if err := m.Forget(t.Context(), me, made.ID, list[0].ID, memory.AnyVersion); err != nil {
		t.Fatal(err)
	}
	if list, _, err = m.List(t.Context(), me, made.ID, "", 100, false); err != nil || len(list) != 0 {
		t.Errorf("%d parts are left of what was forgotten (%v)", len(list), err)
	}
	if out, err := remember.New(m).Keep(t.Context(), ask, true); err != nil || out.Added != 0 {
		t.Errorf("what was forgotten comes back: %+v, %v", out, err)
	}
}

// What is left out of what is longer still, or of what a tool said, is said.
func TestWhatIsLeftOutIsSaid(t *testing.T) {
	for role, size := range map[string]int{stead.RoleUser: 3 << 20, session.RoleTool: 20 << 10} {
		parts := remember.Message("sess_0000000000000000000000000000000a", session.LearnMessage{Item: "a", Role: role, Text: strings.Repeat("text ", size/5)})
		last := parts[len(parts)-1]
		if last.Metadata[remember.MetaLeftOut] == "" || len(last.Text) > memory.MaxContentBytes {
			t.Errorf("%s: %d parts, the last of %d bytes says %v", role, len(parts), len(last.Text), last.Metadata)
		}
	}
}
