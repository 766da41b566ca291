package cedar

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stead-dev/stead/internal/policy"
)

// nameWritten finds what a policy names whose form is known, in the text that Cedar makes of it.
var nameWritten = regexp.MustCompile(`\b(Role|Tool|Model|Host|Server)::("(?:[^"\\]|\\.)*")`)

// Doubts are names in policies that nothing ever has: what is about them alone never matches, and a forbid of such a kind forbids nothing.
// They are no mistakes, since Cedar takes any name, and policies that were in force stay so. roles are those that there are.
func (s *Set) Doubts(roles []string) policy.Mistakes {
	var out policy.Mistakes
	for _, r := range s.rules {
		seen := map[string]bool{}
		for _, m := range nameWritten.FindAllStringSubmatch(string(r.policy.MarshalCedar()), -1) {
			id, err := strconv.Unquote(m[2])
			if err != nil || seen[m[0]] {
				continue
			}
			seen[m[0]] = true
			if why := doubt(m[1], id, roles); why != "" {
				out = append(out, policy.Mistake{Source: r.File, Line: r.Line, Policy: r.ID, Problem: m[0] + " is nothing that there could be: " + why})
			}
		}
	}
	return out
}

// doubt is why nothing is called so; "": something may be.
func doubt(kind, id string, roles []string) string {
	switch {
	case kind == "Role" && !slices.Contains(roles, id):
		return "the roles are " + strings.Join(roles, ", ")
	case kind == "Tool" && !strings.Contains(id, "/"):
		return "a tool is named with its server, as in Tool::\"shop/refund\""
	case kind == "Host" && (strings.ContainsAny(id, "/ ") || strings.ToLower(id) != id):
		return "a host is a name in small letters, as in Host::\"api.example.com\"; ports are in context.port"
	case strings.Contains(id, "*"):
		attribute := map[string]string{"Tool": "tool", "Model": "model", "Host": "host", "Server": "server"}[kind]
		return "a * in a name is no pattern: write context." + attribute + " like \"…*\""
	}
	return ""
}
