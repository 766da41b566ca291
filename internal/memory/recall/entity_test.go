package recall

import (
	"slices"
	"strings"
	"testing"
)

// What has initials is found by them, and by its name what has the initials, however either is typed.
func TestANameIsFoundByItsInitials(t *testing.T) {
	x := New(itself)
	put(x, "a", "Ann: International Business Machines moved its office to Graz.", "Ben: Lunch is at noon.", "Ann: The Department of Energy wants a report.", "Ben: The DOE called again.")
	x.Put(Entry[string]{ID: "short", Text: "IBM pays after sixty days."})
	x.Put(Entry[string]{ID: "other", Text: "Business is slow and machines are idle."})
	first := func(q string, n int) []string {
		var out []string
		for _, h := range x.Search(Query[string]{Text: q, Limit: 10, Explain: true}) {
			if h.Parts.Words > 0 {
				out = append(out, h.ID)
			}
		}
		return out[:min(n, len(out))]
	}
	for _, c := range []struct {
		query string
		want  []string
	}{
		{"Where is the office of IBM?", []string{"a0", "short"}},
		{"when does ibm pay", []string{"a0", "short"}},
		{"International Business Machines", []string{"a0", "short"}},
		{"DOE", []string{"a2", "a3"}},
		{"Department of Energy", []string{"a2", "a3"}},
	} {
		got := first(c.query, 2)
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s finds %q first, want %q", c.query, got, c.want)
		}
	}
}

func TestInitials(t *testing.T) {
	for text, want := range map[string]string{
		"International Business Machines":                     "ibm",
		"the Department of Energy":                            "doe",
		"Yesterday World Health Organization staff came":      "ywho who",
		"Anna Moore and Ben":                                  "amb amab",
		"Anna Moore":                                          "", // two letters are those of too many
		"We met in Graz. International trade is Slow. Very":   "",
		"Federal Bureau of Investigation, Acme Steel Company": "fbi fboi asc",
		"ALL OF THIS IS LOUD AND LONG AND NEVER ENDS":         "",
	} {
		if got := strings.Join(initialsIn(names(text)), " "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// What an entry says is another name of something is looked for beside the first, by whoever sees that entry, and as long as it is there.
func TestOtherNames(t *testing.T) {
	for _, says := range []string{
		"Robert Smith, also known as Bob, runs the depot", "Robert Smith (aka Bob) runs the depot", "Bob is short for Robert Smith here", `Robert Smith, nicknamed "Bob", runs the depot`,
	} {
		x := New(itself)
		x.Put(Entry[string]{ID: "names", Text: says, Facets: "hidden"})
		x.Put(Entry[string]{ID: "bob", Text: "Bob is on holiday in May.", Facets: "open"})
		x.Put(Entry[string]{ID: "robert", Text: "The car of Robert Smith is blue.", Facets: "open"})
		x.Put(Entry[string]{ID: "carol", Text: "Carol is on leave in May.", Facets: "open"})
		if got := seen(x, "", "Is Robert Smith away?"); !slices.Equal(got, []string{"bob", "names", "robert"}) {
			t.Errorf("%s: by the long name %q", says, got)
		}
		if got := seen(x, "", "What does bob drive?"); !slices.Equal(got, []string{"bob", "names", "robert"}) {
			t.Errorf("%s: by the short name %q", says, got)
		}
		if got := seen(x, "open", "What does Bob drive?"); !slices.Equal(got, []string{"bob"}) {
			t.Errorf("%s: who does not see that finds %q", says, got)
		}
		if x.Remove("names"); len(x.aliases) > 0 {
			t.Errorf("%s: %v are still known", says, x.aliases)
		}
		if got := seen(x, "", "What does Bob drive?"); !slices.Equal(got, []string{"bob"}) {
			t.Errorf("%s, which is forgotten: %q", says, got)
		}
	}
	x := New(itself)
	x.Put(Entry[string]{ID: "both", Text: "Robert Smith met Bob. Anna called, and known as she is, Carol came."})
	if len(x.aliases) > 0 {
		t.Errorf("names that only stand beside each other are one thing's: %v", x.aliases)
	}
}
