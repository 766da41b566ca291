package runner_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/journal/journaltest"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// The benchmark's turn: so many steps, each a model call and a tool call with payloads of that size.
const (
	benchSteps   = 20
	benchPayload = 256
)

// BenchmarkStep runs whole turns of 64 sessions at once on the memory store: what the runner and the
// core cost by themselves. The unit is one step.
func BenchmarkStep(b *testing.B) {
	const sessions = 64
	m := &quickModel{done: make(chan struct{}, sessions)}
	r := runner.New(benchConfig(m))
	if err := r.Start(context.Background()); err != nil {
		b.Fatal(err)
	}
	defer r.Kill()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b.ResetTimer()
	steps := 0
	for steps < b.N {
		var wg sync.WaitGroup
		for range sessions {
			wg.Go(func() { beginTurn(b, r) })
		}
		wg.Wait()
		for range sessions {
			<-m.done
		}
		steps += sessions * benchSteps
	}
	b.StopTimer()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(steps), "ns/step")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(steps), "allocs/step")
	b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(steps), "B/step")
}

func benchConfig(m *quickModel) runner.Config {
	store := journaltest.NewMemory(time.Now)
	return runner.Config{
		Store: store, Agents: store, Blobs: newMemBlobs(), Models: m, Tools: quickTool{},
		Policy: policy.AllowLocal{}, Node: "node-1", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		CheckArguments: func(_, _ []byte) error { return nil },
	}
}

func beginTurn(b *testing.B, r *runner.Runner) {
	_, err := r.Create(context.Background(), me, session.CreateRequest{
		Override: func(s *agent.Spec) error {
			s.Model, s.Tools = "quick", []agent.Tool{{Type: agent.ToolMCP, ServerLabel: "bench"}}
			return nil
		},
		Input: message("go"),
	})
	if err != nil {
		b.Error(err)
	}
}

// quickModel answers at once: a call of the tool until the turn has its steps, then a word.
type quickModel struct{ done chan struct{} }

func (m *quickModel) Resolve(name string, _ model.Caller) (model.Info, model.Model, error) {
	return model.Info{Name: name, Provider: "bench", Upstream: name, ContextWindow: 1 << 20}, m, nil
}

func (m *quickModel) List(stead.ProjectID) []model.Info { return nil }

var quickArguments = json.RawMessage(`{"x":"` + strings.Repeat("x", benchPayload) + `"}`)

func (m *quickModel) Generate(_ context.Context, req model.Request) iter.Seq2[model.Delta, error] {
	return func(yield func(model.Delta, error) bool) {
		made := len(req.Items) / 2
		item := &stead.Item{Type: stead.ItemMessage, Role: stead.RoleAssistant, Content: stead.TextContent(stead.ContentOutputText, "done")}
		finish := model.FinishStop
		if made < benchSteps {
			finish = model.FinishToolCalls
			item = &stead.Item{Type: stead.ItemFunctionCall, CallID: fmt.Sprintf("call_%d", made), Name: req.Tools[0].Name, Arguments: quickArguments}
		}
		if !yield(model.Delta{Kind: model.ItemDone, Item: item}, nil) {
			return
		}
		yield(model.Delta{Kind: model.Done, Usage: &stead.Usage{InputTokens: 1, OutputTokens: 1}, Finish: finish, Model: "quick"}, nil)
		if finish == model.FinishStop {
			m.done <- struct{}{}
		}
	}
}

// quickTool answers at once.
type quickTool struct{}

func (quickTool) Tools(context.Context, tool.Server) ([]tool.Tool, error) {
	return []tool.Tool{quickTool{}}, nil
}

func (quickTool) Spec() tool.Spec {
	return tool.Spec{Name: "step", Description: "One step.", Parameters: json.RawMessage(`{"type":"object"}`), Effect: tool.Idempotent}
}

func (quickTool) Call(context.Context, tool.Call) (tool.Result, error) {
	return tool.Result{Content: stead.TextContent(stead.ContentInputText, strings.Repeat("x", benchPayload))}, nil
}
