package tau

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/stead-dev/stead/proof/effect"
	"github.com/stead-dev/stead/proof/rig"
	"github.com/stead-dev/stead/proof/tau/trajectory"
)

// conversation is one recorded conversation in one session.
type conversation struct {
	stage   *stage
	count   int // of all that were begun
	number  int // of the recording
	dialect string

	session string
	watcher *rig.Watcher
	asked   map[string]bool // questions about an outcome that it answered, by request id
	fault   error           // why it ended early
}

// play sends the user's messages one after another, each when the session is at rest.
func (c *conversation) play(ctx context.Context) error {
	t := c.stage.all[c.number]
	turns := t.Turns()
	effects := map[string]string{}
	for _, name := range trajectory.ToolNames(c.stage.all) {
		effects[name] = c.stage.class
	}
	var s rig.Session
	err := c.stage.client.Insist(ctx, http.MethodPost, "/v1/agents/sessions", fmt.Sprintf("tau-%d", c.count), map[string]any{
		"environment": map[string]string{"type": "none"}, "input": turns[0].User,
		"agent": map[string]any{
			"model":        fmt.Sprintf("%s/traj-%d", c.dialect, c.number),
			"instructions": t.System(),
			"tools": []any{map[string]any{
				"type": "mcp", "server_label": "airline", "required": true, "effects": effects,
				"request_metadata": map[string]any{"trajectory": c.number, "class": c.stage.class},
			}},
		},
	}, &s)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	c.session = s.ID
	c.watcher = c.stage.client.Watch(context.WithoutCancel(ctx), s.ID)
	if err := c.settle(ctx); err != nil {
		return fmt.Errorf("after the first message: %w", err)
	}
	for i, turn := range turns[1:] {
		if err := c.stage.client.Send(ctx, c.session, fmt.Sprintf("turn-%d", i), rig.Message(turn.User)); err != nil {
			return fmt.Errorf("send message %d: %w", i, err)
		}
		if err := c.settle(ctx); err != nil {
			return fmt.Errorf("after message %d: %w", i, err)
		}
	}
	return nil
}

// settle waits until the session is at rest, and answers from the ledger what it asks meanwhile.
func (c *conversation) settle(ctx context.Context) error {
	for {
		s, err := c.stage.client.Session(ctx, c.session)
		if err != nil {
			return err
		}
		switch s.Status {
		case "idle":
			return nil
		case "failed":
			return errors.New("the session failed")
		}
		for _, a := range s.Required {
			if err := c.answer(ctx, a); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stuck: the session is %s: %w", s.Status, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (c *conversation) answer(ctx context.Context, a rig.Action) error {
	if a.Type != "outcome_unknown" {
		return fmt.Errorf("the session asks for %s", a.Type)
	}
	if c.stage.class != effect.Unknown {
		return fmt.Errorf("the session asks for the outcome of %s, which may be repeated with its key", a.Request.Name)
	}
	applied, result, err := c.stage.desk.Outcome(ctx, a.Request.Key)
	if err != nil {
		return err
	}
	decision := rig.NotHappened(a.RequestID)
	if applied > 0 {
		decision = rig.Happened(a.RequestID, result)
	}
	c.asked[a.RequestID] = true
	return c.stage.client.Send(ctx, c.session, "outcome-"+a.RequestID, decision)
}

// check weighs all conversations against their recordings, and the ledger against both.
func (s *stage) check(played []*conversation) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), time.Minute)
	defer cancel()
	records, err := effect.Read(s.ledger)
	if err != nil {
		s.t.Fatal(err)
	}
	bySession := map[string][]effect.Record{}
	for _, r := range records {
		bySession[r.Session] = append(bySession[r.Session], r)
	}
	calls, texts := 0, 0
	for _, c := range played {
		err := c.fault
		if err == nil {
			err = errors.Join(c.checkLedger(bySession[c.session]), c.checkItems(ctx))
		}
		if c.watcher != nil {
			c.watcher.Close()
		}
		if err != nil {
			s.t.Errorf("conversation %d (%s), session %s: %v\nits journal: %s", c.number, c.dialect, c.session, err, c.keep(ctx))
			continue
		}
		for _, t := range s.all[c.number].Turns() {
			calls += len(t.Calls)
			texts += len(t.Says)
		}
	}
	s.t.Logf("%d conversations as recorded: %d calls, %d texts; the node ran %d times", len(played), calls, texts, s.node.Runs)
}

// checkLedger compares the calls that took place with the recorded ones.
func (c *conversation) checkLedger(records []effect.Record) error {
	var faults []error
	var applied []trajectory.Call
	keys := map[string]int{}
	for _, r := range records {
		switch r.What {
		case effect.Applied:
			applied = append(applied, trajectory.Call{Name: r.Tool, Arguments: plain(r.Args), Result: r.Result})
			keys[r.Key]++
		case effect.Refused:
			faults = append(faults, fmt.Errorf("the server refused a call: %s", r.Result))
		}
	}
	var recorded []trajectory.Call
	for _, call := range c.stage.all[c.number].Calls() {
		recorded = append(recorded, trajectory.Call{Name: call.Name, Arguments: plain([]byte(call.Arguments)), Result: call.Result})
	}
	if !reflect.DeepEqual(applied, recorded) {
		faults = append(faults, fmt.Errorf("%d calls took place, %d are recorded:\n%+v\n%+v", len(applied), len(recorded), applied, recorded))
	}
	for k, n := range keys {
		if k == "" || n > 1 {
			faults = append(faults, fmt.Errorf("%d calls took place under the key %q", n, k))
		}
	}
	return errors.Join(faults...)
}

// line is what a conversation's items are compared by.
type line struct{ what, text, result string }

// checkItems compares the session's items with the recording: every message and every call, with
// its arguments and result, in order. What a crash cut off stands there as incomplete, and is left
// out here.
func (c *conversation) checkItems(ctx context.Context) error {
	items, err := c.stage.client.Items(ctx, c.session)
	if err != nil {
		return err
	}
	var got []line
	for _, it := range items {
		switch {
		case it.Type == "message" && it.Status != "incomplete" && it.Text() != "":
			got = append(got, line{what: it.Role, text: it.Text()})
		case it.Type == "mcp_call":
			got = append(got, line{it.Name, plain(it.Arguments), it.OutputText()})
		}
	}
	var want []line
	turns := c.stage.all[c.number].Turns()
	for _, m := range c.stage.all[c.number].Messages {
		switch {
		case m.Role == "user" || m.Role == "assistant":
			if m.Text() != "" {
				want = append(want, line{what: m.Role, text: m.Text()})
			}
		case m.Role == "tool":
			// Follows its call, which was appended without a result below.
			want[len(want)-1].result = m.Text()
		}
		for _, call := range m.Calls {
			want = append(want, line{what: call.Function.Name, text: plain([]byte(call.Function.Arguments))})
		}
	}
	if last := c.stage.all[c.number].Messages; last[len(last)-1].Role == "user" {
		want = want[:len(want)-1] // a goodbye that has no recorded answer is not sent
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("the items are not the recording: %s", difference(got, want))
	}
	return errors.Join(c.checkTurns(ctx, turns), c.checkStream(turns, items))
}

func difference(got, want []line) string {
	for i := range max(len(got), len(want)) {
		var g, w line
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			return fmt.Sprintf("entry %d of %d is %q, recorded (of %d) is %q", i, len(got), g, len(want), w)
		}
	}
	return "no difference"
}

// checkTurns: every turn completed, but for a last one whose answer was never recorded.
func (c *conversation) checkTurns(ctx context.Context, recorded []trajectory.Turn) error {
	turns, err := c.stage.client.Turns(ctx, c.session)
	if err != nil {
		return err
	}
	if len(turns) != len(recorded) {
		return fmt.Errorf("%d messages made %d turns", len(recorded), len(turns))
	}
	for i, t := range turns {
		want := "completed"
		if recorded[i].Cut {
			want = "failed"
		}
		if t.Status != want {
			return fmt.Errorf("turn %d is %s, not %s: %+v", i, t.Status, want, t.Error)
		}
	}
	return nil
}

func (c *conversation) checkStream(turns []trajectory.Turn, items []rig.Item) error {
	if err := c.watcher.AwaitTurns(len(turns), rig.StartTimeout); err != nil {
		return err
	}
	return rig.CheckStream(c.watcher.Events(), items)
}

// plain is JSON with its keys sorted and its spaces gone, for comparing.
func plain(raw []byte) string {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return string(raw)
	}
	if s, ok := v.(string); ok { // the wire may hold the arguments as text
		return plain([]byte(s))
	}
	b, err := json.Marshal(v)
	if err != nil {
		return string(raw)
	}
	return string(b)
}

// keep leaves the session's journal where somebody can look into it.
func (c *conversation) keep(ctx context.Context) string {
	dir := os.Getenv("STEAD_PROOF_KEEP")
	if dir == "" {
		dir = os.TempDir()
	}
	path := filepath.Join(dir, fmt.Sprintf("stead-tau-%d-%s.jsonl", c.number, c.session))
	if err := os.WriteFile(path, []byte(c.stage.client.Export(ctx, c.session)), 0o600); err != nil {
		return err.Error()
	}
	return path
}
