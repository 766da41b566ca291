package passage

import (
	"encoding/csv"
	"strings"
	"testing"
)

// TestRecordsAreThoseOfCSV: they end where encoding/csv ends them, which takes hundreds of bytes a field.
func TestRecordsAreThoseOfCSV(t *testing.T) {
	for _, text := range []string{
		"a,b\n1,2\n", "a\n\"1\n2\",\"3\"\"\n4\"\n5\n", "a\nb \"c\nd\"\n\"\",e\n", "a\n\"b\"c\nd\",e\nf\n", "a\n\"never\nends\n", "a\n\n\n\"\"\n\"x\"",
		"\"h\n1\",b\n,\"\n\",\"\n\"\nlast", "a\n\"\"\"\n\"\nb", "a\n,\"\"\"\",\"\"x\n\"\n", "a\n \"b\nc\"",
	} {
		r := csv.NewReader(strings.NewReader(text))
		r.FieldsPerRecord, r.LazyQuotes = -1, true
		var want []string
		from := int64(0)
		for {
			if _, err := r.Read(); err != nil {
				break
			}
			want = append(want, strings.Trim(text[from:r.InputOffset()], "\n"))
			from = r.InputOffset()
		}
		var got []string
		records(text, func(b block) {
			if len(got) == 0 {
				got = append(got, b.lead)
			}
			got = append(got, b.text)
		})
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Errorf("the records of %q are %q, want %q", text, got, want)
		}
	}
}
