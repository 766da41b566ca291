package environmenttest

import (
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

// testSlowReader has a reader that takes longer than the grace for each chunk. What the command wrote
// before it ended is still in a pipe when the grace is over, and nobody but the reader is to blame for
// that: all of it has to come. A driver that takes the grace for the time to read loses the end.
func testSlowReader(t *testing.T, r *rig) {
	b := r.open(t)
	const n = 150_000 // more than a pipe holds twice
	got, chunks := 0, 0
	exit, err := b.Exec(t.Context(), environment.Command{Args: []string{"head", "-c", "150000", "/dev/zero"}}, func(c environment.Chunk) {
		got += len(c.Data)
		if chunks++; chunks <= 8 {
			time.Sleep(environment.OutputGrace * 3 / 2)
		}
	})
	if err != nil || exit.Code != 0 || got != n {
		t.Errorf("%d bytes of %d came, in %d chunks: %+v, %v", got, n, chunks, exit, err)
	}
}
