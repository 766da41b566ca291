package runner_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
)

// TestSnapshotsAreAsRareAsTheyAreLarge: what they cost is in proportion to the journal. That of a session with many subagents is not made anew every few turns.
func TestSnapshotsAreAsRareAsTheyAreLarge(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin(strings.Repeat(`Call create_subagent with {"message":"Say so\n`+strings.Repeat("word ", 3200)+"\"}\n", 16), func(s *agent.Spec) {
			most := stead.MaxConcurrentSubagents
			s.MultiAgent = agent.MultiAgent{Enabled: true, MaxConcurrentSubagents: &most}
		})
		n.idle(s.ID)
		saved := func() stead.Seq {
			t.Helper()
			seq, _, err := n.store.LoadSnapshot(context.Background(), n.key(s.ID))
			if err != nil {
				t.Fatal(err)
			}
			return seq
		}
		turn := func() {
			n.send(s.ID, says("Say so"))
			n.idle(s.ID)
		}
		for saved() == 0 {
			turn()
		}
		first := saved()
		_, data, err := n.store.LoadSnapshot(context.Background(), n.key(s.ID))
		if err != nil {
			t.Fatal(err)
		}
		next := first + stead.SnapshotEvery + stead.Seq(len(data)/stead.SnapshotBytesPerEvent)
		if next < first+5*stead.SnapshotEvery/4 {
			t.Fatalf("the snapshot has %d bytes: nothing is proved", len(data))
		}
		tail := func() stead.Seq {
			t.Helper()
			head, err := n.store.Head(context.Background(), n.key(s.ID))
			if err != nil {
				t.Fatal(err)
			}
			return head.Tail
		}
		for tail() < next-10 {
			turn()
		}
		if got := saved(); got != first {
			t.Errorf("a snapshot of %d bytes at %d was made anew at %d, before %d", len(data), first, got, next)
		}
		for range 5 {
			turn()
		}
		if got := saved(); got < next {
			t.Errorf("the snapshot is of %d, and should be of %d", got, next)
		}
	})
}
