package simulation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/session"
)

// app is an application with one session: it sends input, answers what is required, watches.
type app struct {
	w    *world
	n    int
	id   stead.SessionID
	sent []string // messages that were accepted
	seen *watched
	box  bool // it has an environment
	puts int
	asks bool   // it uses the Responses API
	last string // the last response
}

var me = stead.LocalPrincipal()

func say(text string) []session.InputMessage {
	return []session.InputMessage{{Content: stead.TextContent(stead.ContentInputText, text)}}
}

// insist repeats a call until the system says yes or no.
func (a *app) insist(call func() error) error {
	for {
		err := call()
		if stead.KindOf(err) != stead.KindUnavailable {
			return err
		}
		if !sleep(a.w.ctx, 200*time.Millisecond) {
			return err
		}
	}
}

// create makes the session; a lost acknowledgement makes it repeat the call with the same key.
func (a *app) create() bool {
	if a.asks = a.w.chance(25); a.asks {
		err := a.respond()
		if err != nil {
			a.w.failf("create %d: %v", a.n, err)
		}
		return err == nil
	}
	first := fmt.Sprintf("message %d.0", a.n)
	var plan *session.EnvironmentPlan
	if a.box = a.w.computing && a.w.chance(60); a.box {
		plan = computer()
	}
	key := fmt.Sprintf("create-%d", a.n)
	err := a.insist(func() error {
		s, err := a.w.node().Create(a.w.ctx, me, session.CreateRequest{
			Override: func(s *agent.Spec) error {
				s.Model, s.Tools = "script", tools()
				s.Compaction.Async = a.n%2 == 0
				s.MultiAgent.Enabled = a.n%3 == 1
				return nil
			},
			Environment: plan, Input: say(first), Key: key, Digest: key,
		})
		a.id = s.ID
		return err
	})
	if err != nil {
		a.w.failf("create %d: %v", a.n, err)
		return false
	}
	a.sent = append(a.sent, first)
	return true
}

// run sends a few messages and answers until the session rests. Once the chaos is over it only
// answers, and speaks to sessions that rest: all else they must do by themselves.
func (a *app) run() {
	messages := 1 + a.w.n(4)
	end := time.Now().Add(restTime)
	for time.Now().Before(end) {
		if !sleep(a.w.ctx, 300*time.Millisecond+a.w.upTo(2*time.Second)) {
			return
		}
		s, err := a.w.node().Get(a.w.ctx, me, a.id)
		if err != nil {
			a.w.failf("get %s: %v", a.id, err)
			return
		}
		for _, action := range s.RequiredActions {
			a.answer(action)
		}
		calm := a.w.calm.Load() // whoever is stuck then must not be freed by the next message or cancel
		switch {
		case s.Paused:
			_ = a.insist(func() error { _, err := a.w.node().Resume(a.w.ctx, me, a.id); return err })
		case !calm && a.w.chance(2) && len(a.sent) < messages:
			_ = a.insist(func() error { _, err := a.w.node().Pause(a.w.ctx, me, a.id); return err })
		case !calm && a.box && a.w.chance(3):
			a.put()
		case !calm && a.w.chance(1):
			a.send("cancel", session.Input{Cancel: true})
		case a.asks && len(a.sent) < messages:
			if s.Status != session.StatusIdle {
				break
			}
			if err := a.respond(); err != nil && stead.KindOf(err) != stead.KindConflict {
				a.w.failf("respond in %s: %v", a.id, err)
				return
			}
		case len(a.sent) < messages && (s.Status == session.StatusIdle || !calm && a.w.chance(10)):
			text := fmt.Sprintf("message %d.%d", a.n, len(a.sent))
			if a.send(text, session.Input{Message: say(text)}) == nil {
				a.sent = append(a.sent, text)
			}
		case len(a.sent) >= messages && s.Status == session.StatusIdle:
			return
		}
	}
	a.w.failf("session %s is stuck", a.id)
}

// put gives the environment a file. One whose preparation failed takes none.
func (a *app) put() {
	a.puts++
	path := fmt.Sprintf("/workspace/%d", a.puts)
	err := a.insist(func() error {
		_, err := a.w.node().PutFile(a.w.ctx, me, session.EnvironmentID(a.id), path, []byte(path))
		return err
	})
	if err != nil && stead.KindOf(err) != stead.KindConflict {
		a.w.failf("put a file to %s: %v", a.id, err)
	}
}

// send submits input under a key, twice now and then.
func (a *app) send(name string, in session.Input) error {
	key := name // the natural key: of the message, the call or the question
	if in.Cancel {
		key = fmt.Sprintf("cancel-%d", a.w.n(1<<30))
	}
	req := session.SendRequest{Inputs: []session.Input{in}, Key: key, Digest: key}
	err := a.insist(func() error { return a.w.node().Send(a.w.ctx, me, a.id, req) })
	if err == nil && a.w.chance(20) {
		if again := a.insist(func() error { return a.w.node().Send(a.w.ctx, me, a.id, req) }); again != nil {
			a.w.failf("session %s: the second %q was refused: %v", a.id, name, again)
		}
	}
	return err
}

func (a *app) answer(action session.RequiredAction) {
	var in session.Input
	switch action.Type {
	case session.ActionFunctionCall:
		if refused(action.Arguments) {
			a.w.failf("session %s asks for the function with %s, which policies refuse", a.id, action.Arguments)
		}
		in.Result = &session.ToolResultInput{CallID: action.CallID, TurnID: action.TurnID, Success: true,
			Output: stead.TextContent(stead.ContentInputText, "did "+opOf(action.Arguments))}
	case session.ActionMCPApproval:
		in.Approval = &session.ApprovalInput{RequestID: action.RequestID, Decision: session.DecisionApprove}
		if a.w.chance(20) {
			in.Approval.Decision = session.DecisionDeny
		}
	case session.ActionOutcomeUnknown:
		// Who answers must be sure: a call that a dead node sent may still be under way.
		if !sleep(a.w.ctx, 4*toolDelay) {
			return
		}
		in.Outcome = &session.OutcomeInput{RequestID: action.RequestID, Decision: session.DecisionNotHappened}
		if result, ok := a.w.tools.happened(opOf(action.Request.Arguments)); ok {
			in.Outcome.Decision = session.DecisionHappened
			in.Outcome.Output = stead.TextContent(stead.ContentInputText, result)
		}
	}
	_ = a.send(action.TurnID+action.CallID+string(action.Arguments)+action.RequestID+action.Type, in) // the turn may have been cancelled meanwhile
}

// watched is what a watcher saw: event ids in order, and each item's text.
type watched struct {
	ids   []string
	texts map[string]string // item id → its deltas
}

// watch follows the stream from its begin, and connects again with its last cursor now and then.
func (a *app) watch(ctx context.Context, done <-chan struct{}) {
	a.seen = &watched{texts: map[string]string{}}
	cursor := stead.Cursor{}
	for {
		conn, cancel := context.WithTimeout(ctx, a.w.upTo(20*time.Second))
		stop := context.AfterFunc(ctx, cancel)
		err := a.w.node().Stream(conn, me, a.id, &cursor, nil, func(e session.StreamEvent) error {
			a.seen.add(e)
			cursor = e.Cursor
			if a.w.chance(1) {
				return errors.New("connection lost")
			}
			return nil
		})
		stop()
		cancel()
		switch stead.KindOf(err) {
		case stead.KindInvalid, stead.KindNotFound:
			a.w.failf("watcher of %s at %s: %v", a.id, cursor, err)
			return
		}
		select {
		case <-done:
			return
		default:
		}
		if !sleep(ctx, a.w.upTo(3*time.Second)) {
			return
		}
	}
}

func (s *watched) add(e session.StreamEvent) {
	b := flat(e.Body)
	if strings.HasSuffix(e.Type, ".delta") {
		s.texts[b.ItemID+fmt.Sprint(b.SummaryIndex)] += b.Delta
		return
	}
	s.ids = append(s.ids, b.EventID)
}

// checkStream compares what the watcher saw with a replay of the journal.
func (a *app) checkStream(events []stead.Event) {
	key := stead.SessionKey{Project: me.Project, Session: a.id}
	p := session.NewProjector(session.NewView(key), stead.Cursor{}, func(t stead.Text) string { return t.Inline })
	want := &watched{texts: map[string]string{}}
	final := map[string]string{}
	for _, e := range events {
		out, err := p.Step(e)
		if err != nil {
			a.w.failf("project %s: %v", a.id, err)
			return
		}
		for _, se := range out {
			want.add(se)
			if b := flat(se.Body); strings.HasSuffix(se.Type, "output_text.done") {
				final[b.ItemID+"0"] = b.Text
			}
		}
	}
	got := a.seen
	if len(got.ids) > len(want.ids) || !slices.Equal(got.ids, want.ids[:len(got.ids)]) {
		a.w.failf("session %s: the watcher saw\n%v\nthe replay is\n%v", a.id, got.ids, want.ids)
	}
	if len(got.ids) < len(want.ids) {
		a.w.failf("session %s: the watcher saw %d of %d events", a.id, len(got.ids), len(want.ids))
		return
	}
	for item, text := range final {
		if want.texts[item] != text {
			a.w.failf("session %s item %s: replayed deltas %q, text %q", a.id, item, want.texts[item], text)
		}
		if !strings.HasPrefix(got.texts[item], text) {
			a.w.failf("session %s item %s: watched deltas %q, text %q", a.id, item, got.texts[item], text)
		}
	}
}
