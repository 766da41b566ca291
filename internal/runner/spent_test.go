package runner_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/usage"
	"github.com/stead-dev/stead/internal/usage/meter"
)

// speaks says a text of 40 bytes, and then does what follows.
func speaks(then answer) answer {
	return func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
		const text = "0123456789012345678901234567890123456789"
		if yield(model.Delta{Kind: model.TextDelta, Text: text}, nil) && lasts(ctx, time.Second) {
			then(ctx, req, yield)
		} else {
			yield(model.Delta{}, &model.Error{Code: model.CodeConnection, Message: "cut off", Err: ctx.Err()})
		}
	}
}

// breaks ends a stream in its middle.
func breaks(retry bool) answer {
	return fails(&model.Error{Code: model.CodeServer, Message: "broke off", Retry: retry})
}

// withPrice prices the model's tokens, so that cost tells input from output.
func withPrice() func(*node) {
	return with(func(c *runner.Config) {
		c.Prices = usage.NewBook([]usage.Edition{{Version: "v1", Prices: []usage.PriceLine{{Model: "sim", Price: model.Price{Input: 1_000_000, Output: 1_000_000_000}}}}})
	})
}

// estimated are the records of model calls that are a guess; each must follow from the journal, and say the same
// as the session's own figures.
func (n *node) estimated(id stead.SessionID) (guessed, told []usage.Record) {
	n.t.Helper()
	all, cost := n.recorded(usage.ModelCall)
	anew, err := meter.Fold(n.key(id), n.events(id))
	if err != nil {
		n.t.Fatal(err)
	}
	folded := map[string]usage.Record{}
	for _, r := range anew {
		folded[r.ID] = r
	}
	used := stead.Usage{}
	for _, r := range all {
		if fmt.Sprintf("%+v", folded[r.ID].Clean()) != fmt.Sprintf("%+v", r) {
			n.t.Errorf("stored %+v\nfolded %+v", r, folded[r.ID].Clean())
		}
		used = used.Add(stead.Usage{InputTokens: r.InputTokens, OutputTokens: r.OutputTokens})
		if r.Outcome == usage.Estimated {
			guessed = append(guessed, r)
		} else {
			told = append(told, r)
		}
	}
	s := session.NewView(n.key(id))
	for _, e := range n.events(id) {
		if err := s.Apply(e); err != nil {
			n.t.Fatal(err)
		}
	}
	if s.Cost != cost || s.Usage.InputTokens != used.InputTokens || s.Usage.OutputTokens != used.OutputTokens {
		n.t.Errorf("the session counts %+v and %d, its records %+v and %d", s.Usage, s.Cost, used, cost)
	}
	return guessed, told
}

// guess checks a record of 40 bytes that were said: 11 tokens at most, and an input.
func (n *node) guess(r usage.Record) {
	n.t.Helper()
	if r.OutputTokens != 11 || r.InputTokens < 1 || r.Cost != r.InputTokens+11_000 || r.Prices != "v1" || r.Calls != 1 || r.GivenUp() || r.Provider != "sim" || r.Model != "sim" {
		n.t.Errorf("the record of a call that was cut off: %+v", r)
	}
}

// A call that breaks off once its answer has begun is charged by its provider: it is on record as a guess, once,
// beside the try that follows. One that never began is not.
func TestACallThatBreaksOffIsOnRecord(t *testing.T) {
	var p *purse
	m := script(speaks(breaks(true)), fails(&model.Error{Code: model.CodeOverloaded, Message: "busy", Retry: true}), reply("done"))
	bubble(t, func(t *testing.T, n *node) {
		s := n.create("Go")
		n.idle(s.ID)
		guessed, told := n.estimated(s.ID)
		if len(guessed) != 1 || len(told) != 1 {
			t.Fatalf("%d guessed, %d told\n%s", len(guessed), len(told), n.journal(s.ID))
		}
		n.guess(guessed[0])
		if c := p.counter(t); c.Held != (usage.Amount{}) || c.Spent.Calls != 2 {
			t.Errorf("the budget's counter %+v", c)
		}
	}, withModel(m), withPrice(), withBudgets(&p, fixedBudget(usage.ScopeProject, usage.Amount{Tokens: 1_000_000})))
}

func TestACancelledCallIsOnRecord(t *testing.T) {
	var p *purse
	for name, first := range map[string]answer{"in its middle": speaks(hangs), "before it began": hangs} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, n *node) {
				s := n.create("Go")
				time.Sleep(3 * time.Second)
				synctest.Wait()
				n.send(s.ID, session.Input{Cancel: true})
				n.idle(s.ID)
				if turn := n.onlyTurn(s.ID); turn.Status != session.TurnCancel {
					t.Fatalf("the turn is %s", turn.Status)
				}
				guessed, told := n.estimated(s.ID)
				if want := map[bool]int{true: 1}[name == "in its middle"]; len(guessed) != want || len(told) != 0 {
					t.Fatalf("%d guessed, %d told\n%s", len(guessed), len(told), n.journal(s.ID))
				}
				for _, r := range guessed {
					n.guess(r)
				}
				if notes, _ := n.recorded(usage.ModelFailure); len(notes) != 0 {
					t.Errorf("a cancel is no failure of a route: %+v", notes)
				}
				if c := p.counter(t); c.Held != (usage.Amount{}) || int(c.Spent.Calls) != len(guessed) {
					t.Errorf("the budget's counter %+v", c)
				}
			}, withModel(script(first)), withPrice(), withBudgets(&p, fixedBudget(usage.ScopeProject, usage.Amount{Tokens: 1_000_000})))
		})
	}
}

// After a crash all that is known of a call is what it had streamed into the journal. A node that stops knows more.
func TestACallThatANodeTakesAlongIsOnRecord(t *testing.T) {
	for name, end := range map[string]func(*node){
		"crash": func(n *node) { n.crash("n2") },
		"stop": func(n *node) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = n.Shutdown(ctx) // no time is left
			n.start("n2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := script(speaks(hangs), reply("done"))
			bubble(t, func(t *testing.T, n *node) {
				s := n.create("Go")
				time.Sleep(3 * time.Second)
				synctest.Wait()
				end(n)
				n.idle(s.ID)
				guessed, told := n.estimated(s.ID)
				if len(guessed) != 1 || len(told) != 1 {
					t.Fatalf("%d guessed, %d told\n%s", len(guessed), len(told), n.journal(s.ID))
				}
				n.guess(guessed[0])
			}, withModel(m), withPrice())
		})
	}
}

// What a provider told of an answer that can't be taken is what it charges.
func TestAnAnswerThatIsRefusedIsOnRecordAsItWasTold(t *testing.T) {
	many := make([]*stead.Item, 1025)
	for i := range many {
		many[i] = messageItem("x")
	}
	bubble(t, func(t *testing.T, n *node) {
		s := n.create("Go")
		n.idle(s.ID)
		guessed, told := n.estimated(s.ID)
		if turn := n.onlyTurn(s.ID); turn.Status != session.TurnFail || len(guessed) != 0 || len(told) != 1 || told[0].InputTokens == 0 {
			t.Errorf("%s, guessed %+v, told %+v", turn.Status, guessed, told)
		}
	}, withModel(script(gives(model.FinishStop, many...))), withPrice())
}

// silentOn answers without saying what it used.
func silentOn(text string) answer {
	return func(_ context.Context, req model.Request, yield func(model.Delta, error) bool) {
		yield(model.Delta{Kind: model.ItemDone, Item: messageItem(text)}, nil)
		yield(model.Delta{Kind: model.Done, Finish: model.FinishStop, Model: req.Model}, nil)
	}
}

// taken has the call, says what it used so far, and breaks off or is silent without a word.
func taken(told *stead.Usage, then answer) answer {
	return func(ctx context.Context, req model.Request, yield func(model.Delta, error) bool) {
		model.TallyOf(ctx).Sent()
		if told != nil {
			model.TallyOf(ctx).Told(*told)
		}
		then(ctx, req, yield)
	}
}

// A whole answer whose provider does not say what it used is guessed, and marked; what was learnt of its tokens is not
// learnt from a guess. What a provider told before it broke off counts, every time, and so does a call that it had.
func TestACallWhoseProviderDoesNotSayWhatItUsed(t *testing.T) {
	var p *purse
	busy := fails(&model.Error{Code: model.CodeOverloaded, Message: "busy", Retry: true})
	m := script(taken(&stead.Usage{InputTokens: 200_000}, busy), taken(nil, busy), silentOn(strings.Repeat("word ", 8)))
	bubble(t, func(t *testing.T, n *node) {
		s := n.create("Go")
		n.idle(s.ID)
		guessed, told := n.estimated(s.ID)
		if len(guessed) != 2 || len(told) != 1 {
			t.Fatalf("%d guessed, %d told\n%s", len(guessed), len(told), n.journal(s.ID))
		}
		if told[0].InputTokens != 200_000 || told[0].GivenUp() {
			t.Errorf("told before it broke off: %+v", told[0])
		}
		for _, r := range guessed {
			if r.InputTokens < 1 || r.OutputTokens != 0 && r.OutputTokens != 11 || r.GivenUp() {
				t.Errorf("guessed: %+v", r)
			}
		}
		if c := p.counter(t); c.Held != (usage.Amount{}) || c.Spent.Calls != 3 {
			t.Errorf("the budget's counter %+v", c)
		}
	}, withModel(m), withPrice(), withBudgets(&p, fixedBudget(usage.ScopeProject, usage.Amount{Tokens: 1_000_000})))
}
