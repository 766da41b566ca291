package passage

import (
	"html"
	"iter"
	"strings"
)

// What a page hides from its readers is not what it says: nobody would see instructions there. Hidden is what its own tag says so of: hidden, aria-hidden,
// and in style what is not displayed, not visible, seen through, or has no size. What style sheets and scripts hide is not seen.

// hiding is how much of an element nobody sees.
type hiding int

const (
	shown hiding = iota
	small        // its text has no size: none is seen unless what is in it has a size of its own
	gone         // all of it
)

// hides is how an element is hidden. Pages as a whole are not: scripts show them. tag is all of the tag.
func hides(name, tag string) (how hiding) {
	if name == "html" || name == "body" || void(name) {
		return shown
	}
	seen := map[string]bool{}
	for attribute, value := range attributes(tag) {
		if seen[attribute] { // the first one counts
			continue
		}
		seen[attribute] = true
		switch attribute {
		case "hidden":
			if !strings.EqualFold(value, "until-found") { // which a search in the page shows
				return gone
			}
		case "aria-hidden":
			if strings.EqualFold(value, "true") {
				return gone
			}
		case "style":
			how = hidesStyle(value)
		}
		if how == gone {
			return gone
		}
	}
	return how
}

// hidesStyle is how declarations of CSS hide an element.
func hidesStyle(css string) (how hiding) {
	for property, value := range declarations(css) {
		switch property {
		case "display":
			if value == "none" {
				return gone
			}
		case "visibility":
			if value == "hidden" || value == "collapse" {
				return gone
			}
		case "opacity", "width", "height", "max-width", "max-height":
			if nothing(value) {
				return gone
			}
		case "font-size":
			if how = shown; nothing(value) {
				how = small
			}
		}
	}
	return how
}

// sizes reports whether a tag gives its text a size, whatever it lies in has.
func sizes(tag string) bool {
	for attribute, value := range attributes(tag) {
		if attribute != "style" {
			continue
		}
		sized := false
		for property, value := range declarations(value) {
			if property == "font-size" {
				relative := strings.HasSuffix(value, "%") || strings.HasSuffix(value, "em") && !strings.HasSuffix(value, "rem") || value == "inherit" || value == "smaller" || value == "larger"
				sized = !nothing(value) && !relative
			}
		}
		return sized
	}
	return false
}

// declarations yields those of a style attribute, in small letters.
func declarations(css string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		css := html.UnescapeString(css)
		for {
			before, comment, ok := strings.Cut(css, "/*")
			if !ok {
				break
			}
			css = before + after(comment, "*/")
		}
		for one := range strings.SplitSeq(strings.ToLower(css), ";") {
			property, value, _ := strings.Cut(one, ":")
			value, _, _ = strings.Cut(value, "!")
			if !yield(strings.TrimSpace(property), strings.TrimSpace(value)) {
				return
			}
		}
	}
}

// nothing reports whether a length or a number is none, in whatever unit.
func nothing(value string) bool {
	number := strings.TrimRight(value, "abcdefghijklmnopqrstuvwxyz%")
	return number != "" && strings.Trim(number, "+-0.") == "" && strings.Contains(number, "0")
}

// attributes yields those of a tag as browsers read them: names in lower case.
func attributes(tag string) iter.Seq2[string, string] {
	const blank, ends = " \t\n\f\r/", " \t\n\f\r/="
	return func(yield func(string, string) bool) {
		at := strings.IndexAny(tag, blank)
		for at >= 0 {
			if tag = strings.TrimLeft(tag[at:], blank); tag == "" {
				return
			}
			end := strings.IndexAny(tag[1:], ends) + 1
			if end == 0 {
				end = len(tag)
			}
			name, value := strings.ToLower(tag[:end]), ""
			tag = strings.TrimLeft(tag[end:], " \t\n\f\r")
			if rest, ok := strings.CutPrefix(tag, "="); ok {
				value, tag = attributeValue(strings.TrimLeft(rest, " \t\n\f\r"))
			}
			if !yield(name, value) {
				return
			}
			at = 0
		}
	}
}

// attributeValue reads a value, and what is behind it.
func attributeValue(text string) (value, rest string) {
	if text != "" && (text[0] == '"' || text[0] == '\'') {
		value, rest, _ = strings.Cut(text[1:], text[:1])
		return value, rest
	}
	if end := strings.IndexAny(text, " \t\n\f\r"); end >= 0 {
		return text[:end], text[end:]
	}
	return text, ""
}

// void reports whether nothing can be in an element.
func void(name string) bool {
	switch name {
	case "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr":
		return true
	}
	return false
}

// boxed reports whether an element has an end of its own, which ends what is open in it.
func boxed(name string) bool {
	switch name {
	case "div", "section", "article", "main", "header", "footer", "nav", "aside", "ul", "ol", "dl", "table", "form", "figure", "blockquote", "details", "fieldset":
		return true
	}
	return false
}

// endedBy reports whether an element that need not be closed ends where another begins.
func endedBy(name, next string) bool {
	switch name {
	case "p":
		return next == "p" || next == "hr" || next == "pre" || boxed(next) || len(next) == 2 && next[0] == 'h' && '1' <= next[1] && next[1] <= '6'
	case "li":
		return next == "li"
	case "dt", "dd":
		return next == "dt" || next == "dd"
	case "td", "th":
		return next == "td" || next == "th" || next == "tr"
	case "tr":
		return next == "tr" || next == "tbody" || next == "tfoot"
	case "rt", "rp":
		return reads(next) || next == "rb" || next == "rtc" || endedBy("p", next)
	case "option":
		return next == "option" || next == "optgroup"
	}
	return false
}

// maxLooked is how many bytes of a page are read ahead for text that has a size of its own; behind that none is taken to be small.
const maxLooked = 4 * MaxBytes

// skip returns what is behind an element that is hidden, and began in front of doc: behind its end, or where something begins that it is not part of.
// hidden: it is, and not small alone with something in it that has a size.
func (w *page) skip(doc, name string, how hiding) (rest string, hidden bool) {
	if how == small {
		if w.looked > maxLooked {
			return doc, false
		}
		all := len(doc)
		defer func() { w.looked += all - len(rest) }()
	}
	in := nest{names: []string{name}, of: map[string]int{name: 1}}
	for {
		if doc = doc[markup(doc):]; doc == "" {
			return "", true
		}
		next, closes, tag, behind := readTag(doc)
		switch {
		case next == "":
		case textless(next):
			if !closes && !strings.HasSuffix(tag, "/") {
				behind = after(afterFold(behind, "</"+next), ">")
			}
		case closes && in.of[next] > 0:
			if in.close(next); len(in.names) == 0 {
				return behind, true
			}
		case closes && w.open[next] > 0: // of what it lies in
			return doc, true
		case closes:
		case endedBy(name, next) && in.boxes == 0:
			return doc, true
		case how == small && sizes(tag):
			return doc, false
		case !void(next):
			in.open(next)
		}
		doc = behind
	}
}

// nest are elements that are open in each other, the first of which is hidden.
type nest struct {
	names []string
	of    map[string]int // how many of a name
	boxes int            // how many of those in the first one are boxed
}

func (n *nest) open(name string) {
	n.names = append(n.names, name)
	n.of[name]++
	if boxed(name) {
		n.boxes++
	}
}

// close ends the last element of a name, and all in it.
func (n *nest) close(name string) {
	for closed := false; !closed; {
		last := len(n.names) - 1
		at := n.names[last]
		n.names, closed = n.names[:last], at == name
		n.of[at]--
		if last > 0 && boxed(at) {
			n.boxes--
		}
	}
}
