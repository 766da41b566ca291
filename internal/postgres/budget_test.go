package postgres_test

import (
	"testing"

	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/usagetest"
)

func TestLedgerSuite(t *testing.T) {
	usagetest.Suite(t, func(t *testing.T) (usage.Ledger, usage.Ledger) {
		url := pgtest.URL(t)
		return open(t, url, postgres.Options{}), open(t, url, postgres.Options{})
	})
}
