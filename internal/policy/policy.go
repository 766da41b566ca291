// Package policy decides whether an effect may happen, and says so in a form that can be recorded.
//
// Shape: Request {principal, session, effect, resource} → Decision {allow, by, why}. The zero
// Decision is no; an error means no. The runner asks through one gate before each effect and puts
// the decision into the effect's intent event, so that it is durable before the effect.
//
// Errors: any error is a denial; KindForbidden carries the reason for the client.
package policy

import (
	"context"

	"github.com/stead-dev/stead"
)

// Effect names what is about to happen.
type Effect string

// The effects that pass the gate. Later issues add theirs.
const (
	SessionCreate Effect = "session.create"
	SessionRead   Effect = "session.read"
	SessionWrite  Effect = "session.write" // input, update, pause, resume, fork
	SessionDelete Effect = "session.delete"
	AgentRead     Effect = "agent.read"
	AgentWrite    Effect = "agent.write"
	ModelCall     Effect = "model.call"
	ToolCall      Effect = "tool.call"
	ApprovalGive  Effect = "approval.give" // answering a required action

	EnvironmentPrepare Effect = "environment.prepare" // packages, files and set-up commands
	EnvironmentOpen    Effect = "environment.open"
	EnvironmentSave    Effect = "environment.save"
	EnvironmentSuspend Effect = "environment.suspend"
	EnvironmentRead    Effect = "environment.read"  // its state and files
	EnvironmentWrite   Effect = "environment.write" // files
	FileRead           Effect = "file.read"
	FileWrite          Effect = "file.write"         // upload, delete
	VectorStoreRead    Effect = "vector_store.read"  // and search
	VectorStoreWrite   Effect = "vector_store.write" // and what is in it
	SkillRead          Effect = "skill.read"
	SkillWrite         Effect = "skill.write"
	TemplateRead       Effect = "template.read" // and starting a session from one
	TemplateWrite      Effect = "template.write"
	UsageRead          Effect = "usage.read"
	UsageWrite         Effect = "usage.write" // storing records that are missing
	BudgetRead         Effect = "budget.read"
	BudgetWrite        Effect = "budget.write"
	MemoryRead         Effect = "memory.read"  // and search
	MemoryWrite        Effect = "memory.write" // add, change, forget

	KeyRead  Effect = "key.read"  // API keys, without their secrets
	KeyWrite Effect = "key.write" // make, rotate, revoke
)

// Request is what is to be decided.
type Request struct {
	Principal stead.Principal
	Session   stead.SessionKey // zero where there is none yet
	Agent     stead.AgentID
	Effect    Effect
	Resource  string // the model, "server/tool", the agent …
	Arguments []byte // a tool call's arguments, JSON; nil elsewhere
}

// Decision is the answer. The zero Decision denies.
type Decision struct {
	Allow  bool   `json:"allow"`
	By     string `json:"by"`               // which decider: "local"
	Reason string `json:"reason,omitempty"` // for people
}

// Authorizer decides. It must be safe for concurrent use and quick: it stands before every effect.
type Authorizer interface {
	Decide(ctx context.Context, req Request) (Decision, error)
}

// AllowLocal is the decider of a server without governance: everything is allowed to every
// principal of the request's own project. Which server may run with it is the door's business.
type AllowLocal struct{}

// Decide implements Authorizer.
func (AllowLocal) Decide(_ context.Context, req Request) (Decision, error) {
	if req.Principal.ID == "" {
		return Decision{By: "local", Reason: "no principal"}, nil
	}
	if req.Session.Project != "" && req.Session.Project != req.Principal.Project {
		return Decision{By: "local", Reason: "another project"}, nil
	}
	return Decision{Allow: true, By: "local"}, nil
}

// Check asks the authorizer and turns a denial into a KindForbidden error.
func Check(ctx context.Context, a Authorizer, req Request) (Decision, error) {
	d, err := a.Decide(ctx, req)
	if err != nil {
		return Decision{By: d.By}, stead.Wrap(stead.KindForbidden, err, "%s was not allowed: no decision could be made", req.Effect)
	}
	if !d.Allow {
		return d, stead.Errorf(stead.KindForbidden, "%s is not allowed: %s", req.Effect, d.Reason)
	}
	return d, nil
}

// EnvironmentEffect names what is done with an environment: prepare, open, save, suspend or expire.
func EnvironmentEffect(action string) Effect { return Effect("environment." + action) }
