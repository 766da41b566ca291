package runner_test

import (
	"context"
	"encoding/json"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/tool"
)

// fakeTools is a tool source whose tools count: read (pure), count (idempotent), launch (unknown).
type fakeTools struct {
	mu    sync.Mutex
	calls []tool.Call
	held  *held
}

// held keeps the next call back until it is released.
type held struct{ begun, release chan struct{} }

func newFakeTools() *fakeTools { return &fakeTools{} }

// hold makes the next call wait, after it has been counted.
func (f *fakeTools) hold() *held {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = &held{make(chan struct{}), make(chan struct{})}
	return f.held
}

func (f *fakeTools) log() []tool.Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]tool.Call(nil), f.calls...)
}

func (f *fakeTools) Tools(context.Context, tool.Server) ([]tool.Tool, error) {
	return []tool.Tool{
		fakeTool{f, tool.Spec{Name: "read", Effect: tool.Pure}},
		fakeTool{f, tool.Spec{Name: "count", Effect: tool.Idempotent}},
		fakeTool{f, tool.Spec{Name: "launch"}},
	}, nil
}

type fakeTool struct {
	f    *fakeTools
	spec tool.Spec
}

func (t fakeTool) Spec() tool.Spec {
	t.spec.Parameters = json.RawMessage(`{"type":"object"}`)
	return t.spec
}

func (t fakeTool) Call(ctx context.Context, c tool.Call) (tool.Result, error) {
	t.f.mu.Lock()
	t.f.calls = append(t.f.calls, c)
	h := t.f.held
	t.f.held = nil
	t.f.mu.Unlock()
	if h != nil {
		close(h.begun)
		select {
		case <-h.release:
		case <-ctx.Done():
			return tool.Result{}, ctx.Err()
		}
	}
	return tool.Result{Content: stead.TextContent(stead.ContentInputText, "done "+string(c.Arguments))}, nil
}

// switchModel counts the calls that run and that were stopped.
type switchModel struct {
	model.Model
	now, stops atomic.Int64
}

func (m *switchModel) running() int64 { return m.now.Load() }
func (m *switchModel) stopped() int64 { return m.stops.Load() }

func (m *switchModel) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		m.now.Add(1)
		defer m.now.Add(-1)
		for d, err := range m.Model.Generate(ctx, req) {
			if !yield(d, err) {
				break
			}
		}
		if ctx.Err() != nil {
			m.stops.Add(1)
		}
	}
}
