package policy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// says answers by who asks, and remembers whom it was asked about.
type says struct {
	by    map[string]policy.Decision // by id; others are allowed
	err   map[string]error
	asked []string
}

func (s *says) Decide(_ context.Context, req policy.Request) (policy.Decision, error) {
	p := req.Principal
	s.asked = append(s.asked, string(p.Kind)+":"+p.ID+"/"+string(p.Role)+"@"+string(p.Project))
	if d, ok := s.by[p.ID]; ok || s.err[p.ID] != nil {
		return d, s.err[p.ID]
	}
	return policy.Decision{Allow: true, By: "test", Micros: 2}, nil
}

func user(id string, role stead.Role) stead.Principal {
	return stead.Principal{Project: "one", Kind: stead.PrincipalUser, ID: id, Role: role}
}

func acting(behind ...stead.Principal) policy.Request {
	return policy.Request{Principal: user("ada", "agent"), Behind: behind, Acting: true, Agent: "agent_1", Session: stead.SessionKey{Project: "one", Session: "sess_1"}, Effect: policy.ToolCall, Resource: "shop/refund"}
}

// TestAllWhoStandBehindItMustBeAllowed: one no is a no, what any of them needs is needed, and who can't be asked is a no.
func TestAllWhoStandBehindItMustBeAllowed(t *testing.T) {
	ada, bob, eve := user("ada", "agent"), user("bob", "owner"), user("eve", "developer")
	needs := func(n policy.Needs) policy.Decision {
		return policy.Decision{By: "policy", Reason: "ask", Policies: []string{"p"}, Needs: &n}
	}
	no := policy.Decision{By: "policy", Reason: "not today"}
	approver, owner := []stead.Role{"approver", "owner"}, []stead.Role{"owner"}
	for name, c := range map[string]struct {
		by     map[string]policy.Decision
		err    map[string]error
		want   policy.Outcome
		reason string
		who    string
		needs  policy.Needs
	}{
		"all may":            {want: policy.Allowed},
		"the served may not": {by: map[string]policy.Decision{"ada": no}, want: policy.Denied, reason: "not today"},
		"another may not":    {by: map[string]policy.Decision{"eve": no}, want: policy.Denied, reason: "for user:eve: not today", who: "user:eve"},
		"a no before a need": {by: map[string]policy.Decision{"ada": needs(policy.Needs{Roles: owner}), "eve": no}, want: policy.Denied, reason: "for user:eve: not today", who: "user:eve"},
		"one needs":          {by: map[string]policy.Decision{"bob": needs(policy.Needs{Roles: approver, Count: 2})}, want: policy.Approval, reason: "for user:bob: ask", who: "user:bob", needs: policy.Needs{Roles: approver, Count: 2}},
		"the served needs":   {by: map[string]policy.Decision{"ada": needs(policy.Needs{Roles: owner})}, want: policy.Approval, reason: "ask", needs: policy.Needs{Roles: owner}},
		"several need": {by: map[string]policy.Decision{"ada": needs(policy.Needs{Roles: approver, Count: 3, ExpiresMS: 10, Default: policy.DefaultAllow}), "bob": needs(policy.Needs{Roles: owner, Separate: true}), "eve": needs(policy.Needs{Roles: approver, ExpiresMS: 5})},
			want: policy.Approval, reason: "ask; for user:bob: ask; for user:eve: ask", who: "user:eve", needs: policy.Needs{Roles: owner, Count: 3, ExpiresMS: 5, Separate: true}},
		"nobody can approve for all": {by: map[string]policy.Decision{"ada": needs(policy.Needs{Roles: []stead.Role{"approver"}}), "bob": needs(policy.Needs{Roles: owner})}, want: policy.Denied,
			reason: "nobody can approve it for all who told the agent something: it takes approver, and owner for user:bob", who: "user:bob"},
		"one can't be asked": {by: map[string]policy.Decision{"eve": {Allow: true}}, err: map[string]error{"eve": errors.New("away")}, want: policy.Denied},
	} {
		s := &says{by: c.by, err: c.err}
		d, err := policy.NewJointly(s).Decide(t.Context(), acting(ada, bob, eve))
		if (err != nil) != (c.err != nil) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			if _, err := policy.Check(t.Context(), policy.NewJointly(s), acting(ada, bob, eve)); stead.KindOf(err) != stead.KindForbidden {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if d.Outcome() != c.want || d.Reason != c.reason || d.For != c.who || c.want == policy.Approval && fmt.Sprint(*d.Needs) != fmt.Sprint(c.needs) {
			t.Errorf("%s: %+v %+v", name, d, d.Needs)
		}
	}
}

// TestEachWhoStandsBehindItIsAskedOnce: with each of its roles, and in the session's project; whoever made a token that it was said with too.
func TestEachWhoStandsBehindItIsAskedOnce(t *testing.T) {
	ada := user("ada", "agent")
	foreign := stead.Principal{Project: "two", Kind: stead.PrincipalService, ID: "bot", Role: "developer"}
	handed := user("ada", "developer")
	handed.Maker = "service:dev"
	own := user("ada", "agent")
	own.Maker, own.Bound = "user:ada", true
	for name, c := range map[string]struct {
		behind []stead.Principal
		want   []string
		alone  bool
	}{
		"one":             {[]stead.Principal{ada}, []string{"user:ada/agent@one"}, true},
		"a token of hers": {[]stead.Principal{ada, own}, []string{"user:ada/agent@one"}, true},
		"another's token": {[]stead.Principal{ada, handed}, []string{"user:ada/agent@one", "user:ada/developer@one", "service:dev/developer@one"}, false},
		"another project": {[]stead.Principal{ada, foreign, foreign}, []string{"user:ada/agent@one", "service:bot/developer@one"}, false},
		"another role":    {[]stead.Principal{ada, user("ada", "owner")}, []string{"user:ada/agent@one", "user:ada/owner@one"}, true},
		"no role":         {[]stead.Principal{ada, user("local", "")}, []string{"user:ada/agent@one", "user:local/agent@one"}, false},
		"nobody said so":  {nil, nil, false},
		"too many":        {[]stead.Principal{ada, policy.Anybody()}, nil, false},
	} {
		s := &says{}
		req := acting(c.behind...)
		d, err := policy.NewJointly(s).Decide(t.Context(), req)
		if err != nil || !slices.Equal(s.asked, c.want) || d.Allow != (len(c.want) > 0) || req.Alone() != c.alone {
			t.Errorf("%s: asked about %q, %+v %v, alone: %v", name, s.asked, d, err, req.Alone())
		}
		if e := req.NotAlone("it"); (e == nil) != c.alone {
			t.Errorf("%s: %v", name, e)
		}
	}
	s, own1 := &says{}, acting(ada, foreign)
	own1.Acting = false
	if d, err := policy.NewJointly(s).Decide(t.Context(), own1); err != nil || !d.Allow || len(s.asked) != 1 {
		t.Errorf("what somebody does themselves: %q %+v", s.asked, d)
	}
}

// TestTrialsAreMergedToo: what policies on trial would decide is the strictest of what they would for each.
func TestTrialsAreMergedToo(t *testing.T) {
	s := &says{by: map[string]policy.Decision{"bob": {Allow: true, By: "policy", Shadow: &policy.Trial{Outcome: policy.Denied, Reason: "on trial"}}}}
	d, err := policy.NewJointly(s).Decide(t.Context(), acting(user("ada", "agent"), user("bob", "owner"), user("eve", "owner")))
	if err != nil || !d.Allow || d.Shadow == nil || d.Shadow.Outcome != policy.Denied {
		t.Errorf("%+v %v", d, err)
	}
}

func BenchmarkJointly(b *testing.B) {
	var behind []stead.Principal
	for n := range 1000 {
		behind = append(behind, user(fmt.Sprint("u", n), "agent"))
	}
	behind[0] = user("ada", "agent")
	for _, n := range []int{0, 1, 10, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			req := acting(behind[:max(n, 1)]...)
			var a policy.Authorizer = policy.NewJointly(policy.AllowLocal{})
			if n == 0 {
				a = policy.AllowLocal{}
			}
			for b.Loop() {
				if d, err := a.Decide(b.Context(), req); err != nil || !d.Allow {
					b.Fatal(d, err)
				}
			}
		})
	}
}

// Who changed one call is nothing to another, where the context says which one something is done in; elsewhere it counts.
func TestWhatIsChangedIsOneCall(t *testing.T) {
	ada, bob := stead.Principal{Kind: stead.PrincipalUser, ID: "ada"}, stead.Principal{Kind: stead.PrincipalUser, ID: "bob"}
	req := policy.Request{Principal: ada, Acting: true, Behind: []stead.Principal{ada}, Changed: []stead.Principal{bob}}
	for name, c := range map[string]struct {
		ctx   context.Context
		alone bool
	}{
		"in no step":            {t.Context(), false},
		"asking for tools":      {policy.InStep(t.Context(), policy.NewStep(nil)), false},
		"beside steps":          {policy.InStep(t.Context(), nil), false},
		"a call as it was":      {policy.InStep(t.Context(), policy.NewCall(nil, nil)), true},
		"a call that he edited": {policy.InStep(t.Context(), policy.NewCall(nil, []stead.Principal{bob})), false},
		"one that she edited":   {policy.InStep(t.Context(), policy.NewCall(nil, []stead.Principal{ada})), true},
	} {
		if got := policy.Within(c.ctx, req).Alone(); got != c.alone {
			t.Errorf("%s: alone %v", name, got)
		}
	}
}
