package cedar

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cedar-policy/cedar-go/types"
	expast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/eval"

	"github.com/stead-dev/stead/internal/policy"
)

// plainUnseen is decideUnseen without anything prepared: each policy is evaluated in part, and read for the tools that it names.
func plainUnseen(sets []*Set, base policy.Decision, req policy.Request) (policy.Decision, []string) {
	resources := []string{req.Resource}
	if anyTool(&req) {
		resources = append(resources, plainTools(sets, req.Resource)...)
	}
	var all answer
	for i, resource := range resources {
		req.Resource = resource
		all = all.and(plainOne(sets, base, req), i == 0)
	}
	d := all.decision
	if all.spoke {
		d.Shadow = &policy.Trial{Outcome: all.trial.Outcome(), Policies: all.trial.Policies, Reason: all.trial.Reason}
	}
	return d, all.errors
}

func plainTools(sets []*Set, server string) (out []string) {
	for _, s := range sets {
		for _, r := range s.rules {
			for _, resource := range toolsIn(string(r.policy.MarshalCedar())) {
				if strings.HasPrefix(resource, server+"/") && !slices.Contains(out, resource) {
					out = append(out, resource)
				}
			}
		}
	}
	return out
}

func plainOne(sets []*Set, base policy.Decision, req policy.Request) (all answer) {
	q, err := newQuestion(req)
	defer q.release()
	if err != nil {
		panic(err)
	}
	if err := q.byHeads(sets, nil); err != nil {
		panic(err)
	}
	known := q.heads
	known.context &^= atLooked
	if err := q.fill(&known, sets[0].actions); err != nil {
		panic(err)
	}
	with := maps.Clone(q.context)
	for one, others := (q.heads.context & q.has & atLooked).next(); one != 0; one, others = others.next() {
		with[one.name()] = eval.Variable(one.name())
	}
	if anyTool(&req) {
		with[atTool.name()] = eval.Variable(atTool.name())
	}
	env := eval.Env{Principal: q.principal, Action: q.action, Resource: q.resource, Context: types.NewRecord(with), Entities: q}
	for i, s := range sets {
		all = all.and(plainGuess(s, q, env, base), i == 0)
	}
	return all
}

func plainGuess(s *Set, q *question, env eval.Env, base policy.Decision) answer {
	ways, err := readings(q.req.Labels, &q.heads, &q.heads)
	if err != nil {
		panic(err)
	}
	var inForce, all []matches
	open := map[*rule]bool{}
	for _, tags := range ways {
		if q.labels >= 0 {
			q.things[q.labels].entity.Tags = tags
		}
		var m, trial matches
		for _, r := range s.rules {
			to := &m
			if r.Mode == policy.Shadow {
				to = &trial
			}
			to.plain(r, env, open)
		}
		inForce, all = append(inForce, m), append(all, m.and(trial))
	}
	spoke := slices.ContainsFunc(s.rules, func(r *rule) bool { return r.Mode == policy.Shadow && open[r] })
	m, x := s.join(inForce), s.join(all)
	spoke = spoke || len(x.forbid)+len(x.permit)+len(x.failed) > len(m.forbid)+len(m.permit)+len(m.failed)
	out := s.outcome(base, m, x, spoke)
	out.decision, out.trial = unwaited(out.decision, open), unwaited(out.trial, open)
	return out
}

func (m *matches) plain(r *rule, env eval.Env, open map[*rule]bool) {
	left, keep := eval.PartialPolicy(env, (*expast.Policy)(r.policy.AST()))
	if !keep {
		return
	}
	if err := failure(left); err != nil {
		m.failed, m.errors = append(m.failed, r), append(m.errors, "policy "+r.ID+": "+err.Error())
		return
	}
	sure := len(left.Conditions) == 0
	if !sure {
		open[r] = true
	}
	switch {
	case r.Effect == "forbid":
		m.forbid = append(m.forbid, r)
	case sure || r.needs != nil:
		m.permit = append(m.permit, r)
	}
}

// plainSilent is Set.silent, of which nothing is prepared.
func plainSilent(s *Set, req policy.Request) bool {
	var about []*rule
	q, err := newQuestion(req)
	defer q.release()
	if err != nil {
		panic(err)
	}
	for _, r := range s.rules {
		if r.Mode == policy.Enforce && speaksOf((*expast.Policy)(r.policy.AST()).Action, q.action, s.actions) {
			about = append(about, r)
		}
	}
	switch {
	case s.deny:
		return false
	case req.Resource == "":
		return len(about) == 0
	}
	for _, r := range about {
		if name, isNamed := headNames((*expast.Policy)(r.policy.AST())); r.looks.context&unforeseen != 0 && (!isNamed || contains(q.about, name)) {
			return false
		}
	}
	f := &q.finds(1)[0]
	f.find(s.index[q.action], q, len(s.rules))
	return len(f.forbid)+len(f.permit) == 0
}

// unseenIs holds what is prepared against what is not, by what one seed makes, and counts outcomes.
func unseenIs(t *testing.T, seed uint64, requests int, seen map[string]int) {
	t.Helper()
	c := chance{rand.New(rand.NewPCG(seed, 2))}
	var sets []*Set
	for _, name := range []string{"", "one", "two"}[:1+c.IntN(3)] {
		s, _ := c.set(name, name == "" && c.IntN(2) == 0)
		sets = append(sets, s)
	}
	for range requests {
		req := c.request()
		req.Acting, req.Arguments, req.Unforeseen = false, nil, true
		if c.IntN(2) == 0 {
			req.Resource = c.of("x", "y", "z")
		}
		base := policy.Decision{Allow: true, By: "role", Reason: "as its role says"}
		got, wrong, _ := decide(sets, "", base, req, nil)
		want, wrongs := plainUnseen(sets, base, req)
		if got.Budgets != nil && got.Budgets != req.Budgets {
			t.Fatalf("seed %d: the budgets are %+v", seed, got.Budgets)
		}
		got.Budgets = nil
		slices.Sort(wrong)
		slices.Sort(wrongs)
		seen[string(got.Outcome())]++
		if strings.Contains(got.Reason, unseen) {
			seen["unseen"]++
		}
		if len(wrong) > 0 {
			seen["failed"]++
		}
		quiet := true
		if req.Unforeseen = false; c.IntN(4) == 0 {
			req.Resource = ""
		}
		for _, s := range sets {
			if is := plainSilent(s, req); is != silentOf(s, req) {
				t.Fatalf("seed %d: silent %v, want %v: %+v\n%s", seed, !is, is, req, textOf(sets))
			} else if quiet = quiet && is; is {
				seen["silent"]++
			}
		}
		if !reflect.DeepEqual(got, want) || !slices.Equal(slices.Compact(wrong), slices.Compact(wrongs)) {
			t.Fatalf("seed %d: prepared %+v %q, plain %+v %q\n%+v\n%s", seed, got, wrong, want, wrongs, req, textOf(sets))
		}
		if quiet && !got.Allow && !anyTool(&req) {
			t.Fatalf("seed %d: silent, and then %+v: %+v\n%s", seed, got, req, textOf(sets))
		}
	}
}

func silentOf(s *Set, req policy.Request) bool {
	q, err := newQuestion(req)
	defer q.release()
	if err != nil {
		panic(err)
	}
	return s.silent(q, &q.finds(1)[0], req.Resource == "")
}

func textOf(sets []*Set) string {
	var text strings.Builder
	for _, s := range sets {
		for _, r := range s.rules {
			text.WriteString(string(r.policy.MarshalCedar()) + "\n")
		}
	}
	return text.String()
}

// TestPreparedIsPlain: what is decided of tools whose calls nobody sees, by what is prepared once for a set, is what is decided by evaluating each of
// its policies; and so is of which functions nobody needs to ask.
func TestPreparedIsPlain(t *testing.T) {
	const workers, each = 4, 50
	seen := map[string]int{}
	var mu sync.Mutex
	t.Run("workers", func(t *testing.T) {
		for w := range uint64(workers) {
			t.Run(fmt.Sprint(w), func(t *testing.T) {
				t.Parallel()
				mine := map[string]int{}
				for seed := range uint64(each) {
					unseenIs(t, w*each+seed, 40, mine)
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
	for _, of := range []string{"allow", "deny", "unseen", "failed", "silent"} {
		if seen[of] < 50 {
			t.Errorf("of 8,000 decisions %d are %s", seen[of], of)
		}
	}
}

func FuzzUnseen(f *testing.F) {
	f.Add(uint64(0))
	f.Fuzz(func(t *testing.T, seed uint64) { unseenIs(t, seed, 20, map[string]int{}) })
}
