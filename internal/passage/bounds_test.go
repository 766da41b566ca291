package passage_test

import (
	"bytes"
	"encoding/json"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/passage"
)

// allocated is how many bytes something allocates, whether they are held at once or not.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestDocumentsTakeAFewTimesTheirSize: of each format the file that takes the most, as far as we know.
func TestDocumentsTakeAFewTimesTheirSize(t *testing.T) {
	const size = 1 << 20
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	deep := func(n int, inside string) string { return strings.Repeat("[", n) + inside + strings.Repeat("]", n) }
	for name, tc := range map[string]struct{ file, data string }{
		"JSON that nests deeply":         {"a.json", deep(9900, fill("0,")+"0")},
		"small JSON that nests deeply":   {"a.json", deep(9900, strings.Repeat("0,", 10_000)+"0")},
		"JSON of nothing":                {"a.json", "[" + fill("0,") + "0]"},
		"JSON of empty members":          {"a.json", "[" + fill("{},") + "0]"},
		"lines of JSON":                  {"a.jsonl", fill("1\n")},
		"paragraphs":                     {"a.txt", fill("a\n\n")},
		"empty lines":                    {"a.txt", "a" + fill("\n")},
		"a long heading, and much below": {"a.md", "# " + strings.Repeat("x", size/2) + "\n## y\n\n" + strings.Repeat("a\n\n", size/6)},
		"headings":                       {"a.md", fill("###### a\n")},
		"empty lines in a fence":         {"a.md", "```\n" + fill("\n")},
		"rows of a table":                {"a.md", "|a\n|-\n" + fill("|\n")},
		"a long header":                  {"a.md", "|" + fill("-") + "\n|-\n" + strings.Repeat("|\n", 1000)},
		"records":                        {"a.csv", "a\n" + fill("b\n")},
		"a quote without an end":         {"a.csv", "a\n\"" + fill("b\n")},
		"fields":                         {"a.csv", "a\n" + fill(",")},
		"definitions":                    {"a.go", fill("a\n\n")},
		"words of HTML":                  {"a.html", fill("a ")},
		"headings of HTML":               {"a.html", fill("<h6>a")},
		"preformatted parts":             {"a.html", fill("<pre>")},
		"cells of HTML":                  {"a.html", fill("</td>")},
		"tags without an end":            {"a.html", fill(`<a "`)},
		"comments without an end":        {"a.html", fill("<!--")},
		"scripts without an end":         {"a.html", fill("<script>")},
		"entities":                       {"a.html", fill("&nGt;")},
		"UTF-16":                         {"a.txt", "\xff\xfe" + fill("\x00\x40")},
		"characters that become longer":  {"a.txt", "\xff\xfe" + fill("\x00\xd8")},
	} {
		t.Run(name, func(t *testing.T) {
			const most = 64 // bytes for each of the file's
			n, begun := 0, time.Now()
			got := allocated(func() {
				d, err := passage.Read(tc.file, []byte(tc.data))
				if err != nil && stead.KindOf(err) != stead.KindInvalid {
					t.Fatal(err)
				}
				for _, p := range d.Cut(passage.Plan{Size: passage.DefaultSize, Overlap: passage.DefaultOverlap}) {
					n += len(p.Heading) + len(p.Text)
				}
			})
			took := time.Since(begun)
			t.Logf("%d bytes: %d allocated (%d each), passages of %d, %v", len(tc.data), got, got/uint64(len(tc.data)), n, took)
			if got > most*uint64(len(tc.data)) || n > 20*len(tc.data) || took > 20*time.Second {
				t.Errorf("%d bytes of a file allocate %d MiB and become %d MiB of passages in %v", len(tc.data), got>>20, n>>20, took)
			}
		})
	}
}

// TestWhatIsWrittenAnewIsBounded: it would be longer than a document may be, and is not written to its end.
func TestWhatIsWrittenAnewIsBounded(t *testing.T) {
	for name, data := range map[string]string{
		"a.html": strings.Repeat("<h6>a", 2*passage.MaxBytes/5),
		"a.txt":  "\xff\xfe" + strings.Repeat("\x00\xd8", passage.MaxBytes),
	} {
		var err error
		got := allocated(func() { _, err = passage.Read(name, []byte(data)) })
		if stead.KindOf(err) != stead.KindTooLarge || !strings.Contains(err.Error(), "more than 5000000 tokens") || got > 16*passage.MaxBytes {
			t.Errorf("%s: %v, with %d MiB", name, err, got>>20)
		}
	}
	// JSON stays as it is where lines of it would be too long.
	data := "[" + strings.Repeat("[[[0,0,0]]],", passage.MaxBytes/30) + "0]"
	d, err := passage.Read("a.json", []byte(data))
	if err != nil || d.Text != data {
		t.Errorf("%d bytes of JSON are read as %d, %v", len(data), len(d.Text), err)
	}
}

func TestJSONIsLaidOutAsAlways(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, ` [ ] `, `{"a":{},"b":[],"c":[{}, [ ]]}`, `{"a\\\"{":"[,:]\\","b" : [1,-2.5e3 , true,null,"\u00e9"]}`, "\n[\n1\n,\n2\n]\n", `"alone"`, `7`, `{"a":[{"b":[{"c":"d"}]}]}`,
	} {
		var want bytes.Buffer
		if err := json.Indent(&want, []byte(text), "", "  "); err != nil {
			t.Fatal(err)
		}
		d, err := passage.Read("a.json", []byte(text))
		if err != nil || d.Format != passage.JSON || strings.TrimSpace(d.Text) != strings.TrimSpace(want.String()) {
			t.Errorf("%s is laid out as %q, %v; want %q", text, d.Text, err, want.String())
		}
	}
}

// TestALongTitleIsReadOnce: passages below it have the beginning of it, and its own passages all of it.
func TestALongTitleIsReadOnce(t *testing.T) {
	title := strings.Repeat("Überschrift ", 30_000)
	all := ""
	for _, p := range cut(t, "a.md", "# "+title+"\n\n## Part\n\n"+strings.Repeat("the text\n\n", 300), 100, 0) {
		if len(p.Heading) > passage.MaxTitle+len(" > Part") || !strings.HasPrefix(p.Heading, "Überschrift Über") || !strings.Contains(p.Heading, "…") {
			t.Fatalf("a heading of %d bytes: %.400q", len(p.Heading), p.Heading)
		}
		all += p.Text
	}
	if n := strings.Count(strings.ReplaceAll(all, "\n", ""), "Überschrift"); n < 29_000 {
		t.Errorf("the title's words stand in its passages %d times", n)
	}
}
