package runner_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/session"
)

// TestACancelledTurnLeavesItsOutputs: it ends at once. What it made is stored and published right behind it, as its own,
// whatever follows.
func TestACancelledTurnLeavesItsOutputs(t *testing.T) {
	for _, follows := range []string{"not at all", "while it is stored", "with it"} {
		t.Run("another turn follows "+follows, func(t *testing.T) {
			h := newComputers(nil)
			h.took["save"] = 10 * time.Second
			h.next = []environment.Published{{Path: environment.OutputsDir + "/report.csv", Size: 3, Digest: "d", Parts: []stead.Text{{Digest: "p", Bytes: 3}}}}
			m := script(calls("run", echoHi), after(time.Hour, reply("late")), reply("done"))
			bubble(t, func(t *testing.T, n *node) {
				id := n.compute("go")
				time.Sleep(time.Minute)
				begun := time.Now()
				if follows == "with it" {
					n.send(id, cancels, says("and now?"))
				} else {
					n.send(id, cancels)
				}
				n.until(id, func(session.Session) bool { return n.turns(id)[0].Status == session.TurnCancel })
				if took := time.Since(begun); took > time.Second {
					t.Errorf("the turn ended after %v", took)
				}
				if follows == "while it is stored" {
					time.Sleep(time.Second)
					n.send(id, says("and now?"))
				}
				time.Sleep(time.Minute)
				n.idle(id)
				page, err := n.Artifacts(context.Background(), me, id, session.PageQuery{Limit: 10})
				if err != nil || len(page.Data) != 1 {
					t.Fatalf("artifacts %+v, %v", page, err)
				}
				if own := n.turns(id)[0].ID; page.Data[0].TurnID != own {
					t.Errorf("the artifact is that of %s, and not of %s", page.Data[0].TurnID, own)
				}
				kinds := n.kinds(id)
				if at := slices.Index(kinds, session.KindTurnCancelled); at < 0 || !slices.Contains(kinds[at:], session.KindEnvironmentCheckpointed) {
					t.Errorf("it went so: %q", kinds)
				}
			}, withModel(m), withComputers(h))
		})
	}
}
