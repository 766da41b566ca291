package memorytest

import (
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

// kinTakeOnePlace: of a message and of what was learned from it in the same words the best is found, the others come behind what is different, and say as
// which. What was learned from one message and says something else keeps its place, and so does what has the same words from elsewhere.
func kinTakeOnePlace(f *serviceFixture) {
	f.ingest(spoken(sessionA, 3, stead.RoleUser, "My locker number is seventy."), spoken(sessionA, 4, stead.RoleAssistant, "Noted."), spoken(sessionB, 3, stead.RoleUser, "My locker number is 71."))
	f.learn(sessionA, 5, made(sessionA, 5, "The user's locker number is seventy.", 3), made(sessionA, 5, "The user said: My locker number is seventy. The answer was: Noted.", 3, 4),
		made(sessionA, 5, "Whoever has locker seventy wants a bigger one.", 3))
	f.add(note("The locker room is on floor two, number of the door 9."), note("A locker key has the number of its locker on it."))
	found, err := f.Search(f.ctx, f.me, f.store, memory.Search{Query: "locker number", Limit: 7, Explain: true})
	if err != nil {
		f.Fatal(err)
	}
	var front, behind []string
	for _, h := range found.Hits {
		if h.Parts.Alike == "" {
			front = append(front, h.Text)
			continue
		}
		behind = append(behind, h.Text)
		if of := f.id(front[slices.IndexFunc(front, func(t string) bool { return strings.Contains(t, "is seventy") })]); h.Parts.Alike != of {
			f.Errorf("%q is said to be as %s, not as %s", h.Text, h.Parts.Alike, of)
		}
	}
	if len(front) != 5 || len(behind) != 2 || !strings.Contains(behind[0], "number is seventy") || !strings.Contains(behind[1], "number is seventy") {
		f.Errorf("%q stand in front, and behind them %q", front, behind)
	}
	if found, err := f.Search(f.ctx, f.me, f.store, memory.Search{Query: "locker number seventy", Limit: 2}); err != nil || len(found.Hits) != 2 || strings.Contains(found.Hits[1].Text, "number is seventy") {
		f.Errorf("two places: %+v, %v", found.Hits, err)
	}
}
