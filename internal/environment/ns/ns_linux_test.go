package ns

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
)

func TestMain(m *testing.M) {
	if os.Args[0] == Argv0 {
		Main()
	}
	os.Exit(m.Run())
}

func open(t testing.TB) *Provider {
	t.Helper()
	p := New(cgroup.Detect())
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

func BenchmarkCold(b *testing.B) {
	p := open(b)
	ws := b.TempDir()
	var opened, first, closed time.Duration
	for b.Loop() {
		t0 := time.Now()
		e, err := p.Open(context.Background(), environment.Spec{ID: "env_bench", Workspace: ws})
		if err != nil {
			b.Fatal(err)
		}
		t1 := time.Now()
		_, err = e.Exec(context.Background(), environment.Command{Args: []string{"echo", "x"}}, nil)
		t2 := time.Now()
		if err := e.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
		t3 := time.Now()
		opened, first, closed = opened+t1.Sub(t0), first+t2.Sub(t1), closed+t3.Sub(t2)
	}
	b.ReportMetric(float64(opened.Microseconds())/float64(b.N), "open-us")
	b.ReportMetric(float64(first.Microseconds())/float64(b.N), "first-us")
	b.ReportMetric(float64(closed.Microseconds())/float64(b.N), "close-us")
}

func BenchmarkWarm(b *testing.B) {
	p := open(b)
	e, err := p.Open(context.Background(), environment.Spec{ID: "env_bench", Workspace: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := e.Exec(context.Background(), environment.Command{Args: []string{"echo", "x"}}, nil); err != nil {
			b.Fatal(err)
		}
	}
}
