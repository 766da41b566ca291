package identity

import (
	"context"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// The roles.
const (
	Owner     stead.Role = "owner"
	Operator  stead.Role = "operator"
	Developer stead.Role = "developer"
	Approver  stead.Role = "approver"
	Auditor   stead.Role = "auditor"
	Agent     stead.Role = "agent"
)

// Roles lists them.
func Roles() []string {
	return []string{string(Owner), string(Operator), string(Developer), string(Approver), string(Auditor), string(Agent)}
}

// Authorizer decides by project and role. The zero value is ready.
type Authorizer struct{}

// Decide implements policy.Authorizer. A principal without a role is the server itself, or the local
// user of a server that knows nobody else. Who comes with a session token may do what both its role and
// the token's scope say, in its session alone.
func (Authorizer) Decide(ctx context.Context, req policy.Request) (policy.Decision, error) {
	d, err := policy.AllowLocal{}.Decide(ctx, req)
	if err != nil || !d.Allow {
		return d, err
	}
	if p := req.Principal; p.Session != "" && (req.Session.Session != p.Session || !Covers(p.Scope, req.Effect)) {
		return policy.Decision{By: "session_token", Reason: "the session token is not for that"}, nil
	}
	if req.Principal.Role == "" {
		return d, nil
	}
	role := req.Principal.Role
	if !May(role, req.Effect) {
		return policy.Decision{By: "role", Reason: "the role " + string(role) + " may not"}, nil
	}
	if req.Principal.Bound && everybodys(req.Effect) {
		return policy.Decision{By: "role", Reason: "a key that is bound to its own sessions may not, whatever its role: it would be told of others'"}, nil
	}
	return policy.Decision{Allow: true, By: "role", Reason: string(role)}, nil
}

// Foresee implements policy.Foreseer: what roles say depends on no arguments.
func (a Authorizer) Foresee(ctx context.Context, req policy.Request) bool {
	d, err := a.Decide(ctx, req)
	return err == nil && d.Allow
}

// everybodys reports whether an effect shows what all have done, or makes who may see it.
func everybodys(effect policy.Effect) bool {
	return effect == policy.AuditRead || effect == policy.KeyRead || effect == policy.KeyWrite
}

// Approvers says whose approvals count where a policy asks for one by a role: the role's own and the
// owner's. The keys are the roles that may answer approvals at all.
func Approvers() map[string][]stead.Role {
	return map[string][]stead.Role{string(Owner): {Owner}, string(Approver): {Approver, Owner}}
}

// May reports whether a role may cause an effect. One that no line here knows is the owner's alone.
func May(role stead.Role, effect policy.Effect) bool {
	reads := strings.HasSuffix(string(effect), ".read")
	keys := effect == policy.KeyRead || effect == policy.KeyWrite || effect == policy.AuditRead // what shows or makes who may come in
	runs := effect == policy.ModelCall || effect == policy.ToolCall || effect == policy.SubagentCreate || effect == policy.CredentialUse || effect == policy.CredentialConsent || effect == policy.NetworkConnect || effect == policy.SemanticQuery || strings.HasPrefix(string(effect), "environment.")
	switch role {
	case Owner:
		return true
	case Operator:
		return !keys && (reads || runs || slices.Contains([]policy.Effect{policy.SessionWrite, policy.SessionTokenWrite, policy.SessionDelete, policy.SessionControl, policy.UsageWrite, policy.BudgetWrite, policy.MemoryWrite, policy.MemoryEntryWrite, policy.KillSwitchWrite, policy.VaultWrite}, effect))
	case Developer:
		return !keys && (reads || runs || slices.Contains([]policy.Effect{policy.SessionCreate, policy.SessionWrite, policy.SessionTokenWrite, policy.SessionDelete,
			policy.AgentWrite, policy.FileWrite, policy.VectorStoreWrite, policy.SkillWrite, policy.TemplateWrite, policy.MemoryWrite, policy.MemoryEntryWrite, policy.VaultWrite}, effect))
	case Approver:
		return slices.Contains([]policy.Effect{policy.SessionRead, policy.AgentRead, policy.ApprovalGive}, effect)
	case Auditor:
		return reads
	case Agent:
		return runs || slices.Contains([]policy.Effect{policy.SessionCreate, policy.SessionRead, policy.SessionWrite, policy.SessionTokenRead, policy.SessionTokenWrite, policy.AgentRead, policy.FileRead, policy.VectorStoreRead, policy.VectorStoreFileRead, policy.SkillRead, policy.TemplateRead, policy.SemanticRead, policy.MemoryRead, policy.MemoryEntryRead, policy.MemoryWrite, policy.MemoryEntryWrite}, effect)
	}
	return false
}
