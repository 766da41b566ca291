package office

import (
	"bytes"
	"slices"
	"strings"

	"github.com/xuri/excelize/v2"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/passage"
)

// sheets reads a workbook. Its library shows numbers as the program does.
func (p *pack) sheets(data []byte) (string, error) {
	if err := p.survey(); err != nil {
		return "", err
	}
	f, err := excelize.OpenReader(bytes.NewReader(data), excelize.Options{UnzipSizeLimit: MaxUnpacked, UnzipXMLSizeLimit: MaxUnpacked})
	if err != nil {
		if strings.Contains(err.Error(), "unzip size exceeds") {
			return "", stead.Errorf(stead.KindTooLarge, "unpacked it is larger than %d MiB", MaxUnpacked>>20)
		}
		return "", err
	}
	defer f.Close()
	if err := isoDates(f); err != nil {
		return "", err
	}
	var out markdown
	cells := 0
	for _, name := range f.GetSheetList() {
		rows, err := p.sheet(&out, f, name, &cells)
		if err != nil {
			return "", err
		}
		if len(rows) > 0 {
			out.heading(2, name)
			at := headerOf(rows)
			out.heading(3, titleOf(rows[:at]))
			out.table(rows[at:])
		}
		out.held = 0
	}
	return out.String(), out.err()
}

// headerOf is the row that names the columns: people write titles above their tables.
func headerOf(rows [][]string) int {
	var filled []int
	for _, r := range rows[:min(len(rows), passage.HeaderSample)] {
		filled = append(filled, passage.Filled(r))
	}
	return passage.Header(filled)
}

// titleOf is what stands above a table, in one line: as a heading it goes with each part of the table.
func titleOf(rows [][]string) string {
	var lines []string
	for _, r := range rows {
		lines = append(lines, flat(strings.Join(r, " ")))
	}
	return strings.Join(lines, " · ")
}

// sheet returns the rows that are not empty, without empty cells at their ends.
func (p *pack) sheet(out *markdown, f *excelize.File, name string, cells *int) ([][]string, error) {
	rows, err := f.Rows(name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all [][]string
	for rows.Next() {
		if err := p.ctx.Err(); err != nil {
			return nil, err
		}
		row, err := rows.Columns()
		if err != nil {
			return nil, err
		}
		for len(row) > 0 && strings.TrimSpace(row[len(row)-1]) == "" {
			row = row[:len(row)-1]
		}
		if len(row) == 0 {
			continue
		}
		if *cells += len(row); *cells > MaxCells {
			return nil, stead.Errorf(stead.KindTooLarge, "it has more than %d cells", MaxCells)
		}
		for _, c := range row {
			out.hold(len(c))
		}
		if err := out.err(); err != nil {
			return nil, err
		}
		all = append(all, slices.Clone(row))
	}
	return all, rows.Error()
}
