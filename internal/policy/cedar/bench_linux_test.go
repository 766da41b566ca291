package cedar_test

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
)

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{10, 1000} {
		for _, k := range kinds() {
			b.Run(fmt.Sprintf("%d-%s", n, k.name), func(b *testing.B) { benchmark(b, k.policies(n), nil) })
		}
	}
	// Half of them in files, and half in sets of the project.
	for _, k := range kinds() {
		name, policies := k.name, k.policies
		b.Run("1000-"+name+"-uploaded", func(b *testing.B) {
			const uploads, each = 5, 100
			var sets []*cedar.Set
			for i := range uploads {
				s, err := cedar.Load([]cedar.Source{{Name: "set", Text: []byte(policies(each))}}, cedar.Options{Name: fmt.Sprint("set", i), Approvers: approvers()})
				if err != nil {
					b.Fatal(err)
				}
				sets = append(sets, s)
			}
			benchmark(b, policies(uploads*each), cedar.NewProject(sets))
		})
	}
}

// BenchmarkOffered decides about what a model's provider runs, and about what of a request's functions nobody needs to ask.
func BenchmarkOffered(b *testing.B) {
	for _, n := range []int{10, 1000} {
		for _, k := range append(kinds(), kind{"named", namedTools}) {
			a := authorizer(loaded(b, k.policies(n)), policy.AllowLocal{})
			for _, of := range []string{"provider/web_search", "s1"} {
				req := call(of, "")
				req.Principal, req.Arguments, req.Unforeseen, req.Origin = ada, nil, true, "provider"
				b.Run(fmt.Sprintf("%d-%s-%s", n, k.name, of), func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						if _, err := a.Decide(context.Background(), req); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
			req := call("function/look", "")
			req.Principal, req.Arguments = ada, nil
			b.Run(fmt.Sprintf("%d-%s-function", n, k.name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					a.Foresee(context.Background(), req)
				}
			})
		}
	}
}

// namedTools: every one is about another tool of one server, with its arguments.
func namedTools(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "forbid(principal, action == Action::\"tool.call\", resource == Tool::\"s1/t%d\") when { context.text like \"*x*\" };\n", i)
	}
	return out.String()
}

func loaded(b *testing.B, text string) *cedar.Set {
	s, err := cedar.Load([]cedar.Source{{Name: "bench.cedar", Text: []byte(text)}}, cedar.Options{Approvers: approvers()})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// kinds of policies, from those that the index parts best to those of which all must be asked.
func kinds() []kind {
	return []kind{{"apart", apart}, {"alike", alike}, {"limits", limits}, {"words", words}, {"others", others}}
}

type kind struct {
	name     string
	policies func(int) string
}

// apart: policies as operators have them, each about a tool, a model, a user or a role, every tenth about all tools.
func apart(n int) string {
	var out strings.Builder
	for i := range n {
		switch i % 10 {
		case 0:
			fmt.Fprintf(&out, "forbid(principal, action == Action::\"tool.call\", resource) when { context.labels.hasTag(\"k%d\") && context.labels.getTag(\"k%d\") == \"x\" };\n", i, i)
		case 1, 2, 3:
			fmt.Fprintf(&out, "forbid(principal, action == Action::\"tool.call\", resource == Tool::\"s%d/refund\") when { context.numbers.hasTag(\"amount\") && context.numbers.getTag(\"amount\").greaterThan(decimal(\"100.0\")) };\n", i)
		case 4, 5:
			fmt.Fprintf(&out, "forbid(principal in User::\"u%d\", action == Action::\"tool.call\", resource in Server::\"s%d\");\n", i, i)
		case 6, 7:
			fmt.Fprintf(&out, "forbid(principal, action == Action::\"model.call\", resource == Model::\"m%d\") unless { principal in Role::\"owner\" };\n", i)
		default:
			fmt.Fprintf(&out, "forbid(principal in User::\"u%d\", action in Action::\"write\", resource);\n", i)
		}
	}
	return out.String()
}

// alike: every one is about every tool call, and what it asks for is not there.
func alike(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "forbid(principal, action == Action::\"tool.call\", resource) when { context.labels.hasTag(\"k%d\") && context.labels.getTag(\"k%d\") == \"x\" };\n", i, i)
	}
	return out.String()
}

// limits: every one is about every tool call with an amount, of which each has another limit.
func limits(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "forbid(principal, action == Action::\"tool.call\", resource) when { context.numbers.hasTag(\"amount\") && context.numbers.getTag(\"amount\").greaterThan(decimal(\"%d.0\")) };\n", 100+i)
	}
	return out.String()
}

// words: the worst that there is: every one is about every tool call, and looks for another word in its arguments.
func words(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "forbid(principal, action == Action::\"tool.call\", resource) when { context.text like \"*word%d*\" };\n", i)
	}
	return out.String()
}

// others: as bad: every one is about every call but of another tool.
func others(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "forbid(principal, action == Action::\"tool.call\", resource) when { context.tool != \"x%d\" && context.class != \"unknown\" };\n", i)
	}
	return out.String()
}

func benchmark(b *testing.B, text string, project *cedar.Project) {
	a := authorizer(loaded(b, text), policy.AllowLocal{})
	if project != nil {
		a.With(func(context.Context, stead.ProjectID) (*cedar.Project, error) { return project, nil })
	}
	args, err := json.Marshal(map[string]any{"amount": 40, "order": "4711", "note": strings.Repeat("x", 200)})
	if err != nil {
		b.Fatal(err)
	}
	req := call("s1/refund", string(args))
	req.Principal = ada
	var wall, busy []time.Duration
	b.ReportAllocs()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for b.Loop() {
		began, cpu := time.Now(), threadTime(b)
		d, err := a.Decide(context.Background(), req)
		busy, wall = append(busy, threadTime(b)-cpu), append(wall, time.Since(began))
		if err != nil || !d.Allow {
			b.Fatal(d, err)
		}
	}
	for name, took := range map[string][]time.Duration{"": wall, "cpu-": busy} {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, name+"p50-µs")
		b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, name+"p99-µs")
	}
}

// threadTime is the processor's time that this thread took: on a busy machine, waiting for a turn is
// most of what a wall clock sees.
func threadTime(b *testing.B) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ts.Nano())
}
