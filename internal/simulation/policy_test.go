package simulation

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/replay"
	"github.com/stead-dev/stead/internal/session"
)

// careful refuses some functions of the application, and holds others.
type careful struct{ policy.AllowLocal }

func (c careful) Decide(ctx context.Context, req policy.Request) (policy.Decision, error) {
	d, err := c.AllowLocal.Decide(ctx, req)
	d.Version = "v1" // so that it stands in journals
	if !strings.HasPrefix(req.Resource, policy.FunctionServer+"/") {
		return d, err
	}
	switch n := serialOf(req.Arguments); {
	case refused(req.Arguments):
		d.Allow = false
	case n%5 == 0:
		d.Allow, d.Needs = false, &policy.Needs{Roles: []stead.Role{"approver"}}
		if n%2 == 0 {
			d.Needs.ExpiresMS = time.Second.Milliseconds()
		}
		if n%4 == 0 {
			d.Needs.Default = policy.DefaultAllow
		}
	}
	return d, err
}

// serialOf is the number of a function's call.
func serialOf(args json.RawMessage) int {
	_, number, _ := strings.Cut(opOf(args), "-")
	n, _ := strconv.Atoi(number)
	return n
}

func refused(args json.RawMessage) bool { return serialOf(args)%7 == 6 }

// functions are the decisions about functions that an event holds: whether each was allowed.
func (w *world) functions(e stead.Event) (allowed []bool) {
	note := func(it session.ReplyItem) {
		switch c := it.Tool; {
		case it.Type != stead.ItemFunctionCall || c == nil || c.Reject != "" && !refused(it.Arguments):
		case c.Reject != "" && it.Name != "fn" && it.Name != "later": // there is no such function: nobody is asked
		default:
			allowed = append(allowed, c.Reject == "" && (c.Decision == nil || c.Decision.Needs == nil))
		}
	}
	switch e.Kind {
	case session.KindModelReplied:
		p, err := session.Decode[session.ModelReplied](e)
		if err != nil {
			w.failf("%v", err)
		}
		for _, it := range p.Items {
			note(it)
		}
	case session.KindToolRequested:
		p, err := session.Decode[session.ToolRequested](e)
		if err != nil {
			w.failf("%v", err)
		}
		note(p.Asks())
	}
	return allowed
}

// checkReplay: the policies that were in force would change nothing of what was done, and are asked about each decision that is recorded.
func (w *world) checkReplay(a *app, events []stead.Event) {
	key := stead.SessionKey{Project: me.Project, Session: a.id}
	said, err := replay.Effects(key, events)
	if err != nil {
		w.failf("replay of %s: %v", a.id, err)
		return
	}
	changed, err := replay.Changes(context.Background(), careful{}, said.Asked, false)
	if err != nil {
		w.failf("replay of %s: %v", a.id, err)
	}
	for _, c := range changed {
		w.failf("replay of %s: event %d, %s of %s, was %s and would be %s", a.id, c.Seq, c.Request.Effect, c.Request.Resource, c.Then, c.Now)
	}
	asked, recorded := map[string]int{}, map[string]int{}
	for _, x := range said.Asked {
		asked[string(decided(context.Background(), policy.Request{Session: key, Effect: x.Request.Effect}, policy.Decision{Allow: x.Then == policy.Allowed}))]++
	}
	for _, d := range w.store.AuditDrafts(me.Project) {
		recorded[string(d)]++
	}
	for _, effect := range []policy.Effect{policy.SessionCreate, policy.ModelCall, policy.ToolCall, policy.SubagentCreate, policy.EnvironmentPrepare, policy.EnvironmentOpen, policy.EnvironmentSave, policy.EnvironmentSuspend} {
		for _, allow := range []bool{true, false} {
			record := string(decided(context.Background(), policy.Request{Session: key, Effect: effect}, policy.Decision{Allow: allow}))
			// A call that is made again is decided again, and asked about once.
			if asked[record] > recorded[record] || !(effect == policy.ToolCall && allow) && asked[record] != recorded[record] {
				w.failf("replay asks %d times %q, and %d are recorded", asked[record], record, recorded[record])
			}
		}
	}
}
