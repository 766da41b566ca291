package passage

import "strings"

// grid is a table of HTML as it is written: a line a row, with a rule behind the first one, so that each passage of it has the header.
type grid struct {
	inTable bool // a table of rows is open
	inCell  bool
	cells   int // of the row, so far
	rows    int // of the table, so far
}

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

// row writes what a tag in a table means; false: nothing, or there is no table.
func (w *page) row(name string, closes bool) bool {
	if !w.inTable || name == "caption" {
		return false
	}
	switch name {
	case "tr", "thead", "tbody", "tfoot":
		w.endRow()
	case "td", "th":
		w.endCell()
		switch {
		case closes:
		case w.cells == 0:
			w.inCell, w.breaks, w.prefix = true, max(w.breaks, 1), "| "
		default:
			w.inCell, w.space = true, true
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

func (w *page) endCell() {
	if !w.inCell {
		return
	}
	w.space = true
	w.write("|")
	w.inCell = false
	w.cells++
}

func (w *page) endRow() {
	if w.endCell(); w.cells == 0 {
		return
	}
	if w.rows++; w.rows == 1 {
		w.breaks = 1
		w.write("|" + strings.Repeat("---|", w.cells))
	}
	w.breaks, w.cells = 1, 0
}
