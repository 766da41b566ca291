package openai

import (
	"bytes"
	"context"
	"io"
	"iter"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// Decode reads a reply in one dialect, as Generate does once it has one.
func Decode(api string, items []stead.Item, body io.Reader) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		out := upstream.NewOutput("up", items, yield)
		var dec upstream.Decoder = newResponsesDecoder(out)
		if api == APIChat {
			dec = newChatDecoder(out)
		}
		if err := upstream.Decode(context.Background(), body, dec, nil); err != nil && !out.Stopped() {
			yield(model.Delta{}, err)
		}
	}
}

// WithModel replaces a body's model.
func WithModel(object []byte, name string) ([]byte, bool) {
	pieces, ok := spliced(object, []edit{{member: "model", value: quoted(name)}})
	return bytes.Join(pieces, nil), ok
}
