package router_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/router"
)

// counter is an upstream that counts.
type counter struct {
	upstream
	counted []model.Request
}

func (c *counter) CountInput(_ context.Context, req model.Request) (int64, error) {
	c.counted = append(c.counted, req)
	return 7, nil
}

// Tokens are counted where the call would go, and nowhere that it may not go.
func TestCountInputStaysOnTheRoute(t *testing.T) {
	abroad, here, silent := &counter{}, &counter{}, &upstream{name: "silent"}
	m := alias(
		router.Route{Provider: "abroad", Upstream: "x", Model: abroad, Region: "us"},
		router.Route{Provider: "here", Upstream: "y", Model: here, Region: "eu", Priority: 1},
	)
	m.Residency = []router.Residency{{Project: "x", Regions: []string{"eu"}}, {Project: "z", Regions: []string{"ap"}}}
	for project, want := range map[string]*counter{"x": here, "w": abroad} {
		abroad.counted, here.counted = nil, nil
		req := model.Request{}
		req.Caller.Project = stead.ProjectID(project)
		if n, err := m.CountInput(t.Context(), req); n != 7 || err != nil || len(want.counted) != 1 || len(abroad.counted)+len(here.counted) != 1 {
			t.Errorf("project %s: %d, %v, counted abroad %d times and here %d times", project, n, err, len(abroad.counted), len(here.counted))
		}
	}
	abroad.counted, here.counted = nil, nil
	req := model.Request{}
	req.Caller.Project = "z"
	if _, err := m.CountInput(t.Context(), req); err == nil || len(abroad.counted)+len(here.counted) != 0 {
		t.Errorf("project z, which has nowhere to go: %v", err)
	}
	_, err := alias(to(silent)).CountInput(t.Context(), model.Request{})
	if e, _ := errors.AsType[*model.Error](err); e == nil || e.Code != model.CodeDialect {
		t.Errorf("a provider that does not count: %v", err)
	}
}
