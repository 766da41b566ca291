package ns

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
)

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

var boxNumber atomic.Int64 // makes ids of boxes differ

// openBox opens a box with an id and a workspace where the Spec names none.
func openBox(t testing.TB, p *Provider, s environment.Spec) environment.Environment {
	t.Helper()
	if s.ID == "" {
		s.ID = "env_test" + strconv.FormatInt(boxNumber.Add(1), 10)
	}
	if s.Workspace == "" {
		s.Workspace = t.TempDir()
	}
	e, err := p.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}
