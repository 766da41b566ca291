package documenttest

import (
	"testing"

	"github.com/stead-dev/stead/internal/document"
)

func TestMemory(t *testing.T) {
	Suite(t, func(*testing.T) document.Store { return NewMemory() })
}
