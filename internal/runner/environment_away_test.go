package runner_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/session"
)

// TestATurnEndsStoredWhoeverWentAway: between a turn's last command and its end the node is killed, stops in
// order or is killed while it stores, or the environment dies. Before the turn is completed the environment is
// opened again and stored, its outputs are published, and whoever asks is told what may be missing.
func TestATurnEndsStoredWhoeverWentAway(t *testing.T) {
	restart := func(n *node, _ *computers, _ stead.SessionID) {
		n.Kill()
		n.store.Crash()
		n.start("node-2")
	}
	for name, tc := range map[string]struct {
		after time.Duration // since the turn began: its command takes no time, its last answer a minute
		does  func(*node, *computers, stead.SessionID)
	}{
		"killed in the last model call":        {30 * time.Second, restart},
		"killed while the workspace is stored": {65 * time.Second, restart},
		"the environment dies":                 {30 * time.Second, func(n *node, h *computers, id stead.SessionID) { h.end(n.key(id)) }},
		"a graceful stop cuts the last call off": {30 * time.Second, func(n *node, _ *computers, _ stead.SessionID) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = n.Shutdown(ctx)
			n.start("node-2")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newComputers(nil)
			h.took["save"] = 10 * time.Second
			m := script(calls("run", echoHi), after(time.Minute, reply("done")), after(time.Minute, reply("done")))
			bubble(t, func(t *testing.T, n *node) {
				id := n.compute("go")
				time.Sleep(tc.after)
				tc.does(n, h, id)
				n.idle(id)
				course := n.course(id)
				if n.onlyTurn(id).Status != session.TurnComplete || !slices.Equal(course[len(course)-2:], []string{"checkpointed", session.KindTurnCompleted}) {
					t.Errorf("the turn is %s after %q", n.onlyTurn(id).Status, course)
				}
				if n := len(h.saves); n == 0 || h.saves[n-1].Publish == "" {
					t.Error("what it made is not published")
				}
				info, err := n.Environment(context.Background(), me, session.EnvironmentID(id))
				if err != nil || info.Resets != 1 || info.LastReset == nil || !slices.Equal(info.LastReset.Commands, []string{"echo hi"}) {
					t.Errorf("the environment says %+v, %v", info, err)
				}
			}, withModel(m), withComputers(h))
		})
	}
}

// TestACopyOfThePresentOpensWhatIsNotStored: nobody waits for the environment but the copy.
func TestACopyOfThePresentOpensWhatIsNotStored(t *testing.T) {
	for name, fails := range map[string]error{"": nil, "in vain": stead.Errorf(stead.KindNotImplemented, "this node has no driver")} {
		t.Run("opened "+name, func(t *testing.T) {
			h := newComputers(nil)
			bubble(t, func(t *testing.T, n *node) {
				id := n.compute("go")
				time.Sleep(time.Minute)
				h.takes("save", time.Hour) // which the kill cuts off
				n.send(id, cancels)
				n.until(id, status(session.StatusIdle))
				n.store.Crash()
				n.Kill()
				h.takes("save", time.Second)
				if fails != nil {
					h.fail("open", fails)
				}
				n.start("node-2")
				opened, saved := n.count(id, session.KindEnvironmentConnected), n.count(id, session.KindEnvironmentCheckpointed)
				begun := time.Now()
				if _, err := n.Fork(context.Background(), me, id, session.ForkRequest{}); err != nil {
					t.Fatal(err)
				}
				opened, saved = n.count(id, session.KindEnvironmentConnected)-opened, n.count(id, session.KindEnvironmentCheckpointed)-saved
				if want := fails == nil; (opened == 1) != want || (saved == 1) != want {
					t.Errorf("opened %d times, stored %d times: %q", opened, saved, n.course(id))
				}
				if took := time.Since(begun); took > time.Minute/2 {
					t.Errorf("the fork took %v", took)
				}
				info, err := n.Environment(context.Background(), me, session.EnvironmentID(id))
				if err != nil || (info.Error != nil) != (fails != nil) || fails != nil && !strings.Contains(info.Error.Message, "no driver") {
					t.Errorf("the environment says %+v, %v", info.Error, err)
				}
			}, withModel(script(calls("run", echoHi), after(time.Hour, reply("late")))), withComputers(h))
		})
	}
}
