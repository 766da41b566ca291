package recollect

import (
	"context"
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/sqlite"
	"github.com/stead-dev/stead/internal/tool"
)

type desk struct {
	*testing.T
	memory *memory.Service
	store  string
	tools  map[string]tool.Tool
}

func open(t *testing.T, writable bool, allowed ...string) *desk {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "stead.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	d := &desk{T: t, memory: memory.NewService(memory.Config{Documents: s, Store: s, Policy: policy.AllowLocal{}, Now: time.Now}), tools: map[string]tool.Tool{}}
	made, err := d.memory.CreateStore(t.Context(), stead.LocalPrincipal(), memory.StoreFields{Name: "notes"}, "")
	if err != nil {
		t.Fatal(err)
	}
	d.store = made.ID
	found, err := New(d.memory, none{}).Tools(t.Context(), tool.Server{Label: "memory", Allowed: allowed, Memory: []tool.MemoryStore{{ID: made.ID, Writable: writable}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		d.tools[f.Spec().Name] = f
	}
	return d
}

// none is a source without servers.
type none struct{}

func (none) Tools(context.Context, tool.Server) ([]tool.Tool, error) {
	return nil, stead.Errorf(stead.KindInvalid, "no such server")
}

func (d *desk) call(name, key, arguments string) (string, bool) {
	d.Helper()
	r, err := d.tools[name].Call(d.Context(), tool.Call{Key: key, Arguments: json.RawMessage(arguments), Principal: stead.LocalPrincipal(), Alone: true,
		Session: stead.SessionKey{Project: stead.DefaultProject, Session: "sess_1"}})
	if err != nil {
		d.Fatal(err)
	}
	return string(r.Content[0].Text.Inline), r.IsError
}

func TestAnAgentRemembersCorrectsAndForgets(t *testing.T) {
	d := open(t, true)
	said, _ := d.call("memory_add", "k1", `{"content":"The customer wants invoices in German","kind":"preference"}`)
	id := regexp.MustCompile(`mem_[0-9a-f]+`).FindString(said)
	if again, _ := d.call("memory_add", "k1", `{"content":"The customer wants invoices in German","kind":"preference"}`); again != said {
		t.Errorf("repeated after a crash it says %q, not %q", again, said)
	}
	if got, _ := d.call("memory_search", "k2", `{"query":"which language for the invoice?"}`); strings.Count(got, "\n") != 1 || !strings.Contains(got, id) || !strings.Contains(got, "untrusted") {
		t.Errorf("found %q", got)
	}
	if got, wrong := d.call("memory_update", "k3", `{"memory_id":"`+id+`","content":"The customer wants invoices in French"}`); wrong || !strings.Contains(got, "version 2") {
		t.Errorf("updated: %q", got)
	}
	for range 2 { // what is gone already is gone
		if got, wrong := d.call("memory_forget", "k4", `{"memory_id":"`+id+`"}`); wrong {
			t.Errorf("forgotten: %q", got)
		}
	}
	if got, _ := d.call("memory_search", "k5", `{"query":"invoices"}`); got != "Nothing is remembered about that." {
		t.Errorf("found %q", got)
	}
	if got, wrong := d.call("memory_update", "k6", `{"memory_id":"`+id+`","content":"x"}`); !wrong || !strings.Contains(got, "no memory") {
		t.Errorf("the model is told %q", got)
	}
}

// What an agent's tools reach are the scopes of its session, unless its definition says otherwise: nothing else is found,
// changed or forgotten.
func TestToolsReachTheSessionsScopes(t *testing.T) {
	d := open(t, true)
	ids := map[string]string{}
	for _, s := range []memory.Scope{{Type: "user", ID: "local"}, {Type: "user", ID: "mallory"}, {Type: "team", ID: "red"}, {Type: "agent", ID: "agent_x"}, {}} {
		made, err := d.memory.Add(t.Context(), stead.LocalPrincipal(), d.store, []memory.New{{Content: memory.Content{Text: "the invoice of " + s.Type + s.ID, Scope: s}}}, "")
		if err != nil {
			t.Fatal(err)
		}
		ids[s.Type+s.ID] = made[0].ID
	}
	if got, _ := d.call("memory_search", "k", `{"query":"invoice"}`); strings.Count(got, "\n") != 2 || !strings.Contains(got, "userlocal") {
		t.Errorf("found %q", got)
	}
	for _, call := range []string{`memory_update {"memory_id":"` + ids["usermallory"] + `","content":"mine"}`, `memory_forget {"memory_id":"` + ids["teamred"] + `"}`, `memory_add {"content":"x","supersedes":"` + ids["usermallory"] + `"}`} {
		name, arguments, _ := strings.Cut(call, " ")
		d.call(name, "k"+name, arguments)
	}
	all, _, err := d.memory.List(t.Context(), stead.LocalPrincipal(), d.store, "", 100, false)
	if err != nil || len(all) != 5 || slices.ContainsFunc(all, func(e memory.Entry) bool { return e.Version != 1 }) {
		t.Errorf("afterwards there are %+v, %v", all, err)
	}
	wide, err := New(d.memory, none{}).Tools(t.Context(), tool.Server{Label: "memory", AllScopes: true, Memory: []tool.MemoryStore{{ID: d.store}}})
	if err != nil {
		t.Fatal(err)
	}
	d.tools["memory_search"] = wide[0]
	if got, _ := d.call("memory_search", "k", `{"query":"invoice"}`); strings.Count(got, "\n") != 5 {
		t.Errorf("with all scopes found %q", got)
	}
}

// What a session was shown labels it, and what it writes: through the tools as by itself.
func TestLabelsGoThroughTheTools(t *testing.T) {
	d := open(t, true)
	me := stead.LocalPrincipal()
	if _, err := d.memory.Add(t.Context(), me, d.store, []memory.New{{Content: memory.Content{Text: "Anna earns ninety thousand", Labels: []string{"salary", "two\nlines"}, Confidence: 1, Importance: .5}}}, ""); err != nil {
		t.Fatal(err)
	}
	call := func(name, arguments string, labels stead.Labels) tool.Result {
		t.Helper()
		r, err := d.tools[name].Call(t.Context(), tool.Call{Key: name, Arguments: json.RawMessage(arguments), Principal: me, Alone: true, Session: stead.SessionKey{Project: stead.DefaultProject, Session: "sess_1"}, Labels: labels})
		if err != nil || r.IsError {
			t.Fatalf("%+v, %v", r, err)
		}
		return r
	}
	found := call("memory_search", `{"query":"what does Anna earn"}`, nil)
	if text := string(found.Content[0].Text.Inline); !slices.Equal(found.Labels, []string{"salary", "two\nlines"}) || !strings.Contains(text, " · salary · two lines: Anna") || strings.Count(text, "\n") != 1 {
		t.Errorf("found %q with %q", text, found.Labels)
	}
	made := call("memory_add", `{"content":"Annas income is 90000"}`, stead.Labels{"memory": {"salary"}, "untrusted": {"memory"}})
	id := regexp.MustCompile(`mem_[0-9a-f]+`).FindString(string(made.Content[0].Text.Inline))
	call("memory_update", `{"memory_id":"`+id+`","content":"Annas income is large"}`, stead.Labels{"memory": {"board"}})
	if e, err := d.memory.Get(t.Context(), me, d.store, id); err != nil || !slices.Equal(e.Labels, []string{"board", "salary", "untrusted"}) {
		t.Errorf("it has the labels %q, %v", e.Labels, err)
	}
	// Made again after a crash, an update leaves alone what somebody wrote meanwhile.
	if _, err := d.memory.Update(t.Context(), me, d.store, id, memory.AnyVersion, func(c *memory.Content) error { c.Text = "corrected"; return nil }); err != nil {
		t.Fatal(err)
	}
	call("memory_update", `{"memory_id":"`+id+`","content":"Annas income is large"}`, nil)
	if e, err := d.memory.Get(t.Context(), me, d.store, id); err != nil || e.Text != "corrected" {
		t.Errorf("it says %q, %v", e.Text, err)
	}
}

// TestWhatStandsBesideAMemoryIsWrittenAndSearched: an agent says since when, until when and how long, gives labels and metadata, and finds by them.
// What can't be is refused by its name and limit.
func TestWhatStandsBesideAMemoryIsWrittenAndSearched(t *testing.T) {
	d := open(t, true)
	add := func(key, arguments string) memory.Entry {
		t.Helper()
		said, wrong := d.call("memory_add", key, arguments)
		e, err := d.memory.Get(t.Context(), stead.LocalPrincipal(), d.store, regexp.MustCompile(`mem_[0-9a-f]+`).FindString(said))
		if err != nil || wrong {
			t.Fatalf("%s: %v", said, err)
		}
		return e
	}
	day := func(s string) int64 {
		at, err := time.Parse(time.DateOnly, s)
		if err != nil {
			t.Fatal(err)
		}
		return at.UnixMilli()
	}
	berlin := add("k1", `{"content":"The office is in Berlin","valid_from":"2020-01-01","valid_until":"2026-06-01T00:00:00Z","labels":["places"],"metadata":{"source":"wiki"},"ttl_days":90,"scope":"project"}`)
	if berlin.ValidFrom != day("2020-01-01") || berlin.ValidUntil != day("2026-06-01") || !slices.Equal(berlin.Labels, []string{"places", "untrusted"}) ||
		berlin.Metadata["source"] != "wiki" || berlin.ExpiresAt != berlin.CreatedAt+90*24*time.Hour.Milliseconds() {
		t.Errorf("it is %+v", berlin)
	}
	if again := add("k1", `{"content":"The office is in Berlin","valid_from":"2020-01-01","valid_until":"2026-06-01T00:00:00Z","labels":["places"],"metadata":{"source":"wiki"},"ttl_days":90,"scope":"project"}`); again.ID != berlin.ID {
		t.Error("repeated it is another one")
	}
	add("k2", `{"content":"The office is in Hamburg","valid_from":"2026-06-01","kind":"episode"}`)
	for filters, want := range map[string]string{
		``: "Hamburg", `,"as_of":"2022-05-01"`: "Berlin", `,"as_of":"2022-05-01","label":"places","metadata":{"source":"wiki"},"kind":"fact","scope":"project"`: "Berlin",
		`,"kind":"fact"`: "", `,"scope":"project"`: "", `,"label":"places"`: "", `,"metadata":{"source":"press"}`: "", `,"scope":"user"`: "Hamburg", `,"since":"2026-06-01"`: "Hamburg", `,"until":"2026-06-01"`: "",
		`,"as_of":"2022-05-01T10:00:00+02:00","until":"2021-01-01"`: "Berlin",
	} {
		got, wrong := d.call("memory_search", "k", `{"query":"where is the office?"`+filters+`}`)
		if wrong || strings.Contains(got, "Berlin") != (want == "Berlin") || strings.Contains(got, "Hamburg") != (want == "Hamburg") {
			t.Errorf("with %s it finds %q, not %q", filters, got, want)
		}
		if want == "Berlin" && !strings.Contains(got, " · until 2026-06-01") {
			t.Errorf("it does not say until when: %q", got)
		}
	}
	pairs := map[string]string{}
	for i := range 17 {
		pairs["k"+string(rune('a'+i))] = "v"
	}
	many, _ := json.Marshal(pairs)
	for _, bad := range [][3]string{
		{"memory_search", `{"query":"x","since":"last week"}`, "since must be a day such as"},
		{"memory_search", `{"query":"x","as_of":"1950-01-01"}`, "as_of must be a day such as"},
		{"memory_search", `{"query":"x","since":"2026-06-01","until":"2026-05-01"}`, "until must be after since"},
		{"memory_search", `{"query":"x","scope":"user:bob"}`, "scope must be user, agent, project or team"},
		{"memory_search", `{"query":"x","scope":"team:red"}`, "scope must be"},
		{"memory_add", `{"content":"x y z","valid_until":"soon"}`, "valid_until must be a day such as"},
		{"memory_add", `{"content":"x y z","valid_from":"2026-06-01","valid_until":"2026-05-01"}`, "valid_until must not be before valid_from"},
		{"memory_add", `{"content":"x y z","ttl_days":5000}`, "ttl_days must be from 1 to 3650"},
		{"memory_add", `{"content":"x y z","labels":[""]}`, "a label must be 1 to 128 bytes"},
		{"memory_add", `{"content":"x y z","metadata":` + string(many) + `}`, "metadata has 17 pairs, the limit is 16"},
		{"memory_add", `{"content":"x y z","metadata":{"password":"hunter2hunter2"}}`, "looks like a secret"},
	} {
		if got, wrong := d.call(bad[0], "kx", bad[1]); !wrong || !strings.Contains(got, bad[2]) {
			t.Errorf("%s %s: %q", bad[0], bad[1], got)
		}
	}
}

// TestAnAgentOfAllScopesSearchesOne: whoever it is of; and where others spoke to an agent of its session's scopes, those of the user are refused.
func TestAnAgentOfAllScopesSearchesOne(t *testing.T) {
	d := open(t, true)
	n := memory.New{Content: memory.Content{Text: "Bob drinks tea", Scope: memory.Scope{Type: memory.ScopeUser, ID: "bob"}, Confidence: 1, Importance: .5}}
	if _, err := d.memory.Add(t.Context(), stead.LocalPrincipal(), d.store, []memory.New{n}, ""); err != nil {
		t.Fatal(err)
	}
	search := func(all, alone bool, scope string) string {
		t.Helper()
		found, err := New(d.memory, none{}).Tools(t.Context(), tool.Server{Label: "memory", Memory: []tool.MemoryStore{{ID: d.store}}, AllScopes: all})
		if err != nil {
			t.Fatal(err)
		}
		if s := found[0].Spec(); !json.Valid(s.Parameters) {
			t.Errorf("parameters %s", s.Parameters)
		}
		r, err := found[0].Call(t.Context(), tool.Call{Arguments: json.RawMessage(`{"query":"tea","scope":"` + scope + `"}`), Alone: alone, Principal: stead.LocalPrincipal(),
			Agent: "agent_1", Session: stead.SessionKey{Project: stead.DefaultProject, Session: "sess_1"}})
		if err != nil {
			t.Fatal(err)
		}
		return string(r.Content[0].Text.Inline)
	}
	for _, c := range []struct {
		all, alone  bool
		scope, want string
	}{
		{true, true, "user:bob", "Bob drinks tea"}, {true, true, "project", "Nothing is remembered"}, {true, true, "clan:x", "scope[0].type must be one of"}, {false, true, "user", "Nothing is remembered"},
		{false, false, "user", "scope can't be user here"}, {false, false, "project", "Nothing is remembered"},
	} {
		if got := search(c.all, c.alone, c.scope); !strings.Contains(got, c.want) {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// What is longer than the answer may be is shown around the words that were asked for, and what has no room is counted.
func TestLongMemoriesAreCut(t *testing.T) {
	d := open(t, true)
	add := func(text string) {
		t.Helper()
		if _, err := d.memory.Add(t.Context(), stead.LocalPrincipal(), d.store, []memory.New{{Content: memory.Content{Text: text, Confidence: 1, Importance: .5}}}, ""); err != nil {
			t.Fatal(err)
		}
	}
	add(strings.Repeat("Clauses of no interest. ", 1200) + "It was signed in Reykjavik by Ada. " + strings.Repeat("More of the same kind. ", 1200))
	got, _ := d.call("memory_search", "k1", `{"query":"where was it signed, in Reykjavik?"}`)
	if !strings.Contains(got, "signed in Reykjavik by Ada") || len(got) > searchTokens*4 || !strings.Contains(got, "…") {
		t.Errorf("found are %d bytes: %.200q", len(got), got)
	}
	for i := range 8 {
		add(strings.Repeat("Reykjavik ", 700) + string(rune('a'+i)))
	}
	got, _ = d.call("memory_search", "k2", `{"query":"Reykjavik","limit":20}`)
	if len(got) > searchTokens*4+1000 || !strings.Contains(got, "have no room here") {
		t.Errorf("found are %d bytes: %.200q", len(got), got)
	}
}

func TestAReadOnlyStoreCanOnlyBeSearched(t *testing.T) {
	d := open(t, false)
	if len(d.tools) != 1 || d.tools["memory_search"] == nil {
		t.Errorf("the tools are %v", d.tools)
	}
	if got, wrong := d.call("memory_search", "k", `{"query":"x","memory_store_id":"memstore_of_others"}`); !wrong || !strings.Contains(got, "read only") {
		t.Errorf("another store: %q", got)
	}
}

func TestEffects(t *testing.T) {
	d := open(t, true)
	for name, want := range map[string]tool.Effect{"memory_search": tool.Pure, "memory_add": tool.Idempotent, "memory_update": tool.Idempotent, "memory_forget": tool.Idempotent} {
		s := d.tools[name].Spec()
		if s.Effect != want || !json.Valid(s.Parameters) {
			t.Errorf("%s: effect %s, parameters %s", name, s.Effect, s.Parameters)
		}
	}
	if d := open(t, true, "memory_search"); len(d.tools) != 1 {
		t.Errorf("allowed_tools leaves %v", d.tools)
	}
}

// With context an agent is given what was said before and after a hit, of all stores once, with its labels.
func TestSearchGivesWhatStandsAround(t *testing.T) {
	d := open(t, true)
	for i, text := range []string{"good morning", "the salary is 90000", "the zeppelin landed", "oh nice"} {
		c := memory.Content{Kind: memory.KindItem, Text: text, Confidence: 1, Importance: .5, Source: memory.Source{Session: "sess_old", Index: int64(i + 1), Author: "user", At: 1_700_000_000_000}}
		if i == 1 {
			c.Labels = []string{"salary"}
		}
		if _, err := d.memory.Add(t.Context(), stead.LocalPrincipal(), d.store, []memory.New{{Content: c}}, ""); err != nil {
			t.Fatal(err)
		}
	}
	r, err := d.tools["memory_search"].Call(t.Context(), tool.Call{
		Arguments: json.RawMessage(`{"query":"zeppelin","limit":1,"context":1}`), Alone: true, Principal: stead.LocalPrincipal(), Session: stead.SessionKey{Project: stead.DefaultProject, Session: "sess_1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(regexp.MustCompile(`mem_[0-9a-f]+`).ReplaceAllString(string(r.Content[0].Text.Inline), "ID"), "\n")
	want := []string{
		"  context · ID · item · 2023-11-14 · salary · user: the salary is 90000", "ID · item · 2023-11-14 · user: the zeppelin landed", "  context · ID · item · 2023-11-14 · user: oh nice", "",
	}
	if !slices.Equal(lines, want) || !slices.Equal(r.Labels, []string{"salary"}) {
		t.Errorf("found %q with the labels %q", lines, r.Labels)
	}
	if got, _ := d.call("memory_search", "k", `{"query":"zeppelin","limit":1}`); strings.Count(got, "\n") != 1 {
		t.Errorf("without context: %q", got)
	}
}

// What an agent remembers is of the user whom its session serves, unless it, or its definition, names another of the session's scopes.
func TestWhoseMemoriesAreAdded(t *testing.T) {
	d := open(t, true)
	srv := tool.Server{Label: "memory", Memory: []tool.MemoryStore{{ID: d.store, Writable: true}}, Teams: []string{"red"}}
	ada := stead.Principal{Project: stead.DefaultProject, Kind: stead.PrincipalUser, ID: "ada"}
	add := func(usual, named string, serves stead.Principal) (memory.Scope, string) {
		t.Helper()
		srv.Scope = usual
		found, err := New(d.memory, none{}).Tools(t.Context(), srv)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(found, func(t tool.Tool) bool { return t.Spec().Name == "memory_add" })
		r, err := found[i].Call(t.Context(), tool.Call{
			Arguments: json.RawMessage(`{"content":"They drink tea","scope":"` + named + `"}`), Alone: true, Principal: serves, Agent: "agent_1", Session: stead.SessionKey{Project: stead.DefaultProject, Session: "sess_1"},
		})
		if err != nil {
			t.Fatal(err)
		}
		text := string(r.Content[0].Text.Inline)
		if r.IsError {
			return memory.Scope{}, text
		}
		e, err := d.memory.Get(t.Context(), stead.LocalPrincipal(), d.store, regexp.MustCompile(`mem_[0-9a-f]+`).FindString(text))
		if err != nil {
			t.Fatal(err)
		}
		return e.Scope, ""
	}
	service := stead.Principal{Project: stead.DefaultProject, Kind: stead.PrincipalService, ID: "backend"}
	for _, c := range []struct {
		usual, named string
		serves       stead.Principal
		want         memory.Scope
	}{
		{"", "", ada, memory.Scope{Type: "user", ID: "ada"}},
		{"", "project", ada, memory.Scope{Type: "project"}},
		{"", "agent", ada, memory.Scope{Type: "agent", ID: "agent_1"}},
		{"", "team:red", ada, memory.Scope{Type: "team", ID: "red"}},
		{"project", "", ada, memory.Scope{Type: "project"}},
		{"project", "user", ada, memory.Scope{Type: "user", ID: "ada"}},
		{"team:red", "", ada, memory.Scope{Type: "team", ID: "red"}},
		{"", "", service, memory.Scope{Type: "project"}},
		{"", "team:blue", ada, memory.Scope{}},
		{"", "user:bob", ada, memory.Scope{}},
	} {
		got, refused := add(c.usual, c.named, c.serves)
		if got != c.want || (refused != "") != (c.want.Type == "") || refused != "" && !strings.Contains(refused, "scope must be") {
			t.Errorf("%q by %q: %+v, %q", c.named, c.usual, got, refused)
		}
	}
}

// Where others told the agent something too, nothing is remembered of the user alone: the agent is told, and may say who else it is for.
func TestNothingIsRememberedOfOneWhereOthersSpokeToo(t *testing.T) {
	d := open(t, true)
	add := func(arguments string) (string, bool) {
		t.Helper()
		r, err := d.tools["memory_add"].Call(t.Context(), tool.Call{
			Key: arguments, Arguments: json.RawMessage(arguments), Principal: stead.LocalPrincipal(), Agent: "agent_1", Session: stead.SessionKey{Project: stead.DefaultProject, Session: "sess_1"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(r.Content[0].Text.Inline), r.IsError
	}
	if got, wrong := add(`{"content":"They drink tea"}`); !wrong || !strings.Contains(got, "choose another scope") {
		t.Errorf("of the user: %q", got)
	}
	if got, wrong := add(`{"content":"They drink tea","scope":"project"}`); wrong {
		t.Errorf("of the project: %q", got)
	}
}
