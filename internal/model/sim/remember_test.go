package sim

import (
	"encoding/json"
	"testing"
)

// Of each pair the second contradicts the first: both are about the same subject, so that it supersedes.
func TestContradictionsShareASubject(t *testing.T) {
	for _, pair := range [][2]string{
		{"Remember that the deploy window is on Tuesdays.", "The deploy window is on Mondays."},
		{"Remember that the deploy window is on Tuesdays.", "Remember: the deploy window is on Fridays."},
		{"I love coffee.", "I hate coffee."},
		{"I like hiking.", "I do not like hiking."},
		{"Always use metric units.", "Never use metric units."},
	} {
		subject := func(said string) string {
			var out struct{ Memories []memory }
			if err := json.Unmarshal([]byte(memories("Kinds asked for: fact, preference\n\nConversation:\n[msg_1] user (2026-01-01): "+said+"\n")), &out); err != nil || len(out.Memories) != 1 {
				t.Fatalf("%q: %+v, %v", said, out, err)
			}
			return out.Memories[0].Kind + ": " + out.Memories[0].Subject
		}
		if a, b := subject(pair[0]), subject(pair[1]); a != b || a == "fact: " {
			t.Errorf("%q is about %q, %q about %q", pair[0], a, pair[1], b)
		}
	}
}

// What begins with a letter of several bytes is remembered as it was said.
func TestWhatIsLearnedKeepsItsLetters(t *testing.T) {
	for said, want := range map[string]string{
		"Remember that שלום is said at noon.": "שלום is said at noon.", "Remember that éclairs are sold out.": "Éclairs are sold out.", "Remember that the büro is closed.": "The büro is closed.",
	} {
		var out struct{ Memories []memory }
		if err := json.Unmarshal([]byte(memories("Kinds asked for: fact\n\nConversation:\n[msg_1] user (2026-01-01): "+said+"\n")), &out); err != nil || len(out.Memories) != 1 || out.Memories[0].Content != want {
			t.Errorf("%q teaches %+v, %v", said, out, err)
		}
	}
}
