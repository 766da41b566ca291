package passage

import "strings"

// grid is a table of HTML as it is written: a line a row, with a rule behind the first one, so that each passage of it has the header. What a
// cell spans keeps its columns: those beside it are empty, and in the rows below it stands again, as each row is read by itself.
type grid struct {
	inTable bool // a table of rows is open
	inCell  bool
	cells   int           // of the row, so far
	rows    int           // of the table, so far
	begun   int           // where the text of the open cell begins in what is written
	wide    int           // columns of the open cell
	high    int           // rows of it
	below   map[int]below // by column: what is of cells above
}

// below is a cell that reaches into the rows below.
type below struct {
	text string
	rows int // that it is yet in
}

const (
	// maxWide and maxHigh are the most columns and rows of one cell (WHATWG HTML, 4.9.11).
	maxWide, maxHigh = 1000, 65534
)

// rowsAlone says whether a table, which begins in front of doc, has rows of short texts, and no page laid out in it. Looked at is what is
// before the next table begins, or this one ends.
func rowsAlone(doc string) bool {
	for at := markup(doc); at < len(doc); at += 1 + markup(doc[at+1:]) {
		name, closes := strings.CutPrefix(doc[at+1:min(len(doc), at+len("</blockquote>"))], "/")
		if end := strings.IndexAny(name, " \t\n\f/>"); end >= 0 {
			name = name[:end]
		}
		switch strings.ToLower(name) {
		case "table":
			return closes
		case "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "pre", "blockquote", "section", "article", "form":
			return false
		}
	}
	return false
}

func (w *page) begin(table bool) {
	w.endRow()
	w.grid = grid{inTable: table}
}

// row writes what a tag in a table means; false: nothing, or there is no table. inside is all of the tag.
func (w *page) row(name, inside string, closes bool) bool {
	if !w.inTable || name == "caption" {
		return false
	}
	switch name {
	case "tr", "thead", "tbody", "tfoot":
		w.endRow()
	case "td", "th":
		if w.endCell(); !closes {
			w.fromAbove()
			w.beginCell()
			w.inCell, w.begun, w.wide, w.high = true, -1, spans(inside, "colspan", maxWide), spans(inside, "rowspan", maxHigh)
		}
	default:
		w.space = w.space || blocks(name)
	}
	return true
}

// blocks says whether an element is parted from what is before it, which is a blank within a row.
func blocks(name string) bool {
	return name == "br" || name == "p" || name == "div" || name == "li" || name == "hr"
}

// beginCell makes the next text that of a cell.
func (w *page) beginCell() {
	if w.cells == 0 {
		w.breaks, w.prefix = max(w.breaks, 1), "| "
	} else {
		w.space = true
	}
}

// cell writes a whole cell.
func (w *page) cell(text string) {
	w.beginCell()
	w.write(strings.TrimPrefix(text+" |", " "))
	w.cells++
}

// fromAbove writes the cells at hand that are of rows above.
func (w *page) fromAbove() {
	for {
		b, ok := w.below[w.cells]
		if !ok {
			return
		}
		if b.rows--; b.rows == 0 {
			delete(w.below, w.cells)
		} else {
			w.below[w.cells] = b
		}
		w.cell(b.text)
	}
}

func (w *page) endCell() {
	if !w.inCell {
		return
	}
	text := ""
	if w.begun >= 0 {
		text = strings.TrimSpace(w.out.String()[w.begun:])
	}
	w.space = true
	w.write("|")
	w.inCell = false
	at := w.cells
	w.cells++
	for range w.wide - 1 {
		w.cell("")
	}
	if w.high > 1 {
		w.reach(at, text)
	}
}

// reach notes that the cell which ended, at a column, is of the rows below too. Long texts are of the first alone.
func (w *page) reach(at int, text string) {
	if len(text) > MaxTitle {
		text = ""
	}
	if w.below == nil {
		w.below = map[int]below{}
	}
	for i := range w.wide {
		w.below[at+i] = below{text, w.high - 1}
		text = ""
	}
}

func (w *page) endRow() {
	if w.endCell(); w.cells == 0 {
		return
	}
	last := -1
	for at := range w.below {
		last = max(last, at)
	}
	for w.fromAbove(); w.cells <= last; w.fromAbove() {
		w.cell("")
	}
	if w.rows++; w.rows == 1 {
		w.breaks = 1
		w.write("|" + strings.Repeat("---|", w.cells))
	}
	w.breaks, w.cells = 1, 0
}

// spans reads how many columns, or rows, a cell has: 1 where its tag does not say.
func spans(tag, attribute string, most int) int {
	at := strings.Index(strings.ToLower(tag), attribute)
	if at < 0 {
		return 1
	}
	value, ok := strings.CutPrefix(strings.TrimLeft(tag[at+len(attribute):], " \t\n\f\r"), "=")
	value = strings.TrimLeft(value, " \t\n\f\r\"'")
	n := 0
	for i := 0; i < len(value) && '0' <= value[i] && value[i] <= '9' && n <= most; i++ {
		n = 10*n + int(value[i]-'0')
	}
	if !ok || n < 1 {
		return 1
	}
	return min(n, most)
}
