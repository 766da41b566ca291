package cedar

import (
	"fmt"
	"strings"
	"sync"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/policy"
)

// question is a request in Cedar's words. It implements types.EntityGetter for what the request is about. One goroutine has it, and
// gives it back when it has the answer.
type question struct {
	action    types.EntityUID
	principal types.EntityUID
	resource  types.EntityUID
	about     []types.EntityUID // principal, resource and all that they are in
	req       policy.Request
	has       attributes                  // what its context may have
	values    [attributeCount]types.Value // of the attributes that were asked for
	given     *types.Record               // its context, where it was not made here

	request cedargo.Request
	things  []thing
	labels  int // their place among the things; -1: nobody looks into them
	// together: all sets were asked at once, and this is what was said.
	together bool
	said     verdicts
	actions  map[types.EntityUID]types.Entity

	// What is enough for most requests is allocated with the question.
	roomAbout  [8]types.EntityUID
	roomThings [6]thing
	rooms
}

// rooms are what a question leaves to the next: empty, and as large as they were.
type rooms struct {
	texts, amounts types.RecordMap // of the arguments, as far as policies look into them
	context        types.RecordMap
	found          []found // of each set
	heads, looks   uses    // of all sets
	list           list    // that Cedar is asked about
}

// questions that were answered.
var questions = sync.Pool{New: func() any {
	return &question{rooms: rooms{texts: types.RecordMap{}, amounts: types.RecordMap{}, context: types.RecordMap{}}}
}}

// maxRoom is how many entries a map has at most that is kept for the next question.
const maxRoom = 128

// release gives a question back. Nothing of it may be used any more.
func (q *question) release() {
	r := q.rooms
	for _, m := range []*types.RecordMap{&r.texts, &r.amounts, &r.context} {
		if len(*m) > maxRoom {
			*m = types.RecordMap{}
		}
		clear(*m)
	}
	for i := range r.found {
		r.found[i].reset()
	}
	r.heads.reset()
	r.looks.reset()
	r.found, r.list = r.found[:0], list{}
	*q = question{rooms: r}
	questions.Put(q)
}

// finds has room for what is found of so many sets.
func (q *question) finds(sets int) []found {
	for len(q.found) < sets {
		if len(q.found) < cap(q.found) {
			q.found = q.found[:len(q.found)+1] // which was reset
		} else {
			q.found = append(q.found, found{})
		}
	}
	return q.found
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
	q := questions.Get().(*question)
	q.req, q.action, q.labels = req, uid(typeAction, string(req.Effect)), -1
	q.about, q.things = q.roomAbout[:0], q.roomThings[:0]
	if q.has = attributesOf()[req.Effect]; req.Spend == nil {
		q.has &^= atSpend
	}
	if req.Budgets == nil {
		q.has &^= atBudgets
	}
	if req.Effect == policy.ToolCall && req.Destination == "" {
		q.has &^= atDestination
	}
	if err := q.who(req); err != nil {
		return q, err
	}
	return q, q.what(req)
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
	case stead.PrincipalNode:
		t = typeNode
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
	case policy.SessionCreate, policy.SubagentCreate:
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
