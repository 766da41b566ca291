package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/stead-dev/stead/proof/effect"
	"github.com/stead-dev/stead/proof/rig"
)

// call is one tool call that a driver asked for.
type call struct{ tool, class, id string }

// turn is one message that a driver sent and the server accepted.
type turn struct {
	text  string // as sent
	calls []call // that it asks for, in order of reply
	says  string // the answer it must get
	tasks []*task
}

// driver is the application of one session.
type driver struct {
	w      *world
	n      int
	rnd    *rand.Rand
	client *rig.Client // asks another node first than the next driver's
	burst  bool        // sends notes without waiting; see notes
	gives  bool        // gives its work to subagents; see planTogether

	own, made int // subagents that its agent has made, and those below them too

	session string
	watcher *rig.Watcher
	turns   []turn          // accepted
	unknown map[string]bool // questions about an outcome that it answered, by request id
	fault   error           // why it ended early
}

func newDriver(w *world, n int) *driver {
	var bases []string
	for i := range w.nodes {
		bases = append(bases, w.nodes[(n+i)%len(w.nodes)].URL())
	}
	return &driver{w: w, client: rig.NewClient(bases...), n: n, rnd: rand.New(rand.NewPCG(*seed, uint64(n)+1)), unknown: map[string]bool{}, burst: n%burstEvery == burstEvery-1, gives: n%togetherEvery == togetherEvery-2}
}

func (d *driver) run(ctx context.Context, stop <-chan struct{}) error {
	var s rig.Session
	first := d.plan()
	if d.burst {
		first = d.note()
	}
	err := d.client.Insist(ctx, http.MethodPost, "/v1/agents/sessions", fmt.Sprintf("chaos-%d", d.n), map[string]any{
		"environment": map[string]string{"type": "none"}, "input": first.text,
		"agent": map[string]any{"model": "sim", "multi_agent": map[string]bool{"enabled": d.gives}, "tools": []any{
			map[string]any{"type": "mcp", "server_label": "world", "required": true},
		}},
	}, &s)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	d.session = s.ID
	d.turns = append(d.turns, first)
	d.watcher = d.client.Watch(context.WithoutCancel(ctx), s.ID)
	if err := d.settle(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-stop:
			return d.settle(ctx)
		default:
		}
		if d.burst {
			err = d.notes(ctx)
		} else {
			err = d.work(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// work sends one message that asks for calls, and waits until the session is done with it.
func (d *driver) work(ctx context.Context) error {
	t := d.plan()
	if err := d.client.Send(ctx, d.session, fmt.Sprintf("turn-%d", len(d.turns)), rig.Message(t.text)); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	d.turns = append(d.turns, t)
	return d.settle(ctx)
}

// notes sends a few messages one upon the other: they steer the running turn or wait for one of
// their own, but none may be lost.
func (d *driver) notes(ctx context.Context) error {
	for range 1 + d.rnd.IntN(3) {
		n := d.note()
		if err := d.client.Send(ctx, d.session, fmt.Sprintf("note-%d", len(d.turns)), rig.Message(n.text)); err != nil {
			return fmt.Errorf("send: %w", err)
		}
		d.turns = append(d.turns, n)
	}
	return d.settle(ctx)
}

func (d *driver) note() turn {
	return turn{text: fmt.Sprintf("Note %d of session %d.\nStream slowly every 2ms", len(d.turns), d.n)}
}

// plan draws a message: up to three calls at once, up to two more one after another, and an answer.
func (d *driver) plan() turn {
	if d.gives {
		return d.planTogether()
	}
	name := fmt.Sprintf("s%d-t%d", d.n, len(d.turns))
	var t turn
	var lines []string
	ask := func(format string) {
		tools := []call{{tool: "read", class: effect.Pure}, {tool: "put", class: effect.Idempotent}, {tool: "post", class: effect.Unknown}}
		c := tools[d.rnd.IntN(len(tools))]
		c.id = fmt.Sprintf("%s-c%d", name, len(t.calls))
		t.calls = append(t.calls, c)
		lines = append(lines, fmt.Sprintf(format, c.tool, fmt.Sprintf(`{"id":%q,"before_ms":%d,"after_ms":%d}`, c.id, d.rnd.IntN(60), d.rnd.IntN(60))))
	}
	for range 1 + d.rnd.IntN(3) {
		ask("Call %s with %s")
	}
	for range d.rnd.IntN(3) {
		ask("Then call %s with %s")
	}
	t.says = fmt.Sprintf("This is the whole answer of %s, word by word", name)
	lines = append(lines, "Say "+t.says, fmt.Sprintf("Stream slowly every %dms", 1+d.rnd.IntN(10)))
	if d.rnd.IntN(2) == 0 {
		lines = append(lines, fmt.Sprintf("Wait %dms", d.rnd.IntN(60)))
	}
	t.text = strings.Join(lines, "\n")
	return t
}

// settle waits until the session is at rest, and answers what it asks meanwhile.
func (d *driver) settle(ctx context.Context) error {
	for {
		s, err := d.client.Session(ctx, d.session)
		if err != nil {
			return fmt.Errorf("wait for rest: %w", err)
		}
		switch s.Status {
		case "idle":
			return nil
		case "failed":
			return errors.New("the session failed")
		case "requires_action":
			if err := d.answer(ctx, s.Required); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stuck: the session is %s: %w", s.Status, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// answer tells the runtime what became of calls whose outcome it lost: the tool server knows. While
// a node is frozen nobody can know, for it may yet send what it holds: such a question waits.
func (d *driver) answer(ctx context.Context, actions []rig.Action) error {
	for _, a := range actions {
		if a.Type != "outcome_unknown" {
			return fmt.Errorf("the session asks for %s", a.Type)
		}
		if d.w.frozen.Load() {
			continue
		}
		applied, result, err := d.w.tools.Outcome(ctx, a.Request.Key)
		if err != nil {
			return err
		}
		decision := rig.NotHappened(a.RequestID)
		if applied > 0 {
			decision = rig.Happened(a.RequestID, result)
		}
		err = d.client.Send(ctx, d.session, "outcome-"+a.RequestID, decision)
		var api *rig.APIError
		if errors.As(err, &api) {
			// Whatever else came first, a question that is gone needs no answer: the next look tells.
			if s, err := d.client.Session(ctx, d.session); err == nil && !asks(s, a.RequestID) {
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("answer %s: %w", a.RequestID, err)
		}
		d.unknown[a.RequestID] = true
	}
	return nil
}

func asks(s rig.Session, request string) bool {
	for _, a := range s.Required {
		if a.RequestID == request {
			return true
		}
	}
	return false
}
