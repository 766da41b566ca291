package runner_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// bubble runs a test in fake time, with a node of its own: pauses cost nothing and are exact.
func bubble(t *testing.T, test func(t *testing.T, n *node), options ...func(*node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, options...)
		n.patience = 3 * time.Hour
		test(t, n)
	})
}

// with changes a node's configuration before it starts.
func with(change func(*runner.Config)) func(*node) { return func(n *node) { change(&n.cfg) } }

// withModel serves a model of one's own, with what the catalog says of it.
func withModel(m model.Model, change ...func(*model.Info)) func(*node) {
	return with(func(c *runner.Config) { c.Models = oneModel{m, change} })
}

// withTools serves tools of one's own.
func withTools(s tool.Source) func(*node) { return with(func(c *runner.Config) { c.Tools = s }) }

// second starts another node on the same store and blobs.
func (n *node) second(id stead.NodeID) *node {
	n.t.Helper()
	other := *n
	other.start(id)
	n.t.Cleanup(func() { other.Kill() })
	return &other
}

// begin makes a session whose agent is configured by change.
func (n *node) begin(text string, change func(*agent.Spec)) session.Session {
	n.t.Helper()
	s, err := n.Create(context.Background(), me, session.CreateRequest{
		Override: func(s *agent.Spec) error { s.Model = "sim"; change(s); return nil },
		Input:    message(text),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

func (n *node) send(id stead.SessionID, inputs ...session.Input) {
	n.t.Helper()
	if err := n.Send(context.Background(), me, id, session.SendRequest{Inputs: inputs}); err != nil {
		n.t.Fatal(err)
	}
}

func says(text string) session.Input { return session.Input{Message: message(text)} }

var cancels = session.Input{Cancel: true}

func answers(a session.RequiredAction, text string) session.Input {
	return session.Input{Result: &session.ToolResultInput{TurnID: a.TurnID, CallID: a.CallID, Success: true, Output: stead.TextContent(stead.ContentInputText, text)}}
}

func decides(request, decision string) session.Input {
	return session.Input{Approval: &session.ApprovalInput{RequestID: request, Decision: decision}}
}

func (n *node) idle(id stead.SessionID) session.Session {
	n.t.Helper()
	return n.until(id, status(session.StatusIdle))
}

func (n *node) key(id stead.SessionID) stead.SessionKey {
	return stead.SessionKey{Project: me.Project, Session: id}
}

func (n *node) turns(id stead.SessionID) []session.Turn {
	n.t.Helper()
	page, err := n.Turns(context.Background(), me, id, session.PageQuery{Limit: 100})
	if err != nil {
		n.t.Fatal(err)
	}
	return page.Data
}

// onlyTurn is the session's turn; there must be one.
func (n *node) onlyTurn(id stead.SessionID) session.Turn {
	n.t.Helper()
	turns := n.turns(id)
	if len(turns) != 1 {
		n.t.Fatalf("%d turns, want one\n%s", len(turns), n.journal(id))
	}
	return turns[0]
}

func (n *node) events(id stead.SessionID) []stead.Event {
	n.t.Helper()
	events, err := n.store.Read(context.Background(), n.key(id), journal.ReadOptions{})
	if err != nil {
		n.t.Fatal(err)
	}
	return events
}

// count is how many events of a kind the session's journal has.
func (n *node) count(id stead.SessionID, kind string) int {
	n.t.Helper()
	c := 0
	for _, e := range n.events(id) {
		if e.Kind == kind {
			c++
		}
	}
	return c
}

// kinds lists the kinds of the session's events.
func (n *node) kinds(id stead.SessionID) []string {
	n.t.Helper()
	var out []string
	for _, e := range n.events(id) {
		out = append(out, e.Kind)
	}
	return out
}

// isKind fails the test unless the error has the kind.
func isKind(t *testing.T, err error, want stead.Kind) {
	t.Helper()
	if stead.KindOf(err) != want {
		t.Errorf("error %v is of kind %q, want %q", err, stead.KindOf(err), want)
	}
}

// answer is what a scripted model does in one call.
type answer func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool)

// scripted is a model that gives one answer after the other, the last one for good, and keeps what
// it was asked. Requests for a summary are answered by compact and kept apart.
type scripted struct {
	answers []answer
	compact answer // nil: says "SUMMARY"

	mu        sync.Mutex
	requests  []model.Request
	times     []time.Time
	summaries []model.Request
}

func script(answers ...answer) *scripted { return &scripted{answers: answers} }

func (m *scripted) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) { m.next(req)(ctx, req, yield) }
}

func (m *scripted) next(req model.Request) answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := req.Items[len(req.Items)-1]
	if last.Role == stead.RoleUser && strings.HasPrefix(last.Content[0].Text.Inline, "Summarize the conversation") {
		m.summaries = append(m.summaries, req)
		if m.compact != nil {
			return m.compact
		}
		return reply("SUMMARY")
	}
	m.requests, m.times = append(m.requests, req), append(m.times, time.Now())
	return m.answers[min(len(m.requests), len(m.answers))-1]
}

// asked are the requests so far.
func (m *scripted) asked() []model.Request {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]model.Request(nil), m.requests...)
}

func (m *scripted) last() model.Request {
	asked := m.asked()
	return asked[len(asked)-1]
}

// gaps are the times between the calls.
func (m *scripted) gaps() []time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []time.Duration
	for i := 1; i < len(m.times); i++ {
		out = append(out, m.times[i].Sub(m.times[i-1]))
	}
	return out
}

// ends finishes a stream: a token for every four bytes asked, one for the answer.
func ends(req model.Request, yield func(model.Delta, error) bool, finish model.Finish) {
	in := 0
	for _, it := range req.Items {
		in += model.ItemBytes(it)
	}
	yield(model.Delta{Kind: model.Done, Usage: &stead.Usage{InputTokens: int64(in / 4), OutputTokens: 1}, Finish: finish, Model: req.Model}, nil)
}

func messageItem(text string) *stead.Item {
	return &stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.TextContent(stead.ContentOutputText, text)}
}

// reply says a text.
func reply(text string) answer { return gives(model.FinishStop, messageItem(text)) }

// gives finishes items without streaming their text.
func gives(finish model.Finish, items ...*stead.Item) answer {
	return func(_ context.Context, req model.Request, yield func(model.Delta, error) bool) {
		for i, it := range items {
			if !yield(model.Delta{Kind: model.ItemDone, Index: i, Item: it}, nil) {
				return
			}
		}
		ends(req, yield, finish)
	}
}

// calls asks for tools: name, arguments, name, arguments …
func calls(nameArgs ...string) answer {
	return func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
		var items []*stead.Item
		for i := 0; i < len(nameArgs); i += 2 {
			items = append(items, &stead.Item{Type: stead.ItemFunctionCall, CallID: fmt.Sprintf("c%d_%d", len(req.Items), i/2), Name: nameArgs[i], Arguments: json.RawMessage(nameArgs[i+1])})
		}
		gives(model.FinishToolCalls, items...)(ctx, req, yield)
	}
}

// after waits, then answers.
func after(d time.Duration, then answer) answer {
	return func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
		if lasts(ctx, d) {
			then(ctx, req, yield)
		}
	}
}

// lasts waits; false when ctx ended first.
func lasts(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func fails(e *model.Error) answer {
	return func(_ context.Context, _ model.Request, yield func(model.Delta, error) bool) { yield(model.Delta{}, e) }
}

// hangs says nothing until it is stopped.
func hangs(ctx context.Context, _ model.Request, yield func(model.Delta, error) bool) {
	<-ctx.Done()
	yield(model.Delta{}, &model.Error{Code: model.CodeConnection, Message: "stopped", Retry: true, Err: ctx.Err()})
}

// seen lists a request's items as short lines.
func seen(req model.Request) []string {
	var out []string
	for _, it := range req.Items {
		switch it.Type {
		case stead.ItemMessage:
			out = append(out, it.Role+": "+inline(it.Content))
		case stead.ItemFunctionCall:
			out = append(out, "call "+it.Name+" "+string(it.Arguments))
		case stead.ItemFunctionCallOutput:
			out = append(out, "output "+inline(it.Output)+it.Error)
		default:
			out = append(out, string(it.Type))
		}
	}
	return out
}

func inline(content []stead.Content) string {
	var parts []string
	for _, c := range content {
		parts = append(parts, c.Text.Inline)
	}
	return strings.Join(parts, "|")
}

// paired fails the test unless each request has exactly one output behind each of its calls.
func paired(t *testing.T, requests []model.Request) {
	t.Helper()
	for n, req := range requests {
		open := map[string]bool{}
		for i, it := range req.Items {
			switch it.Type {
			case stead.ItemFunctionCall:
				open[it.CallID] = true
			case stead.ItemFunctionCallOutput:
				if !open[it.CallID] {
					t.Errorf("request %d: item %d answers no call: %q", n, i, seen(req))
				}
				delete(open, it.CallID)
			}
		}
		if len(open) > 0 {
			t.Errorf("request %d: calls %v have no output: %q", n, open, seen(req))
		}
	}
}

// box is a tool source: server label → its tools, or why it can't be listed.
type box map[string]*shelf

type shelf struct {
	tools []tool.Tool
	err   error
}

func (b box) Tools(_ context.Context, s tool.Server) ([]tool.Tool, error) {
	found := b[s.Label]
	if found == nil {
		return nil, stead.Invalid("server_label", "there is no server %s", s.Label)
	}
	return found.tools, found.err
}

// having is a box with one server, "box".
func having(tools ...tool.Tool) box { return box{"box": {tools: tools}} }

// does is a tool that runs a function.
type does struct {
	name   string
	effect tool.Effect
	run    func(ctx context.Context, c tool.Call) (tool.Result, error)
}

func (d does) Spec() tool.Spec {
	return tool.Spec{Name: d.name, Effect: d.effect, Parameters: json.RawMessage(`{"type":"object"}`)}
}

func (d does) Call(ctx context.Context, c tool.Call) (tool.Result, error) { return d.run(ctx, c) }

// outputs is a tool's answer with one text.
func outputs(text string) (tool.Result, error) {
	return tool.Result{Content: stead.TextContent(stead.ContentInputText, text)}, nil
}

func server(label string) agent.Tool { return agent.Tool{Type: agent.ToolMCP, ServerLabel: label} }

// guardedBox is a box that changes while it is in use.
type guardedBox struct {
	mu sync.Mutex
	b  box
}

func (g *guardedBox) Tools(ctx context.Context, s tool.Server) ([]tool.Tool, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.Tools(ctx, s)
}

func (g *guardedBox) set(label string, s *shelf) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.b[label] = s
}

// specOf configures an inline agent of the sim model.
func specOf(tools ...agent.Tool) func(*agent.Spec) error {
	return func(s *agent.Spec) error { s.Model, s.Tools = "sim", tools; return nil }
}
