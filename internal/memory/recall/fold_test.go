package recall

import "testing"

// TestWordsAreFoundHoweverTheyAreSpelled: with accents or without, with vowel points, with hyphens that nobody sees.
func TestWordsAreFoundHoweverTheyAreSpelled(t *testing.T) {
	for _, c := range []struct{ text, query string }{
		{"équipe de nuit", "equipe"}, {"equipe de nuit", "Équipe"}, {"un résumé naïf", "resume"}, {"Český Krumlov", "Cesky"}, {"Łódź", "Lodz"},
		{"Ødegård spielt", "Odegard"}, {"Ångström", "Angstrom"}, {"Đà Nẵng", "Da Nang"}, {"Lange Straße", "STRASSE"}, {"Strasse", "Straße"}, {"Hæstiréttur", "haestirettur"},
		{"Işık Sokak", "isik"}, {"Œuvre", "oeuvre"}, {"Σύσκεψη τώρα", "συσκεψη"}, {"ΟΔΟΣ", "οδός"}, {"зелёный чай", "зеленый"},
		{"Donau\u00addampf\u00adschiff\u00adfahrt", "Donaudampfschifffahrt"}, {"Donaudampfschifffahrt", "Donau\u00addampf\u00adschifffahrt"}, {"word\u2060joined\ufeff", "wordjoined"},
		{"كِتَابٌ جديد", "كتاب"}, {"مـــدرسة", "مدرسة"}, {"أحمد", "احمد"}, {"القهوة", "القهوه"}, {"می\u200cخواهم", "میخواهم"}, {"شَرِكَتِي", "شركتى"}, {"שָׁלוֹם", "שלום"}, {"שלום\u200f", "שָׁלוֹם"},
		{"कॉफ़ी", "कॉफी"}, {"क़लम", "कलम"}, {"東京\u200b本社", "本社"}, {"東\u2060京", "東京"},
	} {
		x := New(itself)
		put(x, "a", "Ann: "+c.text)
		got := x.Search(Query[string]{Text: c.query, Limit: 1, Explain: true})
		if len(got) != 1 {
			t.Errorf("%q does not find %q", c.query, c.text)
			continue
		}
		// What only looks like the word counts less than a third.
		y := New(itself)
		put(y, "a", "Ann: "+c.text)
		if same := y.Search(Query[string]{Text: c.text, Limit: 1}); len(same) != 1 || got[0].Score < same[0].Score/4 {
			t.Errorf("%q finds %q with %.2f, which the text itself does with %.2f: it is taken for another word", c.query, c.text, got[0].Score, same[0].Score)
		}
	}
}

// TestAnotherLetterIsNoAccent: what makes another letter of one is no accent, in scripts where marks are letters.
func TestAnotherLetterIsNoAccent(t *testing.T) {
	for in, want := range map[string]string{
		"chair": "chair", "мой": "мой", "їжа": "їжа", "が": "が", "किताब": "किताब", "ผู้": "ผู้", "été": "ete", "schön": "schon", "ñandú": "nandu",
	} {
		if got := fold(in); got != want {
			t.Errorf("fold(%q) is %q, want %q", in, got, want)
		}
	}
}

// TestPartsOfCompounds: a word that no entry has is found within another one, and another one within it.
func TestPartsOfCompounds(t *testing.T) {
	for _, c := range []struct {
		text, query string
		found       bool
	}{
		{"Die Krankenversicherungskarte ist neu.", "Versicherung", true}, {"Die Versicherung ist neu.", "Krankenversicherungskarte", true},
		{"Der Donaudampfschifffahrtskapitän heißt Jörg.", "Kapitän", true}, {"Verkeersongevallenverzekering", "verzekering", true}, {"lentokonesuihkuturbiinimoottori", "moottori", true},
		{"Die Krankenversicherungskarte ist neu.", "Karte", false}, {"Die Krankenversicherungskarte ist neu.", "Sicherheit", false}, {"All basketballs are round.", "art", false},
	} {
		x := New(itself)
		put(x, "a", "Ann: "+c.text, "Ann: Something else is in the garden.")
		if got := ids(x.Search(Query[string]{Text: c.query, Limit: 1})); (len(got) == 1 && got[0] == "a0") != c.found {
			t.Errorf("%q in %q: found %v, want %v", c.query, c.text, got, c.found)
		}
	}
	x := New(itself)
	put(x, "a", "Ann: Die Krankenversicherungskarte ist neu.", "Ann: Die Versicherung ist alt.")
	if got := ids(x.Search(Query[string]{Text: "Versicherung", Limit: 2})); len(got) == 0 || got[0] != "a1" {
		t.Errorf("found %v, want the word itself first", got)
	}
}
