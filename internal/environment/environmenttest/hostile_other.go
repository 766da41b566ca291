//go:build !linux

package environmenttest

import (
	"testing"

	"github.com/stead-dev/stead/internal/environment"
)

// Hostile needs a Linux host to aim at.
func Hostile(t *testing.T, _ func(t *testing.T) environment.Provider, _ Options) {
	t.Skip("the hostile suite attacks a Linux host, and this is none")
}

// HostileControl likewise.
func HostileControl(t *testing.T) {
	t.Skip("the hostile suite attacks a Linux host, and this is none")
}
