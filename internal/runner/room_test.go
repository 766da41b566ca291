package runner_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// space is a disk that a test fills: 0 has room, 1 is full, 2 is low as well.
type space struct{ level atomic.Int32 }

func (s *space) on() func(*node) {
	return with(func(c *runner.Config) {
		c.Full = func() error {
			if s.level.Load() > 0 {
				return stead.Errorf(stead.KindUnavailable, "the disk is full")
			}
			return nil
		}
		c.Low = func() bool { return s.level.Load() > 1 }
	})
}

// A full disk takes no input but what ends work; what was accepted goes on.
func TestAFullDiskTakesOnlyCancels(t *testing.T) {
	var disk space
	m := script(reply("Done."))
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin("Go", func(*agent.Spec) {})
		disk.level.Store(1)
		n.idle(s.ID)
		if turn := n.onlyTurn(s.ID); turn.Status != session.TurnComplete {
			t.Errorf("what was accepted ended as %s", turn.Status)
		}
		ctx := context.Background()
		isKind(t, n.Send(ctx, me, s.ID, session.SendRequest{Inputs: []session.Input{says("more")}}), stead.KindUnavailable)
		isKind(t, n.Send(ctx, me, s.ID, session.SendRequest{Inputs: []session.Input{cancels, says("more")}}), stead.KindUnavailable)
		isKind(t, n.Send(ctx, me, s.ID, session.SendRequest{Inputs: []session.Input{cancels}}), "")
		disk.level.Store(0)
		n.send(s.ID, says("more"))
		n.idle(s.ID)
	}, withModel(m), disk.on())
}

// On a disk that is low nothing begins and nothing is written, for as long as that lasts; it begins when there
// is room, and a cancel ends it before.
func TestALowDiskHoldsWhatRuns(t *testing.T) {
	var disk space
	m := script(reply("Done."))
	bubble(t, func(t *testing.T, n *node) {
		goes, ends := n.begin("Go", func(*agent.Spec) {}), n.begin("End", func(*agent.Spec) {})
		time.Sleep(time.Hour)
		before := len(n.events(goes.ID))
		time.Sleep(time.Hour)
		if got := len(n.events(goes.ID)); got != before || len(m.asked()) > 0 {
			t.Errorf("in an hour it wrote %d events, and asked the model %d times\n%s", got-before, len(m.asked()), n.journal(goes.ID))
		}
		n.send(ends.ID, cancels)
		n.idle(ends.ID)
		if turn := n.onlyTurn(ends.ID); turn.Status != session.TurnCancel {
			t.Errorf("the turn that was cancelled is %s", turn.Status)
		}
		disk.level.Store(0)
		time.Sleep(2 * time.Second)
		if turn := n.onlyTurn(goes.ID); turn.Status != session.TurnComplete {
			t.Errorf("with room the turn is %s\n%s", turn.Status, n.journal(goes.ID))
		}
		if len(m.asked()) != 1 {
			t.Errorf("the model was asked %d times", len(m.asked()))
		}
	}, withModel(m), disk.on(), func(*node) { disk.level.Store(2) })
}

// A node that stops hands a session that waits for room back.
func TestAStopReleasesWhatWaitsForRoom(t *testing.T) {
	var disk space
	bubble(t, func(t *testing.T, n *node) {
		s := n.begin("Go", func(*agent.Spec) {})
		time.Sleep(time.Minute)
		if err := n.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		h, err := n.store.Head(t.Context(), n.key(s.ID))
		if err != nil || h.Holder != "" {
			t.Errorf("it is held by %q: %v", h.Holder, err)
		}
		disk.level.Store(0)
		other := n.second("node-2")
		other.idle(s.ID)
	}, withModel(script(reply("Done."))), disk.on(), func(*node) { disk.level.Store(2) })
}
