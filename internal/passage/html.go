package passage

import (
	"html"
	"strings"
)

// markdown writes the text of an HTML document as Markdown: headings, paragraphs, lists, tables and
// preformatted parts. What begins a tag, and where it ends, is as browsers have it (WHATWG HTML, 13.2.5), so that
// no text is taken for one.
func markdown(doc string) string {
	w := &page{open: map[string]int{}}
	for doc != "" && w.out.Len() <= MaxBytes { // what is too long need not be read to its end
		at := markup(doc)
		w.text(doc[:at])
		doc = w.tag(doc[at:])
	}
	return strings.TrimSpace(w.out.String()) + "\n"
}

// page is the Markdown that is being written.
type page struct {
	out     strings.Builder
	breaks  int    // newlines that come before the next text
	prefix  string // what the next text begins with: "## ", "- "
	space   bool   // a space comes before the next text
	pre     int    // how many <pre> are open
	started bool
	open    map[string]int // of boxed elements, by name
	looked  int            // bytes, see maxLooked
	reading string         // how the word that is open (ruby) is read
	grid
}

// markup is where the next tag or comment begins: a "<" before anything else is text ("< 5 kg").
func markup(doc string) int {
	for at := 0; ; at++ {
		next := strings.IndexByte(doc[at:], '<')
		if next < 0 {
			return len(doc)
		}
		at += next
		switch rest := doc[at+1:]; {
		case rest == "":
			return len(doc)
		case letter(rest[0]), rest[0] == '!', rest[0] == '?':
			return at
		case rest[0] == '/' && len(rest) > 1 && (letter(rest[1]) || rest[1] == '>'):
			return at
		}
	}
}

func letter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func (w *page) text(s string) {
	if s = html.UnescapeString(s); w.pre > 0 {
		w.write(s)
		return
	}
	if strings.TrimSpace(s) == "" {
		w.space = w.space || s != ""
		return
	}
	w.space = w.space || s[0] == ' ' || s[0] == '\n' || s[0] == '\t'
	for word := range strings.FieldsSeq(s) {
		w.write(word)
		w.space = true
	}
	last := s[len(s)-1]
	w.space = last == ' ' || last == '\n' || last == '\t'
}

func (w *page) write(s string) {
	switch {
	case s == "":
		return
	case w.started && w.breaks > 0:
		w.out.WriteString(strings.Repeat("\n", w.breaks))
	case w.started && w.space:
		w.out.WriteString(" ")
	}
	w.out.WriteString(w.prefix)
	if w.inCell && w.begun < 0 {
		w.begun = w.out.Len()
	}
	w.out.WriteString(s)
	w.breaks, w.prefix, w.space, w.started = 0, "", false, true
}

// tag reads one tag, and what must not be read as text behind it; it returns the rest.
func (w *page) tag(doc string) string {
	if doc == "" {
		return ""
	}
	name, closes, inside, doc := readTag(doc)
	if textless(name) {
		if !closes && !strings.HasSuffix(inside, "/") {
			return after(afterFold(doc, "</"+name), ">")
		}
		return doc
	}
	if !closes {
		if how := hides(name, inside); how != shown {
			if rest, hidden := w.skip(doc, name, how); hidden {
				return rest
			}
		}
	}
	if reads(name) && !closes && w.open["ruby"] > 0 {
		return w.read(doc, name)
	}
	switch {
	case !boxed(name) && name != "ruby":
	case closes:
		w.open[name] = max(w.open[name]-1, 0)
	default:
		w.open[name]++
	}
	switch name {
	case "":
	case "table":
		w.begin(!closes && rowsAlone(doc))
		w.paragraph()
	default:
		if !w.row(name, inside, closes) {
			w.element(name, closes)
		}
	}
	return doc
}

// readTag reads a tag: its name, in small letters, whether it closes, all that is inside, and what is behind it. Comments and doctypes have no name.
func readTag(doc string) (name string, closes bool, inside, rest string) {
	switch {
	case strings.HasPrefix(doc, "<!--"):
		return "", false, "", after(doc, "-->")
	case doc[1] == '!', doc[1] == '?': // a doctype, or a comment that is not written as one
		return "", false, "", after(doc, ">")
	}
	end := tagEnd(doc)
	inside = strings.TrimSuffix(strings.TrimPrefix(doc[:end], "<"), ">")
	name, closes = strings.CutPrefix(inside, "/")
	name = strings.ToLower(name)
	if at := strings.IndexAny(name, " \t\n\f/"); at >= 0 {
		name = name[:at]
	}
	return name, closes, inside, doc[end:]
}

// textless reports whether what is in an element is no text of the page.
func textless(name string) bool {
	switch name {
	case "script", "style", "noscript", "template", "svg":
		return true
	}
	return false
}

func (w *page) element(name string, closes bool) {
	switch name {
	case "h1", "h2", "h3", "h4", "h5", "h6", "title":
		w.paragraph()
		if !closes {
			w.prefix = strings.Repeat("#", max(1, strings.IndexByte("0123456", name[1]))) + " "
		}
	case "p", "div", "section", "article", "header", "footer", "main", "nav", "aside", "ul", "ol", "dl", "caption", "blockquote", "form", "figure", "hr", "tr", "body",
		"details", "summary", "figcaption", "address", "fieldset", "legend", "dialog", "menu", "hgroup", "search", "center", "optgroup", "textarea":
		w.paragraph()
	case "br", "dt", "dd", "td", "th", "li", "option", "select", "button":
		w.breaks = max(w.breaks, 1)
		if name == "li" && !closes {
			w.prefix = "- "
		}
	case "pre":
		w.fence(closes)
	case "ruby":
		w.readOut()
	}
}

func (w *page) paragraph() {
	w.breaks, w.prefix, w.reading = 2, "", ""
}

func (w *page) fence(closes bool) {
	switch {
	case !closes:
		w.paragraph()
		w.write("```\n")
		w.pre++
	case w.pre > 0:
		w.pre--
		w.breaks = 1
		w.write("```")
		w.paragraph()
	}
}

// tagEnd is the place behind a tag's ">", which may stand within an attribute's quotes too. A quote elsewhere, or one that never closes, is
// none.
func tagEnd(doc string) int {
	value := false // right behind a "="
	for i := 1; i < len(doc); i++ {
		switch c := doc[i]; c {
		case '>':
			return i + 1
		case '"', '\'':
			if end := strings.IndexByte(doc[i+1:], c); value && end >= 0 {
				i += 1 + end
			}
			value = false
		case '=':
			value = true
		case ' ', '\t', '\n', '\f', '\r':
		default:
			value = false
		}
	}
	return len(doc)
}

// after is what stands behind the first end, or nothing.
func after(doc, end string) string {
	_, rest, _ := strings.Cut(doc, end)
	return rest
}

// afterFold is after for letters of either case; end is in lower case.
func afterFold(doc, end string) string {
	for at := 0; at+len(end) <= len(doc); at++ {
		if doc[at] == '<' && strings.EqualFold(doc[at:at+len(end)], end) {
			return doc[at+len(end):]
		}
	}
	return ""
}
