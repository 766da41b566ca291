// Package citation tells which passages a model's text speaks from, with any model.
//
// Shape: a passage that a model is given carries a mark, and the model puts the mark behind what it says by it.
//
//	Mark(key, n) ─▶ "[cite:ab12cd34]" in a search's result ─▶ … thirty days [cite:ab12cd34]. ─▶ Reader
//	                                                          "… thirty days." with a stead.Citation at its place
//
// A mark says nothing by itself: it becomes a citation where the passages that the conversation was given hold it, and stays text
// anywhere else. So none is invented, and a document that has marks of its own can't make one of a passage that it does not know.
//
// A Reader takes marks out while a text streams, wherever it was cut: what it shows of the pieces together is what Take shows of the
// whole. One space in front of a mark goes with it.
//
// Units and limits: an index counts characters (Unicode code points) of the text without marks, MaxCitations a text; marks beyond
// that stay text.
//
// Source: the Responses API's file_citation ("the index in the output text at which to insert the file citation"; npm openai 7.57.0).
package citation

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/stead-dev/stead"
)

// MaxCitations is the most citations of one text.
const MaxCitations = 128

const (
	prefix = "[cite:"
	suffix = "]"
	// digits is how much of a digest names a passage: 40 bits, which two passages of a conversation do not share.
	digits  = 8
	markLen = len(prefix) + digits + len(suffix)
	letters = "abcdefghijklmnopqrstuvwxyz234567"
)

// Mark names passage n of what a call found; key is the call's idempotency key, which no document knows.
func Mark(key string, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", key, n))
	return prefix + base32.NewEncoding(letters).EncodeToString(sum[:])[:digits] + suffix
}

// begins reports whether a text is a mark, or could become one.
func begins(s string) bool {
	if len(s) <= len(prefix) {
		return strings.HasPrefix(prefix, s)
	}
	rest, ok := strings.CutPrefix(s, prefix)
	if !ok || len(rest) > digits+len(suffix) {
		return false
	}
	return strings.Trim(rest[:min(len(rest), digits)], letters) == "" && (len(rest) <= digits || rest[digits:] == suffix)
}

// Passages are those that a conversation was given, by their marks.
type Passages map[string]stead.Citation

// Add takes in what a search returned, as it was given to the model: {"results": [{"cite", "file_id", …}]}. Anything else holds none.
func (p Passages) Add(result string) {
	var found struct {
		Results []struct {
			Cite     string          `json:"cite"`
			FileID   string          `json:"file_id"`
			Filename string          `json:"filename"`
			Source   json.RawMessage `json:"source"`
			Passage  json.RawMessage `json:"passage"`
		} `json:"results"`
	}
	if json.Unmarshal([]byte(result), &found) != nil {
		return
	}
	for _, f := range found.Results {
		if len(f.Cite) == markLen && begins(f.Cite) && f.FileID != "" {
			p[f.Cite] = stead.Citation{Mark: f.Cite, FileID: f.FileID, Filename: f.Filename, Source: f.Source, Passage: f.Passage}
		}
	}
}

// Reader takes the marks out of one text.
type Reader struct {
	Passages  Passages
	Citations []stead.Citation // so far, in their order

	shown   strings.Builder
	pending string // may be the begin of a mark, with the space before it
}

// Add takes a piece in, and gives what can be shown.
func (r *Reader) Add(piece string) string {
	r.pending += piece
	from := r.shown.Len()
	for {
		at := strings.Index(r.pending, prefix[:1])
		if at < 0 {
			r.show(len(strings.TrimSuffix(r.pending, " ")))
			break
		}
		before := len(strings.TrimSuffix(r.pending[:at], " "))
		rest := r.pending[at:]
		mark := rest[:min(len(rest), markLen)]
		if !begins(mark) {
			r.show(at + 1)
			continue
		}
		if len(mark) < markLen {
			r.show(before)
			break
		}
		if c, known := r.Passages[mark]; !known || len(r.Citations) == MaxCitations {
			r.show(at + 1)
		} else {
			r.show(before)
			r.pending = rest[markLen:]
			r.cite(c)
		}
	}
	return r.shown.String()[from:]
}

// End gives what is left: it is no mark.
func (r *Reader) End() string {
	from := r.shown.Len()
	r.show(len(r.pending))
	return r.shown.String()[from:]
}

// Shown is all that was shown.
func (r *Reader) Shown() string { return r.shown.String() }

func (r *Reader) show(n int) {
	r.shown.WriteString(r.pending[:n])
	r.pending = r.pending[n:]
}

// cite notes a citation where the text stands. The same one twice there is one.
func (r *Reader) cite(c stead.Citation) {
	c.Index = utf8.RuneCountInString(r.shown.String())
	for _, other := range slices.Backward(r.Citations) {
		if other.Index == c.Index && other.Mark == c.Mark {
			return
		}
	}
	r.Citations = append(r.Citations, c)
}

// Take takes the marks out of a whole text.
func Take(text string, p Passages) (string, []stead.Citation) {
	if len(p) == 0 {
		return text, nil
	}
	r := Reader{Passages: p}
	r.Add(text)
	r.End()
	return r.Shown(), r.Citations
}

// Put puts marks back where they were, for a model that reads its own text again: those of passages that it still has before it.
func Put(text string, cited []stead.Citation, p Passages) string {
	var out strings.Builder
	for runes := 0; text != ""; runes++ {
		cited = putAt(&out, runes, cited, p)
		_, n := utf8.DecodeRuneInString(text)
		out.WriteString(text[:n])
		text = text[n:]
	}
	putAt(&out, math.MaxInt, cited, p)
	return out.String()
}

func putAt(out *strings.Builder, at int, cited []stead.Citation, p Passages) []stead.Citation {
	for len(cited) > 0 && cited[0].Index <= at {
		if _, known := p[cited[0].Mark]; known {
			out.WriteString(" " + cited[0].Mark)
		}
		cited = cited[1:]
	}
	return cited
}

// Moved are citations of a text that somebody has changed since: those in front of the change and behind it stay with their words,
// and those within it stand at its end.
func Moved(cited []stead.Citation, before, after string) []stead.Citation {
	if before == after || len(cited) == 0 {
		return cited
	}
	was, is := []rune(before), []rune(after)
	head := 0
	for head < min(len(was), len(is)) && was[head] == is[head] {
		head++
	}
	tail := 0
	for tail < min(len(was), len(is))-head && was[len(was)-1-tail] == is[len(is)-1-tail] {
		tail++
	}
	out := slices.Clone(cited)
	for i := range out {
		switch at := &out[i].Index; {
		case *at <= head:
		case *at >= len(was)-tail:
			*at += len(is) - len(was)
		default:
			*at = len(is) - tail
		}
	}
	return out
}

// Annotation is a citation on the wire: the API's file_citation, with where the file comes from and where in it the passage stands.
type Annotation struct {
	Type     string          `json:"type"` // "file_citation"
	Index    int             `json:"index"`
	FileID   string          `json:"file_id"`
	Filename string          `json:"filename"`
	Source   json.RawMessage `json:"source,omitempty"`
	Passage  json.RawMessage `json:"passage,omitempty"`
}

// Annotations writes citations.
func Annotations(cited []stead.Citation) []Annotation {
	var out []Annotation
	for _, c := range cited {
		out = append(out, Annotation{"file_citation", c.Index, c.FileID, c.Filename, c.Source, c.Passage})
	}
	return out
}

// Marks are the marks in a text, in their order.
func Marks(text string) []string {
	var out []string
	for {
		at := strings.Index(text, prefix)
		if at < 0 {
			return out
		}
		if text = text[at:]; len(text) >= markLen && begins(text[:markLen]) {
			out = append(out, text[:markLen])
		}
		text = text[len(prefix):]
	}
}
