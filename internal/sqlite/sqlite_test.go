package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/journal/journaltest"
)

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openNew(t testing.TB) *Store {
	return open(t, filepath.Join(t.TempDir(), "stead.db"))
}

func TestSuite(t *testing.T) {
	journaltest.Suite(t, func(t *testing.T) journal.Full { return openNew(t) })
}

func TestReopenSuite(t *testing.T) {
	journaltest.ReopenSuite(t, journaltest.Opener{
		Open: func(t *testing.T) journal.Full { return openNew(t) },
		Reopen: func(t *testing.T, old journal.Full) journal.Full {
			path := old.(*Store).path
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, path)
		},
	})
}

func TestAgentSuite(t *testing.T) {
	journaltest.AgentSuite(t, func(t *testing.T) agent.Store { return openNew(t) })
}
