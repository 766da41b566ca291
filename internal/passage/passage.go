// Package passage cuts documents into passages that can be found and read on their own. It does no I/O.
//
// Shape:
//
//	Read(name, bytes) ─▶ Document {format, text} ─▶ Cut(plan) ─▶ []Passage {heading, text, lines}
//
//	Markdown, HTML   by headings and paragraphs; a passage knows the headings that it stands under
//	code             by definitions: what begins at the left margin after an empty line
//	JSON, JSON lines by members of the outermost value
//	CSV, TSV         by records, whose fields ",", ";" or a tab parts; each passage begins with the header
//	text             by paragraphs
//
// What is no UTF-8 is read in the charset that it names (HTML, XML), or as Windows-1252 where it shows nothing else: see charset.go.
//
// Parts are put together until a passage is full, and cut only where one alone is longer than that: at
// a line's end, else a sentence's, else a word's. A passage repeats the end of the one before, but
// not across a section's beginning. Where a section is a page, each begins a passage, so that what is cited stands on the page that is named.
//
// Units and limits: tokens are estimated as four bytes each, as everywhere in Stead. MaxTokens of a
// document, MinSize and MaxSize of a passage, MaxTitle of what its heading repeats. What is written anew (HTML, JSON,
// UTF-16) is bounded while it is written, so that a file takes a few times its own bytes and MaxBytes of memory; time is linear.
//
// Errors: KindNotImplemented for what is no text, such as PDF (Converted takes what others made of that); KindInvalid for what is broken or
// empty; KindTooLarge.
//
// Source: npm openai 7.57.0, resources/vector-stores (the sizes); CommonMark 0.31 (headings, fences); WHATWG HTML, 13.2.5 (tags).
package passage

import (
	"bytes"
	"encoding/json"
	"path"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/stead-dev/stead"
)

const (
	// BytesPerToken is what a token is taken for.
	BytesPerToken = 4
	// MaxTokens is the longest document.
	MaxTokens = 5_000_000
	// MaxBytes is the same in bytes.
	MaxBytes = MaxTokens * BytesPerToken
	// MaxTitle is how many bytes of a title stand in the headings of passages below it.
	MaxTitle = 256
	// maxSpread is how many times longer JSON may become when it is laid out in lines: one that nests deeply becomes blanks.
	maxSpread = 8
	// MinSize and MaxSize bound Plan.Size; DefaultSize and DefaultOverlap are what is taken if nothing is said.
	MinSize        = 100
	MaxSize        = 4096
	DefaultSize    = 800
	DefaultOverlap = 400
)

// Format is how a document is built.
type Format string

// The formats. HTML is read as Markdown.
const (
	Text      Format = "text"
	Markdown  Format = "markdown"
	Code      Format = "code"
	JSON      Format = "json"
	JSONLines Format = "jsonl"
	CSV       Format = "csv"
)

// Document is a text that can be cut.
type Document struct {
	Format Format
	Text   string // UTF-8
	// Converted: it was written anew from what the file holds, so that its lines are not the file's.
	Converted bool
	// Paged: its sections are pages, "Page 7". No passage runs over two of them.
	Paged bool
	// Charset is what the file's bytes were read in, by its name of the WHATWG: "windows-1252". "": UTF-8, or UTF-16 with its mark.
	Charset string
}

// Plan says how large passages become, in tokens.
type Plan struct {
	Size    int `json:"size"`
	Overlap int `json:"overlap"` // that a passage repeats of the one before; at most half of Size
}

// Passage is a part of a document.
type Passage struct {
	Heading string `json:"heading,omitempty"` // that it stands under: "Refunds > After 30 days"
	Text    string `json:"text"`
	Lines   []int  `json:"lines,omitempty"` // the first and the last of the file's lines, from 1; nil: they are not known
	Page    int    `json:"page,omitempty"`  // that all of it is on, from 1; 0: the document has none
}

// Read finds out what a file is, by its name and its bytes.
func Read(name string, data []byte) (Document, error) {
	text, set, err := decode(name, data)
	if err != nil {
		return Document{}, err
	}
	if strings.TrimSpace(text) == "" {
		return Document{}, stead.Errorf(stead.KindInvalid, "file %.80q is empty", name)
	}
	if text = strings.ReplaceAll(text, "\r\n", "\n"); !strings.Contains(text, "\n") {
		text = strings.ReplaceAll(text, "\r", "\n") // as old programs end lines, and spreadsheets still write CSV
	}
	d := Document{Format: formatOf(name), Text: text, Charset: set}
	switch ext := strings.ToLower(path.Ext(name)); {
	case ext == ".html" || ext == ".htm" || ext == ".xhtml":
		d = Document{Format: Markdown, Text: markdown(d.Text), Converted: true, Charset: set}
	case d.Format == JSON:
		before := d.Text
		d.Text, d.Format = indented(d.Text)
		d.Converted = strings.TrimSpace(before) != strings.TrimSpace(d.Text)
	}
	return d.checked(name)
}

// Converted is the document of a file that somebody else has read, and written as Markdown.
func Converted(name, markdown string) (Document, error) {
	return Document{Format: Markdown, Text: markdown, Converted: true}.checked(name)
}

// Pages is Converted for a file of pages, each of which is a section: "## Page 7".
func Pages(name, markdown string) (Document, error) {
	return Document{Format: Markdown, Text: markdown, Converted: true, Paged: true}.checked(name)
}

func (d Document) checked(name string) (Document, error) {
	if strings.TrimSpace(d.Text) == "" {
		return Document{}, stead.Errorf(stead.KindInvalid, "file %.80q has no text", name)
	}
	if len(d.Text) > MaxBytes {
		return Document{}, stead.Errorf(stead.KindTooLarge, "file %.80q has more than %d tokens of %d bytes", name, MaxTokens, BytesPerToken)
	}
	return d, nil
}

// Tokens estimates how many tokens a text has.
func Tokens(text string) int { return (len(text) + BytesPerToken - 1) / BytesPerToken }

// decode returns the text of a file, and the charset that it was in if that is another than UTF-8, or UTF-16 with its mark at the beginning.
func decode(name string, data []byte) (text, set string, err error) {
	switch {
	case bytes.HasPrefix(data, []byte("%PDF-")):
		return "", "", unread(name, "a PDF")
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return "", "", unread(name, "a ZIP archive, as office documents are")
	case bytes.HasPrefix(data, []byte(`{\rtf`)):
		return "", "", unread(name, "RTF")
	case bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return wide(data), "", nil
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	switch {
	case bytes.IndexByte(data, 0) >= 0:
		return "", "", unread(name, "no text in UTF-8")
	case utf8.Valid(data):
		return string(data), "", nil
	}
	return legacy(name, data)
}

func unread(name, what string) error {
	e := stead.Errorf(stead.KindNotImplemented, "file %.80q is %s: text, Markdown, code, HTML, JSON and CSV are read", name, what)
	e.Hint = "Turn it into text first."
	return e
}

// wide reads UTF-16 in the byte order of its mark: no more than makes a document too long.
func wide(data []byte) string {
	low := 0
	if data[0] == 0xfe {
		low = 1
	}
	var out strings.Builder
	for i := 2; i+1 < len(data) && out.Len() <= MaxBytes; i += 2 {
		r := rune(data[i+low]) | rune(data[i+1-low])<<8
		if utf16.IsSurrogate(r) {
			next := rune(0)
			if i+3 < len(data) {
				next = rune(data[i+2+low]) | rune(data[i+3-low])<<8
			}
			if r = utf16.DecodeRune(r, next); r != utf8.RuneError {
				i += 2
			}
		}
		out.WriteRune(r)
	}
	return out.String()
}

func formatOf(name string) Format {
	ext := strings.TrimPrefix(strings.ToLower(path.Ext(name)), ".")
	switch ext {
	case "md", "markdown", "mdx":
		return Markdown
	case "json":
		return JSON
	case "jsonl", "ndjson":
		return JSONLines
	case "csv", "tsv":
		return CSV
	}
	if slices.Contains(strings.Fields(codeNames), ext) {
		return Code
	}
	return Text
}

// codeNames are the endings of files that hold code.
const codeNames = `c cc cpp cxx h hpp cs css go java js jsx mjs kt lua php pl proto py r rb rs scala sh sql swift tex toml ts tsx vue yaml yml zig`

// indented lays JSON out in lines, unless that makes it too long. What is none is taken as lines of JSON, or of text.
func indented(text string) (string, Format) {
	if json.Valid([]byte(text)) {
		if out, ok := laidOut(text, min(MaxBytes, maxSpread*len(text))); ok {
			return out, JSON
		}
	}
	return text, JSONLines
}

// laidOut writes valid JSON in lines that begin with two blanks a level, up to so many bytes.
func laidOut(text string, most int) (string, bool) {
	var b strings.Builder
	depth, opened := 0, false
	line := func() {
		b.WriteByte('\n')
		for range depth {
			b.WriteString("  ")
		}
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == ' ' || c == '\t' || c == '\n' || c == '\r' {
			continue
		}
		if b.Len() > most {
			return "", false
		}
		if closes := c == '}' || c == ']'; closes && !opened {
			depth--
			line()
		} else if !closes && opened {
			depth++
			line()
		}
		opened = c == '{' || c == '['
		end := i + 1
		if c == '"' {
			end = stringEnd(text, i)
		}
		b.WriteString(text[i:end])
		i = end - 1
		switch c {
		case ',':
			line()
		case ':':
			b.WriteByte(' ')
		}
	}
	return b.String(), b.Len() <= most
}

// stringEnd is the place behind a string of valid JSON that begins at from.
func stringEnd(text string, from int) int {
	for i := from + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(text)
}
