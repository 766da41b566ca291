package runner_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// Set-up commands that are under way end when what they are for is stopped, and are not begun again.
func TestASetUpThatIsStopped(t *testing.T) {
	h := newComputers(nil)
	h.takes("prepare", time.Hour)
	watch := func(ctx context.Context, req policy.Request) (context.Context, func()) {
		if req.Effect != policy.EnvironmentPrepare {
			return ctx, func() {}
		}
		ctx, end := context.WithCancelCause(ctx)
		time.AfterFunc(time.Minute, func() { end(stead.Errorf(stead.KindForbidden, "the agent was stopped: it mines coins")) })
		return ctx, func() { end(nil) }
	}
	bubble(t, func(t *testing.T, n *node) {
		id := n.compute("go")
		begun := time.Now()
		n.idle(id)
		told := ""
		for _, e := range n.events(id) {
			if e.Kind == session.KindEnvironmentFailed {
				told = string(e.Data)
			}
		}
		if !strings.Contains(told, "it mines coins") || time.Since(begun) > 2*time.Minute {
			t.Errorf("after %s it is told %s", time.Since(begun), told)
		}
		if got := h.log(); len(got) != 1 {
			t.Errorf("the host was asked for %q", got)
		}
	}, withModel(script(calls("run", echoHi), reply("done"))), withComputers(h), with(func(c *runner.Config) { c.Watch = watch }))
}
