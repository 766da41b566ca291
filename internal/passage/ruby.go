package passage

import (
	"html"
	"strings"
)

// Words of Japanese and Chinese may have above them how they are read, a letter at a time (ruby). The word is written whole, and its
// reading behind it, so that both are found: 東京(とうきょう), not 東とう京きょう.

// maxReading is the longest reading of a word that is written, in bytes.
const maxReading = 256

// reads reports whether an element is a reading, or the parentheses around it for who shows none.
func reads(name string) bool { return name == "rt" || name == "rp" }

// read keeps the reading that begins in front of doc, and returns what is behind it.
func (w *page) read(doc, name string) string {
	rest, _ := w.skip(doc, name, gone)
	if name == "rt" {
		said := doc[:len(doc)-len(rest)]
		for said != "" && len(w.reading) <= maxReading {
			at := markup(said)
			w.reading += strings.TrimSpace(html.UnescapeString(said[:at]))
			if said = said[at:]; said != "" {
				_, _, _, said = readTag(said)
			}
		}
	}
	return rest
}

// readOut writes how the word was read that has ended.
func (w *page) readOut() {
	if w.reading != "" && len(w.reading) <= maxReading && w.breaks == 0 {
		w.space = false
		w.write("(" + w.reading + ")")
	}
	w.reading = ""
}
