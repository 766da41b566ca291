package passage

// Words of Japanese and Chinese may have above them how they are read, a letter at a time (ruby). The word is written whole, and its
// reading behind it, so that both are found: 東京(とうきょう), not 東とう京きょう.

// maxReading is the longest reading of a word that is written, in bytes.
const maxReading = 256

// maxRead is how far a reading goes, in bytes of the page: what has no end up to there is text like any other.
const maxRead = 16 * maxReading

// reads reports whether an element is a reading, or the parentheses around it for who shows none.
func reads(name string) bool { return name == "rt" || name == "rp" }

// read keeps the reading that begins in front of doc, and returns what is behind it.
func (w *page) read(doc, name string) string {
	near := doc[:min(len(doc), maxRead)]
	rest, _ := w.skip(near, name, gone)
	if rest == "" {
		return doc
	}
	said := near[:len(near)-len(rest)]
	doc = doc[len(said):]
	if name == "rt" && len(w.reading) <= maxReading {
		in := &page{open: map[string]int{}, looked: w.looked}
		for said != "" {
			at := markup(said)
			in.text(said[:at])
			said = in.tag(said[at:])
		}
		w.reading, w.looked = w.reading+in.out.String(), in.looked
	}
	return doc
}

// readOut writes how the word was read that has ended.
func (w *page) readOut() {
	if w.reading != "" && len(w.reading) <= maxReading && w.breaks == 0 {
		w.space = false
		w.write("(" + w.reading + ")")
	}
	w.reading = ""
}
