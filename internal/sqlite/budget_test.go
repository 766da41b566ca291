package sqlite

import (
	"testing"

	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/usagetest"
)

func TestLedgerSuite(t *testing.T) {
	usagetest.Suite(t, func(t *testing.T) (usage.Ledger, usage.Ledger) {
		s := openNew(t) // one process owns the database: there is no second access
		t.Cleanup(func() { s.Close() })
		return s, s
	})
}
