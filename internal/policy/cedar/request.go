package cedar

import (
	"fmt"
	"strings"
	"time"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// question is a request in Cedar's words. It implements types.EntityGetter for what the request is about.
type question struct {
	action    types.EntityUID
	principal types.EntityUID
	resource  types.EntityUID
	about     []types.EntityUID // principal, resource and all that they are in

	request  cedargo.Request
	entities []types.Entity
	labels   int // its place among the entities
	actions  map[types.EntityUID]types.Entity
}

// Get implements types.EntityGetter.
func (q *question) Get(uid types.EntityUID) (types.Entity, bool) {
	for i := range q.entities {
		if q.entities[i].UID == uid {
			return q.entities[i], true
		}
	}
	e, ok := q.actions[uid]
	return e, ok
}

func uid(t types.EntityType, id string) types.EntityUID {
	return types.NewEntityUID(t, types.String(id))
}

// newQuestion says whom and what a request is about: enough to find the policies that may speak of it.
func newQuestion(req policy.Request) (*question, error) {
	q := &question{action: uid(typeAction, string(req.Effect))}
	if err := q.who(req); err != nil {
		return nil, err
	}
	if err := q.what(req); err != nil {
		return nil, err
	}
	return q, nil
}

// who sets the principal: the one who asks, or the agent that acts for it.
func (q *question) who(req policy.Request) error {
	p := req.Principal
	var t types.EntityType
	switch p.Kind {
	case stead.PrincipalUser:
		t = typeUser
	case stead.PrincipalService:
		t = typeService
	case stead.PrincipalAgent:
		t = typeAgent
	default:
		return fmt.Errorf("a principal of kind %q is not in the schema", p.Kind)
	}
	q.principal = uid(t, p.ID)
	var roles []types.EntityUID
	if p.Role != "" {
		roles = append(roles, uid(typeRole, string(p.Role)))
	}
	q.entity(q.principal, roles...)
	if req.Acting && req.Agent != "" {
		q.principal = uid(typeAgent, string(req.Agent))
		q.entity(q.principal, append(roles, uid(t, p.ID))...)
	}
	return nil
}

// what sets the resource.
func (q *question) what(req policy.Request) error {
	t, id := typeOf(req.Effect), req.Resource
	switch req.Effect {
	case policy.SessionRead, policy.SessionWrite, policy.SessionDelete, policy.SessionControl, policy.SessionTokenRead, policy.SessionTokenWrite, policy.ApprovalGive:
		id = string(req.Session.Session)
	case policy.VaultRead, policy.VaultWrite:
		id, _, _ = strings.Cut(id, "/") // of a credential, it is about its vault
	case policy.CredentialUse:
		vault, credential, _ := strings.Cut(id, "/")
		q.resource = uid(t, credential)
		q.entity(q.resource, uid(typeVault, vault))
		return nil
	case policy.ToolCall:
		server, _, _ := strings.Cut(id, "/")
		q.resource = uid(t, id)
		q.entity(q.resource, uid(typeServer, server))
		return nil
	}
	if t == "" {
		return fmt.Errorf("the effect %s is not in the schema", req.Effect)
	}
	if id == "" || t == typeProject {
		t, id = typeProject, string(req.Principal.Project)
	}
	q.resource = uid(t, id)
	q.entity(q.resource)
	return nil
}

// typeOf is what an effect is about.
func typeOf(e policy.Effect) types.EntityType {
	switch e {
	case policy.ModelCall:
		return typeModel
	case policy.ToolCall:
		return typeTool
	case policy.SessionCreate:
		return typeAgent
	}
	noun, _, _ := strings.Cut(string(e), ".")
	switch noun {
	case "session", "session_token", "approval":
		return typeSession
	case "agent":
		return typeAgent
	case "environment":
		return typeEnvironment
	case "memory":
		return typeMemoryStore
	case "file":
		return typeFile
	case "vector_store":
		return typeVectorStore
	case "semantic_model":
		return typeSemantic
	case "skill":
		return typeSkill
	case "template":
		return typeTemplate
	case "budget":
		return typeBudget
	case "vault":
		return typeVault
	case "credential":
		return typeCredential
	case "network":
		return typeHost
	case "key", "usage", "policy", "audit", "kill_switch":
		return typeProject
	}
	return ""
}

func (q *question) entity(uid types.EntityUID, parents ...types.EntityUID) {
	q.entities = append(q.entities, types.Entity{UID: uid, Parents: types.NewEntityUIDSet(parents...)})
	q.about = append(append(q.about, uid), parents...)
}

// fill adds what policies look into: the context, and entities with tags.
func (q *question) fill(req policy.Request, looks uses, actions map[types.EntityUID]types.Entity) error {
	q.actions = actions
	at := time.UnixMilli(req.At).UTC()
	weekday := int64(at.Weekday())
	if weekday == 0 {
		weekday = 7 // Sunday
	}
	labels := uid(typeLabels, string(req.Session.Session))
	q.labels = len(q.entities)
	q.entities = append(q.entities, types.Entity{UID: labels})
	c := types.RecordMap{
		"project": types.String(req.Principal.Project),
		"chain":   types.NewSet(chain(req)...),
		"session": types.String(req.Session.Session),
		"labels":  labels,
		"now":     types.NewDatetimeFromMillis(req.At),
		"hour":    types.Long(at.Hour()),
		"weekday": types.Long(weekday),
	}
	if s := req.Spend; s != nil {
		spend := types.RecordMap{"cents": types.Long(cents(s.Cost))}
		if s.Limit > 0 {
			spend["limit"] = types.Long(cents(s.Limit))
		}
		c["spend"] = types.NewRecord(spend)
	}
	switch req.Effect {
	case policy.SessionCreate:
		c["model"] = types.String(req.Model)
	case policy.MemoryEntryRead:
		entry := req.Entry
		if entry == nil {
			entry = &policy.Entry{} // any
		}
		c["kind"], c["scope"], c["scope_id"] = types.String(entry.Kind), types.String(entry.ScopeType), types.String(entry.ScopeID)
		c["own"] = types.Boolean(entry.ScopeType == "user" && entry.ScopeID == req.Principal.ID)
		c["entry_labels"] = setOf(entry.Labels)
	case policy.SemanticQuery:
		asked := req.Semantic
		if asked == nil {
			asked = &policy.Semantic{}
		}
		c["metrics"], c["entities"], c["dimensions"] = setOf(asked.Metrics), setOf(asked.Entities), setOf(asked.Dimensions)
		c["rows"] = types.Boolean(asked.Rows)
	case policy.CredentialUse, policy.CredentialConsent:
		c["destination"] = types.String(req.Destination)
	case policy.NetworkConnect:
		to := req.Connection
		if to == nil {
			to = &policy.Connection{}
		}
		c["host"], c["port"], c["kind"] = types.String(req.Resource), types.Long(to.Port), types.String(to.Kind)
		c["method"], c["path"] = types.String(to.Method), types.String(to.Path)
	case policy.ToolCall:
		if err := q.call(req, looks, c); err != nil {
			return err
		}
	}
	q.request = cedargo.Request{Principal: q.principal, Action: q.action, Resource: q.resource, Context: types.NewRecord(c)}
	return nil
}

func setOf(words []string) types.Set {
	out := make([]types.Value, len(words))
	for i, w := range words {
		out[i] = types.String(w)
	}
	return types.NewSet(out...)
}

// call adds what is said of a tool call alone.
func (q *question) call(req policy.Request, looks uses, c types.RecordMap) error {
	server, tool, _ := strings.Cut(req.Resource, "/")
	c["server"], c["tool"], c["class"] = types.String(server), types.String(tool), types.String(req.Class)
	args, numbers := uid(typeArguments, "call"), uid(typeNumbers, "call")
	c["arguments"], c["numbers"], c["text"] = args, numbers, types.String("")
	if !looks.arguments && !looks.text {
		return nil
	}
	texts, amounts, err := flatten(req.Arguments)
	if err != nil {
		return err
	}
	q.entities = append(q.entities, types.Entity{UID: args, Tags: types.NewRecord(texts)}, types.Entity{UID: numbers, Tags: types.NewRecord(amounts)})
	if looks.text {
		text, err := canonical(req.Arguments)
		if err != nil {
			return err
		}
		c["text"] = types.String(text)
	}
	return nil
}

// chain says in whose name it is, and who acts.
func chain(req policy.Request) []types.Value {
	out := []types.Value{types.String(string(req.Principal.Kind) + ":" + req.Principal.ID)}
	if req.Acting && req.Agent != "" {
		out = append(out, types.String("agent:"+string(req.Agent)))
	}
	return out
}

// cents rounds micro-cents up.
func cents(micro int64) int64 {
	const microPerCent = 1_000_000
	return (micro + microPerCent - 1) / microPerCent
}
