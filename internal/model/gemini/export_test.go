package gemini

import (
	"context"
	"io"
	"iter"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// Decode reads a reply, as Generate does once it has one.
func Decode(req model.Request, body io.Reader) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		out := upstream.NewOutput("up", req.Items, yield)
		if err := upstream.Decode(context.Background(), body, newDecoder(out, answerTool(req)), nil); err != nil && !out.Stopped() {
			yield(model.Delta{}, err)
		}
	}
}
