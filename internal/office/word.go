package office

import (
	"path"
	"strconv"
	"strings"

	"github.com/stead-dev/stead"
)

// word reads a text document.
func (p *pack) word(main string) (string, error) {
	styles, err := p.styles(path.Join(path.Dir(main), "styles.xml"))
	if err != nil {
		return "", err
	}
	notes, err := p.notesOf(main)
	if err != nil {
		return "", err
	}
	w := &word{styles: styles, notes: notes, numbers: map[string]int{}}
	if err := p.walk(main, func(e element) error { w.tell(e); return w.out.err() }); err != nil {
		return "", err
	}
	return w.out.String(), w.out.err()
}

// styles returns the levels of headings, from 1, by the ids of their styles. An id is in the author's language; a style's
// name, or its outline level, says what it is.
func (p *pack) styles(name string) (map[string]int, error) {
	levels := map[string]int{}
	if p.files[name] == nil {
		return levels, nil
	}
	id := ""
	err := p.walk(name, func(e element) error {
		switch {
		case !e.begins:
		case e.name == "style":
			id = e.attr("styleId")
		case e.name == "name":
			style := strings.ToLower(e.attr("val"))
			if level, ok := strings.CutPrefix(style, "heading "); ok {
				levels[id], _ = strconv.Atoi(level) // another word is no level
			} else if style == "title" {
				levels[id] = 1
			}
		case e.name == "outlineLvl" && levels[id] == 0:
			levels[id] = outline(e)
		}
		if len(levels) > MaxParts {
			return stead.Errorf(stead.KindTooLarge, "it has more than %d styles of headings", MaxParts)
		}
		return nil
	})
	return levels, err
}

// outline is the level of a heading; 9 is the contract's word for none.
func outline(e element) int {
	if n, err := strconv.Atoi(e.attr("val")); err == nil && n >= 0 && n < 9 {
		return n + 1
	}
	return 0
}

// word is a document that is being read.
type word struct {
	styles  map[string]int
	notes   notes
	numbers map[string]int // of the notes that were referred to
	out     markdown
	// A text box holds paragraphs within one.
	open   []*paragraph
	tables []*table // that lie in each other
	text   bool     // within an element whose text counts
	gone   int      // elements of deleted text that are open
	hidden bool     // the open run is not shown
	list   bool     // the paragraph before was an item
	// The reading of a word (ruby) stands in front of it, and is written behind it.
	reads   bool // within a reading
	reading strings.Builder
}

// maxReading is the longest reading of a word that is written, in bytes.
const maxReading = 256

type paragraph struct {
	text    strings.Builder
	notes   []string // that it refers to
	heading int
	item    int // level of a list, from 1
}

type table struct {
	rows [][]string
	cell strings.Builder
	wide int  // columns of the open cell
	goes bool // it goes on with the cell above
}

// maxWide is the most columns of one cell; a program has no more.
const maxWide = 1000

// span reads what the open cell spans.
func (t *table) span(e element) {
	switch e.name {
	case "gridSpan":
		if n, err := strconv.Atoi(e.attr("val")); err == nil && n > 1 {
			t.wide = min(n, maxWide)
		}
	case "vMerge":
		t.goes = e.attr("val") != "restart"
	}
}

// end ends a cell. One that goes on with that above says the same, as each row is read by itself; beside one of several columns there are empty ones,
// so that what follows stands below its own header.
func (t *table) end(hold func(int)) {
	last := len(t.rows) - 1
	text, at := t.cell.String(), len(t.rows[last])
	if t.goes && last > 0 && at < len(t.rows[last-1]) && strings.TrimSpace(text) == "" {
		text = t.rows[last-1][at]
		hold(len(text))
	}
	t.rows[last] = append(t.rows[last], text)
	for range t.wide - 1 {
		t.rows[last] = append(t.rows[last], "")
	}
	hold(cellBytes * max(1, t.wide))
	t.cell.Reset()
	t.wide, t.goes = 1, false
}

func (w *word) tell(e element) {
	if strings.HasSuffix(e.space, "/math") {
		w.formula(e)
		return
	}
	if e.name != "" && !strings.Contains(e.space, "wordprocessingml") {
		return
	}
	switch e.name {
	case "":
		switch {
		case !w.text || w.gone > 0 || w.hidden:
		case !w.reads:
			w.write(e.text)
		case w.reading.Len()+len(e.text) <= maxReading:
			w.reading.WriteString(e.text)
		}
	case "rt":
		w.reads = e.begins
	case "ruby":
		if !e.begins && w.reading.Len() > 0 {
			w.write("(" + w.reading.String() + ")")
			w.reading.Reset()
		}
	case "del", "moveFrom":
		if e.begins {
			w.gone++
		} else {
			w.gone--
		}
	case "t":
		w.text = e.begins
	case "tbl", "tr", "tc":
		w.grid(e)
	case "p":
		if e.begins {
			w.open = append(w.open, &paragraph{})
		} else {
			w.end()
		}
	default:
		if e.begins {
			w.mark(e)
		}
	}
}

// formula writes an equation in one line, as people type one: a fraction with "/", what stands above or below with "^" and "_".
func (w *word) formula(e element) {
	switch {
	case e.name == "t":
		w.text = e.begins
	case !e.begins || w.gone > 0:
	case e.name == "r":
		w.hidden = false
	case e.name == "den":
		w.write("/")
	case e.name == "sup":
		w.write("^")
	case e.name == "sub":
		w.write("_")
	}
}

// mark reads what says something about a paragraph, or stands for a character.
func (w *word) mark(e element) {
	switch e.name {
	case "r":
		w.hidden = false
	case "vanish":
		off := e.attr("val")
		w.hidden = off != "0" && off != "false"
	case "tab", "ptab":
		w.write(" ")
	case "br", "cr":
		w.write("\n")
	case "noBreakHyphen":
		w.write("-")
	case "footnoteReference", "endnoteReference":
		w.refer(e)
	case "gridSpan", "vMerge":
		if n := len(w.tables); n > 0 {
			w.tables[n-1].span(e)
		}
	}
	if len(w.open) == 0 {
		return
	}
	p := w.open[len(w.open)-1]
	switch e.name {
	case "pStyle":
		p.heading = w.styles[e.attr("val")]
	case "outlineLvl":
		p.heading = max(p.heading, outline(e))
	case "ilvl":
		level, _ := strconv.Atoi(e.attr("val")) // another one is the outermost
		p.item = max(0, level) + 1
	case "numPr":
		p.item = max(p.item, 1)
	}
}

func (w *word) write(s string) {
	if len(w.open) > 0 {
		w.out.hold(len(s))
		w.open[len(w.open)-1].text.WriteString(s)
	}
}

func (w *word) end() {
	if len(w.open) == 0 {
		return
	}
	p := w.open[len(w.open)-1]
	text := p.text.String()
	heading, item, notes := p.heading, p.item, strings.Join(p.notes, "\n")
	w.open = w.open[:len(w.open)-1]
	if strings.TrimSpace(text) == "" {
		return
	}
	switch {
	case len(w.tables) > 0:
		w.tables[len(w.tables)-1].cell.WriteString(text + " " + notes + " ")
		return
	case heading > 0:
		w.out.heading(heading, text)
		w.out.paragraph(notes)
	case item > 0:
		w.out.item(item-1, text+" "+notes, !w.list)
	default:
		w.out.paragraph(strings.TrimSpace(text) + "\n" + notes)
	}
	w.list = heading == 0 && item > 0
	if len(w.open) == 0 {
		w.out.held = 0 // all of it is written
	}
}

// grid reads the parts of a table. One within a cell is that cell's text.
func (w *word) grid(e element) {
	if e.name == "tbl" && e.begins {
		w.tables = append(w.tables, &table{})
		return
	}
	if len(w.tables) == 0 {
		return
	}
	t := w.tables[len(w.tables)-1]
	switch {
	case e.name == "tr" && e.begins:
		w.out.hold(rowBytes)
		t.rows = append(t.rows, nil)
	case e.name == "tc" && !e.begins && len(t.rows) > 0:
		t.end(w.out.hold)
	case e.name == "tbl":
		rows := t.rows
		w.tables = w.tables[:len(w.tables)-1]
		w.list = false
		if len(w.tables) == 0 {
			w.out.table(rows)
			if len(w.open) == 0 {
				w.out.held = 0
			}
			return
		}
		outer := w.tables[len(w.tables)-1]
		for _, r := range rows {
			text := strings.Join(r, ", ") + "; "
			w.out.hold(len(text))
			outer.cell.WriteString(text)
		}
	}
}
