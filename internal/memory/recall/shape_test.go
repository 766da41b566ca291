package recall

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestShapes(t *testing.T) {
	for text, want := range map[string]shape{
		"":                                    {},
		"The pump runs.":                      {},
		"My pump runs.":                       {self: true},
		"I'm here. You are there.":            {self: true, addresses: 15.0 / 24},
		"We’ve won, and you know it":          {self: true},
		"Your pump runs":                      {addresses: 1},
		"You won!! Fine.":                     {addresses: 8.0 / 15},
		"Is it mine?":                         {asks: 1},
		"Is it yours? It runs":                {asks: 12.0 / 20},
		"Only US firms, thus a youth in Iowa": {},
		"Du hast meine Pumpe.":                {},
		"It broke last Friday":                {timed: true},
	} {
		got := newAnalyzer().shape(text)
		near := func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-6 }
		if !near(got.asks, want.asks) || !near(got.addresses, want.addresses) || got.self != want.self || got.timed != want.timed {
			t.Errorf("%q is %+v, want %+v", text, got, want)
		}
	}
}

// What people say of themselves is about them, and what they tell others about those is not.
func TestWhomAnEntryIsAbout(t *testing.T) {
	x := New(itself)
	put(x, "a", "Ann: You play the violin, Ben, so well.")
	put(x, "b", "Ann: That violin sounds so very well.")
	put(x, "c", "Ann: I play the violin, Ben, so well.")
	put(x, "d", "Ben: I play the violin, Ann, so well.")
	hits := x.Search(Query[string]{Text: "Does Ann play the violin?", Limit: 9, Explain: true})
	if got := ids(hits); got[0] != "c0" || slices.Index(got, "a0") < 1 {
		t.Errorf("found %v, want c0 first", got)
	}
	w := tuned()
	want := map[string]float64{"a0": 1, "b0": 1 + w.byAuthor, "c0": 1 + w.ofSelf, "d0": 1}
	for _, h := range hits {
		if math.Abs(h.Parts.Author-want[h.ID]) > 1e-6 {
			t.Errorf("%s: the factor of the author is %.3f, want %.3f", h.ID, h.Parts.Author, want[h.ID])
		}
	}
	for _, h := range x.Search(Query[string]{Text: "Who can play the violin?", Limit: 9, Explain: true}) {
		if h.Parts.Author != 1 {
			t.Errorf("%s: nobody was named, and the factor of the author is %.3f", h.ID, h.Parts.Author)
		}
	}
}

func TestWhatSaysWhenCountsMore(t *testing.T) {
	x := New(itself)
	put(x, "a", "Ann: The violin broke again.")
	put(x, "b", "Ann: The violin broke yesterday.")
	w := tuned()
	for q, want := range map[string]float64{"a broken violin": 1 + w.timed, "When was the violin broken?": 1 + w.timed + w.when} {
		hits := x.Search(Query[string]{Text: q, Limit: 2, Explain: true})
		if got := ids(hits); got[0] != "b0" || math.Abs(hits[0].Parts.Time-want) > 1e-6 || hits[1].Parts.Time != 1 {
			t.Errorf("%q finds %v, the first with the factor %.3f, want %.3f", q, got, hits[0].Parts.Time, want)
		}
	}
}

// TestFewHitsAreTheFirstOfMany: what cannot be among the best is passed over without a closer look, and nothing that is.
func TestFewHitsAreTheFirstOfMany(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	words := strings.Fields("I you my your we amber basil cedar delta ember fjord yesterday Monday ? . !")
	x := New(itself)
	for s := range 30 {
		lines := make([]string, 10)
		for i := range lines {
			lines[i] = []string{"Ann", "Ben"}[rng.IntN(2)] + ":"
			for range 3 + rng.IntN(8) {
				lines[i] += " " + words[rng.IntN(len(words))]
			}
			lines[i] += fmt.Sprint(" ", s, "x", i)
		}
		put(x, fmt.Sprint("s", s, "-"), lines...)
	}
	for _, q := range []string{"When did Ann see amber and fjord?", "basil of Ben", "cedar, ember", "Ann and Ben on 12 June 2024"} {
		all := x.Search(Query[string]{Text: q, Limit: 300, Now: day0().UnixMilli(), Explain: true})
		for _, k := range []int{1, 5, 20} {
			few := x.Search(Query[string]{Text: q, Limit: k, Now: day0().UnixMilli()})
			if !slices.Equal(ids(few), ids(all)[:k]) {
				t.Errorf("%q: the first %d are %v, of all %v", q, k, ids(few), ids(all)[:k])
			}
		}
		for _, h := range all {
			p := h.Parts
			if got := (p.Words + p.Neighbours + p.Session) * p.Tells * p.Author * p.Time * p.Importance * p.Recency; got < h.Score*0.999 || got > h.Score*1.001 {
				t.Errorf("%q, %s: the parts make %.4f of %.4f: %+v", q, h.ID, got, h.Score, *p)
			}
		}
	}
}
