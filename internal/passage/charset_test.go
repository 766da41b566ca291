package passage_test

import (
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/passage"
)

// TestCharsets: what a file says it is in, or plainly is; nothing is guessed that could be another one.
func TestCharsets(t *testing.T) {
	in := func(e encoding.Encoding, text string) string {
		t.Helper()
		out, err := e.NewEncoder().String(text)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	const german = "Größe;Preis\nÄpfel für Käse – 5 €;2,50\nMöbel;„teuer“\n"
	const russian = "Склад закрыт по вторникам, the key is with the guard.\n"
	latin, western := charmap.ISO8859_1, charmap.Windows1252
	page := func(meta, text string) string {
		return "<html><head>" + meta + "</head><body><p>" + text + "</p></body></html>"
	}
	for name, tc := range map[string]struct{ file, data, text, set, refused string }{
		"CSV of a spreadsheet":       {"a.csv", in(western, german), german, "windows-1252", ""},
		"French":                     {"a.txt", in(latin, "L'été a été créé ça et là.\n"), "L'été a été créé ça et là.\n", "windows-1252", ""},
		"UTF-8":                      {"a.csv", german, german, "", ""},
		"a page that says it":        {"a.html", page(`<meta charset="iso-8859-1">`, in(latin, "Käse")), "Käse\n", "windows-1252", ""},
		"a page in another":          {"a.html", page(`<meta http-equiv="Content-Type" content="text/html; charset=windows-1251">`, in(charmap.Windows1251, "Склад")), "Склад\n", "windows-1251", ""},
		"a Japanese page":            {"a.html", page(`<meta charset="shift_jis">`, in(japanese.ShiftJIS, "倉庫")), "倉庫\n", "shift_jis", ""},
		"a page that says nothing":   {"a.htm", page("", in(latin, "Käse")), "Käse\n", "windows-1252", ""},
		"a page that lies":           {"a.html", page(`<meta charset="iso-8859-1">`, "Käse"), "Käse\n", "", ""},
		"XML":                        {"a.xml", `<?xml version="1.0" encoding="ISO-8859-2"?><a>` + in(charmap.ISO8859_2, "Łódź") + "</a>", `<?xml version="1.0" encoding="ISO-8859-2"?><a>Łódź</a>`, "iso-8859-2", ""},
		"UTF-8 broken in one place":  {"a.txt", "Käse\nfür K\xe4se\n", "", "", "1 bytes of it are not, the first in line 2"},
		"UTF-8 that was cut off":     {"a.txt", "Käse für K\xc3", "", "", "the first in line 1"},
		"UTF-8 said, and broken":     {"a.html", page(`<meta charset="utf-8">`, "Käse, K\xe4se"), "", "", "1 bytes"},
		"Cyrillic that says nothing": {"a.txt", in(charmap.Windows1251, russian), "", "", "does not say or show which charset"},
		"Japanese":                   {"a.csv", in(japanese.ShiftJIS, "倉庫は火曜日に閉まっています。\n"), "", "", "no text in UTF-8"},
		"Polish":                     {"a.txt", in(charmap.Windows1250, "Każda łódź była żółta, a właściciel miał mało czasu."), "", "", "does not say"},
		"no text":                    {"a.txt", "\x7fELF\x02\x01\xe4\xff\x10", "", "", "does not say"},
	} {
		d, err := passage.Read(tc.file, []byte(tc.data))
		if tc.refused != "" {
			if stead.KindOf(err) != stead.KindNotImplemented || !strings.Contains(err.Error(), tc.refused) {
				t.Errorf("%s: %q, %v", name, d.Text, err)
			}
			continue
		}
		if err != nil || d.Text != tc.text || d.Charset != tc.set {
			t.Errorf("%s: %q in %q, %v", name, d.Text, d.Charset, err)
		}
	}
	if _, err := passage.Read("a.txt", []byte(strings.Repeat("K\xe4se aus dem Tal. ", passage.MaxBytes/18))); stead.KindOf(err) != stead.KindTooLarge {
		t.Errorf("a text that becomes too long: %v", err)
	}
}
