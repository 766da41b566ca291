package office

import (
	"errors"
	"path"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
)

// The library that reads workbooks keeps whole parts as values, and copies a shared text into each cell that names it: a
// file of kilobytes could make it take all memory there is. So what it would make is counted before it is asked.

const (
	// MaxSheets is how many sheets a workbook may have.
	MaxSheets = 1000
	// MaxElements is how many elements those parts of a workbook may have that are kept whole: shared texts, styles, names.
	MaxElements = 2_000_000
	// MaxCellElements is how many elements a cell may have, as runs of its text.
	MaxCellElements = 10_000
	// MaxFormats is how many formats of numbers a workbook may have, MaxFormat the bytes of one, and MaxFormatTexts how often
	// it may repeat a cell's text. Programs allow some 200 formats of 255 characters.
	MaxFormats     = 5000
	MaxFormat      = 1024
	MaxFormatTexts = 8
)

// keptWhole are the names of parts that the library takes whole, besides the workbook, in small letters.
const keptWhole = " [content_types].xml _rels/.rels xl/styles.xml xl/sharedstrings.xml xl/calcchain.xml xl/theme/theme1.xml "

// survey is what is known of a workbook so far.
type survey struct {
	elements int // of parts that are kept whole
	sheets   int
	formats  int
	shared   []int32 // lengths of the shared texts, in bytes
	text     int     // bytes that all cells show
	// Of the part at hand.
	whole  bool // it is kept whole
	shares bool // it holds the shared texts
	reads  bool // what comes is text that a cell shows
	cell   int  // elements of the cell at hand; 0: there is none
	kind   string
	index  string // of the shared text that it names
	shows  int    // bytes
}

// survey refuses a workbook that would take too much. What a part is called says what the library does with it; that it is a
// sheet, nothing does.
func (p *pack) survey() error {
	begins, err := p.links("")
	if err != nil {
		return err
	}
	whole := map[string]bool{}
	for _, l := range begins { // the library's choice among them need not be ours
		dir, file := path.Split(l.Target)
		whole[l.Target], whole[path.Join(dir, "_rels", file+".rels")] = true, true
	}
	s := &survey{}
	left := p.left
	defer func() { p.left = left }() // the parts are read once more
	for _, shared := range []bool{true, false} {
		for name := range p.files {
			lower := strings.ToLower(name)
			s.shares = lower == "xl/sharedstrings.xml"
			if s.shares != shared {
				continue // shared texts come first: cells name them
			}
			s.whole = whole[name] || strings.Contains(keptWhole, " "+lower+" ")
			s.cell, s.reads = 0, false
			err := p.elements(name, s.tell)
			var known *stead.Error
			switch {
			case err == nil:
			case errors.As(err, &known), p.ctx.Err() != nil, strings.Contains(err.Error(), "CharsetReader"): // we can't read it, and the library can
				return err
			case s.whole:
				return err
			}
		}
	}
	return nil
}

func (s *survey) tell(e element) error {
	switch {
	case e.name == "":
		s.characters(e.text)
	case e.begins:
		return s.begin(e)
	case e.name == "v" || e.name == "t":
		s.reads = false
	case e.name == "c" && s.cell > 0:
		return s.endCell()
	}
	return nil
}

func (s *survey) begin(e element) error {
	if s.whole {
		if s.elements++; s.elements > MaxElements {
			return stead.Errorf(stead.KindTooLarge, "its shared texts, styles and names have more than %d elements", MaxElements)
		}
	}
	switch e.name {
	case "c":
		s.cell, s.kind, s.index, s.shows = 1, e.attr("t"), "", 0
	case "v", "t":
		s.reads = true
	case "si":
		if s.shares {
			s.shared = append(s.shared, 0)
		}
	case "sheet":
		if s.sheets++; s.whole && s.sheets > MaxSheets {
			return stead.Errorf(stead.KindTooLarge, "it has more than %d sheets", MaxSheets)
		}
	case "numFmt":
		return s.format(e)
	}
	if s.cell > 0 {
		if s.cell++; s.cell > MaxCellElements {
			return stead.Errorf(stead.KindTooLarge, "a cell has more than %d elements", MaxCellElements)
		}
	}
	return nil
}

func (s *survey) format(e element) error {
	if s.formats++; s.formats > MaxFormats {
		return stead.Errorf(stead.KindTooLarge, "it has more than %d formats of numbers", MaxFormats)
	}
	for _, a := range e.attrs {
		if len(a.Value) > MaxFormat || strings.Count(a.Value, "@") > MaxFormatTexts {
			return stead.Errorf(stead.KindTooLarge, "a format of numbers has more than %d bytes, or repeats a text more than %d times", MaxFormat, MaxFormatTexts)
		}
	}
	return nil
}

func (s *survey) characters(text string) {
	const digits = 20 // the longest number
	switch {
	case !s.reads:
	case s.shares && len(s.shared) > 0:
		s.shared[len(s.shared)-1] += int32(min(len(text), MaxText))
	case s.cell > 0 && s.kind == "s":
		s.index = (s.index + text)[:min(digits, len(s.index)+len(text))]
	case s.cell > 0:
		s.shows += len(text)
	}
}

func (s *survey) endCell() error {
	if s.kind == "s" {
		if i, err := strconv.Atoi(strings.TrimSpace(s.index)); err == nil && i >= 0 && i < len(s.shared) {
			s.shows = int(s.shared[i])
		}
	}
	s.cell = 0
	if s.text += s.shows; s.text > MaxText {
		return stead.Errorf(stead.KindTooLarge, "it has more than %d bytes of text", MaxText)
	}
	return nil
}
