package cedar

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	expast "github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// Extension is that of files with policies.
const Extension = ".cedar"

// Source is a text of policies.
type Source struct {
	Name string // as errors name it
	Text []byte
}

// Options say how a set decides beyond its policies.
type Options struct {
	// Deny: what no policy matches is refused; else it is allowed, as roles said.
	Deny bool
	// Approvers maps a role that @approval may name to those whose approvals count then.
	Approvers map[string][]stead.Role
	// Name is that of a set which a project uploaded: its policies are known as NAME/ID, so that no other's have their ids. "": it
	// is the operator's.
	Name string
	// Trial: all of them are in shadow, whatever they say.
	Trial bool
}

// Set is policies that were checked. It never changes.
type Set struct {
	rules   []*rule
	index   map[types.EntityUID]*shelf // by action
	actions map[types.EntityUID]types.Entity
	deny    bool
	version string
	name    string   // of a project's; "": it is the operator's
	trial   bool     // it is on trial as a whole
	alone   []*Set   // itself
	offers  offered  // for tools whose calls nobody sees
	broken  *matches // what it says of everything, as it can't be read; nil: it can be
}

// rule is one policy with what its annotations say.
type rule struct {
	policy.Rule
	policy *cedargo.Policy
	needs  *policy.Needs // of @approval
	looks  uses
	tools  []string // that it names, as resources
	place  int      // among the set's
	key    string   // that no other policy of this process has
}

// ReadDir reads the policies of a directory, by the order of their files' names. It fails with
// KindInvalid when there are none: a path that is wrong must not be a server without policies.
func ReadDir(dir string) ([]Source, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"+Extension))
	if err != nil || len(names) == 0 {
		e := stead.Invalid("policies", "there are no files *%s in %s", Extension, dir)
		e.Hint = "Name a directory that has some, or leave policies out."
		return nil, e
	}
	slices.Sort(names)
	var out []Source
	left := int64(MaxBytes)
	for _, name := range names {
		info, err := os.Stat(name)
		if err == nil {
			if left -= info.Size(); left < 0 {
				return nil, tooLarge()
			}
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, stead.Wrap(stead.KindInvalid, err, "policies can't be read")
		}
		out = append(out, Source{name, text})
	}
	return out, nil
}

func tooLarge() error {
	return stead.Errorf(stead.KindTooLarge, "the policies are larger than the limit of %d bytes", MaxBytes)
}

// digits are as many of a digest as make a version.
const digits = 12

// Load checks policies and makes a set of them. Every mistake is named, a line each.
func Load(sources []Source, opts Options) (*Set, error) {
	known, err := published()
	if err != nil {
		return nil, err
	}
	l := &loader{opts: opts, schema: known, validator: validate.New(known), ids: map[string]string{}}
	sum, bytes := sha256.New(), 0
	fmt.Fprintf(sum, "%v", opts.Deny)
	for _, src := range sources {
		if bytes += len(src.Text); bytes > MaxBytes {
			return nil, tooLarge()
		}
		sum.Write(src.Text)
		sum.Write([]byte{0})
		l.read(src)
	}
	if len(l.rules) > MaxPolicies {
		return nil, stead.Errorf(stead.KindTooLarge, "there are %d policies, the limit is %d", len(l.rules), MaxPolicies)
	}
	if len(l.wrong) > 0 {
		e := stead.Invalid("policies", "the policies are wrong:\n%s", l.wrong.Lines())
		e.Err = l.wrong
		e.Hint = "What policies can speak of: stead policy schema."
		return nil, e
	}
	s := &Set{name: opts.Name, rules: l.rules, actions: publishedActions(), deny: opts.Deny, trial: opts.Trial, version: hex.EncodeToString(sum.Sum(nil))[:digits]}
	s.index, s.alone = shelve(l.rules, s.actions, publishedSchemes()), []*Set{s}
	s.offers = offer(l.rules, s.actions, publishedSchemes())
	return s, nil
}

// Rules lists the policies in the order in which they were read.
func (s *Set) Rules() []policy.Rule {
	out := make([]policy.Rule, len(s.rules))
	for i, r := range s.rules {
		out[i] = r.Rule
	}
	return out
}

// Version is the digest of the policies and the default.
func (s *Set) Version() string { return s.version }

type loader struct {
	opts      Options
	schema    *resolved.Schema
	validator *validate.Validator
	ids       map[string]string // policy id → where it is
	rules     []*rule
	wrong     policy.Mistakes
	work      int // see MaxWork
	faults    int // see maxFaults
}

func (l *loader) read(src Source) {
	tokens, beyond := measure(src)
	if len(beyond) > 0 {
		l.wrong = append(l.wrong, beyond[:min(len(beyond), maxMistakes)]...)
		return
	}
	list, err := cedargo.NewPolicyListFromBytes(src.Name, src.Text)
	if err != nil {
		l.wrong = append(l.wrong, parseMistake(src.Name, err))
		return
	}
	stem := strings.TrimSuffix(filepath.Base(src.Name), Extension)
	for i, p := range list {
		at, end := p.Position(), len(src.Text)
		if i+1 < len(list) {
			end = list[i+1].Position().Offset
		}
		if l.faults > maxFaults {
			l.wrong = append(l.wrong, policy.Mistake{Source: src.Name, Line: at.Line, Column: at.Column, Problem: "what begins here was not checked: there are too many mistakes before it"})
			return
		}
		l.add(p, stem+"#"+strconv.Itoa(i+1), where{string(src.Text[at.Offset:end]), at.Line, at.Column}, tokens[min(i, len(tokens)-1)])
	}
}

func (l *loader) add(p *cedargo.Policy, id string, in where, tokens int) {
	at := p.Position()
	r := &rule{policy: p, Rule: policy.Rule{ID: id, File: at.Filename, Line: at.Line, Effect: "forbid", Mode: policy.Enforce}}
	if p.Effect() == cedargo.Permit {
		r.Effect = "permit"
	}
	notes := p.Annotations()
	if named, ok := notes["id"]; ok {
		if r.ID = string(named); l.opts.Name != "" {
			r.ID = l.opts.Name + "/" + r.ID
		}
	}
	r.Set = l.opts.Name
	report := func(format string, args ...any) {
		l.wrong = append(l.wrong, policy.Mistake{Source: at.Filename, Line: at.Line, Column: at.Column, Policy: r.ID, Problem: fmt.Sprintf(format, args...)})
	}
	if before, taken := l.ids[r.ID]; taken {
		report("the id is that of the policy in %s", before)
	}
	l.ids[r.ID] = fmt.Sprintf("%s:%d", at.Filename, at.Line)
	if err := r.annotate(notes, l.opts.Approvers); err != nil {
		report("%s", err)
	}
	tree := (*expast.Policy)(p.AST())
	if !l.affords(tree, tokens, report) {
		return
	}
	if err := l.validator.Policy("", tree); err != nil {
		l.faults += strings.Count(err.Error(), "\n") + 1
		for _, m := range explain(l.schema, in, err) {
			m.Source, m.Policy = at.Filename, r.ID
			l.wrong = append(l.wrong, m)
		}
	}
	if r.needs != nil {
		if never := l.neverWaits(p); len(never) > 0 {
			report("@approval is for what can wait, which %s can not; these can: %s", strings.Join(never, ", "), strings.Join(waits(), ", "))
		}
	}
	if l.opts.Trial {
		r.Mode = policy.Shadow
	}
	r.key = strconv.FormatInt(keys.Add(1), 36)
	text := string(p.MarshalCedar())
	r.looks, r.tools = usesOf(text), toolsIn(text)
	l.rules = append(l.rules, r)
}

// keys counts policies.
var keys atomic.Int64

// waits are the actions that can wait for an approval.
func waits() []string {
	var out []string
	for _, e := range policy.Approvable() {
		out = append(out, string(e))
	}
	return out
}

// neverWaits are the actions in a policy's head that can't wait for an approval.
func (l *loader) neverWaits(p *cedargo.Policy) []string {
	named := headActions((*expast.Policy)(p.AST()))
	able, groups := waits(), []string{"act", "read", "write", "deploy"}
	var never []string
	for uid, a := range l.schema.Actions {
		of := named == nil || slices.Contains(named, uid) || slices.ContainsFunc(named, a.Entity.Parents.Contains)
		if name := string(uid.ID); of && !slices.Contains(able, name) && !slices.Contains(groups, name) {
			never = append(never, name)
		}
	}
	slices.Sort(never)
	return never
}

// headActions are those that a policy's head names; nil: it is about all.
func headActions(p *expast.Policy) []types.EntityUID {
	switch head := p.Action.(type) {
	case expast.ScopeTypeEq:
		return []types.EntityUID{head.Entity}
	case expast.ScopeTypeIn:
		return []types.EntityUID{head.Entity}
	case expast.ScopeTypeInSet:
		return head.Entities
	}
	return nil
}

// annotations are what a policy may carry. Others are refused: a misspelt one would be silently
// without effect.
func annotations() []string {
	return []string{"id", "mode", "reason", "approval", "approval_count", "approval_expires", "approval_default", "approval_separate", "description"}
}

// maxApprovers bounds @approval_count.
const maxApprovers = 16

func (r *rule) annotate(notes types.Annotations, approvers map[string][]stead.Role) error {
	for key := range notes {
		if !slices.Contains(annotations(), string(key)) {
			return fmt.Errorf("there is no annotation @%s: they are %s", key, strings.Join(annotations(), ", "))
		}
	}
	if mode, ok := notes["mode"]; ok {
		if r.Mode = string(mode); r.Mode != policy.Enforce && r.Mode != policy.Shadow {
			return fmt.Errorf("@mode is enforce or shadow, not %q", mode)
		}
	}
	r.Reason = string(notes["reason"])
	role, asks := notes["approval"]
	count, counted := notes["approval_count"]
	expires, ends := notes["approval_expires"]
	lapses, stated := notes["approval_default"]
	_, separate := notes["approval_separate"]
	if !asks {
		if counted || ends || separate || stated {
			return fmt.Errorf("@approval_… says more of an @approval, and there is none")
		}
		return nil
	}
	roles := approvers[string(role)]
	if len(roles) == 0 {
		return fmt.Errorf("@approval names a role that may answer approvals, not %q: those are %s", role, strings.Join(slices.Sorted(maps.Keys(approvers)), " and "))
	}
	r.Approval, r.needs = string(role), &policy.Needs{Roles: roles, Separate: separate}
	if counted {
		n, err := strconv.Atoi(string(count))
		if err != nil || n < 1 || n > maxApprovers {
			return fmt.Errorf("@approval_count is a number from 1 to %d, not %q", maxApprovers, count)
		}
		r.needs.Count = n
	}
	if ends {
		d, err := time.ParseDuration(string(expires))
		if err != nil || d < time.Second {
			return fmt.Errorf(`@approval_expires is a time of at least a second as "30m" or "24h", not %q`, expires)
		}
		r.needs.ExpiresMS = d.Milliseconds()
	}
	if stated {
		if !ends {
			return fmt.Errorf("@approval_default says what holds when the time is over, and there is no @approval_expires")
		}
		switch lapses {
		case "deny":
		case policy.DefaultAllow:
			r.needs.Default = policy.DefaultAllow
		default:
			return fmt.Errorf("@approval_default is deny or allow, not %q", lapses)
		}
	}
	return nil
}
