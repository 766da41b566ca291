package server

import (
	"context"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/journal/journaltest"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/budget"
	"github.com/stead-dev/stead/internal/usage/usagetest"
)

// settling is a meter that settles what calls held by what they used, as a recorder does behind them.
type settling struct{ purse *budget.Service }

func (m settling) Metered(c Metered) {
	if !c.Counted() {
		return
	}
	used := usage.Amount{Calls: 1}
	if c.Usage != nil {
		used.Tokens = c.Usage.InputTokens + c.Usage.OutputTokens
	}
	_ = m.purse.Settle(context.Background(), c.Caller.Project, []usage.Settlement{{Hold: c.Hold, Used: used}})
}

// A stateless call beyond a budget is refused as the SDKs know it; one that was never made, or is
// broken, gives back what it held.
func TestBudgetsOfStatelessCalls(t *testing.T) {
	ledger := usagetest.NewMemory()
	purse := budget.New(budget.Config{
		Store: struct {
			*journaltest.Memory
			usage.Ledger
		}{journaltest.NewMemory(time.Now), ledger},
		Documents: documenttest.NewMemory(), Policy: policy.AllowLocal{}, Now: time.Now,
		Fixed: []usage.Budget{{ID: "config_two", Name: "two calls", Scope: usage.ScopeUser, Period: usage.PeriodTotal, Limit: usage.Amount{Calls: 2}}},
	})
	d, _ := gateway(t, &scripted{}, func(c *Config) { c.Purse, c.Meter = purse, settling{purse} })
	d.says("POST /v1/chat/completions", `{"model":"m","messages":"broken"}`, 400)
	d.says("POST /v1/chat/completions", chatHi+`}`, 200, `"content":"hi there"`)
	d.says("POST /v1/responses", `{"model":"m","store":false,"input":"Say hi"}`, 200)
	const name = "config_two/local/total"
	have, err := ledger.Counters(t.Context(), stead.DefaultProject, []string{name})
	if c := have[name]; err != nil || c.Spent.Calls != 2 || c.Held != (usage.Amount{}) || c.Spent.Tokens == 0 {
		t.Errorf("after two calls and a broken one the counter is %+v (%v)", c, err)
	}
	d.says("POST /v1/chat/completions", chatHi+`}`, 429, `"code":"insufficient_quota"`, "two calls, per user) is used up: 2 of 2 calls are used and nothing held.")
	d.says("POST /v1/chat/completions", chatHi+`,"stream":true}`, 429, `"code":"insufficient_quota"`)
	d.says("POST /v1/embeddings", `{"model":"m","input":"a"}`, 429, `"code":"insufficient_quota"`)
}

// What a call reserves is what the door's own fields allow: of two the larger, and never another API's.
func TestTheMostThatAnAnswerMayHave(t *testing.T) {
	for body, want := range map[string]int64{
		`{}`: heldOutput, `{"max_tokens":5}`: 5, `{"max_tokens":5,"max_completion_tokens":1000}`: 1000,
		`{"max_completion_tokens":1000,"max_output_tokens":1}`: 1000, `{"max_output_tokens":1}`: heldOutput, `{"max_tokens":"5"}`: heldOutput,
	} {
		o, err := param.Skim([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got := (&call{door: model.DialectChat}).mostOutput(request{Object: o}); got != want {
			t.Errorf("%s: %d, want %d", body, got, want)
		}
	}
}
