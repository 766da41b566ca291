package upstream

import (
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

// A body in pieces reads like one, and says once that it is over.
func TestPiecesReadLikeOne(t *testing.T) {
	for _, parts := range [][][]byte{nil, {nil, []byte("a"), nil, []byte("bcd"), {}}, {[]byte("whole")}} {
		if err := iotest.TestReader(io.Reader(&pieces{rest: parts}), slices.Concat(parts...)); err != nil {
			t.Errorf("%q: %v", parts, err)
		}
	}
}
