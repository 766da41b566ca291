package executor_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/executor"
)

// names makes the environment name a workspace_directory.
func (r *rig) names(id, workspace string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.known[id]
	known.Workspace = workspace
	r.known[id] = known
}

// The server tells the executor where the environment works, and the executor works there.
func TestWorkspaceIsTheOneThatTheEnvironmentNames(t *testing.T) {
	r := newRig(t, quick())
	remote := r.register("env_1", r.server.URL)
	named := filepath.Join(t.TempDir(), "prôject & more")
	if err := os.Mkdir(named, 0o755); err != nil {
		t.Fatal(err)
	}
	r.names("env_1", named+"/.")
	r.run(remote, func(c *executor.Config) {
		c.Place = func(dir string) (string, string, error) { return dir, dir, nil }
	})
	if got, _ := output(t, r.open("env_1"), shell("echo here > made; pwd")); got != named+"\n" {
		t.Errorf("commands work in %q", got)
	}
	if info, _ := r.hub.Info("env_1"); info.Workspace != named {
		t.Errorf("the server takes it to be %q", info.Workspace)
	}
	if _, err := os.Stat(filepath.Join(named, "made")); err != nil {
		t.Error(err)
	}
}

// An executor that may not work there ends, says why, and was never taken for connected.
func TestExecutorRefusesAWorkspace(t *testing.T) {
	r := newRig(t, quick())
	remote := r.register("env_1", r.server.URL)
	r.names("env_1", "/etc")
	var asked atomic.Int64
	e := r.run(remote, func(c *executor.Config) {
		c.Place = func(dir string) (string, string, error) {
			asked.Add(1)
			return "", "", stead.Invalid("workspace", "not in %s", dir)
		}
	})
	if err := e.wait(t); stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), "not in /etc") {
		t.Errorf("it ended with %v", err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("it tried %d times", n)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.changes) != 0 {
		t.Errorf("the server was told of %+v", r.changes)
	}
}

// A server that names a directory which is none is not asked again; one that names nothing, as servers
// before this did, leaves the choice to the executor.
func TestWorkspacesThatAreNone(t *testing.T) {
	for _, bad := range []string{"work", "../up", "/a\nb", "/" + strings.Repeat("x", environment.MaxPathBytes)} {
		r := newRig(t, quick())
		remote := r.register("env_1", r.server.URL)
		r.names("env_1", bad)
		e := r.run(remote, func(c *executor.Config) {
			c.Place = func(dir string) (string, string, error) { return c.Workspace, c.Seen, nil }
		})
		if err := e.wait(t); stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), "no absolute path") {
			t.Errorf("%.20q: it ended with %v", bad, err)
		}
	}
	r := newRig(t, quick())
	e := r.run(r.register("env_1", r.server.URL), func(c *executor.Config) {
		own := c.Workspace
		c.Place = func(dir string) (string, string, error) { return own, own + dir, nil }
	})
	if got, _ := output(t, r.open("env_1"), shell("pwd")); got != e.dir+"\n" {
		t.Errorf("commands work in %q", got)
	}
}

// What commands use on the executor's machine is known at the server when they have ended.
func TestUsageOfCommands(t *testing.T) {
	r := newRig(t, quick())
	r.run(r.register("env_1", r.server.URL), nil)
	env := r.open("env_1")
	if _, x := output(t, env, shell(`i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; head -c 3000000 /dev/zero | tail -c 3000000 | wc -c`)); x.Code != 0 {
		t.Fatalf("%+v", x)
	}
	output(t, env, shell("true"))
	if u := env.Usage(); u.Commands != 2 || u.CPU <= 0 || u.MemoryBytes < 1<<20 || u.OutputBytes != int64(len("3000000\n")) {
		t.Errorf("used: %+v", u)
	}
}
