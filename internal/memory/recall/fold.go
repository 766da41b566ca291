package recall

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// fold is a word in lower case without what people leave out when they search, or write one way here and another there: accents of Latin
// and Greek letters, vowel points and lengthened lines of Arabic and Hebrew, the hamza on an alef, hyphens that only show where a line breaks.
// What makes another letter stays: the й of и, the dots of kana, the vowels of Indic scripts.
func fold(lower string) string {
	plain := true
	for i := range len(lower) {
		plain = plain && lower[i] < utf8.RuneSelf
	}
	if plain {
		return lower
	}
	var out strings.Builder
	marked := false // the letter before is one whose marks don't count
	for _, r := range norm.NFD.String(strings.ReplaceAll(lower, "ё", "е")) {
		if unseen(r) || pointed(r) || marked && unicode.Is(unicode.Mn, r) {
			continue
		}
		marked = unicode.In(r, unicode.Latin, unicode.Greek)
		if other, ok := spelled(r); ok {
			out.WriteString(other)
			continue
		}
		out.WriteRune(r)
	}
	return norm.NFC.String(out.String())
}

// unseen reports whether a letter within a word only says how it is laid out: a hyphen for the end of a line, joiners, marks of direction,
// the line that lengthens an Arabic word. (A space of no width is not among these: it ends a word.)
func unseen(r rune) bool {
	switch {
	case r == 0x00AD, r == 0x0640, r == 0x2060, r == 0xFEFF:
		return true
	case r >= 0x200C && r <= 0x200F, r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069:
		return true
	}
	return false
}

// pointed reports whether a mark is a vowel point of Hebrew or Arabic, or the sign of one read from above, which most texts leave out.
func pointed(r rune) bool {
	switch {
	case r >= 0x0591 && r <= 0x05C7, r >= 0x0610 && r <= 0x061A, r >= 0x064B && r <= 0x065F, r == 0x0670, r >= 0x06D6 && r <= 0x06ED:
		return unicode.Is(unicode.Mn, r)
	}
	return r == 0x093C // the dot below a letter of Hindi
}

// spelled is what stands for a letter that has no accent to take off.
func spelled(r rune) (string, bool) {
	switch r {
	case 'ß':
		return "ss", true
	case 'æ':
		return "ae", true
	case 'œ':
		return "oe", true
	case 'þ':
		return "th", true
	case 'ø':
		return "o", true
	case 'đ', 'ð':
		return "d", true
	case 'ł':
		return "l", true
	case 'ħ':
		return "h", true
	case 'ı':
		return "i", true
	case 'ς': // at the end of a word
		return "σ", true
	case 'ٱ':
		return "ا", true
	case 'ى', 'ی': // without its dots, and of Persian
		return "ي", true
	case 'ة':
		return "ه", true
	case 'ک':
		return "ك", true
	case 'ँ':
		return "ं", true
	}
	return "", false
}
