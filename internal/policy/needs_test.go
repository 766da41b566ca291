package policy_test

import (
	"slices"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// TestOnePersonApprovesOnce: an approval by a session token is that of whom it stands for, and of who made it: neither counts again.
// More approvals never leave more missing.
func TestOnePersonApprovesOnce(t *testing.T) {
	n := &policy.Needs{Roles: []stead.Role{"approver"}, Count: 3}
	who := func(id string) stead.Principal {
		return stead.Principal{Kind: stead.PrincipalUser, ID: id, Role: "approver"}
	}
	by := func(maker, id string) stead.Principal {
		p := who(id)
		p.Maker = "user:" + maker
		return p
	}
	for name, c := range map[string]struct {
		given   []stead.Principal
		missing int
	}{
		"nobody":                          {nil, 3},
		"three":                           {[]stead.Principal{who("a"), who("b"), who("c")}, 0},
		"one twice":                       {[]stead.Principal{who("a"), who("a")}, 2},
		"one, and by a token of theirs":   {[]stead.Principal{who("a"), by("a", "u")}, 2},
		"by a token, and its maker":       {[]stead.Principal{by("a", "u"), who("a")}, 2},
		"by two tokens for the same user": {[]stead.Principal{by("a", "u"), by("b", "u")}, 2},
		"by two tokens of the same maker": {[]stead.Principal{by("a", "u"), by("a", "v")}, 2},
		"both, and then the token":        {[]stead.Principal{who("a"), who("u"), by("a", "u")}, 1},
		"a token, and two who have nothing to do with it": {[]stead.Principal{by("a", "u"), who("b"), who("c")}, 0},
	} {
		before := 3
		for i := range c.given {
			now := n.Missing(c.given[:i+1], stead.Principal{})
			if now > before {
				t.Errorf("%s: %d are missing after one more, %d before", name, now, before)
			}
			before = now
		}
		if before != c.missing {
			t.Errorf("%s: %d are missing, want %d", name, before, c.missing)
		}
	}
}

// TestSeparate: nobody who is behind what is asked for approves it, by whichever token.
func TestSeparate(t *testing.T) {
	n := &policy.Needs{Roles: []stead.Role{"owner"}, Separate: true}
	who := func(id, maker string) stead.Principal {
		p := stead.Principal{Kind: stead.PrincipalUser, ID: id, Role: "owner"}
		if maker != "" {
			p.Maker = "user:" + maker
		}
		return p
	}
	for name, c := range map[string]struct {
		by, forWhom stead.Principal
		counts      bool
	}{
		"another":                     {who("b", ""), who("a", ""), true},
		"itself":                      {who("a", ""), who("a", ""), false},
		"by a token":                  {who("a", "b"), who("a", ""), false},
		"by a token of its making":    {who("b", "a"), who("a", ""), false},
		"who made the token":          {who("b", ""), who("a", "b"), false},
		"who made both tokens":        {who("b", "c"), who("a", "c"), false},
		"by a token of another maker": {who("b", "c"), who("a", ""), true},
	} {
		if got := n.Counts(c.by, c.forWhom); got != c.counts {
			t.Errorf("%s counts: %v", name, got)
		}
	}
}

// TestMoreThanAreToldApart: where nobody can tell any more who stands behind an effect, nobody is another.
func TestMoreThanAreToldApart(t *testing.T) {
	n := &policy.Needs{Roles: []stead.Role{"owner"}, Separate: true}
	eve := stead.Principal{Kind: stead.PrincipalUser, ID: "eve", Role: "owner"}
	if n.Counts(eve, policy.Anybody()) || !n.Counts(eve) {
		t.Error("eve's approval counts where anybody may stand behind it, or not where nobody does")
	}
}

// TestEveryEffectWaitsOrSaysWhyNot: an effect that is new is one of those that can wait for an approval, or says why it can't.
func TestEveryEffectWaitsOrSaysWhyNot(t *testing.T) {
	never := policy.NeverWaits()
	for _, e := range policy.Effects() {
		if waits := slices.Contains(policy.Approvable(), e); waits == (never[e] != "") {
			t.Errorf("%s: it can wait %v, and can't since %q", e, waits, never[e])
		}
	}
	if n := len(policy.Approvable()) + len(never); n != len(policy.Effects()) {
		t.Errorf("%d effects of %d", n, len(policy.Effects()))
	}
}
