package pdf_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/pdf"
)

// document makes a PDF of pages, each with the operators of its content.
func document(pages ...string) []byte {
	kids := ""
	for i := range pages {
		kids += fmt.Sprintf("%d 0 R ", 4+2*i)
	}
	objects := []string{
		"<< /Type /Catalog /Pages 2 0 R >>",
		fmt.Sprintf("<< /Type /Pages /Kids [%s] /Count %d >>", kids, len(pages)),
		"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
	}
	for i, p := range pages {
		objects = append(objects,
			fmt.Sprintf("<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents %d 0 R /Resources << /Font << /F 3 0 R >> >> >>", 5+2*i),
			fmt.Sprintf("<< /Length %d >>\nstream\n%s\nendstream", len(p), p))
	}
	var b bytes.Buffer
	b.WriteString("%PDF-1.4\n")
	var at []int
	for i, o := range objects {
		at = append(at, b.Len())
		fmt.Fprintf(&b, "%d 0 obj\n%s\nendobj\n", i+1, o)
	}
	table := b.Len()
	fmt.Fprintf(&b, "xref\n0 %d\n0000000000 65535 f \n", len(objects)+1)
	for _, n := range at {
		fmt.Fprintf(&b, "%010d 00000 n \n", n)
	}
	fmt.Fprintf(&b, "trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF", len(objects)+1, table)
	return b.Bytes()
}

func shows(lines ...string) string {
	out := "BT /F 12 Tf 72 700 Td 14 TL "
	for _, l := range lines {
		out += "(" + l + ") Tj T* "
	}
	return out + "ET"
}

// TestRead has one Reader: to compile PDFium takes seconds.
func TestRead(t *testing.T) {
	r := pdf.NewReader(t.TempDir())
	t.Run("pages are sections", func(t *testing.T) {
		text, err := r.Read(t.Context(), "a.pdf", document(shows("Refunds take 14 days.", "# no heading"), "", shows("Postage is free.")))
		if want := "## Page 1\n\nRefunds take 14 days.\n\\# no heading\n\n## Page 3\n\nPostage is free.\n\n"; err != nil || text != want {
			t.Errorf("%q, %v; want %q", text, err, want)
		}
	})
	t.Run("pictures alone", func(t *testing.T) {
		_, err := r.Read(t.Context(), "scan.pdf", document("0 0 m 100 100 l S"))
		if stead.KindOf(err) != stead.KindNotImplemented || !strings.Contains(err.Error(), `"scan.pdf": its 1 pages hold no text`) {
			t.Error(err)
		}
	})
	whole := document(shows("Refunds take 14 days."))
	t.Run("broken", func(t *testing.T) {
		for name, data := range map[string][]byte{
			"nothing behind the mark":           []byte("%PDF-1.7\n"),
			"noise":                             append([]byte("%PDF-1.7\n"), bytes.Repeat([]byte{0xfe, 0x01, 'o'}, 9000)...),
			"a page tree that is its own child": bytes.ReplaceAll(whole, []byte("/Kids [4 0 R ]"), []byte("/Kids [2 0 R ]")),
		} {
			if text, err := r.Read(t.Context(), name, data); err == nil || stead.KindOf(err) == stead.KindUnavailable {
				t.Errorf("%s: %q, %v", name, text, err)
			}
		}
	})
	t.Run("a password", func(t *testing.T) {
		locked := bytes.Replace(whole, []byte("/Root 1 0 R"), []byte("/Root 1 0 R /ID [(0123456789abcdef) (0123456789abcdef)] /Encrypt << /Filter /Standard /V 1 /R 2 /P -4 /O (0123456789abcdef0123456789abcdef) /U (0123456789abcdef0123456789abcdef) >>"), 1)
		if _, err := r.Read(t.Context(), "a.pdf", locked); stead.KindOf(err) != stead.KindNotImplemented || !strings.Contains(err.Error(), "password") {
			t.Error(err)
		}
	})
	t.Run("nobody waits any more", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.Read(ctx, "a.pdf", whole); err != context.Canceled {
			t.Error(err)
		}
	})
	t.Run("it ends when its time is over", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		page := strings.Repeat(shows("over and over"), 20_000)
		if _, err := r.Read(ctx, "a.pdf", document(slices.Repeat([]string{page}, 20)...)); err != context.DeadlineExceeded {
			t.Error(err)
		}
	})
	t.Run("and the next one is read", func(t *testing.T) {
		if text, err := r.Read(t.Context(), "a.pdf", whole); err != nil || !strings.Contains(text, "Refunds") {
			t.Errorf("%q, %v", text, err)
		}
	})
}

func TestIs(t *testing.T) {
	for data, want := range map[string]bool{"%PDF-1.4": true, "\n\n%PDF-2.0": true, "PDF": false, "": false, strings.Repeat(" ", 2000) + "%PDF-": false} {
		if pdf.Is([]byte(data)) != want {
			t.Errorf("%.20q: %v", data, !want)
		}
	}
}
