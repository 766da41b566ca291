package cedar

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// flat is a set without its index: every policy is asked about everything, and everything is made for it.
func flat(s *Set) *Set {
	all := uses{context: atAll, labels: tagNames{any: true}, arguments: tagNames{any: true}}
	sh := &shelf{headless: &all}
	for _, r := range s.rules {
		r := *r
		r.looks = all
		sh.rest.add(entry{rule: &r}, false)
	}
	out := *s
	out.index = map[types.EntityUID]*shelf{}
	for uid := range s.index {
		out.index[uid] = sh
	}
	return &out
}

// chance writes policies and requests that have much in common.
type chance struct{ *rand.Rand }

func (c chance) of(words ...string) string { return words[c.IntN(len(words))] }

// atom is a condition of tool calls that reads one thing, or fails.
func (c chance) atom() string {
	k, v, w := c.of("a", "b", "c", "d"), c.of("x", "y", "z", "1", ""), c.of("x", "y", "z")
	labels, args, numbers := `context.labels`, `context.arguments`, `context.numbers`
	switch c.IntN(31) {
	case 0, 1, 2:
		return fmt.Sprintf(`(%[1]s.hasTag("%[2]s") && %[1]s.getTag("%[2]s") == "%[3]s")`, labels, k, v)
	case 3:
		return fmt.Sprintf(`(%[1]s.hasTag("%[2]s") && "%[3]s" != %[1]s.getTag("%[2]s"))`, labels, k, v)
	case 4:
		return fmt.Sprintf(`%s.hasTag("%s")`, c.of(labels, args, numbers), k)
	case 5, 6:
		return fmt.Sprintf(`(%[1]s.hasTag("%[2]s") && %[1]s.getTag("%[2]s") == "%[3]s")`, args, k, v)
	case 7:
		return fmt.Sprintf(`(%[1]s.hasTag("%[2]s") && %[1]s.getTag("%[2]s").%[3]s(decimal("%[4]d.0")))`, numbers, k, c.of("lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"), c.IntN(3))
	case 8:
		return fmt.Sprintf(`context.tool %s "%s"`, c.of("==", "!="), w)
	case 9:
		return fmt.Sprintf(`"%s" == context.server`, w)
	case 10:
		return fmt.Sprintf(`["%s", "%s"].contains(context.tool)`, w, v)
	case 11:
		return fmt.Sprintf(`context.chain.%s`, c.of(`contains("agent:agent_1")`, `contains("user:ada")`, `containsAny(["user:bob", "user:ada"])`, `containsAll(["user:ada"])`, `isEmpty()`))
	case 12:
		return fmt.Sprintf(`context.hour %s %d`, c.of("<", "<=", ">", ">=", "==", "!="), c.IntN(3))
	case 13:
		return fmt.Sprintf(`context.hour %s > %d`, c.of("+ 9223372036854775806", "* 9223372036854775807", "+ 1", "- 1"), c.IntN(3)) // some fail
	case 14:
		return fmt.Sprintf(`principal %s`, c.of(`== Agent::"agent_1"`, `in User::"ada"`, `in User::"bob"`, `in Role::"owner"`, `is Agent`, `is Agent in User::"ada"`, `in [User::"ada", User::"bob"]`, `== User::"ada"`))
	case 15:
		return fmt.Sprintf(`resource %s`, c.of(`== Tool::"x/y"`, `in Server::"x"`, `in [Server::"y", Server::"z"]`, `!= Tool::"x/x"`, `is Tool in Server::"z"`))
	case 16:
		return fmt.Sprintf(`(context has spend && context.spend.cents %s %d)`, c.of(">", "==", "<="), c.IntN(2))
	case 17:
		return `(context has spend && context.spend has limit && context.spend.limit == 1)`
	case 18:
		return fmt.Sprintf(`context.text %s`, c.of(`like "*\"a\":*"`, `== "{}"`, `!= "{}"`))
	case 19:
		return fmt.Sprintf(`context.labels %s Labels::"%s"`, c.of("==", "!="), c.of("s", "t"))
	case 20:
		return fmt.Sprintf(`%s.hasTag(context.tool)`, c.of(labels, args))
	case 21:
		return `context.now.offset(duration("9223372036854775807ms")) > context.now` // fails
	case 22:
		return fmt.Sprintf(`action %s`, c.of(`== Action::"tool.call"`, `in Action::"act"`))
	case 23:
		return fmt.Sprintf(`context.class like "%s*"`, v)
	case 24:
		return c.of("true", "false", `"x" == "x"`)
	case 25:
		return fmt.Sprintf(`%d %s context.hour`, c.IntN(4)-1, c.of("<", "<=", ">", ">="))
	case 26:
		return fmt.Sprintf(`context.now %s datetime("1970-01-01T0%d:00:00Z")`, c.of("<", "<=", ">", ">="), c.IntN(3))
	case 27:
		return fmt.Sprintf(`(context has spend && context.spend has limit && %d %s context.spend.limit)`, c.IntN(2), c.of("<", "<=", ">", ">="))
	case 28:
		return fmt.Sprintf(`(%[1]s.hasTag("%[2]s") && decimal("%[4]d.5").%[3]s(%[1]s.getTag("%[2]s")))`, numbers, k, c.of("lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"), c.IntN(4)-1)
	case 29:
		return fmt.Sprintf(`(context has budgets && context.budgets.%s)`, c.of("exhausted", "used >= 1", "used < 2", "session == 1"))
	}
	return fmt.Sprintf(`context == %s`, c.of(`context`, `{"a": 1}`))
}

func (c chance) condition(depth int) string {
	if depth == 0 || c.IntN(3) == 0 {
		return c.atom()
	}
	a, b := c.condition(depth-1), c.condition(depth-1)
	switch c.IntN(9) {
	case 0, 1, 2, 3:
		return "(" + a + " && " + b + ")"
	case 4, 5:
		return "(" + a + " || " + b + ")"
	case 6, 7:
		return "!" + a
	}
	return "(if " + a + " then " + b + " else " + c.condition(depth-1) + ")"
}

// policy is one, with an id.
func (c chance) policy(i int) string {
	var out strings.Builder
	fmt.Fprintf(&out, `@id("p%d") `, i)
	if c.IntN(3) == 0 {
		fmt.Fprintf(&out, `@reason("because of %d") `, c.IntN(5))
	}
	if c.IntN(5) == 0 {
		out.WriteString(`@mode("shadow") `)
	}
	if c.IntN(6) == 0 {
		fmt.Fprintf(&out, `@approval("%s") @approval_count("%d") `, c.of("approver", "owner"), 1+c.IntN(3))
	}
	out.WriteString(c.of("forbid", "forbid", "permit"))
	fmt.Fprintf(&out, `(%s, action == Action::"tool.call", %s)`, c.of("principal", "principal", "principal", `principal in User::"ada"`, `principal == Agent::"agent_1"`, `principal is Agent in Role::"owner"`),
		c.of("resource", "resource", "resource", `resource == Tool::"x/y"`, `resource in Server::"x"`, `resource is Tool`))
	for range []int{0, 1, 1, 1, 2, 2}[c.IntN(6)] {
		fmt.Fprintf(&out, ` %s { %s }`, c.of("when", "when", "unless"), c.condition(2))
	}
	return out.String() + ";"
}

func (c chance) set(name string, deny bool) (*Set, int) {
	var good []string
	lost, opts := 0, Options{Name: name, Deny: deny, Approvers: map[string][]stead.Role{"approver": {"approver", "owner"}, "owner": {"owner"}}}
	for i := range 1 + c.IntN([]int{3, 6, 24}[c.IntN(3)]) {
		text := c.policy(i)
		if _, err := Load([]Source{{Name: "t", Text: []byte(text)}}, opts); err != nil {
			lost++ // what the validator knows to be always so, or never
			continue
		}
		good = append(good, text)
	}
	s, err := Load([]Source{{Name: "t", Text: []byte(strings.Join(good, "\n"))}}, opts)
	if err != nil {
		panic(err)
	}
	return s, lost
}

func (c chance) request() policy.Request {
	req := policy.Request{
		Principal: stead.Principal{Project: "p", Kind: stead.PrincipalKind(c.of("user", "user", "service")), ID: c.of("ada", "ada", "bob"), Role: stead.Role(c.of("owner", "developer", ""))},
		Session:   stead.SessionKey{Project: "p", Session: stead.SessionID(c.of("s", "t"))}, Agent: stead.AgentID(c.of("agent_1", "agent_2")), Acting: c.IntN(3) > 0,
		Effect: policy.ToolCall, Resource: c.of("x", "y", "z") + "/" + c.of("x", "y", "z"), Class: c.of("x", "pure"), At: int64(c.IntN(3)) * 3_600_000,
	}
	if c.IntN(2) == 0 {
		req.Spend = &policy.Spend{Cost: int64(c.IntN(2)) * 1_000_000, Limit: int64(c.IntN(2)) * 1_000_000}
	}
	if c.IntN(2) == 0 {
		req.Budgets = &policy.Budgets{Used: int64(c.IntN(3)), Session: int64(c.IntN(2)), Exhausted: c.IntN(2) == 0}
	}
	for _, k := range []string{"a", "b", "c", "e"} {
		if c.IntN(2) == 0 {
			continue
		}
		if req.Labels == nil {
			req.Labels = stead.Labels{}
		}
		req.Labels[k] = []string{"x", "y", "z"}[c.IntN(3):][:c.IntN(2)]
		if c.IntN(3) == 0 {
			req.Labels[k] = []string{c.of("x", "y"), "z"}
		}
	}
	var args []string
	for _, k := range []string{"a", "b", "c", "e", "x", "y"} {
		if c.IntN(2) == 0 {
			args = append(args, fmt.Sprintf("%q:%s", k, c.of(`"x"`, `"y"`, "1", "2.5", "true", "null", `{"a":1}`)))
		}
	}
	req.Arguments = []byte("{" + strings.Join(args, ",") + "}")
	return req
}

// indexed holds the index against full evaluation, by what one seed makes, and counts outcomes.
func indexed(t *testing.T, seed uint64, requests int, seen map[string]int) {
	t.Helper()
	c := chance{rand.New(rand.NewPCG(seed, 1))}
	var sets, plain []*Set
	for _, name := range []string{"", "one", "two"}[:1+c.IntN(3)] {
		s, lost := c.set(name, name == "" && c.IntN(2) == 0)
		seen["lost"] += lost
		seen["policies"] += len(s.rules)
		sets, plain = append(sets, s), append(plain, flat(s))
	}
	for range requests {
		req := c.request()
		base := policy.Decision{Allow: true, By: "role", Reason: "as its role says"}
		got, wrong, _ := decide(sets, "v", base, req, nil)
		want, wrongs, _ := decide(plain, "v", base, req, nil)
		slices.Sort(wrong)
		slices.Sort(wrongs)
		if got.Budgets == nil {
			want.Budgets = nil // all of them are said to look
		}
		seen[string(got.Outcome())]++
		if len(wrong) > 0 {
			seen["failed"]++
		}
		if !reflect.DeepEqual(got, want) || !slices.Equal(wrong, wrongs) {
			var text strings.Builder
			for _, s := range sets {
				for _, r := range s.rules {
					text.WriteString(string(r.policy.MarshalCedar()) + "\n")
				}
			}
			t.Fatalf("seed %d: by the index %+v %q, by all policies %+v %q\n%+v\n%s\n%s", seed, got, wrong, want, wrongs, req, req.Arguments, text.String())
		}
	}
}

// TestIndexIsFullEvaluation: what is decided by the policies that the index finds is what is decided by all of them: the outcome, the
// policies and their reasons, what an approval needs, what is on trial, and which can't be evaluated. Several are decided at a time, in
// room that one leaves to the other.
func TestIndexIsFullEvaluation(t *testing.T) {
	const workers, each = 4, 25
	seen := map[string]int{}
	var mu sync.Mutex
	t.Run("workers", func(t *testing.T) {
		for w := range uint64(workers) {
			t.Run(fmt.Sprint(w), func(t *testing.T) {
				t.Parallel()
				mine := map[string]int{}
				for seed := range uint64(each) {
					indexed(t, w*each+seed, 40, mine)
				}
				mu.Lock()
				defer mu.Unlock()
				for k, n := range mine {
					seen[k] += n
				}
			})
		}
	})
	t.Logf("%v", seen)
	for _, of := range []string{"allow", "deny", "approval", "failed"} {
		if seen[of] < 50 {
			t.Errorf("of 4,000 decisions %d are %s", seen[of], of)
		}
	}
}

// TestLabelsWithoutValues: a label that has none is there, and is "".
func TestLabelsWithoutValues(t *testing.T) {
	both := `(context.labels.hasTag("a") && context.labels.getTag("a") == "" && context.labels.hasTag("b") && context.labels.getTag("b") == "")`
	s, err := Load([]Source{{Name: "t", Text: []byte(`@id("p") forbid(principal, action == Action::"tool.call", resource) when { ` + both + ` };`)}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	req := chance{rand.New(rand.NewPCG(1, 1))}.request()
	for _, labels := range []stead.Labels{{"a": {}, "b": {}}, {"a": nil, "b": {""}}, {"a": {""}}, {"a": {}, "b": {"x"}}} {
		req.Labels = labels
		if d, _, _ := decide([]*Set{s}, "v", policy.Decision{Allow: true}, req, nil); d.Allow == (labels.Newest("b") == "" && len(labels) == 2) {
			t.Errorf("%v: %+v", labels, d)
		}
	}
}

func FuzzIndex(f *testing.F) {
	f.Add(uint64(0))
	f.Fuzz(func(t *testing.T, seed uint64) { indexed(t, seed, 20, map[string]int{}) })
}
