package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/journal/journaltest"
	"github.com/stead-dev/stead/internal/memory/memorytest"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/postgres/pgtest"
)

const (
	// deadline is how long a test waits for what must happen.
	deadline = 30 * time.Second
	// alive is the heartbeat of nodes that must not die during a test.
	alive = time.Hour

	nodeA stead.NodeID = "node-a"
	nodeB stead.NodeID = "node-b"
)

func TestSuite(t *testing.T) {
	journaltest.Suite(t, func(t *testing.T) journal.Full { return open(t, pgtest.URL(t), postgres.Options{}) })
}

func TestReopenSuite(t *testing.T) {
	urls := map[journal.Full]string{} // store → its database
	journaltest.ReopenSuite(t, journaltest.Opener{
		Open: func(t *testing.T) journal.Full {
			url := pgtest.URL(t)
			s := open(t, url, postgres.Options{})
			urls[s] = url
			return s
		},
		Reopen: func(t *testing.T, old journal.Full) journal.Full {
			if err := old.Close(); err != nil {
				t.Error(err)
			}
			s := open(t, urls[old], postgres.Options{})
			urls[s] = urls[old]
			return s
		},
	})
}

func TestAgentSuite(t *testing.T) {
	journaltest.AgentSuite(t, func(t *testing.T) agent.Store { return open(t, pgtest.URL(t), postgres.Options{}) })
}

func TestDocumentSuite(t *testing.T) {
	documenttest.Suite(t, func(t *testing.T) document.Store { return open(t, pgtest.URL(t), postgres.Options{}) })
}

func TestMemorySuite(t *testing.T) {
	memorytest.Suite(t, func(t *testing.T) memorytest.Store { return open(t, pgtest.URL(t), postgres.Options{}) })
}

// open opens a store and closes it with the test.
func open(t testing.TB, url string, opts postgres.Options) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(context.Background(), url, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func session(n int) stead.SessionKey {
	return stead.SessionKey{Project: "proj", Session: stead.SessionID(fmt.Sprintf("sess_%032x", n))}
}

func create(t testing.TB, s *postgres.Store, key stead.SessionKey) {
	t.Helper()
	in := journal.Input{Create: &journal.Creation{Agent: "agent_1"}, Events: []stead.Event{{Kind: "created"}}, If: -1}
	if _, err := s.Send(context.Background(), key, in); err != nil {
		t.Fatal(err)
	}
}

func send(t testing.TB, s *postgres.Store, key stead.SessionKey) {
	t.Helper()
	if _, err := s.Send(context.Background(), key, journal.Input{Events: []stead.Event{{Kind: "sent"}}, If: -1}); err != nil {
		t.Fatal(err)
	}
}

func acquire(t testing.TB, s *postgres.Store, node stead.NodeID, limit int) []journal.Lease {
	t.Helper()
	if err := s.Heartbeat(t.Context(), node, alive); err != nil {
		t.Fatal(err)
	}
	leases, _, err := s.Acquire(t.Context(), node, limit)
	if err != nil {
		t.Fatal(err)
	}
	return leases
}

// done is the append of one event after a tail.
func done(after stead.Seq) journal.Batch {
	return journal.Batch{After: after, Events: []stead.Event{{Seq: after + 1, Kind: "done"}}}
}

func wantKind(t testing.TB, want stead.Kind, err error) {
	t.Helper()
	if got := stead.KindOf(err); got != want {
		t.Fatalf("error %v is %q, want %q", err, got, want)
	}
}

// eventually polls for what no signal announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.NewTimer(deadline)
	defer end.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end.C:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}
