package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/tool"
)

// stepsPerTurn is the length of one turn, as in the comparison.
const stepsPerTurn = 20

// instant is a model and a catalog of it that answers at once: a call of the one tool until the
// steps are done, then a word. It notes when each session made its calls: what lies between two of
// them is one step, whole.
type instant struct {
	steps int
	hang  bool // calls never answer: the process is going to be killed
	clock bool // answers are streamed: see ticks

	mu   sync.Mutex
	last map[string]time.Time     // session → its last call
	took []time.Duration          // of steps
	done map[string]chan struct{} // session → closed when its turn has its answer
	busy int                      // calls begun
}

func newInstant(steps int) *instant {
	return &instant{steps: steps, last: map[string]time.Time{}, done: map[string]chan struct{}{}}
}

// Resolve implements model.Catalog: every name is this model.
func (m *instant) Resolve(name string, _ model.Caller) (model.Info, model.Model, error) {
	return model.Info{Name: name, Provider: "bench", Upstream: name, ContextWindow: 1 << 20}, m, nil
}

// List implements model.Catalog.
func (m *instant) List(stead.ProjectID) []model.Info { return nil }

// Generate implements model.Model.
func (m *instant) Generate(ctx context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		made := m.note(req)
		if m.hang {
			<-ctx.Done()
			yield(model.Delta{}, ctx.Err())
			return
		}
		text := "done"
		if m.clock {
			var ok bool
			if text, ok = ticks(ctx, yield); !ok {
				return
			}
		}
		item, finish := &stead.Item{
			Type: stead.ItemMessage, Status: stead.ItemCompleted, Role: stead.RoleAssistant, Content: stead.TextContent(stead.ContentOutputText, text),
		}, model.FinishStop
		if made < m.steps {
			item, finish = &stead.Item{
				Type: stead.ItemFunctionCall, Status: stead.ItemCompleted, CallID: fmt.Sprintf("call_%d_%d", len(req.Items), made),
				Name: req.Tools[0].Name, Arguments: json.RawMessage(arguments()),
			}, model.FinishToolCalls
		}
		if !yield(model.Delta{Kind: model.ItemDone, Item: item}, nil) {
			return
		}
		if finish == model.FinishStop {
			m.finished(req.CacheKey)
		}
		yield(model.Delta{Kind: model.Done, Usage: &stead.Usage{InputTokens: 1, OutputTokens: 1}, Finish: finish, Model: "bench"}, nil)
	}
}

// note records the call, and returns how many steps of its turn came before it.
func (m *instant) note(req model.Request) int {
	now := time.Now()
	made := 0
	for i := len(req.Items) - 1; i >= 0 && req.Items[i].Role != stead.RoleUser; i-- {
		if req.Items[i].Type == stead.ItemFunctionCallOutput {
			made++
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.busy++
	if last, ok := m.last[req.CacheKey]; ok && made > 0 {
		m.took = append(m.took, now.Sub(last))
	}
	m.last[req.CacheKey] = now
	return made
}

// turn returns the channel that is closed when a session's turn has its answer.
func (m *instant) turn(session string) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.turnLocked(session)
}

func (m *instant) turnLocked(session string) chan struct{} {
	c := m.done[session]
	if c == nil {
		c = make(chan struct{})
		m.done[session] = c
	}
	return c
}

func (m *instant) finished(session string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.last, session)
	close(m.turnLocked(session))
}

// steps taken since the last time that it was asked.
func (m *instant) takeSteps() []time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	took := m.took
	m.took = nil
	return took
}

func (m *instant) begun() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.busy
}

// forget drops what is known of sessions: the bench's own memory must not count.
func (m *instant) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.last)
	clear(m.done)
	m.last, m.done, m.took = map[string]time.Time{}, map[string]chan struct{}{}, nil
}

// arguments are a call's, of payloadBytes.
func arguments() string { return `{"x":"` + strings.Repeat("x", payloadBytes-len(`{"x":""}`)) + `"}` }

// instantTool answers at once; its effect may be repeated under its key.
type instantTool struct{}

// Tools implements tool.Source.
func (instantTool) Tools(context.Context, tool.Server) ([]tool.Tool, error) {
	return []tool.Tool{instantTool{}}, nil
}

// Spec implements tool.Tool.
func (instantTool) Spec() tool.Spec {
	return tool.Spec{Name: "step", Description: "One step.", Parameters: json.RawMessage(`{"type":"object"}`), Effect: tool.Idempotent}
}

// Call implements tool.Tool.
func (instantTool) Call(context.Context, tool.Call) (tool.Result, error) {
	return tool.Result{Content: stead.TextContent(stead.ContentInputText, strings.Repeat("x", payloadBytes))}, nil
}
