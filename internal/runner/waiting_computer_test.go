package runner_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// TestAWaitingTurnHoldsNoComputer: a turn that waits for a person, or for the application, keeps its environment for as long as one that is idle; then it is stored and ended,
// and the session released, until the answer comes. Whoever answers before that finds it as it was.
func TestAWaitingTurnHoldsNoComputer(t *testing.T) {
	const more = `{"command":"echo more"}`
	for name, c := range map[string]struct {
		waits time.Duration
		opens int
	}{"at once": {stead.EnvironmentIdle / 2, 1}, "later": {3 * stead.EnvironmentIdle, 2}, "its node dead": {72 * time.Hour, 2}} {
		t.Run(name, func(t *testing.T) {
			h := newComputers(nil)
			m := script(calls("run", echoHi), calls("run", more), reply("done"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.compute("go")
				asks := func() session.RequiredAction {
					return n.until(id, func(s session.Session) bool {
						return s.Status == session.StatusRequiresAction && len(s.RequiredActions) == 1
					}).RequiredActions[0]
				}
				first := asks()
				if err := n.decide(id, eve, first, session.DecisionApprove); err != nil {
					t.Fatal(err)
				}
				second := n.until(id, func(s session.Session) bool {
					return len(s.RequiredActions) == 1 && s.RequiredActions[0].RequestID != first.RequestID
				}).RequiredActions[0]
				time.Sleep(c.waits)
				if gone := h.resident(n.key(id)) == nil; gone != (c.opens > 1) {
					t.Errorf("after %s it is gone: %v", c.waits, gone)
				}
				if c.opens > 1 {
					n.released(id)
				}
				if name == "its node dead" {
					n.crash("node-2")
				}
				if b := asks(); b.RequestID != second.RequestID {
					t.Errorf("it asks %+v", b)
				}
				if err := n.decide(id, eve, second, session.DecisionApprove); err != nil {
					t.Fatal(err)
				}
				n.idle(id)
				if got := strings.Join(seen(m.last()), "|"); len(h.opens) != c.opens || !strings.Contains(got, "echo hi,echo more") || strings.Contains(got, "reset") || n.onlyTurn(id).Status != session.TurnComplete {
					t.Errorf("it was opened %d times; the model saw %q", len(h.opens), got)
				}
			}, withModel(m), withComputers(h), withPolicy(asks4(policy.ToolCall, policy.Needs{})))
		})
	}
}
