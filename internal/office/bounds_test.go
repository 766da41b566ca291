package office_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/office"
)

// allocated is how many bytes something allocates, whether they are held at once or not.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// book is a workbook of raw XML: rows of its one sheet, and other parts.
func book(t *testing.T, rows string, parts ...string) []byte {
	t.Helper()
	const main = `xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"`
	parts = append([]string{
		"[Content_Types].xml", `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="application/xml"/><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>`,
		"xl/_rels/workbook.xml.rels", links("worksheet", "worksheets/sheet1.xml"),
		"xl/workbook.xml", `<workbook ` + main + ` xmlns:r="` + relations + `"><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>`,
		"xl/worksheets/sheet1.xml", `<worksheet ` + main + `><sheetData>` + rows + `</sheetData></worksheet>`,
	}, parts...)
	return pack(t, "xl/workbook.xml", parts...)
}

func cells(n int, one func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(one(i))
	}
	return b.String()
}

// TestDocumentsAreBounded: of each kind the file that takes the most, as far as we know.
func TestDocumentsAreBounded(t *testing.T) {
	const sheetSpace = `xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"`
	shared := func(items string) []string {
		return []string{"xl/sharedStrings.xml", `<sst ` + sheetSpace + `>` + items + `</sst>`}
	}
	show := func(ids, rels string) []byte {
		return pack(t, "ppt/presentation.xml", "ppt/presentation.xml", fmt.Sprintf(`<p:presentation xmlns:p="%s" xmlns:r="%s">%s</p:presentation>`, showSpace, relations, ids),
			"ppt/_rels/presentation.xml.rels", `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`+rels+`</Relationships>`)
	}
	wide := "<w:tr>" + strings.Repeat("<w:tc/>", 20_000) + "</w:tr>"
	for name, tc := range map[string]struct {
		data []byte
		kind stead.Kind // "": it is read
	}{
		"one wide row among many":          {word(t, "<w:tbl>"+wide+strings.Repeat("<w:tr>"+cell(para("x"))+"</w:tr>", 4000)+"</w:tbl>"), ""},
		"empty cells":                      {word(t, "<w:tbl><w:tr>"+strings.Repeat("<w:tc/>", office.MaxText/16+1)+"</w:tr></w:tbl>"), stead.KindTooLarge},
		"empty rows":                       {word(t, "<w:tbl>"+strings.Repeat("<w:tr/>", office.MaxText/24+1)+"</w:tbl>"), stead.KindTooLarge},
		"tables in tables":                 {word(t, strings.Repeat("<w:tbl><w:tr><w:tc>", 60)+strings.Repeat("<w:tbl><w:tr><w:tc/></w:tr></w:tbl>", 20_000)+strings.Repeat("</w:tc></w:tr></w:tbl>", 60)), ""},
		"line breaks":                      {word(t, "<w:p><w:r>"+strings.Repeat("<w:br/>", 300_000)+"<w:t>x</w:t></w:r></w:p>"), ""},
		"attributes":                       {word(t, "<w:p "+strings.Repeat(`a="" `, office.MaxToken/4)+"/>"), stead.KindTooLarge},
		"styles":                           {word(t, para("x"), "word/styles.xml", "<styles>"+cells(office.MaxParts+1, func(i int) string { return fmt.Sprintf(`<style styleId="%d"/><outlineLvl val="1"/>`, i) })+"</styles>"), stead.KindTooLarge},
		"links":                            {show("", strings.Repeat(`<Relationship Id="a" Target="x"/>`, office.MaxParts+1)), stead.KindTooLarge},
		"slides":                           {show(strings.Repeat(`<sldId r:id="z"/>`, office.MaxParts+1), `<Relationship Id="z" Target="one.xml"/>`), stead.KindTooLarge},
		"a far cell and many rows":         {book(t, `<row r="1"><c r="XFD1"><v>1</v></c></row>`+cells(4000, func(i int) string { return fmt.Sprintf(`<row r="%d"><c r="A%d"><v>1</v></c></row>`, i+2, i+2) })), ""},
		"far cells":                        {book(t, cells(2000, func(i int) string { return fmt.Sprintf(`<row r="%d"><c r="XFD%d"><v>1</v></c></row>`, i+1, i+1) })), stead.KindTooLarge},
		"a shared text in many cells":      {book(t, `<row r="1">`+strings.Repeat(`<c t="s"><v>0</v></c>`, 16_000)+`</row>`, shared("<si><r><t>"+strings.Repeat("x", 1<<20)+"</t></r><r><t>y</t></r></si>")...), stead.KindTooLarge},
		"shared texts":                     {book(t, "", shared(strings.Repeat("<si/>", office.MaxElements))...), stead.KindTooLarge},
		"a cell of many parts":             {book(t, `<row r="1"><c r="A1" t="inlineStr"><is>`+strings.Repeat("<r/>", office.MaxCellElements)+`</is></c></row>`), stead.KindTooLarge},
		"one within what others leave out": {book(t, `<row r="1"><Fallback><c r="A1" t="inlineStr"><is>`+strings.Repeat("<r/>", office.MaxCellElements)+`</is></c></Fallback></row>`), stead.KindTooLarge},
		"a long format":                    {book(t, "", "xl/styles.xml", `<styleSheet `+sheetSpace+`><numFmts><numFmt numFmtId="200" formatCode="`+strings.Repeat("0", office.MaxFormat+1)+`"/></numFmts></styleSheet>`), stead.KindTooLarge},
		"sheets":                           {pack(t, "xl/workbook.xml", "xl/workbook.xml", `<workbook><sheets>`+strings.Repeat(`<sheet name="a"/>`, office.MaxSheets+1)+`</sheets></workbook>`), stead.KindTooLarge},
		"a second workbook that is chosen": {pack(t, `xl/other.xml"/><Relationship Id="r2" Type="`+relations+`/officeDocument" Target="xl/workbook.xml`, "xl/workbook.xml", "<workbook/>",
			"xl/other.xml", "<workbook><sheets>"+strings.Repeat(`<sheet/>`, office.MaxSheets+1)+"</sheets></workbook>"), stead.KindTooLarge},
		"a text in characters of their own": {book(t, "", "xl/other.xml", `<?xml version="1.0" encoding="latin1"?><a/>`), stead.KindInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			var text string
			var err error
			begun := time.Now()
			got := allocated(func() { text, err = office.Read(t.Context(), "a", tc.data) })
			took := time.Since(begun)
			t.Logf("%d bytes: %d of text, %d MiB allocated, %v, %v", len(tc.data), len(text), got>>20, took, err)
			if stead.KindOf(err) != tc.kind || len(text) > office.MaxText {
				t.Errorf("%d bytes of text, %v", len(text), err)
			}
			if got > 2<<30 || took > 20*time.Second {
				t.Errorf("%d bytes of a file allocate %d MiB in %v", len(tc.data), got>>20, took)
			}
		})
	}
}

// TestReadingEndsWithItsContext: whatever is read.
func TestReadingEndsWithItsContext(t *testing.T) {
	long := strings.Repeat("<w:r/>", 2_000_000)
	for name, data := range map[string][]byte{
		"a document": word(t, long),
		"a show":     pack(t, "ppt/presentation.xml", "ppt/presentation.xml", "<a>"+long+"</a>"),
		"a workbook": book(t, "", "xl/sharedStrings.xml", "<sst>"+strings.Repeat("<x/>", 1_900_000)+"</sst>"),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		begun := time.Now()
		_, err := office.Read(ctx, "a", data)
		cancel()
		if err != context.DeadlineExceeded || time.Since(begun) > 10*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(begun))
		}
	}
}

// TestADirectoryThatLies: what a part says of its own size is believed by nobody.
func TestADirectoryThatLies(t *testing.T) {
	data := word(t, para(strings.Repeat("o", 1000)))
	at := bytes.LastIndex(data, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(data[at+24:], 1) // bytes that the part has unpacked
	if text, err := office.Read(t.Context(), "a", data); err == nil {
		t.Errorf("read %d bytes of a part that says it has 1", len(text))
	}
}
