package memorytest

import (
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
	first := func(limit int, asOf int64) []string {
		found, err := f.Search(f.ctx, f.me, f.store, memory.Search{Query: "office Berlin", Limit: limit, AsOf: asOf})
		if err != nil {
			f.Fatal(err)
		}
		var out []string
		for _, h := range found.Hits {
			out = append(out, h.Text)
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
	if got := first(5, 1_700_000_050_000); before(got, "Hamburg", "Berlin") || slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "Hamburg") }) {
		f.Errorf("before it was said: %q", got)
	}
	list, _, err := f.List(f.ctx, f.me, f.store, "", 50, false)
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range list {
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

// spellings: a subject is the same in the spellings that its words have.
func spellings(f *serviceFixture) {
	f.learn(sessionA, 7, lesson(sessionA, "user's favourite colour", "The user's favourite colour is red.", "1"))
	if done := f.learn(sessionB, 7, lesson(sessionB, "user's favorite color", "The user's favorite color is blue.", "1")); done.Superseded != 1 {
		f.Errorf("%+v", done)
	}
}
