package memorytest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stead-dev/stead/internal/memory"
)

// currentFirst: what was said stays to be found as it was said; where it is not true any more, what is true now stands before it, also where
// a search has room for one. Before the change, and when the new value is forgotten, it stands as it did.
func currentFirst(f *serviceFixture) {
	f.add(said(sessionA, "My office is in Berlin, my office, the office.", "Noted: office.", "Where is my office? In which office am I?")...)
	f.add(note("The canteen opens at noon."), note("The garage is closed on Sundays."))
	old := lesson(sessionA, "user's office", "The user's office is in Berlin.", "0")
	old.Sources[0].At = 1_700_000_000_000
	f.learn(sessionA, 7, old)
	fit := map[string]float64{} // as it was found last
	first := func(limit int, asOf int64) []string {
		found, err := f.Search(f.ctx, f.me, f.store, memory.Search{Query: "office Berlin", Limit: limit, AsOf: asOf})
		if err != nil {
			f.Fatal(err)
		}
		var out []string
		clear(fit)
		for _, h := range found.Hits {
			out, fit[h.Text] = append(out, h.Text), h.Fit
		}
		return out
	}
	before := func(texts []string, a, b string) bool {
		of := func(part string) int {
			return slices.IndexFunc(texts, func(s string) bool { return strings.Contains(s, part) })
		}
		return of(a) >= 0 && (of(b) < 0 || of(a) < of(b))
	}
	alone := first(5, 0)
	now := lesson(sessionB, "user's office", "The user's office is in Hamburg.", "0")
	now.Sources[0].At = 1_700_000_100_000
	if done := f.learn(sessionB, 7, now); done.Superseded != 1 {
		f.Fatalf("%+v", done)
	}
	for _, limit := range []int{1, 2, 5} {
		if got := first(limit, 0); !before(got, "Hamburg", "Berlin") || len(got) > limit {
			f.Errorf("the first %d: %q", limit, got)
		}
	}
	if was := fit["My office is in Berlin, my office, the office."]; was == 0 || fit["The user's office is in Hamburg."] < 2*was {
		f.Errorf("what is true now fits less than twice what was: %v", fit)
	}
	if got := first(5, 1_700_000_050_000); before(got, "Hamburg", "Berlin") || slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "Hamburg") }) {
		f.Errorf("before it was said: %q", got)
	}
	for _, e := range f.entries() {
		if strings.Contains(e.Text, "Hamburg") {
			if err := f.Forget(f.ctx, f.me, f.store, e.ID, memory.AnyVersion); err != nil {
				f.Fatal(err)
			}
		}
	}
	if got := first(5, 0); !slices.Equal(got, alone) {
		f.Errorf("forgotten again: %q, it was %q", got, alone)
	}
}

// currentAmongAlike: what is true now stands before what is not any more, also where it says nearly the same as others that are found.
func currentAmongAlike(f *serviceFixture) {
	f.add(said(sessionA, "My office is on a floor in Berlin, my office.")...)
	for i := range 3 {
		other := note(fmt.Sprintf("The user's office is on floor %d in Hamburg.", i))
		other.Importance = 1
		f.add(other)
	}
	old, now := lesson(sessionA, "user's office", "The user's office is on floor 7 in Berlin.", "0"), lesson(sessionB, "user's office", "The user's office is on floor 8 in Hamburg.", "0")
	old.Sources[0].At, now.Sources[0].At = 1_700_000_000_000, 1_700_000_100_000
	f.learn(sessionA, 7, old)
	f.learn(sessionB, 7, now)
	found, err := f.Search(f.ctx, f.me, f.store, memory.Search{Query: "office floor", Limit: 6, Explain: true})
	if err != nil {
		f.Fatal(err)
	}
	place := func(part string) int {
		return slices.IndexFunc(found.Hits, func(h memory.Hit) bool { return strings.Contains(h.Text, part) })
	}
	if is, was := place("floor 8"), place("Berlin"); is < 0 || was < is || found.Hits[is].Parts.Alike != "" || found.Hits[len(found.Hits)-1].Parts.Alike == "" {
		f.Errorf("what is true now is hit %d, what was is %d: %+v", is, was, found.Hits)
	}
}

// spellings: a subject is the same in the spellings that its words have.
func spellings(f *serviceFixture) {
	f.learn(sessionA, 7, lesson(sessionA, "user's favourite colour", "The user's favourite colour is red.", "1"))
	if done := f.learn(sessionB, 7, lesson(sessionB, "user's favorite color", "The user's favorite color is blue.", "1")); done.Superseded != 1 {
		f.Errorf("%+v", done)
	}
}
