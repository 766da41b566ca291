package document_test

import (
	"testing"

	"github.com/stead-dev/stead/internal/document"
)

func TestIDsSortByCreation(t *testing.T) {
	last := ""
	for range 10_000 {
		id := document.NewID("thing_")
		if id <= last {
			t.Fatalf("%s came after %s", id, last)
		}
		last = id
	}
}
