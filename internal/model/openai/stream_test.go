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

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/modeltest"
	"github.com/stead-dev/stead/internal/model/openai"
	"github.com/stead-dev/stead/internal/model/upstream"
)

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
			if !ok || !errors.Is(last, upstream.ErrTooLarge) || e.Retry {
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
