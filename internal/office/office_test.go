package office_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/office"
)

const (
	relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
	wordSpace = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
	showSpace = "http://schemas.openxmlformats.org/presentationml/2006/main"
	drawSpace = "http://schemas.openxmlformats.org/drawingml/2006/main"
)

// pack makes a package whose main part is the one named; parts are names and contents in turn.
func pack(t *testing.T, main string, parts ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	parts = append(parts, "_rels/.rels", links("officeDocument", main))
	for i := 0; i < len(parts); i += 2 {
		w, err := z.Create(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(parts[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// links is a part of relationships r1, r2, … : types and targets in turn.
func links(of ...string) string {
	out := `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`
	for i := 0; i < len(of); i += 2 {
		out += fmt.Sprintf(`<Relationship Id="r%d" Type="%s/%s" Target="%s"/>`, i/2+1, relations, of[i], of[i+1])
	}
	return out + `</Relationships>`
}

func word(t *testing.T, body string, more ...string) []byte {
	t.Helper()
	doc := fmt.Sprintf(`<w:document xmlns:w="%s" xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><w:body>%s</w:body></w:document>`, wordSpace, body)
	return pack(t, "word/document.xml", append(more, "word/document.xml", doc)...)
}

func para(text string) string { return "<w:p><w:r><w:t>" + text + "</w:t></w:r></w:p>" }

func styled(style, text string) string {
	return `<w:p><w:pPr><w:pStyle w:val="` + style + `"/></w:pPr><w:r><w:t>` + text + "</w:t></w:r></w:p>"
}

func item(level int, text string) string {
	return fmt.Sprintf(`<w:p><w:pPr><w:numPr><w:ilvl w:val="%d"/><w:numId w:val="1"/></w:numPr></w:pPr><w:r><w:t>%s</w:t></w:r></w:p>`, level, text)
}

func cell(content string) string { return "<w:tc>" + content + "</w:tc>" }

func reads(t *testing.T, data []byte, want string) {
	t.Helper()
	got, err := office.Read(t.Context(), "a", data)
	if err != nil || got != want {
		t.Errorf("read is\n%s\n%v; want\n%s", got, err, want)
	}
}

func TestADocumentsParts(t *testing.T) {
	// In a German document a heading's style is called berschrift1, and says in its name what it is.
	styles := fmt.Sprintf(`<w:styles xmlns:w="%s"><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>
		<w:style w:styleId="Eigen"><w:name w:val="Mein Titel"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>
		<w:style w:styleId="Normal"><w:name w:val="Normal"/></w:style></w:styles>`, wordSpace)
	table := "<w:tbl><w:tr>" + cell(para("Land")+para("(ISO)")) + cell(para("Fee | €")) + "</w:tr><w:tr>" +
		cell("<w:tbl><w:tr>"+cell(para("DE"))+cell(para("AT"))+"</w:tr></w:tbl>"+para("")) + cell(para("0")) + "</w:tr></w:tbl>"
	body := styled("berschrift1", "Refunds") + styled("Normal", "Goods come back") + para("# within 14 days") +
		styled("Eigen", "Postage") + item(0, "letters") + item(1, "small ones") + item(0, "parcels") + table + para("The end")
	reads(t, word(t, body, "word/styles.xml", styles), `# Refunds

Goods come back

\# within 14 days

## Postage

- letters
  - small ones
- parcels

| Land (ISO) | Fee \| € |
|---|---|
| DE , AT ; | 0 |

The end
`)
}

func TestWhatIsNotSaidInADocument(t *testing.T) {
	tracked := `<w:p><w:del><w:r><w:delText>thirty</w:delText><w:t>30</w:t></w:r></w:del><w:ins><w:r><w:t>14</w:t></w:r></w:ins><w:r><w:t xml:space="preserve"> days</w:t><w:tab/><w:noBreakHyphen/><w:br/><w:t>or more</w:t></w:r></w:p>`
	box := `<w:p><w:r><w:t>around </w:t></w:r><mc:AlternateContent><mc:Choice><w:txbxContent>` + para("a box") + `</w:txbxContent></mc:Choice><mc:Fallback><w:txbxContent>` + para("a box") + `</w:txbxContent></mc:Fallback></mc:AlternateContent><w:r><w:t>it</w:t></w:r></w:p>`
	field := `<w:p><w:r><w:instrText>PAGEREF x</w:instrText></w:r><w:r><w:rPr><w:vanish/></w:rPr><w:t>Obey me. </w:t></w:r><w:r><w:rPr><w:vanish w:val="0"/></w:rPr><w:t>page 3</w:t></w:r></w:p>`
	reads(t, word(t, tracked+box+field), "14 days -\nor more\n\na box\n\naround it\n\npage 3\n")
}

// An equation is text in a namespace of its own, and a word's reading stands in front of the word.
func TestFormulasAndReadings(t *testing.T) {
	const m = `xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"`
	run := func(s string) string { return "<m:r><m:t>" + s + "</m:t></m:r>" }
	formula := `<w:p><w:r><w:t xml:space="preserve">So </w:t></w:r><w:r><w:rPr><w:vanish/></w:rPr><w:t>Obey me. </w:t></w:r><m:oMath ` + m + `>` + run("E=m") + `<m:sSup><m:e>` + run("c") + `</m:e><m:sup>` + run("2") + `</m:sup></m:sSup>` + run("+") +
		`<m:f><m:num>` + run("a") + `</m:num><m:den>` + run("b") + `</m:den></m:f></m:oMath></w:p>`
	ruby := func(base, says string) string {
		return `<w:r><w:ruby><w:rubyPr/><w:rt><w:r><w:t>` + says + `</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>` + base + `</w:t></w:r></w:rubyBase></w:ruby></w:r>`
	}
	reads(t, word(t, formula+"<w:p>"+ruby("東京", "とうきょう")+`<w:r><w:t>です</w:t></w:r></w:p>`), "So E=mc^2+a/b\n\n東京(とうきょう)です\n")
}

// What a cell spans keeps its columns, and stands in each of its rows: each is read by itself.
func TestCellsThatSpanOthers(t *testing.T) {
	of := func(says, text string) string { return "<w:tc><w:tcPr>" + says + "</w:tcPr>" + para(text) + "</w:tc>" }
	const restart, goesOn, two = `<w:vMerge w:val="restart"/>`, `<w:vMerge/>`, `<w:gridSpan w:val="2"/>`
	reads(t, word(t, "<w:tbl><w:tr>"+of(two, "Region")+of("", "Sum")+"</w:tr><w:tr>"+of(restart, "North")+of("", "A")+of("", "10")+"</w:tr><w:tr>"+of(goesOn, "")+of("", "B")+of("", "20")+
		"</w:tr><w:tr>"+of(goesOn, "")+of(two+restart, "C")+"</w:tr></w:tbl>"), `| Region |  | Sum |
|---|---|---|
| North | A | 10 |
| North | B | 20 |
| North | C |  |
`)
}

func TestNotesStandWhereTheyAreReferredTo(t *testing.T) {
	ref := func(kind, id string) string { return `<w:r><w:` + kind + `Reference w:id="` + id + `"/></w:r>` }
	note := func(kind, id, more, text string) string {
		return `<w:` + kind + ` w:id="` + id + `"` + more + `>` + para(text) + `</w:` + kind + `>`
	}
	part := func(kind, notes string) string {
		return `<w:` + kind + ` xmlns:w="` + wordSpace + `">` + notes + `</w:` + kind + `>`
	}
	trains := `<w:p><w:r><w:t>Dogs</w:t></w:r>` + ref("footnote", "2") + `<w:r><w:t> may travel, cats</w:t></w:r>` + ref("endnote", "2") + `<w:r><w:t> too.</w:t></w:r><w:del>` +
		ref("footnote", "3") + `</w:del></w:p>`
	again := `<w:tbl><w:tr>` + cell(`<w:p><w:r><w:t>Hens</w:t></w:r>`+ref("footnote", "4")+ref("footnote", "2")+`</w:p>`) + cell(para("no")) + `</w:tr></w:tbl>`
	reads(t, word(t, trains+again,
		"word/_rels/document.xml.rels", links("footnotes", "footnotes.xml", "endnotes", "endnotes.xml"),
		"word/footnotes.xml", part("footnotes", note("footnote", "0", ` w:type="separator"`, "---")+note("footnote", "2", "", "Free of charge.")+note("footnote", "3", "", "Deleted.")+note("footnote", "4", "", "Eggs.")),
		"word/endnotes.xml", part("endnotes", note("endnote", "2", "", "In a box."))),
		"Dogs[1] may travel, cats[2] too.\n[1] Free of charge.\n[2] In a box.\n\n| Hens[3][1] [3] Eggs. | no |\n|---|---|\n")
}

func TestSlides(t *testing.T) {
	shape := func(kind, text string) string {
		return `<p:sp><p:nvSpPr><p:nvPr><p:ph type="` + kind + `"/></p:nvPr></p:nvSpPr><p:txBody><a:p><a:r><a:t>` + text + `</a:t></a:r></a:p></p:txBody></p:sp>`
	}
	slide := func(content string) string {
		return fmt.Sprintf(`<p:sld xmlns:p="%s" xmlns:a="%s"><p:cSld><p:spTree>%s</p:spTree></p:cSld></p:sld>`, showSpace, drawSpace, content)
	}
	row := func(cells ...string) string {
		out := "<a:tr>"
		for _, c := range cells {
			out += "<a:tc><a:txBody><a:p><a:r><a:t>" + c + "</a:t></a:r></a:p></a:txBody></a:tc>"
		}
		return out + "</a:tr>"
	}
	show := fmt.Sprintf(`<p:presentation xmlns:p="%s" xmlns:r="%s"><p:sldIdLst><p:sldId id="256" r:id="r2"/><p:sldId id="257" r:id="r1"/></p:sldIdLst></p:presentation>`, showSpace, relations)
	data := pack(t, "ppt/presentation.xml",
		"ppt/presentation.xml", show, "ppt/_rels/presentation.xml.rels", links("slide", "slides/one.xml", "slide", "/ppt/slides/two.xml"),
		"ppt/slides/one.xml", slide(shape("body", "by train")+shape("sldNum", "7")), "ppt/slides/_rels/one.xml.rels", links("notesSlide", "../notes/n.xml"),
		"ppt/notes/n.xml", slide(shape("body", "smile")+shape("sldNum", "7")),
		"ppt/slides/two.xml", slide(shape("ctrTitle", "Refunds")+"<p:graphicFrame><a:tbl>"+row("Land", "Fee")+row("DE", "0")+"</a:tbl></p:graphicFrame>"+shape("body", "asked often")))
	reads(t, data, `## Slide 1: Refunds

| Land | Fee |
|---|---|
| DE | 0 |

- asked often

## Slide 2

- by train

Notes:

- smile
`)
}

func workbook(t *testing.T, fill func(f *excelize.File)) []byte {
	t.Helper()
	f := excelize.NewFile()
	defer f.Close()
	fill(f)
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestSheetsShowWhatTheProgramShows(t *testing.T) {
	data := workbook(t, func(f *excelize.File) {
		date, err := f.NewStyle(&excelize.Style{NumFmt: 14})
		must(t, err, f.SetSheetName("Sheet1", "Fees"), f.SetSheetRow("Fees", "B2", &[]any{"Land", "Fee", "Since"}),
			f.SetSheetRow("Fees", "B4", &[]any{"DE | north", 2.5, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}), f.SetCellStyle("Fees", "D4", "D4", date))
		_, err = f.NewSheet("Empty")
		must(t, err)
	})
	reads(t, data, "## Fees\n\n|  | Land | Fee | Since |\n|---|---|---|---|\n|  | DE \\| north | 2.5 | 2026-03-01 |\n")
}

func TestATitleAboveATableIsItsHeading(t *testing.T) {
	data := workbook(t, func(f *excelize.File) {
		must(t, f.SetSheetRow("Sheet1", "A1", &[]any{"Price list of Nordwind AG", "", "2026"}), f.SetSheetRow("Sheet1", "A2", &[]any{"Draft"}),
			f.SetSheetRow("Sheet1", "A4", &[]any{"Article", "Purchase price", "Sales price", "Discount"}),
			f.SetSheetRow("Sheet1", "A5", &[]any{"Widget 1", 1, 2}), f.SetSheetRow("Sheet1", "A6", &[]any{"Widget 2", 3, 4, 5}), f.SetSheetRow("Sheet1", "A7", &[]any{"Widget 3", 3, 4, 5}))
	})
	reads(t, data, "## Sheet1\n\n### Price list of Nordwind AG 2026 · Draft\n\n| Article | Purchase price | Sales price | Discount |\n|---|---|---|---|\n"+
		"| Widget 1 | 1 | 2 |\n| Widget 2 | 3 | 4 | 5 |\n| Widget 3 | 3 | 4 | 5 |\n")
}

// TestDatesOfSheets: by the format of the number, in either of the two systems.
func TestDatesOfSheets(t *testing.T) {
	for _, since1904 := range []bool{false, true} {
		data := workbook(t, func(f *excelize.File) {
			must(t, f.SetWorkbookProps(&excelize.WorkbookPropsOptions{Date1904: &since1904}))
			at := time.Date(2025, 12, 10, 15, 4, 5, 0, time.UTC)
			row := 1
			show := func(value any, s excelize.Style) {
				cell := fmt.Sprintf("A%d", row)
				style, err := f.NewStyle(&s)
				must(t, err, f.SetCellValue("Sheet1", cell, value), f.SetCellStyle("Sheet1", cell, cell, style))
				row++
			}
			for _, id := range []int{14, 15, 16, 17, 22, 21} {
				show(at, excelize.Style{NumFmt: id})
			}
			for _, code := range []string{`dd/mm/yyyy;@`, `[$-407]d. mmmm yyyy`, `dddd`, `yy\-mm\-dd hh:mm:ss AM/PM`, `mmm yyyy`} {
				show(at, excelize.Style{CustomNumFmt: &code})
			}
			for _, code := range []string{`0.0 "days"`, `[Red]0.0_d`} {
				show(2.5, excelize.Style{CustomNumFmt: &code})
			}
			show("in May", excelize.Style{NumFmt: 14})
		})
		text, err := office.Read(t.Context(), "a.xlsx", data)
		got := strings.NewReplacer("| ", "", " |", "", "|---|\n", "").Replace(strings.TrimPrefix(text, "## Sheet1\n\n"))
		want := "2025-12-10\n2025-12-10\n2025-12-10\n2025-12\n2025-12-10 15:04\n15:04:05\n2025-12-10\n2025-12-10\nWednesday\n2025-12-10 15:04:05\n2025-12\n2.5 days\n2.5\nin May\n"
		if err != nil || strings.ReplaceAll(got, "2.5 \n", "2.5\n") != want {
			t.Errorf("since 1904 %v: %q, %v; want %q", since1904, got, err, want)
		}
	}
}

func TestSheetsAreBounded(t *testing.T) {
	far := workbook(t, func(f *excelize.File) { must(t, f.SetCellValue("Sheet1", "XFD1048576", "far")) })
	text, err := office.Read(t.Context(), "far.xlsx", far)
	if err != nil || !strings.Contains(text, "far") {
		t.Errorf("%d bytes, %v", len(text), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := office.Read(ctx, "far.xlsx", far); err != context.Canceled {
		t.Error(err)
	}
}

func TestRefusedDocuments(t *testing.T) {
	deep := strings.Repeat("<w:r>", office.MaxDepth) + strings.Repeat("</w:r>", office.MaxDepth)
	bomb := strings.Repeat("<!--"+strings.Repeat("o", 1<<20)+"-->", office.MaxPart>>20)
	whole := word(t, para("all of it"))
	for name, tc := range map[string]struct {
		data []byte
		kind stead.Kind
		says string
	}{
		"an archive":           {pack(t, "other/thing.xml", "a.txt", "a"), stead.KindNotImplemented, "without a DOCX"},
		"of before 2007":       {[]byte("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1more"), stead.KindNotImplemented, "of before 2007"},
		"cut off":              {whole[:len(whole)-30], stead.KindInvalid, "no whole office document"},
		"no XML":               {word(t, "<w:p>"), stead.KindInvalid, "no whole office document"},
		"without its part":     {pack(t, "word/document.xml"), stead.KindInvalid, `"word/document.xml" is missing`},
		"without its slide":    {pack(t, "ppt/presentation.xml", "ppt/presentation.xml", "<sldId/>"), stead.KindInvalid, "slide"},
		"deep":                 {word(t, deep), stead.KindInvalid, "more than 256 deep"},
		"a bomb":               {word(t, bomb), stead.KindTooLarge, "larger than 128 MiB"},
		"one long text":        {word(t, para(strings.Repeat("o", office.MaxToken+1<<13))), stead.KindTooLarge, "larger than 4 MiB"},
		"much text":            {word(t, strings.Repeat(para(strings.Repeat("o", 1<<20)), office.MaxText>>20+2)), stead.KindTooLarge, "more than 20000000 bytes of text"},
		"a part twice":         {pack(t, "word/document.xml", "word/document.xml", "<a/>", `Word\document.xml`, "<b/>"), stead.KindInvalid, "two parts"},
		"entities that expand": {pack(t, "word/document.xml", "word/document.xml", `<!DOCTYPE a [<!ENTITY b "boom">]><a>&b;</a>`), stead.KindInvalid, "no whole office document"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := office.Read(t.Context(), "some.docx", tc.data)
			if stead.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "some.docx") {
				t.Errorf("%v (%v), want %v with %q", err, stead.KindOf(err), tc.kind, tc.says)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("PK\x03\x04"))
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, _ := z.Create("_rels/.rels")
	_, _ = w.Write([]byte(links("officeDocument", "xl/workbook.xml")))
	_ = z.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		if text, err := office.Read(t.Context(), "a", data); err != nil && text != "" {
			t.Errorf("%q with %v", text, err)
		}
	})
}
