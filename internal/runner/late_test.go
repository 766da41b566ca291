package runner_test

import (
	"context"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// TestToolSourceThatPanicsAtTheCall: what surely was not sent is tried again.
func TestToolSourceThatPanicsAtTheCall(t *testing.T) {
	look := does{"look", tool.Pure, func(context.Context, tool.Call) (tool.Result, error) { return outputs("seen") }}
	m := script(calls("look", `{}`), reply("at last"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go", server("box")).ID
		n.idle(id)
		if n.count(id, session.KindToolLost) != 1 || n.count(id, session.KindToolReturned) != 1 {
			t.Errorf("events %q", n.kinds(id))
		}
	}, withModel(m), withTools(&panickingSecond{box: having(look)}))
}

// panickingSecond is a tool source whose second listing panics: the one for the call.
type panickingSecond struct {
	box
	listed int
}

func (p *panickingSecond) Tools(ctx context.Context, s tool.Server) ([]tool.Tool, error) {
	if p.listed++; p.listed == 2 {
		panic("boom")
	}
	return p.box.Tools(ctx, s)
}

// TestRefusalEndsATurnOnce: of two commands the first one is refused and ends the turn.
func TestRefusalEndsATurnOnce(t *testing.T) {
	gate := &changing{decider: decider{effect: "nothing"}}
	m := script(reply("ok"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.begin(long(1), func(s *agent.Spec) { s.Compaction.Async = true }).ID
		n.idle(id)
		n.talk(id, 2, 3)
		gate.decider = decider{effect: policy.ModelCall}
		for i := 4; i < 8; i++ { // one of them comes with a summary beside the call
			n.send(id, says(long(i)))
			n.idle(id)
		}
		if begun, failed := n.count(id, session.KindTurnStarted), n.count(id, session.KindTurnFailed); begun != 7 || failed != 4 {
			t.Errorf("%d turns, %d failed: %q", begun, failed, n.kinds(id))
		}
	}, withModel(m, small), withPolicy(gate))
}

// TestTextIsJournaledInTime although the actor was busy with something else when it came.
func TestTextIsJournaledInTime(t *testing.T) {
	m := script(func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
		for range 3 { // before, while and after the actor begins to watch for input
			time.Sleep(7 * time.Millisecond)
			yield(model.Delta{Kind: model.TextDelta, Index: 0, Text: "word "}, nil)
		}
		if lasts(ctx, time.Hour) {
			yield(model.Delta{Kind: model.ItemDone, Index: 0, Item: messageItem("word word word ")}, nil)
			ends(req, yield, model.FinishStop)
		}
	})
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		time.Sleep(14*time.Millisecond + stead.FirstDeltaDelay)
		if n.count(id, session.KindModelStreamed) == 0 {
			t.Error("the first text is not in the journal")
		}
		time.Sleep(stead.DeltaFlushInterval / 2)
		n.send(id, says("hurry")) // a step while the timer runs
		time.Sleep(stead.DeltaFlushInterval)
		text := ""
		for _, e := range n.events(id) {
			if e.Kind != session.KindModelStreamed {
				continue
			}
			p, err := session.Decode[session.ModelStreamed](e)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range p.Segments {
				text += s.Text
			}
		}
		if text != "word word word " {
			t.Errorf("the journal has %q", text)
		}
		n.idle(id)
	}, withModel(m))
}

// TestJournalThatPanics: a session whose events can't be folded does not take the node with it.
func TestJournalThatPanics(t *testing.T) {
	m := script(after(time.Hour, reply("ok")))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		time.Sleep(time.Second)
		broken := session.ModelStreamed{Call: 4, Segments: []session.Segment{{Index: -1, Type: stead.ItemMessage, Text: "x"}}}
		e, err := session.NewEvent(0, session.KindModelStreamed, broken)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := n.store.Send(context.Background(), n.key(id), journal.Input{Events: []stead.Event{e}, If: -1}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		other := n.create("go").ID
		time.Sleep(2 * time.Hour)
		n.idle(other)
	}, withModel(m))
}

// TestSecondShutdown: who asks twice is no reason to crash.
func TestSecondShutdown(t *testing.T) {
	var st *awayStore
	m := script(after(time.Second, reply("ok")))
	bubble(t, func(t *testing.T, n *node) {
		n.create("go")
		time.Sleep(500 * time.Millisecond)
		st.away.Store(true)
		now, cancel := context.WithCancel(context.Background())
		cancel()
		done := make(chan error, 2)
		for range cap(done) {
			go func() { done <- n.Shutdown(now) }()
		}
		for range cap(done) {
			<-done
		}
	}, withModel(m), func(n *node) { st = &awayStore{Full: n.cfg.Store}; n.cfg.Store = st })
}

// TestOutcomesOutliveTheCut: a call that has ended when the drain's time is over is not called lost,
// though the store was away and its outcome had to wait.
func TestOutcomesOutliveTheCut(t *testing.T) {
	for range 8 { // what is ready at once is taken in any order
		var st *awayStore
		m := script(calls("first", `{}`, "second", `{}`), reply("ok"))
		ends := func(after time.Duration) func(context.Context, tool.Call) (tool.Result, error) {
			return func(context.Context, tool.Call) (tool.Result, error) { time.Sleep(after); return outputs("done") }
		}
		tools := having(does{"first", tool.Unknown, ends(time.Second)}, does{"second", tool.Unknown, ends(2 * time.Second)})
		bubble(t, func(t *testing.T, n *node) {
			id := n.create("go", server("box")).ID
			time.Sleep(500 * time.Millisecond)
			st.away.Store(true)
			time.Sleep(2 * time.Second) // both have ended, none is journaled
			now, cancel := context.WithCancel(context.Background())
			cancel()
			done := make(chan error, 1)
			go func() { done <- n.Shutdown(now) }()
			time.Sleep(100 * time.Millisecond)
			st.away.Store(false)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if n.count(id, session.KindToolReturned) != 2 || n.count(id, session.KindRunnerRecovered) != 0 {
				t.Errorf("events %q", n.kinds(id))
			}
		}, withModel(m), withTools(tools), func(n *node) { st = &awayStore{Full: n.cfg.Store}; n.cfg.Store = st })
	}
}

// TestMessageBehindACancel: it is for the next turn, however quickly it comes.
func TestMessageBehindACancel(t *testing.T) {
	m := script(hangs, reply("instead"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		time.Sleep(time.Second)
		n.send(id, cancels)
		n.send(id, says("do this instead"))
		n.idle(id)
		turns := n.turns(id)
		if len(turns) != 2 || turns[0].Status != session.TurnCancel || turns[1].Status != session.TurnComplete {
			t.Errorf("turns %+v, events %q", turns, n.kinds(id))
		}
	}, withModel(m))
}

// TestMessageBehindACancelThatNobodyEnds: it is refused, not swallowed.
func TestMessageBehindACancelThatNobodyEnds(t *testing.T) {
	m := script(hangs, reply("instead"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		time.Sleep(time.Second)
		n.Kill()
		n.send(id, cancels)
		more := session.SendRequest{Inputs: []session.Input{says("do this instead")}}
		isKind(t, n.Send(context.Background(), me, id, more), stead.KindUnavailable)
		other := n.second("node-2")
		other.idle(id)
		other.send(id, more.Inputs...)
		other.idle(id)
		if turns := other.turns(id); len(turns) != 2 || turns[1].Status != session.TurnComplete {
			t.Errorf("turns %+v, events %q", turns, other.kinds(id))
		}
	}, withModel(m))
}

// TestCancelBehindItsMessage: both in one request.
func TestCancelBehindItsMessage(t *testing.T) {
	m := script(reply("ok"), hangs)
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		n.idle(id)
		n.send(id, says("more"), cancels)
		n.idle(id)
		if turns := n.turns(id); len(turns) != 2 || turns[1].Status != session.TurnCancel {
			t.Errorf("turns %+v, events %q", turns, n.kinds(id))
		}
	}, withModel(m))
}

// TestCancelAndMessageInOneRequest: the cancel ends the running turn, the message makes the next one,
// and the request can be repeated under its key.
func TestCancelAndMessageInOneRequest(t *testing.T) {
	m := script(hangs, reply("instead"))
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		time.Sleep(time.Second)
		both := session.SendRequest{Key: "k", Digest: "d", Inputs: []session.Input{cancels, says("do this instead")}}
		for range 2 {
			if err := n.Send(context.Background(), me, id, both); err != nil {
				t.Fatal(err)
			}
		}
		n.idle(id)
		turns := n.turns(id)
		if len(turns) != 2 || turns[0].Status != session.TurnCancel || turns[1].Status != session.TurnComplete {
			t.Errorf("turns %+v, events %q", turns, n.kinds(id))
		}
	}, withModel(m))
}

// TestSteeringLimitWithinOneRequest: the limit counts what comes together, too.
func TestSteeringLimitWithinOneRequest(t *testing.T) {
	bubble(t, func(t *testing.T, n *node) {
		id := n.create("go").ID
		n.idle(id)
		inputs := make([]session.Input, stead.MaxSteeringMessages+1)
		for i := range inputs {
			inputs[i] = says("more")
		}
		isKind(t, n.Send(context.Background(), me, id, session.SendRequest{Inputs: inputs}), stead.KindLimited)
		if got := len(n.turns(id)); got != 1 {
			t.Errorf("%d turns: a refused request left something behind", got)
		}
	}, withModel(script(reply("ok"))))
}
