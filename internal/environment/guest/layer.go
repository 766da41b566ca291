package guest

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// LayerOp is what the guest's program does for a layer.
type LayerOp string

// The operations.
const (
	LayerRecord LayerOp = "record" // writes a record of the root
	LayerPack   LayerOp = "pack"   // takes one, gives the workspace back, and writes an archive
	LayerApply  LayerOp = "apply"  // takes an archive
)

// layerWord is the guest's first argument for them.
const layerWord = "layer"

// LayerTime is the longest that one of them takes.
const LayerTime = 20 * time.Minute

// maxLayerWords is how much of what one of them complains about is kept.
const maxLayerWords = 2 << 10

// Layer runs an operation of package layer over the container's root, as a command: program is where the
// guest's program lies inside, which nobody inside may be able to change. in is what it takes, which may
// be nil; at most max bytes that it makes are written to out, KindTooLarge above. KindUnavailable when it
// fails otherwise.
func (c *Client) Layer(ctx context.Context, program string, op LayerOp, in io.Reader, out io.Writer, max int64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var words []byte
	var failed error // of out
	exit, err := c.Exec(ctx, environment.Command{
		Args: []string{program, layerWord, string(op)}, Dir: "/", Stdin: in, Timeout: LayerTime, OutputBytes: environment.Unbounded,
	}, func(chunk environment.Chunk) {
		switch {
		case chunk.Stream == environment.Stderr:
			words = append(words, chunk.Data[:min(len(chunk.Data), maxLayerWords-len(words))]...)
		case failed != nil:
		case int64(len(chunk.Data)) > max:
			failed = stead.Errorf(stead.KindTooLarge, "what the set-up installed is larger than the environment may be")
			cancel(failed)
		default:
			max -= int64(len(chunk.Data))
			if _, failed = out.Write(chunk.Data); failed != nil {
				failed = stead.Wrap(stead.KindUnavailable, failed, "store a layer")
				cancel(failed)
			}
		}
	})
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return err
	case exit.Code != 0 || exit.Reason != "":
		why := errors.New(printable(string(words)))
		if exit.Reason != "" {
			why = errors.New(string(exit.Reason))
		}
		return stead.Wrap(stead.KindUnavailable, why, "the guest can't %s a layer", op)
	}
	return nil
}
