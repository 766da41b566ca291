package cedar_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
)

var ada = stead.Principal{Project: "default", Kind: stead.PrincipalUser, ID: "ada", Role: "developer"}

// approvers are the roles that may approve, in these tests.
func approvers() map[string][]stead.Role {
	return map[string][]stead.Role{"approver": {"approver", "owner"}, "owner": {"owner"}}
}

func load(t *testing.T, deny bool, text string) *cedar.Set {
	t.Helper()
	s, err := cedar.Load([]cedar.Source{{Name: "test.cedar", Text: []byte(text)}}, cedar.Options{Deny: deny, Approvers: approvers()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// noon is a Thursday.
var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func authorizer(s *cedar.Set, first policy.Authorizer) *cedar.Authorizer {
	a := cedar.New(first, func() time.Time { return noon }, slog.New(slog.DiscardHandler))
	a.Replace(s)
	return a
}

func decide(t *testing.T, s *cedar.Set, req policy.Request) policy.Decision {
	t.Helper()
	if req.Principal.ID == "" {
		req.Principal = ada
	}
	d, err := authorizer(s, policy.AllowLocal{}).Decide(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// call is a tool call of an agent that acts for Ada.
func call(resource, arguments string) policy.Request {
	return policy.Request{
		Effect: policy.ToolCall, Resource: resource, Arguments: []byte(arguments), Acting: true, Agent: "agent_1", Class: "unknown",
		Session: stead.SessionKey{Project: "default", Session: "sess_1"}, Labels: stead.LabelsOf(map[string]string{"env": "prod"}), Spend: &policy.Spend{Cost: 3_500_000},
	}
}

func TestOutcomes(t *testing.T) {
	const (
		permit = `@id("p") permit(principal, action == Action::"tool.call", resource in Server::"shop");`
		forbid = `@id("f") forbid(principal, action == Action::"tool.call", resource == Tool::"shop/refund");`
		ask    = `@id("a") @approval("approver") forbid(principal, action == Action::"tool.call", resource == Tool::"shop/refund");`
		asking = `@id("q") @approval("approver") permit(principal, action == Action::"tool.call", resource == Tool::"shop/refund");`
		broken = `@id("b") forbid(principal, action == Action::"tool.call", resource) when { context.hour + 9223372036854775807 > 0 };`
	)
	for name, tc := range map[string]struct {
		policies string
		deny     bool
		want     policy.Outcome
		by       string // ids
	}{
		"nothing":                           {"", false, policy.Allowed, ""},
		"nothing, where the default is no":  {"", true, policy.Denied, ""},
		"a permit":                          {permit, true, policy.Allowed, "p"},
		"a forbid":                          {forbid, false, policy.Denied, "f"},
		"a forbid beats a permit":           {permit + forbid, true, policy.Denied, "f"},
		"a forbid that asks":                {ask, false, policy.Approval, "a"},
		"a forbid that asks, permitted":     {ask + permit, true, policy.Approval, "a"},
		"a forbid that asks, not permitted": {ask, true, policy.Denied, ""},
		"a forbid beats one that asks":      {ask + forbid, false, policy.Denied, "f"},
		"a permit that asks":                {asking, false, policy.Approval, "q"},
		"a permit that asks, by default no": {asking, true, policy.Approval, "q"},
		"a plain permit needs nobody":       {asking + permit, true, policy.Allowed, "p"},
		"an error":                          {broken + permit, true, policy.Denied, "b"},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(t, load(t, tc.deny, tc.policies), call("shop/refund", `{"n":"x"}`))
			if d.Outcome() != tc.want || strings.Join(d.Policies, ",") != tc.by {
				t.Errorf("decided %s by %q (%s), want %s by %q", d.Outcome(), d.Policies, d.Reason, tc.want, tc.by)
			}
			if tc.want != policy.Allowed && d.Reason == "" {
				t.Error("it doesn't say why")
			}
			if d.Version == "" {
				t.Error("the decision doesn't say by which policies")
			}
		})
	}
}

// TestConditions: what a condition can see is what is so.
func TestConditions(t *testing.T) {
	for name, condition := range map[string]string{
		"a text":               `context.arguments.hasTag("to/0/email") && context.arguments.getTag("to/0/email") == "a@b.c"`,
		"a name with a slash":  `context.arguments.hasTag("x~1y") && context.arguments.getTag("x~1y") == "1"`,
		"a number":             `context.numbers.hasTag("amount") && context.numbers.getTag("amount").greaterThan(decimal("100.0"))`,
		"a number, just over":  `context.numbers.hasTag("over") && context.numbers.getTag("over").greaterThan(decimal("100.0"))`,
		"a huge number":        `context.numbers.hasTag("huge") && context.numbers.getTag("huge").greaterThan(decimal("900000000000000.0"))`,
		"a negative one":       `context.numbers.hasTag("minus") && context.numbers.getTag("minus").lessThan(decimal("0.0"))`,
		"a boolean":            `context.arguments.hasTag("force") && context.arguments.getTag("force") == "true"`,
		"the whole text":       `context.text like "*\"force\":true*" && context.text like "*secret*"`,
		"a label":              `context.labels.hasTag("env") && context.labels.getTag("env") == "prod"`,
		"the hour":             `context.hour == 12 && context.weekday == 4`,
		"the time":             `context.now.toTime() >= duration("12h") && context.now > datetime("2026-11-25")`,
		"the spend":            `context has spend && context.spend.cents == 4 && !(context.spend has limit)`,
		"the chain":            `context.chain.contains("user:ada") && context.chain.contains("agent:agent_1")`,
		"who acts":             `principal == Agent::"agent_1"`,
		"in whose name":        `principal in User::"ada" && principal in Role::"developer"`,
		"the server":           `context.server == "shop" && context.tool == "refund" && resource in Server::"shop"`,
		"the class":            `context.class == "unknown"`,
		"the session":          `context.session == "sess_1" && context.project == "default"`,
		"its group of actions": `action in Action::"act"`,
	} {
		t.Run(name, func(t *testing.T) {
			args := `{"to":[{"email":"a@b.c"}],"x/y":"1","amount":100.5,"over":100.000000001,"huge":1e300,"minus":-0.00000001,"force":true,"note":"\u0073ecret"}`
			s := load(t, false, `forbid(principal, action == Action::"tool.call", resource) when { `+condition+` };`)
			if d := decide(t, s, call("shop/refund", args)); d.Allow || strings.Contains(d.Reason, "evaluated") {
				t.Errorf("it was not so: %+v", d)
			}
			s = load(t, false, `forbid(principal, action == Action::"tool.call", resource) unless { `+condition+` };`)
			if d := decide(t, s, call("shop/refund", args)); !d.Allow {
				t.Errorf("it was so, and is refused: %+v", d)
			}
		})
	}
}

// TestAmbiguousArguments: what a tool may read otherwise than a policy is refused.
func TestAmbiguousArguments(t *testing.T) {
	s := load(t, false, `forbid(principal, action == Action::"tool.call", resource) when { context.arguments.hasTag("path") && context.arguments.getTag("path") like "/etc/*" };`)
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	for name, args := range map[string]string{
		"twice": `{"path":"/etc/passwd","path":"/tmp/x"}`, "two values": `{} {}`, "not JSON": `{"path"`, "too deep": deep,
		"too many": `{"l":[` + strings.TrimSuffix(strings.Repeat("1,", cedar.MaxTags+1), ",") + `]}`, "a long number": `{"n":` + strings.Repeat("9", 1000) + `}`,
	} {
		if d := decide(t, s, call("files/read", args)); d.Allow || d.Needs != nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if d := decide(t, s, call("files/read", `{"path":"/tmp/x"}`)); !d.Allow {
		t.Errorf("a plain call is refused: %+v", d)
	}
	large := load(t, false, `forbid(principal, action == Action::"tool.call", resource) unless { context.numbers.hasTag("amount") && context.numbers.getTag("amount").lessThanOrEqual(decimal("100.0")) };`)
	if d := decide(t, large, call("shop/refund", `{"amount":5000,"":{"amount":1}}`)); d.Allow {
		t.Errorf("an amount below another name is taken for the amount: %+v", d)
	}
	blind := load(t, false, `forbid(principal, action == Action::"tool.call", resource == Tool::"files/write");`)
	if d := decide(t, blind, call("files/write2", `{"a":1,"a":2}`)); !d.Allow {
		t.Errorf("arguments that no policy looks into matter: %+v", d)
	}
}

func TestWhoActs(t *testing.T) {
	direct := policy.Request{Effect: policy.ModelCall, Resource: "frontier"}
	acting := direct
	acting.Acting, acting.Agent = true, "agent_1"
	for name, tc := range map[string]struct {
		head           string
		direct, acting bool // are forbidden
	}{
		"the user and who acts for her": {`principal in User::"ada"`, true, true},
		"the user alone":                {`principal == User::"ada"`, true, false},
		"the agent":                     {`principal == Agent::"agent_1"`, false, true},
		"agents":                        {`principal is Agent`, false, true},
		"agents of the user":            {`principal is Agent in User::"ada"`, false, true},
		"the role":                      {`principal in Role::"developer"`, true, true},
		"another":                       {`principal in User::"bob"`, false, false},
	} {
		s := load(t, false, `forbid(`+tc.head+`, action, resource == Model::"frontier");`)
		if got := !decide(t, s, direct).Allow; got != tc.direct {
			t.Errorf("%s: a call of hers is forbidden: %v", name, got)
		}
		if got := !decide(t, s, acting).Allow; got != tc.acting {
			t.Errorf("%s: a call in her name is forbidden: %v", name, got)
		}
	}
}

func TestRolesComeFirst(t *testing.T) {
	s := load(t, false, `permit(principal, action, resource);`)
	a := authorizer(s, policy.AllowLocal{})
	if d, _ := a.Decide(context.Background(), policy.Request{Effect: policy.ModelCall, Resource: "x"}); d.Allow {
		t.Errorf("a policy allowed what was refused before: %+v", d)
	}
	node := stead.Principal{Project: "default", Kind: stead.PrincipalNode, ID: "node"}
	closed := authorizer(load(t, true, ""), policy.AllowLocal{})
	if d, _ := closed.Decide(context.Background(), policy.Request{Principal: node, Effect: policy.FileRead, Resource: "file_1"}); !d.Allow {
		t.Errorf("the server itself is refused: %+v", d)
	}
	failing := authorizer(s, down{})
	if d, err := failing.Decide(context.Background(), policy.Request{Principal: ada, Effect: policy.ModelCall}); err == nil || d.Allow {
		t.Errorf("without the roles' word: %+v, %v", d, err)
	}
}

type down struct{}

func (down) Decide(context.Context, policy.Request) (policy.Decision, error) {
	return policy.Decision{}, errors.New("down")
}

// TestShadow: what a shadow policy would do is written beside the decision, and changes nothing.
func TestShadow(t *testing.T) {
	for name, tc := range map[string]struct {
		policies string
		want     policy.Outcome
		shadow   policy.Outcome // "": nothing is said
	}{
		"forbids":         {`@id("s") @mode("shadow") forbid(principal, action == Action::"tool.call", resource);`, policy.Allowed, policy.Denied},
		"asks":            {`@id("s") @mode("shadow") @approval("owner") forbid(principal, action == Action::"tool.call", resource);`, policy.Allowed, policy.Approval},
		"fails":           {`@id("s") @mode("shadow") forbid(principal, action == Action::"tool.call", resource) when { context.hour + 9223372036854775807 > 0 };`, policy.Allowed, policy.Denied},
		"is about others": {`@id("s") @mode("shadow") forbid(principal, action == Action::"tool.call", resource == Tool::"x/y");`, policy.Allowed, ""},
		"permits": {`@id("s") @mode("shadow") permit(principal, action == Action::"tool.call", resource);
			@id("f") forbid(principal, action == Action::"tool.call", resource);`, policy.Denied, policy.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(t, load(t, false, tc.policies), call("shop/refund", `{}`))
			got := policy.Outcome("")
			if d.Shadow != nil {
				got = d.Shadow.Outcome
			}
			if d.Outcome() != tc.want || got != tc.shadow {
				t.Errorf("decided %s, in shadow %q: %+v", d.Outcome(), got, d)
			}
		})
	}
}

// TestTheDefaultOfAnApproval: nobody's answer is a no, unless every policy that asks says otherwise.
func TestTheDefaultOfAnApproval(t *testing.T) {
	const (
		yes = `@approval("owner") @approval_expires("1h") @approval_default("allow") forbid(principal, action == Action::"tool.call", resource);`
		no  = `@approval("owner") @approval_expires("1h") @approval_default("deny") forbid(principal, action == Action::"tool.call", resource);`
		not = `@approval("owner") forbid(principal, action == Action::"tool.call", resource);`
	)
	for text, want := range map[string]string{yes: "allow", yes + yes: "allow", no: "deny", not: "deny", yes + no: "deny", not + yes: "deny"} {
		if got := decide(t, load(t, false, text), call("shop/refund", `{}`)).Needs.Lapses(); got != want {
			t.Errorf("%s\nlapses to %s, want %s", text, got, want)
		}
	}
}

func TestTheStrictestApprovalCounts(t *testing.T) {
	d := decide(t, load(t, false, `
		@approval("approver") @approval_expires("1h") forbid(principal, action == Action::"tool.call", resource);
		@approval("owner") @approval_count("2") @reason("money leaves") forbid(principal, action == Action::"tool.call", resource in Server::"shop");
		@approval("approver") @approval_expires("10m") @approval_separate("") forbid(principal, action == Action::"tool.call", resource == Tool::"shop/refund");
	`), call("shop/refund", `{}`))
	n := d.Needs
	if n == nil || !slices.Equal(n.Roles, []stead.Role{"owner"}) || n.Count != 2 || n.ExpiresMS != (10*time.Minute).Milliseconds() || !n.Separate {
		t.Fatalf("needs %+v", n)
	}
	if !strings.Contains(d.Reason, "money leaves") {
		t.Errorf("reason %q", d.Reason)
	}
	owner := func(id string) stead.Principal {
		return stead.Principal{Project: "default", Kind: stead.PrincipalUser, ID: id, Role: "owner"}
	}
	for name, tc := range map[string]struct {
		given   []stead.Principal
		missing int
	}{
		"nobody": {nil, 2}, "one": {[]stead.Principal{owner("eve")}, 1}, "the same twice": {[]stead.Principal{owner("eve"), owner("eve")}, 1},
		"two": {[]stead.Principal{owner("eve"), owner("bob")}, 0}, "herself": {[]stead.Principal{owner("ada"), owner("bob")}, 1},
		"another role": {[]stead.Principal{owner("eve"), {Kind: "user", ID: "x", Role: "approver"}}, 1},
	} {
		if got := n.Missing(tc.given, ada); got != tc.missing {
			t.Errorf("%s: %d are missing, want %d", name, got, tc.missing)
		}
	}
}

// TestSameAttemptSameAnswer: what was begun under a decision is not judged anew by the same policies,
// though the clock went on; by other policies it is.
func TestSameAttemptSameAnswer(t *testing.T) {
	const text = `forbid(principal, action == Action::"tool.call", resource) when { context.hour >= 13 };`
	s := load(t, false, text)
	first := decide(t, s, call("shop/refund", `{}`))
	later := call("shop/refund", `{}`)
	later.At, later.Before = noon.Add(2*time.Hour).UnixMilli(), &first
	if d := decide(t, s, later); !d.Allow || d.Version != first.Version {
		t.Errorf("asked again: %+v", d)
	}
	if d := decide(t, load(t, false, text+" "), later); d.Allow {
		t.Errorf("other policies were not asked: %+v", d)
	}
	later.Before = nil
	if d := decide(t, s, later); d.Allow {
		t.Errorf("the clock does not matter: %+v", d)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"syntax":          {"\n\nforbid(principal, action, resource) when { ", "test.cedar:"},
		"attribute":       {"\n@id(\"x\") forbid(principal, action, resource) when { context.projct == \"a\" };", "test.cedar:2: policy x: "},
		"action":          {`forbid(principal, action == Action::"tool.cal", resource);`, "test.cedar:1: policy test#1: unrecognized action"},
		"type":            {`forbid(principal is Usr, action, resource);`, "unrecognized entity type"},
		"types":           {`forbid(principal, action, resource) when { context.hour == "12" };`, "policy test#1"},
		"unsafe":          {`forbid(principal, action == Action::"model.call", resource) when { context.spend.cents > 5 };`, "spend"},
		"elsewhere":       {`forbid(principal, action == Action::"model.call", resource is Tool);`, "applicable action"},
		"mode":            {`@mode("shadw") forbid(principal, action, resource);`, "@mode is enforce or shadow"},
		"annotation":      {`@aproval("approver") forbid(principal, action, resource);`, "there is no annotation @aproval"},
		"role":            {`@approval("auditor") forbid(principal, action == Action::"tool.call", resource);`, "may answer approvals"},
		"count":           {`@approval("owner") @approval_count("0") forbid(principal, action == Action::"tool.call", resource);`, "@approval_count"},
		"expiry":          {`@approval("owner") @approval_expires("soon") forbid(principal, action == Action::"tool.call", resource);`, "@approval_expires"},
		"default":         {`@approval("owner") @approval_expires("1h") @approval_default("maybe") forbid(principal, action == Action::"tool.call", resource);`, "@approval_default is deny or allow"},
		"default, never":  {`@approval("owner") @approval_default("allow") forbid(principal, action == Action::"tool.call", resource);`, "there is no @approval_expires"},
		"no approval":     {`@approval_count("2") forbid(principal, action == Action::"tool.call", resource);`, "there is none"},
		"can't wait":      {`@approval("owner") forbid(principal, action in [Action::"session.create", Action::"session.read"], resource);`, "session.read can not"},
		"the same id":     {"@id(\"x\") forbid(principal, action, resource);\n@id(\"x\") permit(principal, action, resource);", "test.cedar:2: policy x: the id is that of the policy in test.cedar:1"},
		"a second policy": {"forbid(principal, action, resource);\n forbid(principal, action == Action::\"x\", resource);", "test.cedar:2: policy test#2"},
	} {
		_, err := cedar.Load([]cedar.Source{{Name: "test.cedar", Text: []byte(tc.text)}}, cedar.Options{Approvers: approvers()})
		if stead.KindOf(err) != stead.KindInvalid || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// TestADeployIsOneRule: what changes what agents are and run on is held by one policy, and nothing else is.
func TestADeployIsOneRule(t *testing.T) {
	s := load(t, false, `@id("deploys") @approval("owner") forbid(principal, action in Action::"deploy", resource);`)
	for _, e := range policy.Effects() {
		d := decide(t, s, policy.Request{Effect: e, Resource: "x", Session: stead.SessionKey{Project: "default", Session: "sess_1"}})
		want := policy.Allowed
		if slices.Contains([]policy.Effect{policy.AgentWrite, policy.SkillWrite, policy.TemplateWrite, policy.SemanticWrite}, e) {
			want = policy.Approval
		}
		if d.Outcome() != want {
			t.Errorf("%s: %+v, want %s", e, d, want)
		}
	}
}

// TestEveryEffectIsInTheSchema: a policy about everything is asked about every effect, and can be.
func TestEveryEffectIsInTheSchema(t *testing.T) {
	s := load(t, false, `@id("all") forbid(principal, action, resource) unless { context.project == "other" };`)
	for _, e := range policy.Effects() {
		for _, resource := range []string{"", "x/y"} {
			d := decide(t, s, policy.Request{Effect: e, Resource: resource, Session: stead.SessionKey{Project: "default", Session: "sess_1"}})
			if !slices.Equal(d.Policies, []string{"all"}) || strings.Contains(d.Reason, "evaluated") {
				t.Errorf("%s of %q: %+v", e, resource, d)
			}
		}
	}
}

// TestIndexHidesNothing: with the index and without it, the same policies speak.
func TestIndexHidesNothing(t *testing.T) {
	heads := []string{
		`principal, action, resource`, `principal == Agent::"agent_1", action, resource`, `principal in User::"ada", action, resource`, `principal is Agent, action, resource`,
		`principal in Role::"developer", action == Action::"tool.call", resource`, `principal, action in Action::"act", resource in Server::"shop"`,
		`principal, action in [Action::"tool.call", Action::"model.call"], resource == Tool::"shop/refund"`, `principal is Agent in User::"ada", action, resource is Tool`,
		`principal, action, resource is Tool in Server::"shop"`, `principal == Agent::"agent_1", action, resource == Tool::"shop/refund"`,
	}
	for i, h := range heads {
		d := decide(t, load(t, false, `forbid(`+h+`);`), call("shop/refund", `{}`))
		if d.Allow {
			t.Errorf("%d: forbid(%s) was not asked", i, h)
		}
		if d := decide(t, load(t, false, `forbid(`+h+`);`), policy.Request{Effect: policy.MemoryRead, Resource: "mem_1", Principal: stead.Principal{Project: "default", Kind: stead.PrincipalService, ID: "s"}}); d.Allow != (i > 0) {
			t.Errorf("%d: forbid(%s) of something else: %+v", i, h, d)
		}
	}
}

// TestLabelsWithSeveralValues: where texts of several labels have come together, policies must hold for each.
func TestLabelsWithSeveralValues(t *testing.T) {
	const (
		forbid  = `@id("f") forbid(principal, action, resource) when { context.labels.hasTag("env") && context.labels.getTag("env") == "prod" };`
		ask     = `@id("a") @approval("approver") forbid(principal, action == Action::"tool.call", resource) when { context.labels.hasTag("env") && context.labels.getTag("env") == "prod" };`
		permit  = `@id("p") permit(principal, action, resource) when { context.labels.hasTag("env") && context.labels.getTag("env") == "test" };`
		both    = `@id("p2") permit(principal, action, resource) when { context.labels.hasTag("env") };`
		joint   = `@id("j") forbid(principal, action, resource) when { context.labels.hasTag("env") && context.labels.getTag("env") == "prod" && context.labels.hasTag("data") && context.labels.getTag("data") == "health" };`
		unnamed = `@id("u") forbid(principal, action == Action::"tool.call", resource) when { context.labels.hasTag(context.tool) && context.labels.getTag(context.tool) == "x" };`
		shadow  = `@id("s") @mode("shadow") forbid(principal, action, resource) when { context.labels.hasTag("env") && context.labels.getTag("env") == "prod" };`
	)
	many := make([]string, cedar.MaxReadings+1)
	for i := range many {
		many[i] = strconv.Itoa(i)
	}
	for name, tc := range map[string]struct {
		policies string
		labels   stead.Labels
		want     policy.Outcome
		shadow   policy.Outcome // "": nothing
	}{
		"forbidden of an older one":           {forbid, stead.Labels{"env": {"prod", "test"}}, policy.Denied, ""},
		"forbidden of the newest":             {forbid, stead.Labels{"env": {"test", "prod"}}, policy.Denied, ""},
		"forbidden of none":                   {forbid + both, stead.Labels{"env": {"a", "b"}}, policy.Allowed, ""},
		"permitted for the newest alone":      {permit, stead.Labels{"env": {"prod", "test"}}, policy.Denied, ""},
		"permitted for each, in its own way":  {permit + both, stead.Labels{"env": {"prod", "test"}}, policy.Allowed, ""},
		"asked of an older one":               {ask + both, stead.Labels{"env": {"prod", "test"}}, policy.Approval, ""},
		"forbidden of two together":           {joint + both, stead.Labels{"env": {"prod", "test"}, "data": {"health", "x"}}, policy.Denied, ""},
		"a name that is not written out":      {unnamed + both, stead.Labels{"env": {"prod"}, "refund": {"x", "y"}}, policy.Denied, ""},
		"too many that it looks into":         {both, stead.Labels{"env": many}, policy.Denied, ""},
		"many that nobody looks into":         {both, stead.Labels{"env": {"a"}, "trace": many}, policy.Allowed, ""},
		"on trial, forbidden of an older one": {shadow + both, stead.Labels{"env": {"prod", "test"}}, policy.Allowed, policy.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			req := call("shop/refund", `{}`)
			req.Labels = tc.labels
			d := decide(t, load(t, true, tc.policies), req)
			if d.Outcome() != tc.want {
				t.Errorf("decided %s by %q (%s), want %s", d.Outcome(), d.Policies, d.Reason, tc.want)
			}
			if tc.shadow != "" && (d.Shadow == nil || d.Shadow.Outcome != tc.shadow) {
				t.Errorf("on trial %+v, want %s", d.Shadow, tc.shadow)
			}
		})
	}
}

// Policies of different places in the index count together, with all that each looks into, and the next decision finds the
// index as it was.
func TestPlacesInTheIndexCountTogether(t *testing.T) {
	s := load(t, false, `
@id("all") forbid(principal, action == Action::"tool.call", resource) when { context.labels.hasTag("a") && context.labels.getTag("a") == "x" };
@id("tool") forbid(principal, action == Action::"tool.call", resource == Tool::"shop/refund") when { context.labels.hasTag("b") && context.labels.getTag("b") == "x" };
@id("server") forbid(principal, action == Action::"tool.call", resource in Server::"shop") when { context.arguments.hasTag("c") };
@id("user") forbid(principal in User::"ada", action == Action::"tool.call", resource) when { context.labels.hasTag("d") && context.labels.getTag("d") == "x" };
@id("trial") @mode("shadow") forbid(principal, action == Action::"tool.call", resource == Tool::"shop/refund") when { context.text like "*c*" };`)
	older := func(names ...string) stead.Labels { // the value that is asked for is not the newest
		l := stead.Labels{}
		for _, n := range names {
			l[n] = []string{"x", "y"}
		}
		return l
	}
	for range 2 {
		for _, tc := range []struct {
			tool, arguments string
			labels          stead.Labels
			want            []string
		}{
			{"shop/refund", `{"c":1}`, older("a", "b", "d"), []string{"all", "server", "tool", "user"}},
			{"shop/refund", `{}`, older("b"), []string{"tool"}},
			{"shop/refund", `{}`, older("a"), []string{"all"}},
			{"shop/refund", `{}`, older("d"), []string{"user"}},
			{"shop/other", `{"c":1}`, older("b"), []string{"server"}},
			{"db/write", `{"c":1}`, older("a", "b"), []string{"all"}},
			{"db/write", `{"c":1}`, older("b"), nil},
		} {
			req := call(tc.tool, tc.arguments)
			req.Labels = tc.labels
			d := decide(t, s, req)
			if d.Allow != (len(tc.want) == 0) || !slices.Equal(d.Policies, tc.want) {
				t.Errorf("%s %s %v: decided %s by %q, want %q", tc.tool, tc.arguments, tc.labels, d.Outcome(), d.Policies, tc.want)
			}
			if tried := tc.tool == "shop/refund" && tc.arguments != `{}`; tried != (d.Shadow != nil) {
				t.Errorf("%s %s: on trial %+v", tc.tool, tc.arguments, d.Shadow)
			}
		}
	}
}

// TestRetentionAsks: what the server deletes by itself can be forbidden, by what the session's labels say; defaults are for others.
func TestRetentionAsks(t *testing.T) {
	retention := stead.Principal{Project: "default", Kind: stead.PrincipalNode, ID: "retention"}
	held := stead.Labels{"hold": {"case-7"}}
	for name, tc := range map[string]struct {
		deny     bool
		policies string
		labels   stead.Labels
		want     bool
	}{
		"a hold":                       {false, `forbid(principal, action == Action::"session.delete", resource) when { context.labels.hasTag("hold") };`, held, false},
		"without the label":            {false, `forbid(principal, action == Action::"session.delete", resource) when { context.labels.hasTag("hold") };`, nil, true},
		"by its name":                  {false, `forbid(principal == Node::"retention", action == Action::"session.delete", resource);`, nil, false},
		"another's":                    {false, `forbid(principal is User, action == Action::"session.delete", resource);`, held, true},
		"an approval":                  {false, `@approval("owner") forbid(principal, action == Action::"session.delete", resource) when { context.labels.hasTag("hold") };`, held, false},
		"a default":                    {true, `permit(principal is User, action, resource);`, held, true},
		"an approval beside a default": {true, `@approval("owner") forbid(principal, action == Action::"session.delete", resource) when { context.labels.hasTag("hold") };`, held, false},
		"beside a default":             {true, `forbid(principal, action == Action::"session.delete", resource) when { context.labels.hasTag("hold") };`, held, false},
	} {
		a := authorizer(load(t, tc.deny, tc.policies), policy.AllowLocal{})
		d, err := a.Decide(t.Context(), policy.Request{Principal: retention, Effect: policy.SessionDelete, Session: stead.SessionKey{Project: "default", Session: "sess_1"}, Labels: tc.labels})
		if err != nil || d.Allow != tc.want {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
	// A project's hold stands beside the operator's default.
	a := authorizer(load(t, true, `permit(principal is User, action, resource);`), policy.AllowLocal{}).With(func(context.Context, stead.ProjectID) (*cedar.Project, error) {
		return cedar.NewProject([]*cedar.Set{upload(t, "hold", false, `forbid(principal, action == Action::"session.delete", resource) when { context.labels.hasTag("hold") };`)}), nil
	})
	for _, labels := range []stead.Labels{held, nil} {
		d, err := a.Decide(t.Context(), policy.Request{Principal: retention, Effect: policy.SessionDelete, Session: stead.SessionKey{Project: "default", Session: "sess_1"}, Labels: labels})
		if err != nil || d.Allow != (labels == nil) {
			t.Errorf("a project's hold, labels %v: %+v, %v", labels, d, err)
		}
	}
}
