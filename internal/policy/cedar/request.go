package cedar

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// question is a request in Cedar's words. It implements types.EntityGetter for what the request is about. One goroutine has it.
type question struct {
	action    types.EntityUID
	principal types.EntityUID
	resource  types.EntityUID
	about     []types.EntityUID // principal, resource and all that they are in

	request cedargo.Request
	things  []thing
	labels  int // their place among the things; -1: nobody looks into them
	actions map[types.EntityUID]types.Entity

	// What is enough for most requests is allocated with the question.
	roomAbout  [8]types.EntityUID
	roomThings [6]thing
}

// thing is an entity that is put together once a policy looks at it.
type thing struct {
	entity  types.Entity
	parents [2]types.EntityUID
	in      int // how many parents there are
	whole   bool
}

// Get implements types.EntityGetter.
func (q *question) Get(uid types.EntityUID) (types.Entity, bool) {
	for i := range q.things {
		t := &q.things[i]
		if t.entity.UID != uid {
			continue
		}
		if !t.whole {
			t.whole = true
			if t.in > 0 {
				t.entity.Parents = types.NewEntityUIDSet(t.parents[:t.in]...)
			}
		}
		return t.entity, true
	}
	e, ok := q.actions[uid]
	return e, ok
}

func uid(t types.EntityType, id string) types.EntityUID {
	return types.NewEntityUID(t, types.String(id))
}

// newQuestion says whom and what a request is about: enough to find the policies that may speak of it.
func newQuestion(req policy.Request) (*question, error) {
	q := &question{action: uid(typeAction, string(req.Effect)), labels: -1}
	q.about, q.things = q.roomAbout[:0], q.roomThings[:0]
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
	var role types.EntityUID // zero: none
	if p.Role != "" {
		role = uid(typeRole, string(p.Role))
	}
	q.entity(q.principal, role, types.EntityUID{})
	if req.Acting && req.Agent != "" {
		whom := q.principal
		q.principal = uid(typeAgent, string(req.Agent))
		q.entity(q.principal, role, whom)
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
		q.entity(q.resource, uid(typeVault, vault), types.EntityUID{})
		return nil
	case policy.ToolCall:
		server, _, _ := strings.Cut(id, "/")
		q.resource = uid(t, id)
		q.entity(q.resource, uid(typeServer, server), types.EntityUID{})
		return nil
	}
	if t == "" {
		return fmt.Errorf("the effect %s is not in the schema", req.Effect)
	}
	if id == "" || t == typeProject {
		t, id = typeProject, string(req.Principal.Project)
	}
	q.resource = uid(t, id)
	q.entity(q.resource, types.EntityUID{}, types.EntityUID{})
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

// entity adds a thing, in up to two others; zero ones are none.
func (q *question) entity(uid, first, second types.EntityUID) {
	t := thing{entity: types.Entity{UID: uid}}
	q.about = append(q.about, uid)
	for _, parent := range [...]types.EntityUID{first, second} {
		if parent != (types.EntityUID{}) {
			t.parents[t.in], t.in = parent, t.in+1
			q.about = append(q.about, parent)
		}
	}
	q.things = append(q.things, t)
}

// fill adds what policies look into: the context, and entities with tags. What none of them reads is left out, since making it is
// most of what a decision costs.
func (q *question) fill(req policy.Request, looks uses, actions map[types.EntityUID]types.Entity) error {
	q.actions = actions
	c := make(types.RecordMap, bits.OnesCount32(uint32(looks.context)))
	q.common(req, looks.context, c)
	switch req.Effect {
	case policy.SessionCreate:
		looks.context.add(c, atModel, types.String(req.Model))
	case policy.MemoryEntryRead:
		fillEntry(req, looks.context, c)
	case policy.SemanticQuery:
		fillSemantic(req, looks.context, c)
	case policy.VectorStoreFileRead:
		fillDocument(req, looks.context, c)
	case policy.CredentialUse, policy.CredentialConsent:
		looks.context.add(c, atDestination, types.String(req.Destination))
	case policy.NetworkConnect:
		fillConnection(req, looks.context, c)
	case policy.ToolCall:
		if err := q.call(req, looks.context, c); err != nil {
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

// common adds what is said of every request.
func (q *question) common(req policy.Request, read attributes, c types.RecordMap) {
	if read&atLabels != 0 {
		labels := uid(typeLabels, string(req.Session.Session))
		q.labels = len(q.things)
		q.things = append(q.things, thing{entity: types.Entity{UID: labels}})
		c["labels"] = labels
	}
	read.add(c, atProject, types.String(req.Principal.Project))
	read.add(c, atSession, types.String(req.Session.Session))
	if read&atChain != 0 {
		c["chain"] = types.NewSet(chain(req)...)
	}
	if read&(atNow|atHour|atWeekday) != 0 {
		at := time.UnixMilli(req.At).UTC()
		weekday := int64(at.Weekday())
		if weekday == 0 {
			weekday = 7 // Sunday
		}
		read.add(c, atNow, types.NewDatetimeFromMillis(req.At))
		read.add(c, atHour, types.Long(at.Hour()))
		read.add(c, atWeekday, types.Long(weekday))
	}
	if s := req.Spend; s != nil && read&atSpend != 0 {
		spend := types.RecordMap{"cents": types.Long(cents(s.Cost))}
		if s.Limit > 0 {
			spend["limit"] = types.Long(cents(s.Limit))
		}
		c["spend"] = types.NewRecord(spend)
	}
}

// fillEntry adds what is said of entries of a memory store alone.
func fillEntry(req policy.Request, read attributes, c types.RecordMap) {
	entry := req.Entry
	if entry == nil {
		entry = &policy.Entry{} // any
	}
	read.add(c, atKind, types.String(entry.Kind))
	read.add(c, atScope, types.String(entry.ScopeType))
	read.add(c, atScopeID, types.String(entry.ScopeID))
	read.add(c, atOwn, types.Boolean(entry.ScopeType == "user" && entry.ScopeID == req.Principal.ID))
	read.add(c, atEntryLabels, setOf(entry.Labels))
}

// fillSemantic adds what is said of a query of a semantic model alone.
func fillSemantic(req policy.Request, read attributes, c types.RecordMap) {
	asked := req.Semantic
	if asked == nil {
		asked = &policy.Semantic{}
	}
	read.add(c, atMetrics, setOf(asked.Metrics))
	read.add(c, atEntities, setOf(asked.Entities))
	read.add(c, atDimensions, setOf(asked.Dimensions))
	read.add(c, atRows, types.Boolean(asked.Rows))
}

// fillDocument adds what is said of documents alone.
func fillDocument(req policy.Request, read attributes, c types.RecordMap) {
	of := req.Document
	if of == nil {
		of = &policy.Document{} // any
	}
	read.add(c, atSource, types.String(of.Source))
	read.add(c, atKind, types.String(of.Kind))
	read.add(c, atFileLabels, setOf(of.Labels))
}

// fillConnection adds what is said of a connection alone.
func fillConnection(req policy.Request, read attributes, c types.RecordMap) {
	to := req.Connection
	if to == nil {
		to = &policy.Connection{}
	}
	read.add(c, atHost, types.String(req.Resource))
	read.add(c, atPort, types.Long(to.Port))
	read.add(c, atKind, types.String(to.Kind))
	read.add(c, atMethod, types.String(to.Method))
	read.add(c, atPath, types.String(to.Path))
}

// call adds what is said of a tool call alone.
func (q *question) call(req policy.Request, read attributes, c types.RecordMap) error {
	server, tool, _ := strings.Cut(req.Resource, "/")
	read.add(c, atServer, types.String(server))
	read.add(c, atTool, types.String(tool))
	read.add(c, atClass, types.String(req.Class))
	if read&atLooked == 0 {
		return nil
	}
	texts, amounts, err := flatten(req.Arguments)
	if err != nil {
		return err
	}
	if read&atArguments != 0 {
		args := uid(typeArguments, "call")
		q.things = append(q.things, thing{entity: types.Entity{UID: args, Tags: types.NewRecord(texts)}})
		c["arguments"] = args
	}
	if read&atNumbers != 0 {
		numbers := uid(typeNumbers, "call")
		q.things = append(q.things, thing{entity: types.Entity{UID: numbers, Tags: types.NewRecord(amounts)}})
		c["numbers"] = numbers
	}
	if read&atText != 0 {
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
