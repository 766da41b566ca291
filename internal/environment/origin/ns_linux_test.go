package origin_test

import (
	"context"
	"testing"

	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/cgroup"
	"github.com/stead-dev/stead/internal/environment/ns"
	"github.com/stead-dev/stead/internal/tool/tooltest"
)

// A tool server that a request names runs in namespaces of its session, and not on this host.
func TestEverythingInNamespaces(t *testing.T) {
	dir := npm(t)
	p := ns.New(cgroup.Detect())
	end := func(what string, f func(context.Context) error) {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), tooltest.Patience)
			defer cancel()
			if err := f(ctx); err != nil {
				t.Errorf("close the %s: %v", what, err)
			}
		})
	}
	end("driver", p.Close)
	env, err := p.Open(t.Context(), environment.Spec{
		ID: "env_origin", Workspace: t.TempDir(), Env: map[string]string{"GIVEN": "to the environment"},
		Mounts: []environment.Mount{{Source: dir, Target: "/mnt/npm"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	end("environment", env.Close)
	testEverything(t, env, "/mnt/npm")
}
