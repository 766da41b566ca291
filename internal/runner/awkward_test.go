package runner_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"
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

// What upstreams, tools and agents may do, and what must not come of it: nothing here may wedge a
// session, end the process or lose what was accepted.

// awkward answers call n with script[n] (the last repeats).
type awkward struct {
	n      atomic.Int64
	script []func(ctx context.Context, yield func(model.Delta, error) bool)
}

func (m *awkward) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		i := int(m.n.Add(1)) - 1
		m.script[min(i, len(m.script)-1)](ctx, yield)
	}
}

// waitFor waits until the model was called so often: no event tells of the moment.
func (m *awkward) waitFor(t *testing.T, calls int64) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); m.n.Load() < calls; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the model was called %d times, not %d", m.n.Load(), calls)
		}
	}
}

func done(yield func(model.Delta, error) bool, f model.Finish) {
	yield(model.Delta{Kind: model.Done, Usage: &stead.Usage{InputTokens: 10, OutputTokens: 10}, Finish: f}, nil)
}
func sayit(text string) func(ctx context.Context, yield func(model.Delta, error) bool) {
	return func(ctx context.Context, yield func(model.Delta, error) bool) {
		it := stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.TextContent(stead.ContentOutputText, text)}
		yield(model.Delta{Kind: model.ItemDone, Item: &it}, nil)
		done(yield, model.FinishStop)
	}
}
func callsOf(n, size int, name string) func(ctx context.Context, yield func(model.Delta, error) bool) {
	return func(ctx context.Context, yield func(model.Delta, error) bool) {
		for i := range n {
			it := stead.Item{Type: stead.ItemFunctionCall, CallID: fmt.Sprint("c", i), Name: name, Arguments: json.RawMessage(fmt.Sprintf(`{"n":%d,"x":%q}`, i, strings.Repeat("x", size)))}
			yield(model.Delta{Kind: model.ItemDone, Index: i, Item: &it}, nil)
		}
		done(yield, model.FinishToolCalls)
	}
}

func awkwardNode(t *testing.T, m model.Model, change func(*node)) *node {
	t.Helper()
	n := newNode(t)
	n.Kill()
	n.cfg.Models = oneModel{m: m}
	if change != nil {
		change(n)
	}
	n.start("node-2")
	return n
}

func TestBigReplyArguments(t *testing.T) {
	m := &awkward{script: []func(context.Context, func(model.Delta, error) bool){callsOf(6, 200<<10, "read"), sayit("ok")}}
	n := awkwardNode(t, m, nil)
	s := n.create("go", mcpServer())
	n.until(s.ID, status(session.StatusIdle))
}

func TestBigReplyMessages(t *testing.T) {
	m := &awkward{script: []func(context.Context, func(model.Delta, error) bool){func(ctx context.Context, yield func(model.Delta, error) bool) {
		for i := range 60 {
			it := stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.TextContent(stead.ContentOutputText, strings.Repeat("y", 30<<10))}
			yield(model.Delta{Kind: model.ItemDone, Index: i, Item: &it}, nil)
		}
		done(yield, model.FinishStop)
	}}}
	n := awkwardNode(t, m, nil)
	s := n.create("go")
	n.until(s.ID, status(session.StatusIdle))
}

type partsTools struct{ *fakeTools }
type partsTool struct{ tool.Tool }

func (p partsTools) Tools(ctx context.Context, s tool.Server) ([]tool.Tool, error) {
	ts, err := p.fakeTools.Tools(ctx, s)
	for i := range ts {
		ts[i] = partsTool{ts[i]}
	}
	return ts, err
}
func (p partsTool) Call(ctx context.Context, c tool.Call) (tool.Result, error) {
	var content []stead.Content
	for range 100 {
		content = append(content, stead.TextContent(stead.ContentInputText, strings.Repeat("z", 20<<10))...)
	}
	return tool.Result{Content: content}, nil
}

func TestToolManyParts(t *testing.T) {
	m := &awkward{script: []func(context.Context, func(model.Delta, error) bool){callsOf(1, 1, "count"), sayit("ok")}}
	n := awkwardNode(t, m, func(n *node) { n.cfg.Tools = partsTools{n.tools} })
	s := n.create("go", mcpServer())
	n.until(s.ID, status(session.StatusIdle))
}

func TestSessionBigTools(t *testing.T) {
	n := newNode(t)
	var ts []agent.Tool
	for i := range 100 {
		f := function(fmt.Sprint("f", i))
		f.Description = strings.Repeat("d", 20<<10)
		ts = append(ts, f)
	}
	_, err := n.Create(context.Background(), me, session.CreateRequest{
		Override: func(s *agent.Spec) error { s.Model, s.Tools = "sim", ts; return nil },
		Input:    message("hi"),
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStreamedThenCall(t *testing.T) {
	m := &awkward{script: []func(context.Context, func(model.Delta, error) bool){func(ctx context.Context, yield func(model.Delta, error) bool) {
		yield(model.Delta{Kind: model.TextDelta, Index: 0, Text: "hello"}, nil)
		time.Sleep(60 * time.Millisecond)
		it := stead.Item{Type: stead.ItemFunctionCall, CallID: "c", Name: "read", Arguments: json.RawMessage(`{}`)}
		yield(model.Delta{Kind: model.ItemDone, Index: 0, Item: &it}, nil)
		done(yield, model.FinishToolCalls)
	}, sayit("ok")}}
	n := awkwardNode(t, m, nil)
	s := n.create("go", mcpServer())
	n.until(s.ID, status(session.StatusIdle))
}

func TestSnapshotBehindCache(t *testing.T) {
	m := &awkward{script: []func(context.Context, func(model.Delta, error) bool){sayit("ok")}}
	n := awkwardNode(t, m, nil)
	s := n.create("go")
	n.until(s.ID, status(session.StatusIdle))
	for i := range 300 {
		if err := n.Send(context.Background(), me, s.ID, session.SendRequest{Inputs: []session.Input{{Message: message(fmt.Sprint("m", i))}}}); err != nil {
			t.Fatal(err)
		}
		n.until(s.ID, status(session.StatusIdle))
	}
	key := stead.SessionKey{Project: me.Project, Session: s.ID}
	h, _ := n.store.Head(context.Background(), key)
	seq, _, _ := n.store.LoadSnapshot(context.Background(), key)
	if h.Tail-seq > 2*stead.SnapshotEvery {
		t.Fatalf("tail %d, snapshot %d", h.Tail, seq)
	}
}

// tailStore sends a message right before the append that ends a turn.
type tailStore struct {
	journal.Full
	once   atomic.Bool
	before func()
	kind   string
}

func (s *tailStore) Append(ctx context.Context, l journal.Lease, b journal.Batch) error {
	for _, e := range b.Events {
		if e.Kind == s.kind && s.before != nil && s.once.CompareAndSwap(false, true) {
			s.before()
		}
	}
	return s.Full.Append(ctx, l, b)
}

type smallModel struct{ m model.Model }

func (c smallModel) Resolve(name string, by model.Caller) (model.Info, model.Model, error) {
	return model.Info{Name: name, Provider: "sim", Upstream: name, ContextWindow: 1000, MaxOutputTokens: 100}, c.m, nil
}
func (c smallModel) List(stead.ProjectID) []model.Info { return nil }

// compactor: a summary never ends by itself; other calls answer.
type compactor struct{ n atomic.Int64 }

func (m *compactor) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		last := req.Items[len(req.Items)-1]
		if strings.HasPrefix(last.Content[0].Text.Inline, "Summarize") {
			select {
			case <-ctx.Done():
				yield(model.Delta{}, ctx.Err())
				return
			case <-time.After(700 * time.Millisecond):
			}
			sayit("sum")(ctx, yield)
			return
		}
		m.n.Add(1)
		time.Sleep(30 * time.Millisecond)
		sayit(strings.Repeat("word ", 60))(ctx, yield)
	}
}

func TestCompactKilledByEnd(t *testing.T) {
	m := &compactor{}
	var ts *tailStore
	n := awkwardNode(t, m, func(n *node) {
		ts = &tailStore{Full: n.store, kind: session.KindTurnCompleted}
		n.cfg.Store = ts
		n.cfg.Models = smallModel{m}
	})
	s, err := n.Create(context.Background(), me, session.CreateRequest{
		Override: func(s *agent.Spec) error { s.Model = "sim"; s.Compaction.Async = true; return nil },
		Input:    message(strings.Repeat("hello ", 80)),
	})
	if err != nil {
		t.Fatal(err)
	}
	n.until(s.ID, status(session.StatusIdle))
	for i := 0; i < 12; i++ {
		ts.once.Store(true)
		armed := i >= 1
		if armed {
			ts.before = func() {
				_ = n.store // the message of another node
				e, _ := session.NewEvent(time.Now().UnixMilli(), session.KindInputMessage, session.Message{Input: message(strings.Repeat("steer ", 90)), By: me})
				_, err := n.store.Send(context.Background(), stead.SessionKey{Project: me.Project, Session: s.ID}, journal.Input{Events: []stead.Event{e}, If: -1})
				if err != nil {
					t.Error(err)
				}
			}
			ts.once.Store(false)
		}
		if err := n.Send(context.Background(), me, s.ID, session.SendRequest{Inputs: []session.Input{{Message: message(strings.Repeat("more ", 30))}}}); err != nil {
			t.Fatal(err)
		}
		n.until(s.ID, status(session.StatusIdle))
	}
}

func TestStatusFilter(t *testing.T) {
	hold := make(chan struct{})
	m := &awkward{script: []func(context.Context, func(model.Delta, error) bool){sayit("ok"), func(ctx context.Context, yield func(model.Delta, error) bool) {
		<-hold
		sayit("late")(ctx, yield)
	}}}
	n := awkwardNode(t, m, nil)
	t.Cleanup(func() { close(hold) })
	s := n.create("go")
	n.until(s.ID, status(session.StatusIdle))
	if err := n.Send(context.Background(), me, s.ID, session.SendRequest{Inputs: []session.Input{{Message: message("x")}}}); err != nil {
		t.Fatal(err)
	}
	m.waitFor(t, 2)
	page, err := n.List(context.Background(), me, session.ListQuery{Filter: session.Filter{Status: session.StatusInProgress}})
	if err != nil || len(page.Data) != 1 {
		t.Errorf("in_progress lists %d sessions, %v", len(page.Data), err)
	}
	page, err = n.List(context.Background(), me, session.ListQuery{Filter: session.Filter{Status: session.StatusIdle}})
	if err != nil || len(page.Data) != 0 {
		t.Errorf("idle lists %d sessions: status %q, %v", len(page.Data), page.Data[0].Status, err)
	}
}

// awayStore refuses all writes while away.
type awayStore struct {
	journal.Full
	away    atomic.Bool
	appends atomic.Int64
}

func (s *awayStore) Append(ctx context.Context, l journal.Lease, b journal.Batch) error {
	s.appends.Add(1)
	if s.away.Load() {
		return stead.Errorf(stead.KindUnavailable, "away")
	}
	return s.Full.Append(ctx, l, b)
}

func TestShutdownWhileAway(t *testing.T) {
	gate := make(chan struct{})
	m := &awkward{script: []func(context.Context, func(model.Delta, error) bool){func(ctx context.Context, yield func(model.Delta, error) bool) {
		<-gate
		sayit("late")(ctx, yield)
	}}}
	var st *awayStore
	n := awkwardNode(t, m, func(n *node) { st = &awayStore{Full: n.store}; n.cfg.Store = st })
	n.create("go")
	m.waitFor(t, 1)
	st.away.Store(true)
	close(gate)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	end := make(chan error, 1)
	go func() { end <- n.Shutdown(ctx) }()
	select {
	case err := <-end:
		t.Log(err)
	case <-time.After(30 * time.Second):
		t.Error("Shutdown hangs for as long as the store is away, though its context ended 30 s ago")
	}
}

func TestCancelKey(t *testing.T) {
	hold := make(chan struct{})
	m := &awkward{script: []func(context.Context, func(model.Delta, error) bool){sayit("ok"), func(ctx context.Context, yield func(model.Delta, error) bool) {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		sayit("late")(ctx, yield)
	}}}
	n := awkwardNode(t, m, nil)
	s := n.create("go")
	n.until(s.ID, status(session.StatusIdle))
	req := session.SendRequest{Inputs: []session.Input{{Cancel: true}}, Key: "k1", Digest: "d1"}
	if err := n.Send(context.Background(), me, s.ID, req); err != nil {
		t.Fatal(err)
	}
	if err := n.Send(context.Background(), me, s.ID, session.SendRequest{Inputs: []session.Input{{Message: message("x")}}}); err != nil {
		t.Fatal(err)
	}
	m.waitFor(t, 2)
	if err := n.Send(context.Background(), me, s.ID, req); err != nil { // the retry of the first request
		t.Fatal(err)
	}
	time.AfterFunc(300*time.Millisecond, func() { close(hold) })
	n.until(s.ID, status(session.StatusIdle))
	if strings.Contains(n.journal(s.ID), "turn.cancelled") {
		t.Error("a retried cancel (same key) cancelled a later turn")
	}
}

type denyTools struct{}

func (denyTools) Decide(ctx context.Context, r policy.Request) (policy.Decision, error) {
	if r.Effect == policy.ToolCall {
		return policy.Decision{Allow: false, Reason: "no"}, nil
	}
	return policy.AllowLocal{}.Decide(ctx, r)
}

func TestManyDenied(t *testing.T) {
	m := &awkward{script: []func(context.Context, func(model.Delta, error) bool){callsOf(700, 1, "read"), sayit("ok")}}
	n := awkwardNode(t, m, func(n *node) { n.cfg.Policy = denyTools{} })
	s := n.create("go", mcpServer())
	n.until(s.ID, status(session.StatusIdle))
}

func TestSkew(t *testing.T) {
	m := &awkward{script: []func(context.Context, func(model.Delta, error) bool){func(ctx context.Context, yield func(model.Delta, error) bool) {
		yield(model.Delta{}, &model.Error{Code: model.CodeOverloaded, Message: "busy", Retry: true, RetryAfter: time.Second})
	}, sayit("ok")}}
	var st *awayStore
	n := awkwardNode(t, m, func(n *node) {
		st = &awayStore{Full: n.store}
		n.cfg.Store = st
		n.cfg.Now = func() time.Time { return time.Now().Add(-3 * time.Second) } // behind the database by 3 s
	})
	s := n.create("go")
	n.until(s.ID, status(session.StatusIdle))
	if a := st.appends.Load(); a > 20 {
		t.Errorf("%d appends for one retry after 1 s", a)
	}
}

func TestSteeringLimit(t *testing.T) {
	begun, hold := make(chan struct{}), make(chan struct{})
	m := &awkward{script: []func(context.Context, func(model.Delta, error) bool){func(ctx context.Context, yield func(model.Delta, error) bool) {
		close(begun)
		select {
		case <-hold:
		case <-ctx.Done():
		}
		sayit("late")(ctx, yield)
	}}}
	n := awkwardNode(t, m, nil)
	t.Cleanup(func() { close(hold) })
	s := n.create("go")
	<-begun
	for i := range 2 * stead.MaxSteeringMessages {
		if err := n.Send(context.Background(), me, s.ID, session.SendRequest{Inputs: []session.Input{{Message: message(fmt.Sprint(i))}}}); err != nil {
			return
		}
	}
	t.Errorf("%d unread messages wait for the running turn; the limit is %d", 2*stead.MaxSteeringMessages, stead.MaxSteeringMessages)
}

func TestOverflowModelGone(t *testing.T) {
	m := &awkward{script: []func(context.Context, func(model.Delta, error) bool){sayit(strings.Repeat("a", 9000)), sayit(strings.Repeat("a", 9000)), func(ctx context.Context, yield func(model.Delta, error) bool) {
		yield(model.Delta{}, &model.Error{Code: model.CodeContextLength, Message: "too long", Retry: true, RetryAfter: time.Second})
	}}}
	gone := &goneModels{m: m}
	n := awkwardNode(t, m, func(n *node) { n.cfg.Models = gone })
	s := n.create("go")
	n.until(s.ID, status(session.StatusIdle))
	for range 2 {
		gone.n = &m.n
		_ = n.Send(context.Background(), me, s.ID, session.SendRequest{Inputs: []session.Input{{Message: message("x")}}})
		n.until(s.ID, status(session.StatusIdle))
	}
}

type goneModels struct {
	m model.Model
	n *atomic.Int64
}

func (g *goneModels) Resolve(name string, by model.Caller) (model.Info, model.Model, error) {
	if g.n != nil && g.n.Load() >= 3 {
		return model.Info{}, nil, stead.NotFound("model", name)
	}
	return oneModel{m: g.m}.Resolve(name, by)
}
func (g *goneModels) List(stead.ProjectID) []model.Info { return nil }
