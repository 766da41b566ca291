package sim

import (
	"encoding/json"
	"slices"
	"testing"
)

// Of each pair the second contradicts the first: both are about the same subject, so that it supersedes.
func TestContradictionsShareASubject(t *testing.T) {
	for _, pair := range [][2]string{
		{"Remember that the deploy window is on Tuesdays.", "The deploy window is on Mondays."},
		{"Remember that the deploy window is on Tuesdays.", "Remember: the deploy window is on Fridays."},
		{"I love coffee.", "I hate coffee."},
		{"I like hiking.", "I do not like hiking."},
		{"I prefer tea.", "I no longer like tea."},
		{"I like tea.", "No, I don’t like tea anymore."},
		{"My editor is vim.", "Actually, my editor is emacs now."},
		{"I live in Berlin.", "Sorry, I moved to Paris last week."},
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

// Of several turns each has its own question and answer.
func TestAnEpisodeIsOfOneTurn(t *testing.T) {
	var out struct{ Memories []memory }
	said := "[m1] user (2026-01-01): My tea is green.\n[m2] assistant (2026-01-01): One moment.\n[m3] assistant (2026-01-01): Noted.\n[m4] user (2026-01-01): Where is Ulm?\n[m5] user (2026-01-01): Quickly!\n[m6] assistant (2026-01-01): On the Danube.\n[m7] user (2026-01-01): Thanks.\n"
	if err := json.Unmarshal([]byte(memories("Kinds asked for: episode\n\nConversation:\n"+said)), &out); err != nil || len(out.Memories) != 2 {
		t.Fatalf("%+v, %v", out, err)
	}
	for i, want := range []memory{
		{Content: "The user asked: My tea is green. The answer was: Noted.", Sources: []string{"m1", "m3"}},
		{Content: "The user asked: Where is Ulm? The answer was: On the Danube.", Sources: []string{"m4", "m6"}},
	} {
		if got := out.Memories[i]; got.Content != want.Content || !slices.Equal(got.Sources, want.Sources) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// What begins with a letter of several bytes is remembered as it was said.
func TestWhatIsLearnedKeepsItsLetters(t *testing.T) {
	for said, want := range map[string]string{
		"Remember that שלום is said at noon.": "שלום is said at noon.", "Remember that éclairs are sold out.": "Éclairs are sold out.", "Remember that the büro is closed.": "The büro is closed.",
		"I moved to München last week.": "The user lives in München.", "Actually, my editor is emacs now.": "The user's editor is emacs.",
	} {
		var out struct{ Memories []memory }
		if err := json.Unmarshal([]byte(memories("Kinds asked for: fact\n\nConversation:\n[msg_1] user (2026-01-01): "+said+"\n")), &out); err != nil || len(out.Memories) != 1 || out.Memories[0].Content != want {
			t.Errorf("%q teaches %+v, %v", said, out, err)
		}
	}
}
