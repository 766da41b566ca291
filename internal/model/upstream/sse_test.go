package upstream_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead/internal/model/upstream"
)

func TestEvents(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     []string
		err      error
	}{
		{"one", "event: a\ndata: x\n\n", []string{"a|x"}, io.EOF},
		{"only one space goes", "data:  x \n\n", []string{"| x "}, io.EOF},
		{"no space", "data:x\n\n", []string{"|x"}, io.EOF},
		{"lines are joined", "data: x\ndata\ndata: y\n\n", []string{"|x\n\ny"}, io.EOF},
		{"a name without data is forgotten", "event: a\n\ndata: x\n\n", []string{"|x"}, io.EOF},
		{"comments and unknown fields", ": hi\n\nid: 1\nretry: 2\nfoo\ndata: x\n\n", []string{"|x"}, io.EOF},
		{"CRLF, CR and LF", "data: 1\r\n\r\ndata: 2\r\rdata: 3\n\n", []string{"|1", "|2", "|3"}, io.EOF},
		{"byte order mark", "\xef\xbb\xbfdata: x\n\n", []string{"|x"}, io.EOF},
		{"no blank line at the end", "data: 1\n\ndata: 2\n", []string{"|1", "|2"}, io.EOF},
		{"no line end at the end", "data: 1\n\ndata: 2", []string{"|1", "|2"}, io.EOF},
		{"an empty data line", "data\n\n", []string{"|"}, io.EOF},
		{"nothing", "", nil, io.EOF},
		{"one too large", "data: 12345678901234567890123456789012\n\n", nil, upstream.ErrTooLarge},
		{"lines too large together", strings.Repeat("data: 123456789\n", 4), nil, upstream.ErrTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"whole": strings.NewReader(tc.in), "byte by byte": iotest.OneByteReader(strings.NewReader(tc.in))} {
				got, err := upstream.Events(r, 32)
				if d := cmp.Diff(tc.want, got); d != "" || !errors.Is(err, tc.err) {
					t.Errorf("%s: %v, events (-want +got):\n%s", name, err, d)
				}
			}
		})
	}
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte("event: a\r\ndata: x\r\n\r\n"))
	f.Add([]byte("data: 1\rdata\n\n: c\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, err := upstream.Events(strings.NewReader(string(in)), 64)
		bytewise, err2 := upstream.Events(iotest.OneByteReader(strings.NewReader(string(in))), 64)
		if d := cmp.Diff(whole, bytewise); d != "" || !errors.Is(err2, err) {
			t.Errorf("how the bytes arrive matters (%v, %v):\n%s", err, err2, d)
		}
	})
}
