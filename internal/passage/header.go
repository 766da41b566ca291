package passage

import "strings"

const (
	// HeaderSample is how many rows of a table are looked at to find its header, and maxTitleRows how many may stand above that.
	HeaderSample = 50
	maxTitleRows = 10
)

// Header is which row of a table names its columns, by what Filled says of the first rows: people write titles, dates and remarks above. It
// is the first row about as full as most are; 0 where none is.
func Header(filled []int) int {
	most, times := usual(filled[:min(len(filled), HeaderSample)])
	if times < 2 {
		return 0 // no two rows are alike: nothing says that the first is none of them
	}
	for i, n := range filled[:min(len(filled), maxTitleRows+1)] {
		if 4*n >= 3*most { // a column or so may have no name
			return i
		}
	}
	return 0
}

// usual is how wide most rows are that are no single cell, the wider where as many are, and how many that is; 0 where there are none.
func usual(widths []int) (width, rows int) {
	times := map[int]int{}
	for _, n := range widths {
		if n < 2 {
			continue
		}
		if times[n]++; times[n] > rows || times[n] == rows && n > width {
			width, rows = n, times[n]
		}
	}
	return width, rows
}

// Filled is how many cells of a row say something. An empty corner, above the names of the rows, is as good as a name.
func Filled(cells []string) int {
	n := 0
	for _, c := range cells {
		if strings.TrimSpace(c) != "" {
			n++
		}
	}
	if n > 1 && strings.TrimSpace(cells[0]) == "" {
		n++
	}
	return n
}

// separator is what stands between the fields: what parts the first records into the same number of fields most often, titles and numbers
// with a comma in them notwithstanding.
func separator(text string) byte {
	best, most, widest := byte(','), 0.0, 0
	for _, c := range []byte{',', ';', '\t'} {
		records, _ := firstRecords(text, c)
		var widths []int
		for _, r := range records {
			widths = append(widths, len(fields(r, c)))
		}
		width, times := usual(widths)
		if times == 0 {
			continue
		}
		if share := float64(times) / float64(len(records)); share > most || share == most && width > widest {
			best, most, widest = c, share, width
		}
	}
	return best
}

// firstRecords are the first of CSV that are not empty, and the places behind them.
func firstRecords(text string, comma byte) (records []string, ends []int) {
	for at := 0; at < len(text) && len(records) < HeaderSample; {
		end := at + recordEnd(text[at:], comma)
		if r := strings.Trim(text[at:end], "\n"); r != "" {
			records, ends = append(records, r), append(ends, end)
		}
		at = end
	}
	return records, ends
}

// fields are those of a record, as they are written: no more than maxFields are told apart.
func fields(record string, comma byte) []string {
	const maxFields = 1000
	var out []string
	from, quoted, begins := 0, false, true
	for i := 0; i < len(record) && len(out) < maxFields; i++ {
		c := record[i]
		switch {
		case quoted && c == '"':
			if next := record[i+1:]; strings.HasPrefix(next, `"`) {
				i++
			} else if next == "" || next[0] == comma {
				quoted = false
			}
		case c == '"' && begins:
			quoted = true
		case c == comma && !quoted:
			out = append(out, record[from:i])
			from = i + 1
		}
		begins = !quoted && c == comma
	}
	return append(out, record[from:])
}

// headed is what stands above a table's rows: what every passage of it begins with, and what comes first by itself since it is too long for that.
type headed struct{ lead, title string }

// headOf finds the header of CSV, and the titles above it. It returns the place behind it.
func headOf(text string, comma byte) (headed, int) {
	records, ends := firstRecords(text, comma)
	if len(records) == 0 {
		return headed{}, len(text)
	}
	var filled []int
	for _, r := range records {
		filled = append(filled, Filled(fields(r, comma)))
	}
	i := Header(filled)
	var titles []string
	for j, r := range records[:i] {
		if filled[j] > 0 { // ";;;" is what a spreadsheet writes of an empty row
			titles = append(titles, strings.TrimRight(r, string(comma)))
		}
	}
	title := strings.Join(titles, "\n")
	if len(title) > MaxTitle || title == "" {
		return headed{records[i], title}, ends[i]
	}
	return headed{lead: title + "\n" + records[i]}, ends[i]
}
