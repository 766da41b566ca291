package remember_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/remember"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/sqlite"
)

// open is memory under a policy, and its owner.
func open(t *testing.T, rules policy.Authorizer) (*memory.Service, stead.Principal) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "stead.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return memory.NewService(memory.Config{Documents: s, Store: s, Policy: rules, Now: time.Now}), stead.LocalPrincipal()
}

// What is recalled comes between what was said around it, within one budget for all stores, with its labels; what the model sees already, and
// what is of the session itself, does not come as context either.
func TestRecallBringsWhatStandsAround(t *testing.T) {
	m, me := open(t, policy.AllowLocal{})
	var stores []string
	for i := range 2 {
		made, err := m.CreateStore(t.Context(), me, memory.StoreFields{Name: fmt.Sprint(i)}, "")
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, made.ID)
	}
	const old, own = "sess_0000000000000000000000000000000a", "sess_0000000000000000000000000000000b"
	add := func(store string, texts ...string) (out []memory.Entry) {
		t.Helper()
		for i, text := range texts {
			c := memory.Content{Kind: memory.KindItem, Text: text, Confidence: 1, Importance: 0.5, Source: memory.Source{Session: old, Item: fmt.Sprint(i), Index: int64(i + 1), Author: "user"}}
			if strings.HasPrefix(text, "labelled") {
				c.Labels = []string{"salary"}
			}
			made, err := m.Add(t.Context(), me, store, []memory.New{{Content: c}}, "")
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, made...)
		}
		return out
	}
	long := strings.Repeat("clause of no interest. ", 900)
	made := add(stores[0], "good morning", "labelled word before", "the zeppelin landed", "oh nice", "bye")
	add(stores[1], long+"the contract about the zeppelin was signed in Reykjavik "+long)
	ask := session.RecallAsk{
		Key: stead.SessionKey{Project: me.Project, Session: own}, Principal: me, Agent: "agent_1", Stores: append(stores, "memstore_gone"), Query: "where was the contract about the zeppelin signed?",
		Recall: agent.Recall{Mode: agent.RecallAlways, TokenBudget: 1000, MaxResults: 2, Context: 1}, Shown: map[string]bool{},
	}
	recall := func() (session.MemoryRecalled, string) {
		t.Helper()
		out, err := remember.New(m).Recall(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for _, e := range out.Entries {
			lines = append(lines, fmt.Sprintf("%.14s %d", strings.TrimPrefix(e.Text, "… "), e.Place))
			if (e.ContextOf == made[2].ID) != (e.Place != 0) || (e.Explain == nil) != (e.Place != 0) {
				t.Errorf("%+v", e)
			}
		}
		return out, strings.Join(lines, "; ")
	}
	out, got := recall()
	if want := "labelled word  -1; the zeppelin l 0; oh nice 1; "; !strings.HasPrefix(got, want) || len(out.Entries) != 4 || out.LeftOut == 0 {
		t.Fatalf("recalled %q, %d left out", got, out.LeftOut)
	}
	if !strings.Contains(out.Without, "memstore_gone") || strings.Contains(out.Without, stores[0]) {
		t.Errorf("of a store that is not there it says %q", out.Without)
	}
	if e := out.Entries[3]; !e.Excerpt || e.Store != stores[1] || !strings.Contains(e.Text, "signed in Reykjavik") || len(e.Text) > 2000 {
		t.Errorf("of what is too long is shown: %t, %d bytes", e.Excerpt, len(e.Text))
	}
	if l := out.Labels()[session.LabelMemory]; !slices.Equal(l, []string{"salary"}) {
		t.Errorf("labels of what stands around: %q", l)
	}
	ask.Shown[out.Entries[2].Name()] = true
	if _, got := recall(); !strings.HasPrefix(got, "labelled word  -1; the zeppelin l 0; … ") && !strings.HasPrefix(got, "labelled word  -1; the zeppelin l 0; ") || strings.Contains(got, "oh nice") {
		t.Errorf("what is shown already comes again: %q", got)
	}
	ask.Recall.Context = 0
	if out, got := recall(); len(out.Entries) != 2 {
		t.Errorf("without context: %q", got)
	}
	ask.Key.Session, ask.Recall.Context = old, 1
	if out, got := recall(); len(out.Entries) != 0 {
		t.Errorf("of the session itself: %q", got)
	}
}

// Of an entry that has no room the part comes that a question is about, and another one when another question is; none comes twice, and a new
// version is another entry.
func TestOfALongEntryOnePartComesAfterTheOther(t *testing.T) {
	m, me := open(t, policy.AllowLocal{})
	st, err := m.CreateStore(t.Context(), me, memory.StoreFields{Name: "s"}, "")
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("clause of no interest. ", 250)
	said := func(index int64, text string) memory.New {
		return memory.New{Content: memory.Content{Kind: memory.KindItem, Text: text, Confidence: 1, Importance: 0.5, Source: memory.Source{Session: "sess_0000000000000000000000000000000a", Item: fmt.Sprint(index), Index: index, Author: "user"}}}
	}
	made, err := m.Add(t.Context(), me, st.ID, []memory.New{
		said(1, "the annex, about hangars: "+long+" Hangars are in Linz."),
		said(2, "the contract about the zeppelin was signed in Reykjavik. "+long+" The contract is judged in Vienna. "+long+" The contract's penalty for cancellation is ninety crowns."),
	}, "")
	if err != nil {
		t.Fatal(err)
	}
	ask := session.RecallAsk{Key: stead.SessionKey{Project: me.Project, Session: "sess_0000000000000000000000000000000b"}, Principal: me, Alone: true, Agent: "agent_1", Stores: []string{st.ID},
		Recall: agent.Recall{Mode: agent.RecallAlways, TokenBudget: 1000, MaxResults: 1, Context: 1}, Shown: map[string]bool{}}
	asks := func(query string, want ...string) {
		t.Helper()
		ask.Query = query
		out, err := remember.New(m).Recall(t.Context(), ask)
		if err != nil || len(out.Entries) != len(want) || len(want) == 0 && out.LeftOut != 0 {
			t.Fatalf("%s: %d entries, %d left out, %v", query, len(out.Entries), out.LeftOut, err)
		}
		for i, e := range out.Entries {
			if !strings.Contains(e.Text, want[i]) || !e.Excerpt || e.To-e.From < 400 || ask.Shown[e.Name()] {
				t.Errorf("%s: excerpt %t of %d to %d, %d bytes, without %q", query, e.Excerpt, e.From, e.To, len(e.Text), want[i])
			}
			ask.Shown[e.Name()] = true
		}
	}
	asks("where was the zeppelin signed?", "annex", "Reykjavik")
	asks("and who signed the zeppelin's contract?")
	asks("what is the contract's penalty for cancellation?", "ninety")
	asks("the penalty for cancellation of the contract about the zeppelin?")
	asks("in which town is the contract about the zeppelin judged, and where are the hangars?", "Vienna")
	if _, err := m.Update(t.Context(), me, st.ID, made[1].ID, memory.AnyVersion, func(c *memory.Content) error { c.Importance = 0.6; return nil }); err != nil {
		t.Fatal(err)
	}
	asks("where was the zeppelin signed?", "Reykjavik")
	whole := session.Recalled{Store: st.ID, ID: made[1].ID, Version: 2}
	ask.Shown = map[string]bool{whole.Name(): true, session.Recalled{Store: st.ID, ID: made[0].ID, Version: 1}.Name(): true} // as journals from before have it, of parts too
	asks("what is the contract's penalty for cancellation?")
}

// What policies do not let be written is said in the journal, with what it is and why, and not with what it says.
func TestWhatIsNotKeptIsSaid(t *testing.T) {
	m, me := open(t, noPreferences{})
	made, err := m.CreateStore(t.Context(), me, memory.StoreFields{Name: "s"}, "")
	if err != nil {
		t.Fatal(err)
	}
	ask := session.LearnAsk{Key: stead.SessionKey{Project: me.Project, Session: "sess_0000000000000000000000000000000a"}, Principal: me, Alone: true, Agent: "agent_1", At: 7,
		Extraction: agent.Extraction{Store: made.ID, Scope: "project"}, Messages: []session.LearnMessage{{Item: "a", Role: "user", Text: "I prefer tea, and the dog is called Gondola"}},
		Found: []session.Learned{{Kind: "preference", Text: "The user prefers tea.", Items: []string{"a"}, Confidence: 1}, {Kind: "fact", Text: "The dog is called Gondola.", Items: []string{"a"}, Confidence: 1}}}
	out, err := remember.New(m).Keep(t.Context(), ask, false)
	if err != nil || out.Added != 1 || len(out.Refused) != 1 || out.Refused[0].Kind != "preference" || !strings.Contains(out.Refused[0].Why, "no preferences") || strings.Contains(fmt.Sprint(out), "tea") {
		t.Errorf("%+v, %v", out, err)
	}
}

// What a team's sessions say is the team's, where the agent says so.
func TestATeamRemembers(t *testing.T) {
	m, me := open(t, policy.AllowLocal{})
	made, err := m.CreateStore(t.Context(), me, memory.StoreFields{Name: "s"}, "")
	if err != nil {
		t.Fatal(err)
	}
	ask := session.LearnAsk{Key: stead.SessionKey{Project: me.Project, Session: "sess_0000000000000000000000000000000a"}, Principal: me, Alone: true, Agent: "agent_1", At: 7,
		Extraction: agent.Extraction{Store: made.ID, Scope: "team:red"}, Messages: []session.LearnMessage{{Item: "a", Role: "user", Text: "The dog is called Gondola"}},
		Found: []session.Learned{{Kind: "fact", Text: "The dog is called Gondola.", Items: []string{"a"}, Confidence: 1}}}
	for _, items := range []bool{true, false} {
		if _, err := remember.New(m).Keep(t.Context(), ask, items); err != nil {
			t.Fatal(err)
		}
	}
	all, _, err := m.List(t.Context(), me, made.ID, "", 10, false)
	if red := (memory.Scope{Type: memory.ScopeTeam, ID: "red"}); err != nil || len(all) != 2 || all[0].Scope != red || all[1].Scope != red {
		t.Errorf("%+v, %v", all, err)
	}
}

type noPreferences struct{}

func (noPreferences) Decide(_ context.Context, q policy.Request) (policy.Decision, error) {
	return policy.Decision{Allow: q.Effect != policy.MemoryEntryWrite || q.Entry.Kind != "preference", Reason: "no preferences here", By: "test"}, nil
}
