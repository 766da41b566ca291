package runner

import (
	"context"
	"errors"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/tool"
)

// Vaults gives sessions the credentials of the vaults that they name: see package vault, which implements it. ask
// says who uses one, and in which session, as that is at the time.
type Vaults interface {
	// Attach refuses vaults that are not there for a principal.
	Attach(ctx context.Context, p stead.Principal, vaults []string) error
	// Own is a user's own vault, for the consents that they give in sessions that name none. It is made when one is given.
	Own(p stead.Principal) string
	// Bearer finds the credential for a tool server; nil for none.
	Bearer(ctx context.Context, key stead.SessionKey, vaults []string, want tool.Wanted, ask func(context.Context) (policy.Request, error)) (tool.Credential, error)
	// Variables are the credentials for the environment.
	Variables(ctx context.Context, project stead.ProjectID, vaults []string, ask func(context.Context) (policy.Request, error)) ([]environment.Credential, error)
}

// holder is who has credentials: a session, which serves a user.
type holder struct {
	vaults []string
	user   stead.Principal
	asks   bool              // the user may be asked for their consent
	behind []stead.Principal // as policy.Request.Behind
	alone  bool              // as session.View.Alone
}

// holderOf is a session as a holder. A response asks nobody: its API knows no such question.
func holderOf(v *session.View) holder {
	return holder{v.Created.VaultIDs, v.Created.Principal, v.Turn == nil || v.Turn.Response == nil, v.Behind(), v.Alone()}
}

// holderIn is a session as a holder within one call.
func holderIn(v *session.View, c *session.Call) holder {
	h := holderOf(v)
	h.alone = v.AloneIn(c)
	return h
}

// keeping are the vaults of a holder for a tool: where a tool is used with its user's consent, and the session names no vault, the user's
// own. It serves sessions alone that a key made which is the user's and nobody else's.
func (r *Runner) keeping(h holder, t agent.Tool) []string {
	if len(h.vaults) == 0 && h.user.Bound && t.Consents() && r.cfg.Vaults != nil {
		return []string{r.cfg.Vaults.Own(h.user)}
	}
	return h.vaults
}

// stepAsker is asker for uses within steps of the session, which know what was answered about them. A connection to a server belongs to none
// and is made under what any of them was given.
func (r *Runner) stepAsker(key stead.SessionKey) func(context.Context) (policy.Request, error) {
	return func(ctx context.Context) (policy.Request, error) {
		v, err := r.view(ctx, key)
		if err != nil {
			return policy.Request{}, err
		}
		return policy.Within(ctx, inSteps(from(ctx, v))), nil
	}
}

// inSteps is what policies are asked before a credential is used within a step.
func inSteps(v *session.View) policy.Request {
	req := v.Request(policy.CredentialUse, "")
	req.Step = policy.NewStep(v.AllGrants(policy.CredentialUse))
	return req
}

// asker says who uses a session's credentials: its agent, with the labels that the session has by then.
func (r *Runner) asker(key stead.SessionKey) func(context.Context) (policy.Request, error) {
	return func(ctx context.Context) (policy.Request, error) {
		v, err := r.view(ctx, key)
		if err != nil {
			return policy.Request{}, err
		}
		return from(ctx, v).Request(policy.CredentialUse, ""), nil
	}
}

// attachable refuses vaults that a session can't have, and tools that want a credential that is not in them.
func (r *Runner) attachable(ctx context.Context, p stead.Principal, vaults []string, tools []agent.Tool, plan *session.EnvironmentPlan) error {
	if len(vaults) > 0 {
		if r.cfg.Vaults == nil {
			e := stead.Errorf(stead.KindNotImplemented, "this server has no vaults")
			e.Param = "vault_ids"
			return e
		}
		if err := r.cfg.Vaults.Attach(ctx, p, vaults); err != nil {
			return err
		}
	}
	if err := r.credentialed(ctx, p, vaults, tools); err != nil || len(vaults) == 0 || plan == nil || plan.Type != session.EnvironmentHosted {
		return err
	}
	list, err := r.cfg.Vaults.Variables(ctx, p.Project, vaults, nil)
	if err != nil {
		return err
	}
	for _, c := range list {
		if c.Hosts == nil && plan.Broad {
			e := stead.Invalid("vault_ids", "the credential for %s goes wherever the environment's allowed domains lead, and its network has no such list", c.Variable)
			e.Hint = `Give the environment a network with access "restricted" and allowed_domains, or the credential allowed_hosts.`
			return e
		}
	}
	return nil
}

// credentialed refuses tools that want a credential that the vaults don't have, or not for their servers.
func (r *Runner) credentialed(ctx context.Context, p stead.Principal, vaults []string, tools []agent.Tool) error {
	h := holder{vaults: vaults, user: p, asks: true, behind: []stead.Principal{p}, alone: true}
	for i, t := range tools {
		if t.Type != agent.ToolMCP {
			continue
		}
		if err := r.consentable(param.Index("agent.tools", i), r.keeping(h, t), t); err != nil {
			return err
		}
		at := param.Index("agent.tools", i) + ".credential_id"
		if t.CredentialID != nil && len(vaults) == 0 {
			e := stead.Invalid(at, "the tool server %q wants the credential %.80q, and the session has no vaults", t.ServerLabel, *t.CredentialID)
			e.Hint = "Name the vault that has it in vault_ids."
			return e
		}
		if _, err := r.bearer(ctx, stead.SessionKey{Project: p.Project}, h, t); err != nil {
			if e, ok := errors.AsType[*stead.Error](err); ok && e.Code == tool.CodeCredential {
				named := *e
				named.Code, named.Param, named.Message = "", at, "the tool server "+t.ServerLabel+": "+e.Message
				return &named
			}
			return err
		}
	}
	return nil
}

// bearer is the credential for an agent's tool server; nil: none.
func (r *Runner) bearer(ctx context.Context, key stead.SessionKey, h holder, t agent.Tool) (tool.Credential, error) {
	if t.Type != agent.ToolMCP || t.Transport == nil || t.Transport.Type != agent.TransportHTTP {
		return nil, nil
	}
	id := ""
	if t.CredentialID != nil {
		id = *t.CredentialID
	}
	vaults := r.keeping(h, t)
	if len(vaults) == 0 || r.cfg.Vaults == nil {
		if id == "" {
			return nil, nil
		}
		e := stead.Errorf(stead.KindInvalid, "the session has no vault with the credential %.80q", id)
		e.Code = tool.CodeCredential
		return nil, e
	}
	want := tool.Wanted{ID: id, ServerURL: t.Transport.ServerURL, Inside: t.InEnvironment(), For: h.user, Consents: h.asks && t.Consents()}
	return r.cfg.Vaults.Bearer(ctx, key, vaults, want, r.stepAsker(key))
}
