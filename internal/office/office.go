// Package office reads office documents as Markdown: DOCX, PPTX and XLSX. It does no I/O.
//
// Shape:
//
//	Is(bytes) bool      a ZIP archive, or a document of before 2007, or one with a password
//	Read(ctx, name, bytes) ─▶ Markdown
//
//	DOCX   headings by their styles, paragraphs, lists, tables, and behind each the footnotes and endnotes that it refers to;
//	       what was deleted with changes tracked is left out
//	PPTX   a section a slide, in the order of the show, with its tables and notes
//	XLSX   a section a sheet with one table, below the title that stands above its header; values are as the program shows them, but
//	       dates, which are 2026-03-01; formulas by their last result
//
// Text in pictures, charts, headers, footers and comments is left out.
//
// Limits: MaxText of what is written, MaxUnpacked, MaxPart, MaxParts, MaxDepth and MaxToken of what is read, MaxCells and what
// sheets.go says of workbooks. Each holds while a document is read, so that a small file takes no more memory than a large one.
// ctx ends the reading, within a second.
//
// Errors: KindNotImplemented for an archive that is none of the three, an old format and a password; KindInvalid for what is broken;
// KindTooLarge.
//
// Source: ECMA-376 5th edition: part 1 (WordprocessingML 17, SpreadsheetML 18, PresentationML 19), part 2 (packages, relationships).
package office

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/stead-dev/stead"
)

const (
	// MaxText is how many bytes of Markdown are written: what a vector store takes.
	MaxText = 20_000_000
	// MaxUnpacked is how many bytes all parts that are read may have together, unpacked; MaxPart those of one.
	MaxUnpacked = 256 << 20
	MaxPart     = 128 << 20
	// MaxParts is how many files a package may hold, and how many relationships, slides or styles of headings a document.
	MaxParts = 20_000
	// MaxDepth is how deep elements may lie in each other.
	MaxDepth = 256
	// MaxToken is how many bytes a text without elements in it may have, or an element's attributes.
	MaxToken = 4 << 20
	// MaxCells is how many cells of a workbook are read.
	MaxCells = 5_000_000
)

var (
	archive  = []byte("PK\x03\x04")
	compound = []byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1") // documents of before 2007, and those with a password
)

// Is says whether data looks like an office document.
func Is(data []byte) bool { return bytes.HasPrefix(data, archive) || bytes.HasPrefix(data, compound) }

// Read returns what a document says.
func Read(ctx context.Context, name string, data []byte) (string, error) {
	if bytes.HasPrefix(data, compound) {
		e := stead.Errorf(stead.KindNotImplemented, "file %.80q is an office document with a password, or of before 2007: DOCX, PPTX and XLSX are read", name)
		e.Hint = "Save it anew without a password."
		return "", e
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return "", broken(name, err)
	}
	if len(z.File) > MaxParts {
		return "", stead.Errorf(stead.KindTooLarge, "file %.80q has %d parts, the limit is %d", name, len(z.File), MaxParts)
	}
	p := &pack{ctx: ctx, files: map[string]*zip.File{}, left: MaxUnpacked}
	names := map[string]bool{}
	for _, f := range z.File {
		part := strings.TrimPrefix(path.Clean(strings.ReplaceAll(f.Name, `\`, "/")), "/")
		same := strings.ToLower(part)
		if names[same] { // two who read it could read two documents
			return "", broken(name, errors.New("it has two parts "+quoted(part)))
		}
		names[same], p.files[part] = true, f
	}
	text, err := p.read(data)
	var known *stead.Error
	switch {
	case err == nil:
		return text, nil
	case errors.As(err, &known):
		known.Message = "file " + quoted(name) + ": " + known.Message
		return "", known
	case ctx.Err() != nil:
		return "", ctx.Err()
	}
	return "", broken(name, err)
}

func (p *pack) read(data []byte) (text string, err error) {
	defer func() {
		if r := recover(); r != nil { // a hostile file may hold what nobody thought of, the workbooks' library neither
			text, err = "", fmt.Errorf("it can't be read (%v)", r)
		}
	}()
	links, err := p.links("")
	if err != nil {
		return "", err
	}
	main := ""
	for _, l := range links {
		if strings.HasSuffix(l.Type, "/officeDocument") {
			main = l.Target
		}
	}
	switch {
	case strings.HasPrefix(main, "word/"):
		return p.word(main)
	case strings.HasPrefix(main, "ppt/"):
		return p.slides(main)
	case strings.HasPrefix(main, "xl/"):
		return p.sheets(data)
	}
	e := stead.Errorf(stead.KindNotImplemented, "it is a ZIP archive without a DOCX, PPTX or XLSX document")
	e.Hint = "Upload the files that are in it."
	return "", e
}

func broken(name string, err error) error {
	return stead.Errorf(stead.KindInvalid, "file %s is no whole office document: %.200s", quoted(name), err.Error())
}

// pack is a package: parts by their names.
type pack struct {
	ctx   context.Context // of the one Read
	files map[string]*zip.File
	left  int64 // bytes that may still be unpacked
}

// link is a relationship of a part to another.
type link struct{ ID, Type, Target string }

// links are the relationships of a part, or of the package (""), with targets as names of parts.
func (p *pack) links(part string) ([]link, error) {
	dir, file := path.Split(part)
	name := path.Join(dir, "_rels", file+".rels")
	if p.files[name] == nil {
		return nil, nil
	}
	var out []link
	err := p.walk(name, func(e element) error {
		if e.name == "Relationship" && e.begins && e.attr("TargetMode") != "External" {
			target := e.attr("Target")
			if rest, absolute := strings.CutPrefix(target, "/"); absolute {
				target = path.Clean(rest)
			} else {
				target = path.Join(dir, target)
			}
			if len(out) == MaxParts {
				return stead.Errorf(stead.KindTooLarge, "a part has more than %d relationships", MaxParts)
			}
			out = append(out, link{e.attr("Id"), e.attr("Type"), target})
		}
		return nil
	})
	return out, err
}

// element is the beginning or the end of one, or, where name is "", text between two.
type element struct {
	name   string // without the namespace's prefix
	space  string
	begins bool
	attrs  []xml.Attr
	text   string
}

func (e element) attr(name string) string {
	for _, a := range e.attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// id is an attribute of the namespace of relationships, which stands beside others of the same name.
func (e element) id() string {
	for _, a := range e.attrs {
		if a.Name.Local == "id" && strings.HasSuffix(a.Name.Space, "/relationships") {
			return a.Value
		}
	}
	return ""
}

// bounded reads a part: no more of it than is left, and no more at once than MaxToken.
type bounded struct {
	r     io.Reader
	left  int64
	token int64 // that may be read until the next one begins
}

func (b *bounded) Read(p []byte) (int, error) {
	most := min(b.left, b.token)
	if most <= 0 {
		return 0, io.ErrShortBuffer // whoever reads asks which of the two it was
	}
	n, err := b.r.Read(p[:min(int64(len(p)), most)])
	b.left, b.token = b.left-int64(n), b.token-int64(n)
	return n, err
}

// walk tells each element of a part. Fallbacks repeat, for older programs, what stands beside them: they are left out.
func (p *pack) walk(name string, tell func(element) error) error {
	skip := 0
	return p.elements(name, func(e element) error {
		switch {
		case e.begins && (skip > 0 || e.name == "Fallback"):
			skip++
		case skip == 0:
			return tell(e)
		case e.name != "" && !e.begins:
			skip--
		}
		return nil
	})
}

// elements tells each element of a part.
func (p *pack) elements(name string, tell func(element) error) error {
	f := p.files[name]
	if f == nil {
		return errors.New("part " + quoted(name) + " is missing")
	}
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	most := min(MaxPart, p.left)
	part := &bounded{r: r, left: most + 1}
	defer func() { p.left -= most + 1 - part.left }()
	d := xml.NewDecoder(part)
	depth := 0
	for n := 0; ; n++ {
		if n%1024 == 0 && p.ctx.Err() != nil {
			return p.ctx.Err()
		}
		part.token = MaxToken
		t, err := d.Token()
		if part.left <= 0 {
			return stead.Errorf(stead.KindTooLarge, "unpacked it is larger than %d MiB", most>>20)
		}
		if part.token <= 0 {
			return stead.Errorf(stead.KindTooLarge, "a text or an element of it is larger than %d MiB", MaxToken>>20)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var e element
		switch t := t.(type) {
		case xml.StartElement:
			if depth++; depth > MaxDepth {
				return stead.Errorf(stead.KindInvalid, "its elements lie more than %d deep in each other", MaxDepth)
			}
			e = element{name: t.Name.Local, space: t.Name.Space, begins: true, attrs: t.Attr}
		case xml.EndElement:
			depth--
			e = element{name: t.Name.Local, space: t.Name.Space}
		case xml.CharData:
			e.text = string(t)
		default:
			continue
		}
		if err := tell(e); err != nil {
			return err
		}
	}
}
