package memorytest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/policy"
)

// said is what was said in a conversation, one message after the other.
func said(session stead.SessionID, texts ...string) []memory.New {
	out := make([]memory.New, len(texts))
	for i, text := range texts {
		out[i] = note(text)
		out[i].Kind = memory.KindItem
		out[i].Source = memory.Source{Session: string(session), Item: fmt.Sprint(i), Index: int64(i + 1), Author: "user", At: int64(1_700_000_000_000 + i)}
	}
	return out
}

// shown is an answer in short: each hit between what stands around it, by the first word of each.
func shown(hits []memory.Hit) string {
	var out []string
	for _, h := range hits {
		line := ""
		for _, n := range h.Around {
			if n.Place > 0 && line != "" && !strings.Contains(line, "*") {
				line += "*"
			}
			line += fmt.Sprintf(" %s(%d)", firstWord(n.Text), n.Place)
		}
		out = append(out, firstWord(h.Text)+":"+strings.ReplaceAll(line, "*", ""))
	}
	return strings.Join(out, "; ")
}

func firstWord(text string) string {
	for _, w := range strings.Fields(text) {
		if w != "…" {
			return w
		}
	}
	return ""
}

func (f *serviceFixture) shows(n *memory.Service, q memory.Search, want string) memory.Found {
	f.Helper()
	found, err := n.Search(f.ctx, f.me, f.store, q)
	if err != nil {
		f.Fatal(err)
	}
	if got := shown(found.Hits); got != want {
		f.Errorf("with %d around, %d tokens: %q, want %q", q.Around, q.Tokens, got, want)
	}
	return found
}

// around: what was said before and after a hit comes with it, in its order, each once, of the hit's conversation alone.
func around(f *serviceFixture) {
	f.add(said(sessionA, "one good morning", "two how is it", "three the zeppelin landed", "four oh nice", "five and then the gondola burst", "six no way", "seven bye")...)
	f.add(said(sessionB, "eight hello", "nine you there")...)
	f.add(note("ten a fact stands alone"))
	f.shows(f.Service, memory.Search{Query: "zeppelin", Limit: 1}, "three:")
	f.shows(f.Service, memory.Search{Query: "zeppelin", Limit: 1, Around: 1}, "three: two(-1) four(1)")
	f.shows(f.Service, memory.Search{Query: "zeppelin", Limit: 1, Around: 3}, "three: one(-2) two(-1) four(1) five(2) six(3)")
	f.shows(f.Service, memory.Search{Query: "a fact stands alone", Limit: 1, Around: 3}, "ten:")
	// What is a hit itself, or stands beside a better one, is not given again.
	f.shows(f.Service, memory.Search{Query: "zeppelin gondola", Limit: 2, Around: 1}, "five: four(-1) six(1); three: two(-1)")
	f.shows(f.Service, memory.Search{Query: "zeppelin gondola", Limit: 2, Around: 2}, "five: four(-1) six(1) seven(2); three: one(-2) two(-1)")
	// The filters hold for it.
	for _, e := range f.shows(f.Service, memory.Search{Query: "oh nice", Limit: 1}, "four:").Hits {
		if _, err := f.Update(f.ctx, f.me, f.store, e.ID, memory.AnyVersion, func(c *memory.Content) error { c.Labels = []string{"noise"}; return nil }); err != nil {
			f.Fatal(err)
		}
	}
	f.shows(f.node(), memory.Search{Query: "zeppelin", Limit: 1, Around: 1, Filter: memory.Filter{Without: []string{"noise"}}}, "three: two(-1) five(1)")
	f.shows(f.Service, memory.Search{Query: "zeppelin", Limit: 1, Around: 1}, "three: two(-1) four(1)")
	for _, n := range []int{-1, memory.MaxAround + 1} {
		if _, err := f.Search(f.ctx, f.me, f.store, memory.Search{Query: "x", Around: n}); stead.KindOf(err) != stead.KindInvalid {
			f.Errorf("%d around: %v", n, err)
		}
	}
}

// aroundHidden: what is hidden, by a policy, by scopes or by a bound key, is as if it had not been said: not there, not counted, and no gap.
func aroundHidden(f *serviceFixture) {
	items := said(sessionA, "one good morning", "two the salary is 90000", "three the zeppelin landed", "four bens secret", "five bye")
	items[1].Labels = []string{"salary"}
	items[3].Scope = memory.Scope{Type: memory.ScopeUser, ID: "ben"}
	f.add(items...)
	d := &decider{hides: func(r policy.Request) bool { return slices.Contains(r.Entry.Labels, "salary") }}
	q := memory.Search{Query: "zeppelin", Limit: 1, Around: 1}
	f.shows(f.Service, q, "three: two(-1) four(1)")
	f.shows(f.governed(d), q, "three: one(-1) four(1)")
	anna := stead.Principal{Project: f.me.Project, Kind: stead.PrincipalUser, ID: "anna", Bound: true}
	agent := stead.Principal{Project: f.me.Project, Kind: stead.PrincipalAgent, ID: "sess_1"}
	scopes := memory.SessionScopes("anna", "agent_1", nil)
	for name, find := range map[string]func(memory.Search) (memory.Found, error){
		"a bound key": func(q memory.Search) (memory.Found, error) { return f.governed(d).Search(f.ctx, anna, f.store, q) },
		"an agent's scopes": func(q memory.Search) (memory.Found, error) {
			return f.governed(d).In(memory.For{Principal: f.me, Scopes: scopes}).Search(f.ctx, agent, f.store, q)
		},
		"a filter of scopes": func(q memory.Search) (memory.Found, error) {
			q.Filter.Scopes = scopes
			return f.governed(d).Search(f.ctx, f.me, f.store, q)
		},
	} {
		for _, tokens := range []int{0, 14, 1000} { // 14: the hit, and one of what stands around it
			q.Tokens = tokens
			found, err := find(q)
			if err != nil {
				f.Fatal(err)
			}
			want, missed := "three: one(-1) five(1)", 0
			if tokens == 14 {
				want, missed = "three: one(-1)", 1
			}
			if got := shown(found.Hits); got != want || found.LeftOut != missed {
				f.Errorf("%s, %d tokens: %q, %d left out", name, tokens, got, found.LeftOut)
			}
		}
	}
}

// aroundBudget: hits come first in a budget, then what stands around them, the nearest first; what is too long is shown by its part around the
// words, and what has no room is counted.
func aroundBudget(f *serviceFixture) {
	long := strings.Repeat("clause of no interest. ", 900)
	f.add(said(sessionA, "one "+strings.Repeat("chatter ", 20), "two "+strings.Repeat("banter ", 20), "three "+long+"it was signed in Reykjavik by Ada. "+long, "four "+long, "five the end")...)
	f.add(note("Reykjavik is the capital"), note("Reykjavik has a port"))
	found := f.shows(f.Service, memory.Search{Query: "Reykjavik", Limit: 3}, "Reykjavik:; Reykjavik:; three:")
	if h := found.Hits[2]; h.Excerpt || len(h.Text) < 2*len(long) || found.LeftOut != 0 {
		f.Errorf("without a budget: %d bytes, cut: %t, %d left out", len(h.Text), h.Excerpt, found.LeftOut)
	}
	found, err := f.Search(f.ctx, f.me, f.store, memory.Search{Query: "signed in Reykjavik by Ada", Limit: 1, Tokens: 1200, Around: 2})
	if err != nil {
		f.Fatal(err)
	}
	used, cut := 0, false
	for _, h := range found.Hits {
		used += h.Tokens()
		if strings.Contains(h.Text, "signed in Reykjavik by Ada") {
			cut = h.Excerpt && strings.HasPrefix(h.Text, "… ") && strings.HasSuffix(h.Text, " …")
			if len(h.Around) != 4 || !h.Around[2].Excerpt || h.Around[3].Excerpt || firstWord(h.Around[3].Text) != "five" {
				f.Errorf("around the long one: %s", shown(found.Hits))
			}
		}
		for _, n := range h.Around {
			used += n.Tokens()
		}
	}
	if len(found.Hits) != 1 || !cut || used > 1200 || found.LeftOut != 0 {
		f.Errorf("%d hits, cut around the words: %t, %d tokens, %d left out", len(found.Hits), cut, used, found.LeftOut)
	}
	// In little room there are hits alone, and what is not shown is counted.
	found, err = f.Search(f.ctx, f.me, f.store, memory.Search{Query: "Reykjavik", Limit: 3, Tokens: 20, Around: 1})
	if err != nil || shown(found.Hits) != "Reykjavik:; Reykjavik:" || found.LeftOut != 1 {
		f.Errorf("in 20 tokens: %s, %d left out, %v", shown(found.Hits), found.LeftOut, err)
	}
}

// acrossStores: limit and budget are those of the whole answer, what two stores say alike is given once, and what may not be read is left out
// where that is asked for.
func acrossStores(f *serviceFixture) {
	other, err := f.CreateStore(f.ctx, f.me, memory.StoreFields{Name: "more"}, "")
	if err != nil {
		f.Fatal(err)
	}
	first := f.store
	f.add(note("The deploy window is on Tuesdays."), note("Nobody may deploy on a holiday."))
	f.add(said(sessionA, "shall we deploy?", "yes")...)
	f.store = other.ID
	f.add(note("the deploy window is on Tuesdays"), note("The deploy window is not on Tuesdays."))
	f.add(said(sessionB, "shall we deploy?", "no")...)
	q := memory.Many{Stores: []string{first, other.ID, "memstore_of_nobody"}, Search: memory.Search{Query: "when is the deploy window?", Limit: 10}}
	if _, err := f.SearchMany(f.ctx, f.me, q); stead.KindOf(err) != stead.KindNotFound {
		f.Errorf("a store that is not there: %v", err)
	}
	q.Lenient = true
	texts := func() (out []string, found memory.Found) {
		found, err := f.SearchMany(f.ctx, f.me, q)
		if err != nil {
			f.Fatal(err)
		}
		for _, h := range found.Hits {
			out = append(out, h.Text)
		}
		return out, found
	}
	got, _ := texts()
	slices.Sort(got)
	if want := []string{"Nobody may deploy on a holiday.", "The deploy window is not on Tuesdays.", "The deploy window is on Tuesdays.", "no", "shall we deploy?", "yes"}; !slices.Equal(got, want) {
		f.Errorf("of two stores: %q", got)
	}
	q.Limit = 2
	if got, found := texts(); len(got) != 2 || found.More == 0 {
		f.Errorf("within the limit: %q, and %d more", got, found.More)
	}
	q.Limit, q.Tokens = 10, 9
	if got, found := texts(); len(got) != 1 || found.LeftOut != 5 {
		f.Errorf("within the budget: %q, %d left out", got, found.LeftOut)
	}
}

// rememberedForOne: what an agent remembers in a session where nothing else is said is its user's, and no other session's.
func rememberedForOne(f *serviceFixture) {
	session := func(user string) (*memory.Service, stead.Principal, memory.Scope) {
		serves := stead.Principal{Project: f.me.Project, Kind: stead.PrincipalUser, ID: user, Bound: true}
		scope, err := memory.SessionScope("", serves, "agent_1", nil)
		if err != nil {
			f.Fatal(err)
		}
		agent := stead.Principal{Project: f.me.Project, Kind: stead.PrincipalAgent, ID: "sess_" + user, Bound: true}
		return f.In(memory.For{Principal: serves, Agent: "agent_1", Scopes: memory.SessionScopes(user, "agent_1", nil)}), agent, scope
	}
	adas, ada, scope := session("ada")
	secret := note("Ada is pregnant with twins and wants nobody to know.")
	secret.Scope = scope
	if _, err := adas.Add(f.ctx, ada, f.store, []memory.New{secret}, "k"); err != nil {
		f.Fatal(err)
	}
	bobs, bob, _ := session("bob")
	if _, err := bobs.Add(f.ctx, bob, f.store, []memory.New{secret}, "k2"); stead.KindOf(err) != stead.KindForbidden {
		f.Errorf("in bob's session something is remembered of ada: %v", err)
	}
	for user, want := range map[string]int{"ada": 1, "bob": 0} {
		in, by, _ := session(user)
		if found, err := in.Search(f.ctx, by, f.store, memory.Search{Query: "who is pregnant with twins?"}); err != nil || len(found.Hits) != want {
			f.Errorf("in %s's session %d are found, %v", user, len(found.Hits), err)
		}
	}
}

// subjectAmongMany: another value of a subject supersedes the one that is known, however many entries share more words with it; of another
// scope it is another subject, and what is forgotten, or superseded, is none any more.
func subjectAmongMany(f *serviceFixture) {
	f.learn(sessionA, 7, lesson(sessionA, "deploy window", "Tuesday is when releases go out.", "1"))
	var others []memory.Lesson
	for i := range 60 {
		others = append(others, lesson(sessionA, fmt.Sprint("team ", i), fmt.Sprintf("The deploy window of team %d is on Fridays.", i), "1"))
	}
	f.learn(sessionA, 8, others...)
	is := func(n *memory.Service, when, want string) {
		f.Helper()
		found, err := n.Search(f.ctx, f.me, f.store, memory.Search{Query: "releases Fridays", Limit: 100, Filter: memory.Filter{Metadata: map[string]string{memory.MetaSubject: "deploy window"}}})
		if err != nil {
			f.Fatal(err)
		}
		var got []string
		for _, h := range found.Hits {
			got = append(got, h.Text)
		}
		slices.Sort(got)
		if text := strings.Join(got, " "); text != want {
			f.Errorf("%s: %q", when, text)
		}
	}
	is(f.Service, "at first", "Tuesday is when releases go out.")
	mine := lesson(sessionB, "deploy window", "The deploy window of mine is on Fridays.", "1")
	mine.Scope = memory.Scope{Type: memory.ScopeUser, ID: "ada"}
	f.learn(sessionB, 7, mine)
	is(f.Service, "of a user's scope", "The deploy window of mine is on Fridays. Tuesday is when releases go out.")
	if done := f.learn(sessionB, 8, lesson(sessionB, "deploy window", "The deploy window of all teams is on Fridays.", "1")); done.Superseded != 1 {
		f.Errorf("%+v", done)
	}
	is(f.Service, "by another value", "The deploy window of all teams is on Fridays. The deploy window of mine is on Fridays.")
	other := f.node()
	is(other, "on another node", "The deploy window of all teams is on Fridays. The deploy window of mine is on Fridays.")
	if _, err := f.ForgetSession(f.ctx, f.me, string(sessionB), ""); err != nil {
		f.Fatal(err)
	}
	is(other, "forgotten", "Tuesday is when releases go out.")
	const sessionC stead.SessionID = "sess_0000000000000000000000000000000c"
	agent := f.me
	agent.Kind, agent.ID = stead.PrincipalAgent, string(sessionC)
	if done, err := other.Learn(f.ctx, agent, f.store, sessionC, 7, []memory.Lesson{lesson(sessionC, "deploy window", "The deploy window of no team is on Fridays.", "1")}); err != nil || done.Superseded != 1 {
		f.Errorf("%+v, %v", done, err)
	}
}

// labelledApart: what a session with a label says is found by sessions that have it too, and by people as policies say; one that does not have it
// neither reads nor supersedes it.
func labelledApart(f *serviceFixture) {
	n := memory.NewService(memory.Config{Documents: f.s, Store: f.s, Policy: all{}, Now: time.Now, SessionLabels: []string{"confidentiality"}, Apart: true})
	of := func(id stead.SessionID, values ...string) (*memory.Service, stead.Principal) {
		agent := f.user(string(id))
		agent.Kind = stead.PrincipalAgent
		return n.In(memory.For{Principal: f.me, Session: stead.SessionKey{Project: f.me.Project, Session: id}, Labels: stead.Labels{"confidentiality": values}}), agent
	}
	wrote := map[string]memory.Entry{}
	for i, value := range []string{"secret", "public"} {
		in, agent := of([]stead.SessionID{sessionA, sessionB}[i], value)
		made, err := in.Add(f.ctx, agent, f.store, []memory.New{note("The merger with Bandicoot is " + value + ".")}, "")
		if err != nil {
			f.Fatal(err)
		}
		wrote[value] = made[0]
	}
	for values, want := range map[string]int{"": 1, "internal": 1, "secret": 2, "public": 1} {
		in, agent := of("sess_0000000000000000000000000000000c", strings.Fields(values)...)
		found, err := in.Search(f.ctx, agent, f.store, memory.Search{Query: "merger bandicoot", Limit: 5})
		list, _, listed := in.List(f.ctx, agent, f.store, "", 5, false)
		if err != nil || listed != nil || len(found.Hits) != want || len(list) != want {
			f.Errorf("a session of %q finds %d and lists %d, want %d (%v, %v)", values, len(found.Hits), len(list), want, err, listed)
		}
		err = in.Forget(f.ctx, agent, f.store, wrote["secret"].ID, 99)
		if there := stead.KindOf(err) != stead.KindNotFound; there != (want == 2) {
			f.Errorf("a session of %q: %v", values, err)
		}
	}
	if found, err := n.Search(f.ctx, f.me, f.store, memory.Search{Query: "merger bandicoot", Limit: 5}); err != nil || len(found.Hits) != 2 {
		f.Errorf("a person finds %d, %v", len(found.Hits), err)
	}
}

// sessionLabels: what is remembered in a session, by tools, items and lessons alike, has those of its labels that are configured, and no others.
func sessionLabels(f *serviceFixture) {
	n := memory.NewService(memory.Config{Documents: f.s, Store: f.s, Policy: all{}, Now: time.Now, SessionLabels: []string{"confidentiality", "long"}})
	agent := f.user(string(sessionA))
	agent.Kind = stead.PrincipalAgent
	in := n.In(memory.For{Principal: f.me, Session: stead.SessionKey{Project: f.me.Project, Session: sessionA}, Labels: stead.Labels{
		"confidentiality": {"secret", "board"}, "title": {"a trip"}, "memory": {"salary"}, "long": {strings.Repeat("ä", memory.MaxLabelBytes)},
	}})
	if _, err := in.Add(f.ctx, agent, f.store, []memory.New{note("the income of somebody")}, ""); err != nil {
		f.Fatal(err)
	}
	if _, err := in.Ingest(f.ctx, agent, f.store, []memory.Content{{Kind: memory.KindItem, Text: "she earns 90000", Source: memory.Source{Session: string(sessionA), Item: "1"}}}); err != nil {
		f.Fatal(err)
	}
	if _, err := in.Learn(f.ctx, agent, f.store, sessionA, 7, []memory.Lesson{lesson(sessionA, "", "Anna earns much.", "1")}); err != nil {
		f.Fatal(err)
	}
	list, _, err := f.List(f.ctx, f.me, f.store, "", 10, false)
	if err != nil || len(list) != 3 {
		f.Fatalf("%d memories, %v", len(list), err)
	}
	long := "long:" + strings.Repeat("ä", (memory.MaxLabelBytes-len("long:"))/2)
	for _, e := range list {
		if !slices.Equal(e.Labels, []string{"confidentiality:board", "confidentiality:secret", long, "salary", "untrusted"}) {
			f.Errorf("%q has the labels %q", e.Text, e.Labels)
		}
	}
}
