package openai_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/modeltest"
	"github.com/stead-dev/stead/internal/model/openai"
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
		{"one too large", "data: 12345678901234567890123456789012\n\n", nil, openai.ErrTooLarge},
		{"lines too large together", strings.Repeat("data: 123456789\n", 4), nil, openai.ErrTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"whole": strings.NewReader(tc.in), "byte by byte": iotest.OneByteReader(strings.NewReader(tc.in))} {
				got, err := openai.Events(r, 32)
				if d := cmp.Diff(tc.want, got); d != "" || !errors.Is(err, tc.err) {
					t.Errorf("%s: %v, events (-want +got):\n%s", name, err, d)
				}
			}
		})
	}
}

// endless repeats a piece for ever.
type endless struct{ piece string }

func (e endless) Read(p []byte) (int, error) { return copy(p, e.piece), nil }

func repeat(s string) endless { return endless{strings.Repeat(s, 8<<10/len(s))} }

func TestLimits(t *testing.T) {
	for name, body := range map[string]io.Reader{
		"a line without end":     repeat("data: x"),
		"comments without end":   repeat(": " + strings.Repeat("ping ", 100) + "\n\n"),
		"a document without end": io.MultiReader(strings.NewReader(`{"a":"`), repeat("x")),
		"blanks without end":     repeat("\n"),
	} {
		t.Run(name, func(t *testing.T) {
			var last error
			for _, err := range openai.Decode(openai.APIChat, nil, body) {
				last = err
			}
			e, ok := errors.AsType[*model.Error](last)
			if !ok || !errors.Is(last, openai.ErrTooLarge) || e.Retry {
				t.Errorf("error %v", last)
			}
		})
	}
}

// stream lets modeltest.Gather read a decoder.
type stream struct {
	api  string
	body []byte
}

func (s stream) Generate(_ context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return openai.Decode(s.api, req.Items, strings.NewReader(string(s.body)))
}

// fuzzStream feeds bytes to a decoder: whatever comes, it must end, with Done or an error, and
// keep the contract until then.
func fuzzStream(f *testing.F, api string) {
	files, err := filepath.Glob(filepath.Join("testdata", api, "*.txtar"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(txtar.Parse(b).Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		req := model.Request{Items: []stead.Item{modeltest.Call("call_old", "f", "{}")}}
		_, _ = modeltest.Gather(t, t.Context(), stream{api, body}, req)
	})
}

func FuzzResponsesStream(f *testing.F) { fuzzStream(f, openai.APIResponses) }

func FuzzChatStream(f *testing.F) { fuzzStream(f, openai.APIChat) }

func FuzzEvents(f *testing.F) {
	f.Add([]byte("event: a\r\ndata: x\r\n\r\n"))
	f.Add([]byte("data: 1\rdata\n\n: c\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, err := openai.Events(strings.NewReader(string(in)), 64)
		bytewise, err2 := openai.Events(iotest.OneByteReader(strings.NewReader(string(in))), 64)
		if d := cmp.Diff(whole, bytewise); d != "" || !errors.Is(err2, err) {
			t.Errorf("how the bytes arrive matters (%v, %v):\n%s", err, err2, d)
		}
	})
}
