package usagetest_test

import (
	"testing"

	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/usagetest"
)

func TestMemory(t *testing.T) {
	usagetest.Suite(t, func(*testing.T) (usage.Ledger, usage.Ledger) {
		m := usagetest.NewMemory()
		return m, m
	})
}
