package office

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"github.com/xuri/excelize/v2"

	"github.com/stead-dev/stead"
)

// sheets reads a workbook. Its library shows numbers and dates as the program does.
func sheets(ctx context.Context, data []byte) (string, error) {
	f, err := excelize.OpenReader(bytes.NewReader(data), excelize.Options{UnzipSizeLimit: MaxUnpacked, UnzipXMLSizeLimit: MaxUnpacked})
	if err != nil {
		if strings.Contains(err.Error(), "unzip size exceeds") {
			return "", stead.Errorf(stead.KindTooLarge, "unpacked it is larger than %d MiB", MaxUnpacked>>20)
		}
		return "", err
	}
	defer f.Close()
	var out markdown
	cells := 0
	for _, name := range f.GetSheetList() {
		rows, err := sheet(ctx, f, name, &cells)
		if err != nil {
			return "", err
		}
		if len(rows) > 0 {
			out.heading(2, name)
			out.table(rows)
		}
	}
	return out.String(), nil
}

// sheet returns the rows that are not empty, without empty cells at their ends.
func sheet(ctx context.Context, f *excelize.File, name string, cells *int) ([][]string, error) {
	rows, err := f.Rows(name)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out [][]string
	for rows.Next() {
		if err := ctx.Err(); err != nil {
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
		out = append(out, slices.Clone(row))
	}
	return out, rows.Error()
}
