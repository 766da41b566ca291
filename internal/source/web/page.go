package web

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/charset"

	"github.com/stead-dev/stead/internal/source"
)

// format is what a page is read as; its value is the ending of such files, "" with text: what the path has.
type format string

const (
	none     format = "-" // no document
	pageHTML format = ".html"
	text     format = ""
)

// formatOf goes by the Content-Type; where there is none, by the ending.
func formatOf(contentType, p string) format {
	if contentType == "" {
		if contentType = mime.TypeByExtension(path.Ext(p)); contentType == "" {
			return pageHTML
		}
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind, _, _ = strings.Cut(strings.ToLower(contentType), ";")
	}
	switch kind = strings.TrimSpace(kind); kind {
	case "text/html", "application/xhtml+xml":
		return pageHTML
	case "text/markdown", "text/x-markdown":
		return ".md"
	case "application/pdf", "application/x-pdf":
		return ".pdf"
	case "application/json", "text/json":
		return ".json"
	case "application/x-ndjson", "application/jsonl", "application/x-jsonlines":
		return ".jsonl"
	case "text/csv":
		return ".csv"
	case "text/tab-separated-values":
		return ".tsv"
	case "application/yaml", "text/yaml", "text/x-yaml", "application/x-yaml":
		return ".yaml"
	case "application/vnd.openxmlformats-officedocument.wordprocessingml.document":
		return ".docx"
	case "application/vnd.openxmlformats-officedocument.presentationml.presentation":
		return ".pptx"
	case "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":
		return ".xlsx"
	case "text/css", "text/javascript", "text/xml", "text/calendar", "text/vcard":
		return none
	}
	if strings.HasPrefix(kind, "text/") {
		return text
	}
	return none
}

// nameOf is a page's name as a file: its ending says what it is.
func (f format) nameOf(p string) string {
	if strings.HasSuffix(p, "/") {
		p = strings.TrimPrefix(p+"index", "/")
	}
	ext := strings.ToLower(path.Ext(p))
	markup := ext == ".html" || ext == ".htm" || ext == ".xhtml"
	switch {
	case f == pageHTML && markup, string(f) == ext && f != text, f == text && isFile(p) && !markup:
	case f == text:
		p += ".txt"
	default:
		p += string(f)
	}
	const most = 500
	return strings.ToValidUTF8(p[max(0, len(p)-most):], "")
}

// utf8Of is a text in UTF-8, from what the Content-Type says, or the page itself, or UTF-8 as it is.
func (f format) utf8Of(data []byte, contentType string) ([]byte, error) {
	switch f {
	case pageHTML, text, ".md", ".csv", ".tsv":
	default:
		return data, nil
	}
	const looksAt = 1024
	enc, name, certain := charset.DetermineEncoding(data[:min(len(data), looksAt)], contentType)
	if name == "utf-8" || !certain && utf8.Valid(data) {
		return data, nil
	}
	return io.ReadAll(io.LimitReader(enc.NewDecoder().Reader(bytes.NewReader(data)), source.MaxDocumentBytes))
}

// directives are what a page says to us of itself.
type directives struct{ noindex, nofollow bool }

func (d *directives) add(word string) {
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "noindex":
		d.noindex = true
	case "nofollow":
		d.nofollow = true
	case "none":
		d.noindex, d.nofollow = true, true
	}
}

// headerDirectives reads X-Robots-Tag: words for everybody, and, behind a name, for that one.
func headerDirectives(h http.Header) directives {
	var d directives
	for _, line := range h.Values("X-Robots-Tag") {
		ours := true
		for part := range strings.SplitSeq(line, ",") {
			if name, rest, ok := strings.Cut(part, ":"); ok {
				name = strings.ToLower(strings.TrimSpace(name))
				if strings.HasPrefix(name, "max-") || name == "unavailable_after" || strings.ContainsAny(name, " \t") {
					continue // a word with a value, or the rest of a date
				}
				ours, part = name == token || name == "*", rest
			}
			if ours {
				d.add(part)
			}
		}
	}
	return d
}

// reading is what an HTML page has beside its text.
type reading struct {
	directives
	canonical *url.URL // nil: it names none that could be a page
	links     []*url.URL
}

// readHTML finds the links of a page in UTF-8. It is read as browsers read it.
func readHTML(data []byte, at *url.URL) reading {
	const maxToken = 1 << 20
	var r reading
	base, seen := at, map[string]bool{}
	z := html.NewTokenizer(bytes.NewReader(data))
	z.SetMaxBuf(maxToken)
	for {
		kind := z.Next()
		if kind == html.ErrorToken { // its end, or what no page has
			return r
		}
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		name, more := z.TagName()
		tag := string(name)
		if !more {
			continue
		}
		switch tag {
		case "a", "area", "base", "link", "meta", "frame", "iframe":
		default:
			continue
		}
		attr := attributes(z)
		switch tag {
		case "meta":
			if n := strings.ToLower(strings.TrimSpace(attr["name"])); n == "robots" || n == token {
				for word := range strings.SplitSeq(attr["content"], ",") {
					r.add(word)
				}
			}
		case "base":
			if u, err := at.Parse(strings.TrimSpace(attr["href"])); err == nil && base == at {
				base = u
			}
		case "link":
			if has(attr["rel"], "canonical") && r.canonical == nil {
				r.canonical, _ = normal(attr["href"], base)
			}
		case "a", "area":
			if !has(attr["rel"], "nofollow") {
				r.link(attr["href"], base, seen)
			}
		default:
			r.link(attr["src"], base, seen)
		}
	}
}

func (r *reading) link(href string, base *url.URL, seen map[string]bool) {
	u, ok := normal(href, base)
	if href == "" || !ok || seen[u.String()] || len(r.links) == maxLinks {
		return
	}
	seen[u.String()] = true
	r.links = append(r.links, u)
}

func attributes(z *html.Tokenizer) map[string]string {
	out := map[string]string{}
	for {
		key, value, more := z.TagAttr()
		if _, twice := out[string(key)]; !twice { // the first one counts
			out[string(key)] = string(value)
		}
		if !more {
			return out
		}
	}
}

// has reports whether a list of words has one, in whatever case.
func has(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}
