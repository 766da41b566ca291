package passage_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/passage"
)

func cut(t *testing.T, name, data string, size, overlap int) []passage.Passage {
	t.Helper()
	d, err := passage.Read(name, []byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return d.Cut(passage.Plan{Size: size, Overlap: overlap})
}

func TestMarkdownKeepsItsSections(t *testing.T) {
	long := strings.Repeat("Goods come back to the shop on weekdays. ", 8)
	got := cut(t, "a.md", "# Shop\n\nIntro.\n\n## Refunds\n\n"+long+"\n\n```\n# no heading\n\ncode\n```\n\n## Shipping #\n\nBy train.\n", 100, 20)
	if len(got) != 2 || got[0].Heading != "Shop" || got[1].Heading != "Shop > Shipping" {
		t.Fatalf("passages %+v", got)
	}
	if !strings.Contains(got[0].Text, "```\n# no heading\n\ncode\n```") {
		t.Errorf("the fenced part was cut: %q", got[0].Text)
	}
	if got[1].Text != "## Shipping #\n\nBy train." {
		t.Errorf("a section's beginning repeats the one before: %q", got[1].Text)
	}
}

// TestPagesAreCutApart: whoever is sent to a page finds there what was cited.
func TestPagesAreCutApart(t *testing.T) {
	var text strings.Builder
	for page := 1; page <= 12; page++ {
		fmt.Fprintf(&text, "## Page %d\n\nSubject number%d.\n\n%s\n\n", page, page, strings.Repeat("More of it. ", page*6))
	}
	d, err := passage.Pages("slides.pdf", text.String())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	for _, p := range d.Cut(passage.Plan{Size: passage.MinSize, Overlap: 50}) {
		heading := fmt.Sprintf("Page %d", p.Page)
		if seen[p.Page] = true; p.Heading != heading || strings.Contains(p.Text, "## ") && !strings.HasPrefix(p.Text, "## "+heading+"\n") ||
			strings.Contains(p.Text, "Subject") && !strings.Contains(p.Text, fmt.Sprintf("number%d.", p.Page)) || strings.Count(p.Text, "Subject") > 1 {
			t.Errorf("page %d, %q: %q", p.Page, p.Heading, p.Text)
		}
	}
	if len(seen) != 12 {
		t.Errorf("pages %v", seen)
	}
	if d, _ := passage.Converted("a.docx", text.String()); d.Cut(passage.Plan{Size: passage.MinSize})[0].Page != 0 {
		t.Error("a document without pages names one")
	}
}

func TestRowsKnowTheirHeader(t *testing.T) {
	rows := ""
	for i := range 60 {
		rows += fmt.Sprintf("%d,\"name\nof %d\"\n", i, i)
	}
	for i, p := range cut(t, "a.csv", "id,name\n"+rows, 100, 0) {
		if !strings.HasPrefix(p.Text, "id,name\n") || strings.Count(p.Text, `"`)%2 != 0 {
			t.Errorf("passage %d: %q", i, p.Text)
		}
	}
	table := "| id | name |\n|---|:--|\n" + strings.Repeat("| 1 | somebody whose name is long |\n", 30)
	for i, p := range cut(t, "a.md", table, 100, 0) {
		if !strings.HasPrefix(p.Text, "| id | name |\n|---|:--|\n| 1 ") {
			t.Errorf("passage %d: %q", i, p.Text)
		}
	}
}

func TestCodeIsCutBetweenDefinitions(t *testing.T) {
	f := "func f%d() {\n\n\treturn // " + strings.Repeat("because ", 25) + "\n}\n\n"
	for i, p := range cut(t, "a.go", fmt.Sprintf(f+f+f, 1, 2, 3), 100, 0) {
		if !strings.HasPrefix(p.Text, "func f") || !strings.HasSuffix(p.Text, "}") {
			t.Errorf("passage %d: %q", i, p.Text)
		}
	}
}

func TestJSONIsCutBetweenMembers(t *testing.T) {
	item := `{"id":1,"text":"` + strings.Repeat("word ", 50) + `"}`
	got := cut(t, "a.json", "["+strings.Join([]string{item, item, item}, ",")+"]", 100, 0)
	if len(got) != 3 || !strings.Contains(got[1].Text, `"id": 1`) || strings.Count(got[1].Text, "{") != 1 {
		t.Errorf("passages %+v", got)
	}
	if got := cut(t, "a.json", item+"\n"+item, 100, 0); len(got) != 2 || got[1].Text != item {
		t.Errorf("lines of JSON: %+v", got)
	}
}

func TestHTMLIsReadAsMarkdown(t *testing.T) {
	d, err := passage.Read("a.html", []byte(`<!doctype html><html><head><title>Shop &amp; more</title><style>p{}</style>
		<SCRIPT>if (a < b) alert("no")</SCRIPT></head><body><!-- no --><h2 title="a>b">Refunds</h2><p>Within <b>30</b> days,
		not later.</p><ul><li>cash</li><li>card</li></ul><pre>a  b
c</pre><table><tr><th>x</th><td>1</td></tr></table>`))
	want := "# Shop & more\n\n## Refunds\n\nWithin 30 days, not later.\n\n- cash\n- card\n\n```\na  b\nc\n```\n\n| x | 1 |\n|---|---|\n"
	if err != nil || d.Format != passage.Markdown || d.Text != want {
		t.Errorf("%v: %q, want %q", err, d.Text, want)
	}
}

func TestTextsThatAreRead(t *testing.T) {
	for name, tc := range map[string]struct {
		file, data, text string
		kind             stead.Kind
	}{
		"UTF-16, little end first": {"a.txt", "\xff\xfeh\x00i\x00", "hi", ""},
		"UTF-16, big end first":    {"a.txt", "\xfe\xff\x00h\x00i", "hi", ""},
		"UTF-8 with a mark":        {"a.txt", "\xef\xbb\xbfhi\r\nyou", "hi\nyou", ""},
		"PDF":                      {"a.pdf", "%PDF-1.7", "", stead.KindNotImplemented},
		"RTF":                      {"a.rtf", `{\rtf1\ansi Hello}`, "", stead.KindNotImplemented},
		"lines of old programs":    {"a.csv", "id,note\r1,a\r", "id,note\n1,a\n", ""},
		"DOCX":                     {"a.docx", "PK\x03\x04", "", stead.KindNotImplemented},
		"bytes":                    {"a.txt", "a\x00b", "", stead.KindNotImplemented},
		"nothing":                  {"a.txt", " \n", "", stead.KindInvalid},
		"markup alone":             {"a.html", "<p></p>", "", stead.KindInvalid},
		"too much":                 {"a.txt", strings.Repeat("x", 4*passage.MaxTokens+1), "", stead.KindTooLarge},
	} {
		d, err := passage.Read(tc.file, []byte(tc.data))
		if d.Text != tc.text || stead.KindOf(err) != tc.kind {
			t.Errorf("%s: %q, %v", name, d.Text, err)
		}
	}
}

func TestOverlapIsTheEndOfThePassageBefore(t *testing.T) {
	var text strings.Builder
	for i := range 200 {
		fmt.Fprintf(&text, "Sentence number %d stands here. ", i)
	}
	got := cut(t, "a.txt", text.String(), 100, 40)
	for i := 1; i < len(got); i++ {
		begin := got[i].Text[:60]
		if at := strings.Index(got[i-1].Text, begin); at < 0 || len(got[i-1].Text)-at > 160 || !strings.HasPrefix(begin, "Sentence") {
			t.Errorf("passage %d begins with %q, the one before ends with %q", i, begin, got[i-1].Text[len(got[i-1].Text)-160:])
		}
	}
}

// FuzzCut holds what is always so: nothing of a text is lost, and no passage is longer than was asked for.
func FuzzCut(f *testing.F) {
	f.Add("a.md", "# a\n\nb\n\n| x |\n|-|\n| y |\n", uint16(100), uint16(50))
	f.Add("a.csv", strings.Repeat("h", 900)+"\n"+strings.Repeat("é", 900), uint16(100), uint16(50))
	f.Add("a.csv", strings.Repeat("h", 180)+"\n"+strings.Repeat("é", 900), uint16(100), uint16(50))
	f.Add("a.json", `{"a":[1,2],"b":"`+strings.Repeat("z ", 700)+`"}`, uint16(110), uint16(3))
	f.Add("a.go", "package a\n\nfunc b() {\n}\n", uint16(100), uint16(0))
	f.Add("a.html", "<h1>a<p>b<pre>c", uint16(100), uint16(0))
	f.Fuzz(func(t *testing.T, name, text string, size, overlap uint16) {
		plan := passage.Plan{Size: passage.MinSize + int(size)%1000}
		plan.Overlap = int(overlap) % (plan.Size/2 + 1)
		d, err := passage.Read(name, []byte(text))
		if err != nil {
			return
		}
		passages := d.Cut(plan)
		all := ""
		for _, p := range passages {
			if len(p.Text) > plan.Size*passage.BytesPerToken || !utf8.ValidString(p.Text) {
				t.Errorf("a passage of %d bytes where %d tokens are the most: %q", len(p.Text), plan.Size, p.Text)
			}
			all += p.Text + "\n"
		}
		for w := range strings.FieldsSeq(d.Text) {
			if len(w) < 50 && !strings.Contains(all, w) {
				t.Errorf("%q is in no passage", w)
			}
		}
	})
}

// A passage's lines are those that it is of: what stands in them is in its text, and no line is in no passage.
func TestPassagesKnowTheirLines(t *testing.T) {
	var markdown, code, text, rows strings.Builder
	for i := range 40 {
		fmt.Fprintf(&markdown, "## Part %d\n\nUnique m%d stands here.\nIt goes on as n%d.\n\n\n- item p%d\n- item q%d\n\n", i, i, i, i, i)
		fmt.Fprintf(&code, "func f%d() {\n\treturn g%d()\n}\n\n", i, i)
		fmt.Fprintf(&text, "Line a%d.\nLine b%d.\n\n", i, i)
		fmt.Fprintf(&rows, "r%d,\"s\nt%d\"\n", i, i)
	}
	for name, data := range map[string]string{
		"a.md": "\n\n" + markdown.String(), "a.go": code.String(), "a.txt": text.String(), "a.csv": "id,name\n" + rows.String(),
		"a.jsonl": strings.ReplaceAll(strings.Repeat("{\"a\":1}\n\n", 90), "\r", ""), "b.txt": strings.Repeat("one line, without an end to it ", 90) + "\nlast\n",
		"table.md": "# T\n\n| id | name |\n|---|---|\n" + strings.Repeat("| 1 | somebody whose name is long |\n", 60),
	} {
		for _, overlap := range []int{0, 50} {
			all := strings.Split(data, "\n")
			covered := map[int]bool{}
			for i, p := range cut(t, name, data, 100, overlap) {
				if len(p.Lines) != 2 || p.Lines[0] < 1 || p.Lines[0] > p.Lines[1] || p.Lines[1] > len(all) {
					t.Fatalf("%s/%d: lines %v of passage %d %q", name, overlap, p.Lines, i, p.Text)
				}
				own := strings.Join(all[p.Lines[0]-1:p.Lines[1]], "\n")
				for l := range strings.Lines(p.Text) {
					if l = strings.TrimSpace(l); !strings.Contains(own, l) && l != "id,name" && !strings.HasPrefix(l, "| id") && !strings.HasPrefix(l, "|---") {
						t.Fatalf("%s/%d: passage %d of lines %v has %q, the lines are %q", name, overlap, i, p.Lines, l, own)
					}
				}
				for n := p.Lines[0]; n <= p.Lines[1]; n++ {
					covered[n] = true
				}
				if want := strings.TrimSpace(all[p.Lines[0]-1]); !strings.Contains(p.Text, want) && name != "b.txt" {
					t.Fatalf("%s/%d: passage %d does not begin in line %d, %q: %q", name, overlap, i, p.Lines[0], want, p.Text)
				}
			}
			for n, l := range all {
				if strings.TrimSpace(l) != "" && !covered[n+1] && !strings.HasPrefix(l, "id,") && !strings.HasPrefix(l, "| id") && !strings.HasPrefix(l, "|---") {
					t.Errorf("%s/%d: line %d is in no passage: %q", name, overlap, n+1, l)
				}
			}
		}
	}
	if p := cut(t, "a.html", "<h1>Shop</h1><p>By train.</p>", 100, 0); len(p) != 1 || p[0].Lines != nil {
		t.Errorf("what was written anew says that it has lines: %+v", p)
	}
}

// TestTablesBelowATitleKnowTheirHeader: people write titles, dates and empty lines above tables.
func TestTablesBelowATitleKnowTheirHeader(t *testing.T) {
	rows := func(row string) string {
		out := ""
		for i := range 60 {
			out += strings.ReplaceAll(row, "N", fmt.Sprint(i)) + "\n"
		}
		return out
	}
	for name, tc := range map[string]struct{ data, lead string }{
		"a title":                   {"Report of branch Oslo\n\nName,Gross,Net\n" + rows("Person N,100,70"), "Report of branch Oslo\nName,Gross,Net\n"},
		"as a spreadsheet saves it": {"Prices, 2026;;\n;;\nAs of;2026-01-01;\nName;Gross;Net\n" + rows("Person N;1,5;2,5"), "Prices, 2026\nAs of;2026-01-01\nName;Gross;Net\n"},
		"an empty corner":           {"Sales\n,Q1,Q2\n" + rows("Shop N,1,2"), "Sales\n,Q1,Q2\n"},
		"no title":                  {"Name,Gross,Net\n" + rows("Person N,,70"), "Name,Gross,Net\n"},
		"a row that is wider":       {"Name,Gross\n" + rows("Person N,70") + "Person,1,late\n", "Name,Gross\n"},
		"one column":                {"Names\n" + rows("Person N"), "Names\n"},
	} {
		got := cut(t, "a.csv", tc.data, 100, 20)
		if len(got) < 2 {
			t.Fatalf("%s: %d passages", name, len(got))
		}
		for _, p := range got {
			if !strings.HasPrefix(p.Text, tc.lead) {
				t.Errorf("%s: a passage begins with %.60q, want %q", name, p.Text, tc.lead)
			}
		}
	}
	long := strings.Repeat("A long remark about what follows. ", 20)
	if got := cut(t, "a.csv", long+"\nName,Gross\n"+rows("Person N,70"), 400, 0); !strings.HasPrefix(got[0].Text, "A long remark") || !strings.HasPrefix(got[1].Text, "Name,Gross\nPerson 0") {
		t.Errorf("a long title: %.80q, %.80q", got[0].Text, got[1].Text)
	}
}
