package session_test

import (
	"slices"
	"testing"

	"github.com/stead-dev/stead/internal/session"
)

// What was refused before a call, and again behind it, is told once.
func TestARefusalIsToldOnce(t *testing.T) {
	before := &session.Mounted{Refused: []string{"a.md has 3000000 bytes.", "b.md makes no memory."}, Labels: []string{"x"}}
	both := before.And(&session.Mounted{Added: []string{"m/1"}, Refused: []string{"b.md makes no memory.", "c.md makes no memory."}, Labels: []string{"x", "y"}})
	if want := []string{"a.md has 3000000 bytes.", "b.md makes no memory.", "c.md makes no memory."}; !slices.Equal(both.Refused, want) || len(both.Added) != 1 || len(both.Labels) != 2 {
		t.Errorf("%+v, want refused %q", both, want)
	}
	if len(before.Refused) != 2 {
		t.Errorf("what was told before changed: %q", before.Refused)
	}
}
