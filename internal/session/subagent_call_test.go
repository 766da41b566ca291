package session

import (
	"strings"
	"testing"

	"github.com/stead-dev/stead"
)

// Who names a subagent that it does not have is told which it has, also where others have made many before.
func TestWhoHasNoSuchSubagentIsToldItsOwn(t *testing.T) {
	v := NewView(stead.SessionKey{Project: "p", Session: "sess_1"})
	for id := range stead.Seq(2 * maxNamedSubagents) {
		v.Subagents = append(v.Subagents, &Subagent{ID: 10 + id, Name: "of the root"})
	}
	v.Subagents = append(v.Subagents, &Subagent{ID: 90, Parent: 10, Name: "Heron"})
	if got, want := v.At(10).unknownSubagent("subagent_x"), `You have no subagent "subagent_x". Heron is `+v.AgentOf(90)+"."; got != want {
		t.Errorf("it is told %s, want %s", got, want)
	}
	if got := strings.Count(v.unknownSubagent("subagent_x"), "of the root is"); got != maxNamedSubagents {
		t.Errorf("the root is told %d", got)
	}
}
