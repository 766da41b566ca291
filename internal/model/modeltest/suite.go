package modeltest

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/model"
)

// patience is how long the suite waits for what must happen at once.
const patience = 10 * time.Second

// Factory makes a model whose upstream follows the script. What it starts, it stops in t.Cleanup.
type Factory func(t *testing.T, s *Script) model.Model

// Skips says which cases a provider's wire cannot express, and why: none disappears silently.
type Skips map[string]string // case → reason

// kase is one case of the suite.
type kase struct {
	script *Script
	req    model.Request
	sends  []string     // strings that the upstream must have received
	either []string     // of which it must have received one: wires differ in how they say it
	worded bool         // the wire has words of its own for the wish: the factory sets Script.Words
	again  []stead.Item // what the conversation goes on with: a second call, which must hold Script.Sealed
	lacks  []string     // strings that it must not
	check  func(t *testing.T, r Reply)
	fails  *model.Error // the error's Code, Retry and RetryAfter
	cancel bool         // end the context at the first delta
}

// Suite runs every case but those that are skipped.
func Suite(t *testing.T, factory Factory, skips ...Skips) {
	why := map[string]string{}
	for _, s := range skips {
		maps.Copy(why, s)
	}
	for _, k := range cases() {
		reason, skipped := why[k.script.Case]
		delete(why, k.script.Case)
		t.Run(k.script.Case, func(t *testing.T) {
			if skipped {
				t.Skip(reason)
			}
			k.script.gone = make(chan struct{})
			m := factory(t, k.script)
			if m == nil {
				t.Fatal("there is no model for this case, and no reason why")
			}
			k.run(t, m)
		})
	}
	for name := range why {
		t.Errorf("case %q is skipped, and there is none of that name", name)
	}
}

func (k kase) run(t *testing.T, m model.Model) {
	if k.req.Model == "" {
		k.req.Model = "test-model"
	}
	if k.cancel {
		k.runCancel(t, m)
		return
	}
	r, err := Gather(t, t.Context(), m, k.req)
	k.checkBodies(t)
	if k.fails != nil {
		checkError(t, err, *k.fails)
		return
	}
	if err != nil {
		t.Fatalf("generate: %v", err)
	}
	if r.Done.Finish != k.script.Finish {
		t.Errorf("finish %q, want %q", r.Done.Finish, k.script.Finish)
	}
	k.check(t, r)
	if k.again != nil {
		k.runAgain(t, m, r)
	}
}

// runAgain goes on with the conversation as the runner does: what the model sealed must go back to it
// as it came, and must not when another provider made it.
func (k kase) runAgain(t *testing.T, m model.Model, r Reply) {
	sealed := 0
	for _, elsewhere := range []bool{false, true} {
		items := slices.Clone(r.Items)
		for i := range items {
			if items[i].Encrypted == nil {
				continue
			}
			sealed++
			if items[i].Provider == "" {
				t.Errorf("sealed by nobody: %+v", items[i])
			}
			if elsewhere {
				items[i].Provider = "elsewhere"
			}
		}
		k.script.mu.Lock()
		k.script.bodies = nil
		k.script.mu.Unlock()
		req := k.req
		req.Items = slices.Concat(k.req.Items, items, k.again)
		if _, err := Gather(t, t.Context(), m, req); err != nil {
			t.Fatalf("the second call: %v", err)
		}
		if len(k.script.bodies) > 0 && strings.Contains(k.script.bodies[0], k.script.Sealed) == elsewhere {
			t.Errorf("made elsewhere: %t; sealed %q, and the request is\n%s", elsewhere, k.script.Sealed, k.script.bodies[0])
		}
	}
	if sealed == 0 {
		t.Error("no item holds what the upstream sealed")
	}
}

func (k kase) checkBodies(t *testing.T) {
	t.Helper()
	k.script.mu.Lock()
	defer k.script.mu.Unlock()
	if len(k.script.bodies) == 0 {
		return // no upstream
	}
	if len(k.script.bodies) > 1 {
		t.Errorf("%d requests for one call: adapters never retry", len(k.script.bodies))
	}
	for _, s := range k.sends {
		if !strings.Contains(k.script.path+"\n"+k.script.bodies[0], s) { // some wires name the model in the path
			t.Errorf("the request lacks %q:\n%s", s, k.script.bodies[0])
		}
	}
	if k.worded && len(k.script.Words) == 0 {
		t.Error("the factory does not say how its wire words this")
	}
	for _, s := range k.script.Words {
		if !strings.Contains(k.script.bodies[0], s) {
			t.Errorf("the request lacks %s:\n%s", s, k.script.bodies[0])
		}
	}
	if len(k.either) > 0 && !slices.ContainsFunc(k.either, func(s string) bool { return strings.Contains(k.script.bodies[0], s) }) {
		t.Errorf("the request lacks any of %q:\n%s", k.either, k.script.bodies[0])
	}
	for _, s := range k.lacks {
		if strings.Contains(k.script.bodies[0], s) {
			t.Errorf("the request holds %q:\n%s", s, k.script.bodies[0])
		}
	}
}

func checkError(t *testing.T, err error, want model.Error) {
	t.Helper()
	e, ok := errors.AsType[*model.Error](err)
	if !ok {
		t.Fatalf("error %v, want %s", err, want.Code)
	}
	if e.Code != want.Code || e.Retry != want.Retry || e.RetryAfter != want.RetryAfter || e.Message == "" {
		t.Errorf("error %+v, want code %s, retry %t after %v", *e, want.Code, want.Retry, want.RetryAfter)
	}
}

// runCancel ends the context at the first delta: the stream must end at once, and so must the call
// at the upstream.
func (k kase) runCancel(t *testing.T, m model.Model) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended, tally := make(chan error, 1), &model.Tally{}
	go func() {
		for _, err := range m.Generate(model.WithTally(ctx, tally), k.req) {
			if err != nil {
				ended <- err
				return
			}
			cancel()
		}
		ended <- nil
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled stream ends with %v", err)
		}
		if e, ok := errors.AsType[*model.Error](err); !ok || e.Retry {
			t.Errorf("a cancelled call is not to be retried: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the stream goes on after its context has ended")
	}
	k.script.mu.Lock()
	upstream := len(k.script.bodies) > 0
	k.script.mu.Unlock()
	if !upstream {
		return
	}
	// The transport says that it has written a request a moment after the upstream has it.
	for begun := time.Now(); ; time.Sleep(time.Millisecond) {
		if _, charged := tally.Used(); charged {
			break
		}
		if time.Since(begun) > patience {
			t.Fatal("nobody knows that the upstream had the call that was cancelled")
		}
	}
	select {
	case <-k.script.gone:
	case <-time.After(patience):
		t.Fatal("the upstream still serves a call that was cancelled")
	}
}

// usage is what the scripts' upstreams report.
func usage() *stead.Usage {
	return &stead.Usage{InputTokens: 100, CachedTokens: 40, OutputTokens: 20, ReasoningTokens: 5}
}

// written is usage with a prompt cache that was written to.
func written() *stead.Usage {
	return &stead.Usage{InputTokens: 100, CachedTokens: 40, CacheWriteTokens: 10, OutputTokens: 20}
}

func wantText(want string) func(*testing.T, Reply) {
	return func(t *testing.T, r Reply) {
		if r.Text != want {
			t.Errorf("text %q, want %q", r.Text, want)
		}
	}
}

func wantCalls(want ...stead.Item) func(*testing.T, Reply) {
	return func(t *testing.T, r Reply) {
		var got []stead.Item
		for _, it := range r.Items {
			if it.Type == stead.ItemFunctionCall {
				got = append(got, it)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d calls, want %d", len(got), len(want))
		}
		for i := range want {
			if got[i].Name != want[i].Name || !sameJSON(got[i].Arguments, want[i].Arguments) {
				t.Errorf("call %s(%s), want %s(%s)", got[i].Name, got[i].Arguments, want[i].Name, want[i].Arguments)
			}
		}
	}
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	p, _ := json.Marshal(x) // what was parsed marshals, with sorted keys
	q, _ := json.Marshal(y)
	return string(p) == string(q)
}
