package openai

import (
	"bufio"
	"context"
	"io"
	"iter"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// Decode reads a reply in one dialect, as Generate does once it has one.
func Decode(api string, items []stead.Item, body io.Reader) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		out := newOutput("up", items, yield)
		var dec decoder = newResponsesDecoder(out)
		if api == APIChat {
			dec = newChatDecoder(out)
		}
		if err := decode(context.Background(), body, dec); err != nil && !out.stopped {
			yield(model.Delta{}, err)
		}
	}
}

// Events reads all server-sent events, as "name|data".
func Events(r io.Reader, maxBytes int) ([]string, error) {
	var out []string
	e := newEventReader(bufio.NewReaderSize(r, 16), maxBytes)
	for {
		ev, err := e.next()
		if err != nil {
			return out, err
		}
		out = append(out, ev.name+"|"+string(ev.data))
	}
}

// ErrTooLarge is what a reader returns past its limit.
var ErrTooLarge = errTooLarge
