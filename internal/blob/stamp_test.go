//go:build !linux

package blob

import (
	"testing"
	"time"
)

// stamp is a time that files are stamped with at the earliest.
func stamp(*testing.T) time.Time { return time.Now().Add(-15 * time.Millisecond) }
