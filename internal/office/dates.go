package office

import (
	"slices"
	"strings"

	"github.com/xuri/excelize/v2"
)

// isoDates has a workbook show its dates as 2026-03-01, whatever order their formats have: 03-01-26 is another day elsewhere, and found by nobody.
// What a number is, a date since 1900 or 1904, is the workbook's own to say.
func isoDates(f *excelize.File) error {
	if f.Styles == nil || f.Styles.CellXfs == nil {
		return nil
	}
	codes := map[int]string{}
	if f.Styles.NumFmts != nil {
		for _, n := range f.Styles.NumFmts.NumFmt {
			if n != nil {
				codes[n.NumFmtID] = n.FormatCode
			}
		}
	}
	ids := map[string]int{}  // of the formats that are put in their place
	isos := map[int]string{} // of what was looked at
	for i := range f.Styles.CellXfs.Xf {
		id := f.Styles.CellXfs.Xf[i].NumFmtID
		if id == nil {
			continue
		}
		iso, ok := isos[*id]
		if !ok {
			code, own := codes[*id]
			if !own {
				code = builtIn(*id)
			}
			iso = isoFormat(code)
			isos[*id] = iso
		}
		if iso == "" {
			continue
		}
		if _, ok := ids[iso]; !ok {
			style, err := f.NewStyle(&excelize.Style{CustomNumFmt: &iso})
			if err != nil {
				return err
			}
			ids[iso] = *f.Styles.CellXfs.Xf[style].NumFmtID
		}
		own := ids[iso]
		f.Styles.CellXfs.Xf[i].NumFmtID = &own
	}
	return nil
}

// builtIn is the format of a number that programs know without its text, if it is one of dates: ECMA-376 part 1, 18.8.30, some of which are those
// of a language.
func builtIn(id int) string {
	switch {
	case id == 17:
		return "m-y"
	case id == 22:
		return "d-m-y h:m"
	case id >= 14 && id <= 16, slices.Contains([]int{27, 28, 29, 30, 31, 36, 50, 51, 52, 53, 54, 57, 58}, id):
		return "d-m-y"
	}
	return ""
}

// isoFormat is the format to show a number by instead, if it is shown as a date.
func isoFormat(code string) string {
	letters := formatLetters(code)
	has := func(letter string) bool { return strings.Contains(letters, letter) }
	day := has("d") && !(has("ddd") && !has("m") && !has("y")) // a weekday alone is none
	time := ""
	if has("h") {
		time = " hh:mm"
		if has("s") {
			time = " hh:mm:ss"
		}
	}
	switch {
	case day && (has("m") || has("y")):
		return "yyyy-mm-dd" + time
	case has("y") && has("m") && time == "":
		return "yyyy-mm"
	}
	return ""
}

// formatLetters are the letters of a format's first section that stand for parts of a date, in small ones: not what is quoted, escaped, or in
// brackets, such as a colour or a language.
func formatLetters(code string) string {
	var b strings.Builder
	code = strings.ToLower(code)
	for _, half := range []string{"am/pm", "a/p"} {
		code = strings.ReplaceAll(code, half, "")
	}
	for i := 0; i < len(code); i++ {
		end := byte(0)
		switch c := code[i]; c {
		case ';':
			return b.String()
		case '\\', '_', '*':
			i++
		case '"':
			end = '"'
		case '[':
			end = ']'
		default:
			b.WriteByte(c)
		}
		if end != 0 {
			if at := strings.IndexByte(code[i+1:], end); at >= 0 {
				i += 1 + at
			}
		}
	}
	if strings.Contains(b.String(), "general") {
		return ""
	}
	return b.String()
}
