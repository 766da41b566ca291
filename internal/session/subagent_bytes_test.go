package session_test

import (
	"testing"

	"github.com/stead-dev/stead/internal/session/sessiontest"
)

// TestAStateIsAsLargeAsAllItsThreads: what bounds the memory of states counts what subagents have said and heard, from wherever it looks.
func TestAStateIsAsLargeAsAllItsThreads(t *testing.T) {
	s := sessiontest.Subagents(3, 300).State
	if len(s.Subagents) == 0 {
		t.Fatal("there are no subagents")
	}
	all := s.Bytes()
	var sum int
	for _, thread := range threadsOf(&s.View) {
		if err := s.On(thread, func() error {
			if got := s.Bytes(); got != all {
				t.Errorf("from thread %d the state has %d bytes, want %d", thread, got, all)
			}
			sum += s.Context.Bytes()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if own := s.Context.Bytes(); sum != all || all <= own {
		t.Errorf("the state has %d bytes, its threads %d, the root's %d", all, sum, own)
	}
}
