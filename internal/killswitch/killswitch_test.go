package killswitch_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/document/documenttest"
	"github.com/stead-dev/stead/internal/killswitch"
	"github.com/stead-dev/stead/internal/policy"
)

var operator = stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "op"}

// node is one of several on a database.
func node(documents document.Store) (*killswitch.Switches, *killswitch.Service, *killswitch.Authorizer) {
	s := killswitch.New(documents, time.Now)
	return s, killswitch.NewService(s, policy.AllowLocal{}, nil), killswitch.NewAuthorizer(s, policy.AllowLocal{})
}

func TestASwitchStopsWhatItNames(t *testing.T) {
	acting := func(e policy.Effect, agent stead.AgentID, resource string) policy.Request {
		return policy.Request{Principal: operator, Effect: e, Agent: agent, Resource: resource}
	}
	other := acting(policy.ModelCall, "agent_1", "m")
	other.Principal.Project = "q"
	ada := stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "ada"}
	handed := func(maker string) stead.Principal { p := ada; p.Session, p.Maker = "sess_1", maker; return p }
	serving := func(behind stead.Principal) policy.Request {
		return policy.Request{Principal: ada, Effect: policy.ToolCall, Acting: true, Agent: "agent_1", Resource: "s/t", Behind: []stead.Principal{ada, behind}}
	}
	for name, c := range map[string]struct {
		set     killswitch.Switch
		stopped []policy.Request
		free    []policy.Request
	}{
		"agent": {killswitch.Switch{Scope: killswitch.Agent, Of: "agent_1"},
			[]policy.Request{acting(policy.SessionCreate, "agent_1", ""), acting(policy.ModelCall, "agent_1", "m"), acting(policy.ToolCall, "agent_1", "s/t"), acting(policy.EnvironmentOpen, "agent_1", "")},
			[]policy.Request{acting(policy.ModelCall, "agent_2", "m"), acting(policy.SessionRead, "agent_1", ""), acting(policy.SessionWrite, "agent_1", ""), acting(policy.SessionDelete, "agent_1", ""),
				acting(policy.EnvironmentSave, "agent_1", ""), acting(policy.EnvironmentSuspend, "agent_1", ""), other}},
		"model": {killswitch.Switch{Scope: killswitch.Model, Of: "m"},
			[]policy.Request{acting(policy.ModelCall, "agent_1", "m"), acting(policy.ModelCall, "", "m")},
			[]policy.Request{acting(policy.ModelCall, "agent_1", "m2"), acting(policy.ToolCall, "agent_1", "m"), other}},
		"server of tools": {killswitch.Switch{Scope: killswitch.Tool, Of: "s"},
			[]policy.Request{acting(policy.ToolCall, "agent_1", "s/t"), acting(policy.ToolCall, "agent_1", "s")}, []policy.Request{acting(policy.ToolCall, "agent_1", "s2/t"), acting(policy.ModelCall, "", "s")}},
		"tool": {killswitch.Switch{Scope: killswitch.Tool, Of: "s/t"},
			[]policy.Request{acting(policy.ToolCall, "agent_1", "s/t")}, []policy.Request{acting(policy.ToolCall, "agent_1", "s/t2"), acting(policy.ToolCall, "agent_1", "s/u")}},
		"user": {killswitch.Switch{Scope: killswitch.User, Of: "op"},
			[]policy.Request{acting(policy.SessionCreate, "agent_1", ""), acting(policy.ModelCall, "", "m"), serving(operator), serving(handed("user:op")), {Principal: handed("user:op"), Effect: policy.ModelCall}},
			[]policy.Request{acting(policy.SessionRead, "", ""), acting(policy.KillSwitchWrite, "", ""), serving(handed("user:bob")), serving(handed("user:ada"))}},
		"credential": {killswitch.Switch{Scope: killswitch.Credential, Of: "cred_1"},
			[]policy.Request{acting(policy.CredentialUse, "agent_1", "vault_1/cred_1")}, []policy.Request{acting(policy.CredentialUse, "agent_1", "vault_1/cred_12"), acting(policy.ToolCall, "agent_1", "s/cred_1")}},
		"project": {killswitch.Switch{Scope: killswitch.Project},
			[]policy.Request{acting(policy.SessionCreate, "", ""), acting(policy.ToolCall, "agent_1", "s/t")}, []policy.Request{other, acting(policy.SessionWrite, "", ""), acting(policy.AuditRead, "", "")}},
	} {
		_, service, gate := node(documenttest.NewMemory())
		c.set.Reason = "a reason"
		if _, err := service.Set(t.Context(), operator, c.set, "", ""); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, req := range c.stopped {
			if d, err := gate.Decide(t.Context(), req); err != nil || d.Allow || !strings.Contains(d.Reason, "a reason") || (d.About == "op") != (c.set.Scope == killswitch.User) {
				t.Errorf("%s: %s of %s is %+v, %v", name, req.Effect, req.Resource, d, err)
			}
		}
		for _, req := range c.free {
			if d, err := gate.Decide(t.Context(), req); err != nil || !d.Allow {
				t.Errorf("%s: %s of %s %s in %s is %+v, %v", name, req.Effect, req.Agent, req.Resource, req.Principal.Project, d, err)
			}
		}
	}
}

// A second is what everybody was promised, on every node.
func TestAnotherNodeStopsWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		documents := documenttest.NewMemory()
		_, here, _ := node(documents)
		there, _, gate := node(documents)
		req := policy.Request{Principal: operator, Effect: policy.ModelCall, Agent: "agent_1", Resource: "m"}
		if d, err := gate.Decide(t.Context(), req); err != nil || !d.Allow { // it is known there that there is none
			t.Fatalf("%+v, %v", d, err)
		}
		defer time.Sleep(2 * killswitch.CacheFor) // in which whoever looks sees that nothing is under way any more
		ctx, done := there.Watch(t.Context(), req)
		defer done()
		untouched, doneToo := there.Watch(t.Context(), policy.Request{Principal: operator, Effect: policy.ModelCall, Agent: "agent_2", Resource: "m"})
		defer doneToo()
		sw, err := here.Set(t.Context(), operator, killswitch.Switch{Scope: killswitch.Agent, Of: "agent_1", Reason: "r"}, "", "")
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
			t.Fatal("what is under way on another node goes on for a second")
		}
		if e, ok := errors.AsType[*stead.Error](context.Cause(ctx)); !ok || e.Kind != stead.KindForbidden {
			t.Errorf("the cause is %v", context.Cause(ctx))
		}
		if untouched.Err() != nil {
			t.Error("another agent's call ended")
		}
		if d, err := gate.Decide(t.Context(), req); err != nil || d.Allow {
			t.Errorf("it begins anew there: %+v, %v", d, err)
		}
		if err := here.Lift(t.Context(), operator, sw.ID); err != nil {
			t.Fatal(err)
		}
		for begin := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			if d, err := gate.Decide(t.Context(), req); err == nil && d.Allow {
				break
			}
			if time.Since(begin) > time.Second {
				t.Fatal("it is still stopped there, a second after it was lifted")
			}
		}
	})
}

// broken is a database that is away.
type broken struct{ document.Store }

func (broken) ListDocuments(context.Context, document.Query) ([]document.Document, error) {
	return nil, stead.Errorf(stead.KindUnavailable, "the database is away")
}

func TestNothingActsWhenSwitchesCantBeRead(t *testing.T) {
	_, _, gate := node(broken{documenttest.NewMemory()})
	_, err := gate.Decide(t.Context(), policy.Request{Principal: operator, Effect: policy.ModelCall})
	if stead.KindOf(err) != stead.KindUnavailable {
		t.Errorf("a model call: %v", err)
	}
	if d, err := gate.Decide(t.Context(), policy.Request{Principal: operator, Effect: policy.SessionRead}); err != nil || !d.Allow {
		t.Errorf("reading: %+v, %v", d, err)
	}
}

func TestASwitchIsListedAndMadeOnce(t *testing.T) {
	_, service, _ := node(documenttest.NewMemory())
	one, err := service.Set(t.Context(), operator, killswitch.Switch{Scope: killswitch.Project, Reason: "r"}, "key", "digest")
	if err != nil {
		t.Fatal(err)
	}
	again, err := service.Set(t.Context(), operator, killswitch.Switch{Scope: killswitch.Project, Reason: "r"}, "key", "digest")
	if err != nil || again.ID != one.ID {
		t.Errorf("the same request made %s and %s, %v", one.ID, again.ID, err)
	}
	list, more, err := service.List(t.Context(), operator, "", true, 10)
	if err != nil || more || len(list) != 1 || list[0] != one || one.By != "op" {
		t.Errorf("%+v, %v, %v", list, more, err)
	}
	stranger := operator
	stranger.Project = "q"
	if list, _, err := service.List(t.Context(), stranger, "", true, 10); err != nil || len(list) != 0 {
		t.Errorf("another project sees %+v, %v", list, err)
	}
	if err := service.Lift(t.Context(), stranger, one.ID); stead.KindOf(err) != stead.KindNotFound {
		t.Errorf("another project lifts it: %v", err)
	}
}

// Whoever is bound to what is theirs sees which agents, models and tools are stopped, and no switch on another user.
func TestABoundKeySeesNoSwitchOnOthers(t *testing.T) {
	_, service, _ := node(documenttest.NewMemory())
	bound := stead.Principal{Project: "p", Kind: stead.PrincipalUser, ID: "ada", Bound: true}
	ids := map[string]string{}
	for _, of := range []string{"bob", "ada", "eve"} {
		sw, err := service.Set(t.Context(), operator, killswitch.Switch{Scope: killswitch.User, Of: of, Reason: "a fraud"}, "", "")
		if err != nil {
			t.Fatal(err)
		}
		ids[of] = sw.ID
	}
	if _, err := service.Set(t.Context(), operator, killswitch.Switch{Scope: killswitch.Tool, Of: "s", Reason: "r"}, "", ""); err != nil {
		t.Fatal(err)
	}
	for _, desc := range []bool{false, true} {
		var of []string
		for after, more := "", true; more; {
			page, m, err := service.List(t.Context(), bound, after, desc, 1)
			if err != nil || len(page) > 1 {
				t.Fatalf("%+v, %v", page, err)
			}
			for _, sw := range page {
				of, after = append(of, sw.Of), sw.ID
			}
			more = m
		}
		want := []string{"ada", "s"}
		if desc {
			want = []string{"s", "ada"}
		}
		if !slices.Equal(of, want) {
			t.Errorf("the list has %q, want %q", of, want)
		}
	}
	_, seen := service.Get(t.Context(), bound, ids["bob"])
	_, none := service.Get(t.Context(), bound, strings.Repeat("x", len(ids["bob"])))
	if stead.KindOf(seen) != stead.KindNotFound || strings.ReplaceAll(seen.Error(), ids["bob"], "") != strings.ReplaceAll(none.Error(), strings.Repeat("x", len(ids["bob"])), "") {
		t.Errorf("%v, and of none %v", seen, none)
	}
	if err := service.Lift(t.Context(), bound, ids["bob"]); stead.KindOf(err) != stead.KindNotFound {
		t.Errorf("lifted: %v", err)
	}
	if _, err := service.Set(t.Context(), bound, killswitch.Switch{Scope: killswitch.User, Of: "bob", Reason: "r"}, "", ""); stead.KindOf(err) != stead.KindForbidden {
		t.Errorf("set: %v", err)
	}
	if err := service.Lift(t.Context(), bound, ids["ada"]); err != nil {
		t.Errorf("their own: %v", err)
	}
}
