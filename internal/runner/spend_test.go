package runner_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/session"
)

// TestSpendControlCountsCallsUnderWay: what calls of other threads may cost counts until they have ended, so that many at once pass the limit by less
// than one of them; those that have no room wait, and go on when there is some.
func TestSpendControlCountsCallsUnderWay(t *testing.T) {
	for _, c := range []struct {
		limit, most int64 // cents, and calls at once
	}{{60, 1}, {100_000, 4}} {
		var mu sync.Mutex
		running, most := int64(0), int64(0)
		m := script(func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			if len(req.Items) == 1 && !strings.Contains(req.Instructions, "You are the subagent") {
				calls("create_subagent", `{"message":"go"}`, "create_subagent", `{"message":"go"}`, "create_subagent", `{"message":"go"}`)(ctx, req, yield)
				return
			}
			reply("ok")(ctx, req, yield)
		})
		bubble(t, func(t *testing.T, n *node) {
			s, err := n.Create(context.Background(), me, session.CreateRequest{
				Override: func(s *agent.Spec) error { s.Model = "sim"; coordinates(s); return nil }, Input: message("go"), SpendLimitCents: &c.limit,
			})
			if err != nil {
				t.Fatal(err)
			}
			s = n.idle(s.ID)
			if most != c.most {
				t.Errorf("limit %d: %d calls at once, want %d\n%s", c.limit, most, c.most, n.journal(s.ID))
			}
			const one = 100 // cents: more than a call's answer and prompt
			if used := *s.SpendControl.Consumed; used >= c.limit+one {
				t.Errorf("limit %d: %d are used", c.limit, used)
			}
			if turn := n.onlyTurn(s.ID); (turn.Status == session.TurnFail) != (c.most == 1) {
				t.Errorf("limit %d: the turn is %s\n%s", c.limit, turn.Status, n.journal(s.ID))
			}
		}, withModel(m, func(i *model.Info) {
			i.MaxOutputTokens = 20
			i.Price = &model.Price{Input: 1_000_000 * session.MicroCentsPerCent, Output: 1_000_000 * session.MicroCentsPerCent}
		}))
	}
}
