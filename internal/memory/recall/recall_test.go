package recall

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func day0() time.Time { return time.Date(2024, 6, 12, 10, 0, 0, 0, time.UTC) } // a Wednesday

// itself is the group of entries whose facets are who sees them.
func itself(facets string) string { return facets }

func put(x *Index[string], session string, lines ...string) {
	for i, l := range lines {
		author, text, _ := strings.Cut(l, ": ")
		x.Put(Entry[string]{ID: fmt.Sprint(session, i), Text: text, Author: author, Session: session, Place: int64(i), At: day0().UnixMilli(), Importance: 0.5, Facets: session})
	}
}

func ids(hits []Hit) []string {
	out := make([]string, len(hits))
	for i, h := range hits {
		out[i] = h.ID
	}
	return out
}

func TestStems(t *testing.T) {
	for in, want := range map[string]string{
		"caresses": "caress", "ponies": "poni", "cats": "cat", "feed": "feed", "agreed": "agre", "plastered": "plaster", "motoring": "motor",
		"sing": "sing", "hopping": "hop", "filing": "file", "happy": "happi", "relational": "relat", "rational": "ration", "triplicate": "triplic",
		"hopeful": "hope", "goodness": "good", "adjustment": "adjust", "adoption": "adopt", "controll": "control", "probate": "probat", "rate": "rate",
		"über": "über", "a1": "a1", "is": "is",
	} {
		if got := stem(in); got != want {
			t.Errorf("stem(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestAnAnswerIsFoundByItsQuestion(t *testing.T) {
	x := New(itself)
	put(x, "a", "Ann: Hello there!", "Ben: What did you plant in the greenhouse?", "Ann: Forty tomatoes.", "Ben: Nice weather.", "Ann: Indeed it is.")
	put(x, "b", "Ann: The greenhouse of the museum is closed.", "Ben: Oh.")
	if got := ids(x.Search(Query[string]{Text: "What did Ann plant in the greenhouse?", Limit: 2})); got[0] != "a2" {
		t.Errorf("found %v, want the answer a2 first", got)
	}
}

func TestForms(t *testing.T) {
	x := New(itself)
	put(x, "a", "Ann: I bought two violins.", "Ben: Good.")
	put(x, "b", "Ann: The sky is grey.", "Ben: Yes.")
	for _, q := range []string{"buying a violin", "VIOLINS", "violn", "Which violin's that?"} {
		if got := ids(x.Search(Query[string]{Text: q, Limit: 1})); len(got) != 1 || got[0] != "a0" {
			t.Errorf("%q finds %v", q, got)
		}
	}
	if got := x.Search(Query[string]{Text: "the of and", Limit: 5}); len(got) != 0 {
		t.Errorf("stop words find %v", got)
	}
}

func TestExplanationsAddUp(t *testing.T) {
	x := New(itself)
	put(x, "a", "Ann: Who has the key?", "Ben: The key is with Carl since Monday.", "Ann: Thanks.")
	for _, h := range x.Search(Query[string]{Text: "When did Ben say who has the key?", Limit: 5, Now: day0().UnixMilli(), Explain: true}) {
		p := h.Parts
		if got := (p.Words + p.Neighbours + p.Session) * p.Tells * p.Author * p.Time * p.Importance * p.Recency; got < h.Score*0.999 || got > h.Score*1.001 {
			t.Errorf("%s: the parts make %.4f of %.4f: %+v", h.ID, got, h.Score, *p)
		}
	}
}

func TestWhatIsRefusedOrRepeatedIsLeftOut(t *testing.T) {
	x := New(itself)
	put(x, "a", "Ann: tea with milk", "Ann: tea with milk", "Ann: tea alone at five")
	put(x, "b", "Ann: tea in secret")
	if got := ids(x.Search(Query[string]{Text: "tea", Limit: 9, Allow: func(s string) bool { return s == "a" }})); len(got) != 2 || slices.Contains(got, "b0") {
		t.Errorf("found %v", got)
	}
}

// TestAnIndexIsWhatItsEntriesAre changes an index at random and compares it with one that is built anew:
// what was removed or replaced must leave nothing.
func TestAnIndexIsWhatItsEntriesAre(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	words := strings.Fields("amber basil cedar delta ember fjord grove heron inlet jolly")
	x := New(func(int) string { return "" })
	live := map[string]Entry[int]{}
	for range 3000 {
		place := rng.IntN(60)
		id := fmt.Sprint("e", place)
		if rng.IntN(3) == 0 {
			x.Remove(id)
			delete(live, id)
			continue
		}
		e := Entry[int]{ID: id, Text: words[rng.IntN(10)] + " " + words[rng.IntN(10)] + "? " + words[rng.IntN(10)], Author: words[rng.IntN(3)], Session: fmt.Sprint(rng.IntN(4)), Importance: 0.5,
			Place: int64(place), At: day0().UnixMilli()}
		x.Put(e)
		live[id] = e
	}
	fresh := New(func(int) string { return "" })
	for _, e := range live {
		fresh.Put(e)
	}
	for _, w := range words {
		a, b := x.Search(Query[int]{Text: w, Limit: 100}), fresh.Search(Query[int]{Text: w, Limit: 100})
		if x.Len() != len(live) || !slices.Equal(ids(a), ids(b)) {
			t.Fatalf("%q: %d entries and hits %v, anew %d and %v", w, x.Len(), ids(a), fresh.Len(), ids(b))
		}
	}
	for id := range live {
		x.Remove(id)
	}
	if len(x.byText) != 0 || len(x.pairs) != 0 || len(x.authors) != 0 || len(x.aliases) != 0 || x.Len() != 0 {
		t.Errorf("an empty index holds %d words, %d pairs, %d authors", len(x.byText), len(x.pairs), len(x.authors))
	}
}

func TestTimes(t *testing.T) {
	for text, want := range map[string]string{
		"on 7 May 2023":                     "2023-05-07 2023-05-08",
		"May 7th, 2023 it was":              "2023-05-07 2023-05-08",
		"in May 2023":                       "2023-05-01 2023-06-01",
		"back in 1999":                      "1999-01-01 2000-01-01",
		"yesterday":                         "2024-06-11 2024-06-12",
		"last week":                         "2024-06-03 2024-06-10",
		"this month":                        "2024-06-01 2024-07-01",
		"next year":                         "2025-01-01 2026-01-01",
		"last Friday":                       "2024-06-07 2024-06-08",
		"next Wednesday":                    "2024-06-19 2024-06-20",
		"last spring":                       "2024-03-01 2024-06-01",
		"last summer":                       "2023-06-01 2023-09-01",
		"on 2026-03-14, at noon":            "2026-03-14 2026-03-15",
		"last July":                         "2023-07-01 2023-08-01",
		"in spring 2023":                    "2023-03-01 2023-06-01",
		"in the summer of 2022 it rained":   "2022-06-01 2022-09-01",
		"Winter 2021, with snow":            "2021-12-01 2022-03-01",
		"the fall of the wall in 1989":      "1989-01-01 1990-01-01",
		"in the last three months":          "2024-03-12 2024-06-13",
		"over the past 2 weeks":             "2024-05-29 2024-06-13",
		"the last few days":                 "2024-06-09 2024-06-13",
		"three days ago":                    "2024-06-09 2024-06-10",
		"a month ago":                       "2024-05-01 2024-06-01",
		"two years ago":                     "2022-01-01 2023-01-01",
		"the week before 9 June 2023":       "2023-05-30 2023-06-09",
		"two weeks before 15 March 2024":    "2024-02-27 2024-03-05",
		"you may march on, 5 days a week":   "",
		"at last, this is the next 40 days": "",
	} {
		var got string
		for _, s := range spans(text, day0()) {
			got += time.UnixMilli(s.from).UTC().Format("2006-01-02") + " " + time.UnixMilli(s.to).UTC().Format("2006-01-02")
		}
		if got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// What a question names a time with is one, and is no word that is looked for.
func TestTimesThatAreAskedFor(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"the pump last week?":             "2026-11-16 2026-11-23 the pump ?",
		"the pump in summer?":             "2026-06-01 2026-09-01 the pump ?",
		"the pump in April?":              "2026-04-01 2026-05-01 the pump ?",
		"the pump in the winter":          "2025-12-01 2026-03-01 the pump",
		"the pump around Christmas?":      "2025-12-18 2026-01-01 the pump ?",
		"the pump at Easter":              "2026-03-29 2026-04-13 the pump",
		"the pump in spring 2025?":        "2025-03-01 2025-06-01 the pump in spring 2025?",
		"the pump in the summer of 2024":  "2024-06-01 2024-09-01 the pump in the summer of 2024",
		"the pump since winter 2024":      "2024-12-01 2026-11-28 the pump since winter 2024",
		"the pump in the last two weeks":  "2026-11-13 2026-11-28 the pump in the",
		"the pump on Monday":              "2026-11-23 2026-11-24 the pump",
		"the pump on Friday":              "2026-11-27 2026-11-28 the pump",
		"the pump on 14 March?":           "2026-03-14 2026-03-15 the pump ?",
		"the pump on December 3rd":        "2025-12-03 2025-12-04 the pump",
		"the pump on May 7, 2023":         "2023-05-07 2023-05-08 the pump on May 7, 2023",
		"the pump since October":          "2026-10-01 2026-11-28 the pump",
		"the pump before May 2025":        "1970-01-01 2025-05-01 the pump before May 2025",
		"the pump in Q2 2026":             "2026-04-01 2026-07-01 the pump in Q2 2026",
		"the pump earlier this year":      "2026-01-01 2026-11-28 the pump",
		"before may I ask, at the office": "before may I ask, at the office",
		"Über 7 pumps in May 2023":        "2023-05-01 2023-06-01 Über 7 pumps in May 2023",
	} {
		got := ""
		named, rest := spansAsked(text, now)
		for _, s := range named {
			got += time.UnixMilli(s.from).UTC().Format("2006-01-02") + " " + time.UnixMilli(s.to).UTC().Format("2006-01-02") + " "
		}
		if got += strings.Join(strings.Fields(rest), " "); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}

// Of what was said at several times the one is found first that was said when the question says, not what has the question's words for it.
func TestATimeIsFoundAndNotItsWords(t *testing.T) {
	x := New(itself)
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	say := func(id, text string, at time.Time) {
		x.Put(Entry[string]{ID: id, Text: text, At: at.UnixMilli(), Importance: 0.5})
	}
	for i := range 60 {
		say(fmt.Sprint(i), fmt.Sprint([]string{"We met the supplier of steel", "The roof leaked", "The crane was inspected"}[i%3], i), now.AddDate(0, 0, -5*i))
	}
	const broke = "The pump in hall 3 broke down and was repaired."
	say("april", broke, time.Date(2026, 4, 12, 0, 0, 0, 0, time.UTC))
	say("july", broke, time.Date(2026, 7, 9, 0, 0, 0, 0, time.UTC))
	say("week", broke, time.Date(2026, 11, 18, 0, 0, 0, 0, time.UTC))
	say("christmas", broke, time.Date(2025, 12, 20, 0, 0, 0, 0, time.UTC))
	say("lastyear", broke, time.Date(2025, 4, 12, 0, 0, 0, 0, time.UTC))
	say("noisy", "Last month the pump in hall 3 was noisy.", time.Date(2026, 6, 3, 0, 0, 0, 0, time.UTC))
	for query, want := range map[string]string{
		"What happened to the pump last week?": "week", "Did the pump break down last winter?": "christmas", "What happened with the pump around Christmas?": "christmas",
		"What happened to the pump last year?": "christmas", "Did the pump break down in April?": "april", "Did the pump break down last spring?": "april", "Did the pump break down since October?": "week",
		"What happened to the pump in spring 2025?": "lastyear", "Did the pump break in the last two weeks?": "week", "Did the pump break on 9 July?": "july",
	} {
		if got := ids(x.Search(Query[string]{Text: query, Limit: 3, Now: now.UnixMilli()})); len(got) == 0 || got[0] != want {
			t.Errorf("%q finds %q, want %s first", query, got, want)
		}
	}
}

// A season that is under way is not the last one, and a winter is of two years.
func TestSeasons(t *testing.T) {
	for _, tt := range []struct{ text, seen, want string }{
		{"last spring", "2026-04-20", "2025-03"}, {"last spring", "2026-05-31", "2025-03"}, {"last spring", "2026-06-01", "2026-03"},
		{"this winter", "2026-01-15", "2025-12"}, {"this winter", "2026-07-15", "2026-12"}, {"last winter", "2026-01-15", "2024-12"}, {"last winter", "2026-03-01", "2025-12"},
		{"next spring", "2026-02-01", "2026-03"}, {"next spring", "2026-03-01", "2027-03"}, {"this summer", "2026-07-01", "2026-06"},
	} {
		now, err := time.Parse("2006-01-02", tt.seen)
		if err != nil {
			t.Fatal(err)
		}
		got := spans(tt.text, now)
		if len(got) != 1 || time.UnixMilli(got[0].from).UTC().Format("2006-01") != tt.want {
			t.Errorf("%q on %s is %+v, want from %s", tt.text, tt.seen, got, tt.want)
		}
	}
}

func TestTimesAreFound(t *testing.T) {
	x := New(itself)
	put(x, "a", "Ann: We launched last Friday.", "Ben: Fine.")
	put(x, "b", "Ann: We launched again.", "Ben: Fine.")
	for _, q := range []string{"What was launched on 7 June 2024?"} {
		if got := ids(x.Search(Query[string]{Text: q, Limit: 1, Now: day0().AddDate(0, 2, 0).UnixMilli()})); got[0] != "a0" {
			t.Errorf("%q finds %v", q, got)
		}
	}
}

func FuzzIndex(f *testing.F) {
	f.Add("Robert Smith (a.k.a. Bob) of World Health Organization", "Bob is short for Robert Robert")
	f.Add("Who? Me! \xff ünïcode 5 days ago", "may 31 2023 … \x00")
	f.Fuzz(func(t *testing.T, text, query string) {
		x := New(func(int) string { return "" })
		x.Put(Entry[int]{ID: "1", Text: text, Author: query, Caption: text, Session: "s", At: 1})
		x.Put(Entry[int]{ID: "2", Text: query, Session: "s", Place: -1, At: 2})
		x.Search(Query[int]{Text: query, Limit: 5, Explain: true})
		x.Remove("1")
		x.Remove("2")
		if len(x.byText) != 0 || len(x.pairs) != 0 || len(x.aliases) != 0 {
			t.Fatalf("%d words are left", len(x.byText))
		}
	})
}
