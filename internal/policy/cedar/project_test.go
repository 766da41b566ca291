package cedar_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/policy/cedar"
)

// upload is a set as a project has it.
func upload(t *testing.T, name string, trial bool, text string) *cedar.Set {
	t.Helper()
	s, err := cedar.Load([]cedar.Source{{Name: name, Text: []byte(text)}}, cedar.Options{Approvers: approvers(), Name: name, Trial: trial})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestUploadedSets: what the operator's policies and the sets of a project say together.
func TestUploadedSets(t *testing.T) {
	const (
		about  = `(principal, action == Action::"tool.call", resource == Tool::"shop/refund");`
		forbid = `@id("f") forbid` + about
		permit = `@id("p") permit` + about
		ask    = `@id("a") @approval("approver") @approval_count("2") @approval_expires("2h") forbid` + about
		owners = `@id("o") @approval("owner") @approval_expires("1h") forbid` + about
		asking = `@id("q") @approval("approver") permit` + about
		fails  = `@id("b") forbid(principal, action == Action::"tool.call", resource) when { context.hour + 9223372036854775807 > 0 };`
		trial  = `@id("t") @mode("shadow") forbid` + about
	)
	type sets map[string]string // name → text; a name in capitals is on trial as a whole
	for name, tc := range map[string]struct {
		files  string
		deny   bool
		sets   sets
		want   policy.Outcome
		by     string
		trial  string // outcome and policies of the trial
		needs  string // of an approval: roles, count
		absent bool   // there are no files at all
	}{
		"a set forbids":                                  {absent: true, sets: sets{"x": forbid}, want: policy.Denied, by: "x/f"},
		"a set permits":                                  {absent: true, sets: sets{"x": permit}, want: policy.Allowed, by: "x/p"},
		"a set asks":                                     {absent: true, sets: sets{"x": ask}, want: policy.Approval, by: "x/a", needs: "approver,owner 2"},
		"a set fails":                                    {absent: true, sets: sets{"x": fails}, want: policy.Denied, by: "x/b"},
		"a set says nothing":                             {absent: true, sets: sets{"x": `forbid(principal, action == Action::"model.call", resource);`}, want: policy.Allowed},
		"files forbid, a set permits":                    {files: forbid, sets: sets{"x": permit}, want: policy.Denied, by: "f"},
		"files permit none, a set permits":               {deny: true, sets: sets{"x": permit}, want: policy.Denied},
		"files permit, a set forbids":                    {deny: true, files: permit, sets: sets{"x": forbid}, want: policy.Denied, by: "x/f"},
		"files permit, a set permits":                    {files: permit, sets: sets{"x": permit}, want: policy.Allowed, by: "p,x/p"},
		"a set is not default deny":                      {deny: true, files: permit, sets: sets{"x": `permit(principal, action == Action::"model.call", resource);`}, want: policy.Allowed, by: "p"},
		"files ask, a set forbids":                       {files: owners, sets: sets{"x": forbid}, want: policy.Denied, by: "x/f"},
		"files ask, a set permits":                       {files: owners, sets: sets{"x": permit}, want: policy.Approval, by: "o", needs: "owner 0"},
		"both ask":                                       {files: owners, sets: sets{"x": ask}, want: policy.Approval, by: "o,x/a", needs: "owner 2"},
		"a plain permit of one takes nothing of another": {absent: true, sets: sets{"x": permit, "y": asking}, want: policy.Approval, by: "y/q", needs: "approver,owner 0"},
		"two sets, one name in each":                     {absent: true, sets: sets{"x": ask, "y": `@id("a") @approval("owner") forbid` + about}, want: policy.Approval, by: "x/a,y/a", needs: "owner 2"},
		"a policy on trial":                              {absent: true, sets: sets{"x": trial}, want: policy.Allowed, trial: "deny x/t"},
		"a set on trial":                                 {files: owners, sets: sets{"X": forbid}, want: policy.Approval, by: "o", trial: "deny X/f", needs: "owner 0"},
		"a set on trial that fails":                      {absent: true, sets: sets{"X": fails}, want: policy.Allowed, trial: "deny X/b"},
		"trials of both":                                 {files: trial, sets: sets{"X": ask}, want: policy.Allowed, trial: "deny t"},
		"a trial beside what holds":                      {files: owners, sets: sets{"X": ask}, want: policy.Approval, by: "o", trial: "approval X/a,o", needs: "owner 0"},
	} {
		t.Run(name, func(t *testing.T) {
			var files *cedar.Set
			if !tc.absent {
				files = load(t, tc.deny, tc.files)
			}
			var sets []*cedar.Set
			for _, name := range []string{"X", "x", "y"} {
				if text, ok := tc.sets[name]; ok {
					sets = append(sets, upload(t, name, name == "X", text))
				}
			}
			project := cedar.NewProject(sets)
			a := authorizer(files, policy.AllowLocal{}).With(func(context.Context, stead.ProjectID) (*cedar.Project, error) { return project, nil })
			req := call("shop/refund", `{"amount":1}`)
			req.Principal = ada
			d, err := a.Decide(t.Context(), req)
			if err != nil || d.Outcome() != tc.want || strings.Join(d.Policies, ",") != tc.by {
				t.Fatalf("decided %s by %q (%s), %v; want %s by %q", d.Outcome(), d.Policies, d.Reason, err, tc.want, tc.by)
			}
			if shadow := shown(d.Shadow); shadow != tc.trial {
				t.Errorf("the trial is %q, want %q", shadow, tc.trial)
			}
			if needs := needed(d.Needs); needs != tc.needs {
				t.Errorf("it needs %q, want %q", needs, tc.needs)
			}
			if d.Needs != nil && strings.Contains(tc.by, ",") && d.Needs.ExpiresMS != 3_600_000 && tc.files != "" {
				t.Errorf("the shorter time does not hold: %d", d.Needs.ExpiresMS)
			}
			if parts := strings.Split(d.Version, "+"); len(parts) != 2 || (parts[0] == "") != tc.absent || parts[1] == "" {
				t.Errorf("the version is %q", d.Version)
			}
			again := req
			again.Before = &policy.Decision{Allow: true, By: "before", Version: d.Version}
			if kept, err := a.Decide(t.Context(), again); err != nil || kept.By != "before" {
				t.Errorf("the same policies were asked again: %+v, %v", kept, err)
			}
			a.With(func(context.Context, stead.ProjectID) (*cedar.Project, error) {
				return cedar.NewProject(append(slices.Clone(sets), upload(t, "z", false, forbid))), nil
			})
			if anew, err := a.Decide(t.Context(), again); err != nil || anew.By == "before" || anew.Allow {
				t.Errorf("other policies were not asked: %+v, %v", anew, err)
			}
		})
	}
}

func shown(t *policy.Trial) string {
	if t == nil {
		return ""
	}
	return string(t.Outcome) + " " + strings.Join(t.Policies, ",")
}

func needed(n *policy.Needs) string {
	if n == nil {
		return ""
	}
	var roles []string
	for _, r := range n.Roles {
		roles = append(roles, string(r))
	}
	return strings.Join(roles, ",") + " " + string('0'+rune(n.Count))
}

// TestUploadedSetsAreNotAskedAboutPolicies: who is locked out by a set can mend it; what can't be read refuses all else.
func TestUploadedSetsAreNotAskedAboutPolicies(t *testing.T) {
	all := upload(t, "x", false, `forbid(principal, action, resource);`)
	away := stead.Errorf(stead.KindUnavailable, "the database is away")
	for name, uploads := range map[string]cedar.Uploads{
		"a set forbids all": func(context.Context, stead.ProjectID) (*cedar.Project, error) {
			return cedar.NewProject([]*cedar.Set{all}), nil
		},
		"a set can't be read": func(context.Context, stead.ProjectID) (*cedar.Project, error) {
			return cedar.NewProject([]*cedar.Set{cedar.Unreadable("x", false, "it is gone")}), nil
		},
		"the database is away": func(context.Context, stead.ProjectID) (*cedar.Project, error) { return nil, away },
	} {
		a := authorizer(nil, policy.AllowLocal{}).With(uploads)
		for _, e := range policy.Effects() {
			d, err := a.Decide(t.Context(), policy.Request{Principal: ada, Effect: e, Resource: "a/b"})
			free := slices.Contains([]policy.Effect{policy.PolicyRead, policy.PolicyWrite, policy.PolicyDelete}, e)
			if d.Allow != free || !free && name == "the database is away" && !errors.Is(err, away) {
				t.Errorf("%s: %s is %+v, %v", name, e, d, err)
			}
		}
		server := policy.Request{Principal: stead.Principal{Kind: stead.PrincipalNode, ID: "server"}, Effect: policy.SessionWrite}
		if d, err := a.Decide(t.Context(), server); err != nil || !d.Allow {
			t.Errorf("%s: the server itself: %+v, %v", name, d, err)
		}
	}
	trial := authorizer(nil, policy.AllowLocal{}).With(func(context.Context, stead.ProjectID) (*cedar.Project, error) {
		return cedar.NewProject([]*cedar.Set{cedar.Unreadable("x", true, "it is gone")}), nil
	})
	if d, err := trial.Decide(t.Context(), policy.Request{Principal: ada, Effect: policy.SessionRead}); err != nil || !d.Allow || d.Shadow == nil || d.Shadow.Outcome != policy.Denied {
		t.Errorf("a set on trial that can't be read: %+v, %v", d, err)
	}
}

// TestMistakesSayWhere: line, column, policy, what is wrong, and what may have been meant.
func TestMistakesSayWhere(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want policy.Mistake
		more int // mistakes behind the first
	}{
		"an action": {"\n@id(\"x\")\nforbid(principal,\n  action == Action::\"tool.cal\", resource);",
			policy.Mistake{Line: 4, Column: 21, Policy: "s/x", Problem: "unrecognized action `Action::\"tool.cal\"`", Near: []string{"tool.call"}}, 0},
		"a type": {"permit(principal, action, resource);\nforbid(principal, action == Action::\"tool.call\", resource == Tol::\"a/b\");",
			policy.Mistake{Line: 2, Column: 62, Policy: "s#2", Problem: "unrecognized entity type `Tol`", Near: []string{"Tool"}}, 0},
		"an attribute": {"forbid(principal, action == Action::\"tool.call\", resource)\nwhen { context.weekdya > 3 };",
			policy.Mistake{Line: 2, Column: 16, Policy: "s#1", Problem: "attribute `weekdya` in context for Action::\"tool.call\" not found", Near: []string{"weekday"}}, 0},
		"an attribute of a record": {"forbid(principal, action == Action::\"tool.call\", resource)\nwhen { context has spend && context.spend.cent > 3 };",
			policy.Mistake{Line: 2, Column: 43, Policy: "s#1", Problem: "attribute `cent` in context for Action::\"tool.call\" not found", Near: []string{"cents"}}, 0},
		"nothing like it": {"forbid(principal, action == Action::\"xylophone\", resource);",
			policy.Mistake{Line: 1, Column: 37, Policy: "s#1", Problem: "unrecognized action `Action::\"xylophone\"`"}, 0},
		"no Cedar": {"permit(principal, action, resource);\nforbid(principal, action, resource) when { contxt.hour > 1 };",
			policy.Mistake{Line: 2, Column: 50, Problem: `parse error: ".": invalid primary`}, 0},
		"a text without an end": {`"x`, policy.Mistake{Line: 1, Column: 1, Problem: "parse error: literal not terminated"}, 0},
		"an annotation": {"@mod(\"shadow\")\nforbid(principal, action, resource);",
			policy.Mistake{Line: 1, Column: 1, Policy: "s#1", Problem: "there is no annotation @mod: they are id, mode, reason, approval, approval_count, approval_expires, approval_default, approval_separate, description"}, 0},
		"an id twice": {`@id("a") permit(principal, action, resource); @id("a") permit(principal, action, resource);`,
			policy.Mistake{Line: 1, Column: 47, Policy: "s/a", Problem: "the id is that of the policy in s:1"}, 0},
		"several": {"forbid(principal, action == Action::\"x\", resource);\nforbid(principal, action == Action::\"model.cal\", resource);",
			policy.Mistake{Line: 1, Column: 37, Policy: "s#1", Problem: "unrecognized action `Action::\"x\"`"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cedar.Load([]cedar.Source{{Name: "s", Text: []byte(tc.text)}}, cedar.Options{Name: "s", Approvers: approvers()})
			found, ok := errors.AsType[policy.Mistakes](err)
			if !ok || len(found) != tc.more+1 {
				t.Fatalf("%v", err)
			}
			tc.want.Source = "s"
			if got := found[0]; got.String() != tc.want.String() || got.Column != tc.want.Column || got.Line != tc.want.Line {
				t.Errorf("it says %+v\nwant %+v", got, tc.want)
			}
		})
	}
}
