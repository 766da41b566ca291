package recall

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// seen are the ids of what a query finds for somebody who sees what begins so.
func seen(x *Index[string], prefix, text string) []string {
	out := ids(x.Search(Query[string]{Text: text, Limit: 10, See: func(f string) bool { return strings.HasPrefix(f, prefix) }}))
	slices.Sort(out)
	return out
}

// What somebody does not see has no part in what they find: neither as a neighbour, nor as the rest of a conversation, nor because one of
// its words needs no other one that is written alike.
func TestWhatIsHiddenTellsNothing(t *testing.T) {
	x := New(itself)
	for i, text := range []string{"Good morning everybody", "Anna is dismissed and earns ninetythousand", "Lunch is at noon", "Nobody knows"} {
		facet := "open"
		if i == 1 {
			facet = "hidden"
		}
		x.Put(Entry[string]{ID: fmt.Sprint(i), Text: text, Session: "a", Place: int64(i), Facets: facet})
	}
	for _, word := range []string{"dismissed", "ninetythousand", "dismissal", "promoted"} {
		if got := seen(x, "open", word); len(got) > 0 {
			t.Errorf("%q finds %q", word, got)
		}
	}
	if got := seen(x, "", "dismissed"); !slices.Equal(got, []string{"0", "1", "2", "3"}) {
		t.Errorf("who sees all finds %q", got)
	}
	for _, secret := range []string{"kryptonaut", "zebra"} {
		x := New(itself)
		x.Put(Entry[string]{ID: "secret", Text: "Anna left for " + secret, Facets: "hidden"})
		x.Put(Entry[string]{ID: "mine", Text: "kryptonout", Facets: "open"})
		if got := seen(x, "open", "kryptonaut"); !slices.Equal(got, []string{"mine"}) {
			t.Errorf("beside a hidden %s, a word that is written alike finds %q", secret, got)
		}
	}
}

// Entries are the same if they say the same by the same person on the same day, word for word, and not if they have the same words.
func TestWhatIsTheSame(t *testing.T) {
	x := New(itself)
	put(x, "a", "Ann: The customer is allowed to receive refunds.", "Ann: The customer is not allowed to receive refunds.", "Ann: the customer IS allowed to receive refunds")
	put(x, "b", "Ann: Anna owes Ben 500 euros.", "Ann: Ben owes Anna 500 euros.", "Ben: Ben owes Anna 500 euros.")
	if got := seen(x, "", "is the customer allowed to receive refunds"); !slices.Contains(got, "a1") || len(got) != 2 {
		t.Errorf("found %q", got)
	}
	if got := seen(x, "", "who owes whom 500 euros"); !slices.Equal(got, []string{"b0", "b1", "b2"}) {
		t.Errorf("found %q", got)
	}
}

// Copies of one entry take no places from others.
func TestCopiesCrowdNobodyOut(t *testing.T) {
	x := New(itself)
	for i := range 50 {
		x.Put(Entry[string]{ID: fmt.Sprint("copy", i), Text: "Refunds refunds refunds: call Mallory."})
	}
	for i := range 3 {
		x.Put(Entry[string]{ID: fmt.Sprint("true", i), Text: fmt.Sprint("Refunds of shop ", i, " take thirty days, as everybody knows who asked before.")})
	}
	got := seen(x, "", "refunds")
	if len(got) != 4 || !slices.Equal(got[1:], []string{"true0", "true1", "true2"}) {
		t.Errorf("found %q", got)
	}
}

// What differs in a number alone takes two places, and then what is different comes; explanations say what was put behind.
func TestWhatIsNearlyTheSameComesBehind(t *testing.T) {
	x := New(itself)
	for i := range 12 {
		x.Put(Entry[string]{ID: fmt.Sprint("budget", i), Text: fmt.Sprintf("The Jupiter project budget is %d thousand euros this quarter, says controlling.", 100+i)})
	}
	x.Put(Entry[string]{ID: "lead", Text: "Project Jupiter is led by Marta Olsen and delivers a payroll system for hospitals."})
	x.Put(Entry[string]{ID: "room", Text: "The Jupiter steering committee meets in room Pluto."})
	hits := x.Search(Query[string]{Text: "what about the Jupiter project budget?", Limit: 5, Spread: true, Explain: true})
	got := ids(hits)
	if len(got) != 5 || !slices.Equal(got[2:4], []string{"lead", "room"}) || hits[1].Parts.Alike != "" || hits[4].Parts.Alike != got[0] {
		t.Errorf("found %q", got)
	}
	if got := ids(x.Search(Query[string]{Text: "Jupiter project budget 107", Limit: 3, Spread: true})); got[0] != "budget7" {
		t.Errorf("by its number: %q", got)
	}
}

// Words are found however they are written.
func TestWordsOfOtherScripts(t *testing.T) {
	x := New(itself)
	for id, text := range map[string]string{
		"zh": "会议安排在星期二下午三点在东京办公室", "ja": "来週オフィスで猫に会います", "ko": "회의는 화요일에 서울에서", "th": "ประชุมที่กรุงเทพวันอังคาร", "hi": "बैठक मंगलवार को दिल्ली में",
		"nfd": "Der Vertrag von Mu\u0308ller", "code": "func HandleRefundRequest(ctx)", "wide": "ＡＣＭＥ", "party": "Done🎉🎉!", "heart": "Thanks ❤️ to all", "family": "👩🏽\u200d🚒 on duty",
	} {
		x.Put(Entry[string]{ID: id, Text: text})
	}
	for query, want := range map[string]string{
		"东京": "zh", "办公室": "zh", "オフィス": "ja", "猫": "ja", "서울": "ko", "화요일": "ko", "กรุงเทพ": "th", "दिल्ली": "hi",
		"Müller": "nfd", "Mu\u0308ller": "nfd", "refund request handler": "code", "handlerefundrequest": "code", "acme": "wide",
		"🎉": "party", "🚀🎉": "party", "❤": "heart", "❤️": "heart", "👩🚒": "family", "👩🏿\u200d🚒": "family",
	} {
		if got := seen(x, "", query); len(got) == 0 || got[0] != want {
			t.Errorf("%q finds %q, want %s", query, got, want)
		}
	}
}

// A query of very many words takes no longer than one of some: those that tell most are looked for.
func TestOfLongQueriesWhatTellsMost(t *testing.T) {
	x := New(itself)
	x.Put(Entry[string]{ID: "rare", Text: "zanzibar"})
	var many []string
	for i := range 3000 {
		many = append(many, fmt.Sprintf("word%c%c%c", 'a'+i%26, 'a'+i/26%26, 'a'+i/676))
	}
	for i := range 3 {
		x.Put(Entry[string]{ID: fmt.Sprint(i), Text: strings.Join(many, " ")})
	}
	q := question{}
	e := x.eyes(nil)
	if q = x.understand(Query[string]{Text: strings.Join(many, " ") + " zanzibar"}, e); len(q.terms) != maxTerms {
		t.Errorf("%d words are looked for", len(q.terms))
	}
	if got := seen(x, "", strings.Join(many, " ")+" zanzibar"); !slices.Contains(got, "rare") {
		t.Errorf("found %q", got)
	}
	unknown := strings.ReplaceAll(strings.Join(many, " "), "word", "ward")
	if q = x.understand(Query[string]{Text: unknown}, e); len(q.terms) > maxUnknown*maxLike {
		t.Errorf("%d words stand for others", len(q.terms))
	}
}
