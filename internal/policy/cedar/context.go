package cedar

import (
	"math/bits"
	"strings"
	"time"

	cedargo "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/stead-dev/stead/internal/policy"
)

// fill adds what policies look into: the context, and entities with tags. What none of them reads is left out, since making it is
// most of what a decision costs.
func (q *question) fill(looks *uses, actions map[types.EntityUID]types.Entity) error {
	q.actions = actions
	q.tag(looks.context)
	for one, others := (looks.context & q.has).next(); one != 0; one, others = others.next() {
		if one == atText {
			text, err := canonical(q.req.Arguments)
			if err != nil {
				return err
			}
			q.context["text"] = types.String(text)
			continue
		}
		q.context[one.name()] = q.once(one)
	}
	q.request = cedargo.Request{Principal: q.principal, Action: q.action, Resource: q.resource, Context: types.NewRecord(q.context)}
	return nil
}

// tag adds the entities with tags. Those of labels come with each reading of them.
func (q *question) tag(read attributes) {
	read &= q.has
	if read&atLabels != 0 {
		q.labels = len(q.things)
		q.things = append(q.things, thing{entity: types.Entity{UID: q.once(atLabels).(types.EntityUID)}})
	}
	if read&atArguments != 0 {
		q.things = append(q.things, thing{entity: types.Entity{UID: q.once(atArguments).(types.EntityUID), Tags: types.NewRecord(q.texts)}})
	}
	if read&atNumbers != 0 {
		q.things = append(q.things, thing{entity: types.Entity{UID: q.once(atNumbers).(types.EntityUID), Tags: types.NewRecord(q.amounts)}})
	}
}

// attribute is one of the context, by its name; false: there is none.
func (q *question) attribute(name types.String) (types.Value, bool) {
	if q.given != nil {
		return q.given.Get(name)
	}
	one := named[string(name)]
	if one&q.has == 0 || one == atText { // which is made for policies that are asked alone
		return nil, false
	}
	return q.once(one), true
}

// once is value, made once.
func (q *question) once(one attributes) types.Value {
	v := &q.values[bits.TrailingZeros64(uint64(one))]
	if *v == nil {
		*v = q.value(one)
	}
	return *v
}

// value is one of the attributes that the context has, but for atText.
func (q *question) value(one attributes) types.Value {
	switch req := &q.req; one {
	case atProject:
		return types.String(req.Principal.Project)
	case atChain:
		return types.NewSet(chain(req)...)
	case atBehind:
		return types.NewSet(behind(req)...)
	case atDepth:
		return types.Long(len(req.Subagents))
	case atSession:
		return types.String(req.Session.Session)
	case atLabels:
		return uid(typeLabels, string(req.Session.Session))
	case atNow:
		return types.NewDatetimeFromMillis(req.At)
	case atHour:
		return types.Long(time.UnixMilli(req.At).UTC().Hour())
	case atWeekday:
		if day := time.UnixMilli(req.At).UTC().Weekday(); day != time.Sunday {
			return types.Long(day)
		}
		return types.Long(7)
	case atSpend:
		return spend(req.Spend)
	case atBudgets:
		return budgets(req.Budgets)
	case atServer:
		server, _, _ := strings.Cut(req.Resource, "/")
		return types.String(server)
	case atTool:
		_, tool, _ := strings.Cut(req.Resource, "/")
		return types.String(tool)
	case atClass:
		return types.String(req.Class)
	case atArguments:
		return uid(typeArguments, "call")
	case atNumbers:
		return uid(typeNumbers, "call")
	case atOrigin:
		return types.String(req.Origin)
	case atModel:
		return types.String(req.Model)
	case atDestination:
		return types.String(req.Destination)
	}
	switch q.req.Effect {
	case policy.MemoryEntryRead, policy.MemoryEntryWrite:
		return ofEntry(&q.req, one)
	case policy.SemanticQuery:
		return ofQuery(&q.req, one)
	case policy.VectorStoreFileRead:
		return ofDocument(&q.req, one)
	}
	return ofConnection(&q.req, one)
}

// ofEntry is what is said of entries of a memory store alone.
func ofEntry(req *policy.Request, one attributes) types.Value {
	entry := req.Entry
	if entry == nil {
		entry = &policy.Entry{} // any
	}
	switch one {
	case atKind:
		return types.String(entry.Kind)
	case atScope:
		return types.String(entry.ScopeType)
	case atScopeID:
		return types.String(entry.ScopeID)
	case atOwn:
		return types.Boolean(entry.ScopeType == "user" && entry.ScopeID == req.Principal.ID)
	case atEntryLabels:
		return setOf(entry.Labels)
	}
	return nil
}

// ofQuery is what is said of a query of a semantic model alone.
func ofQuery(req *policy.Request, one attributes) types.Value {
	asked := req.Semantic
	if asked == nil {
		asked = &policy.Semantic{}
	}
	switch one {
	case atMetrics:
		return setOf(asked.Metrics)
	case atEntities:
		return setOf(asked.Entities)
	case atDimensions:
		return setOf(asked.Dimensions)
	case atRows:
		return types.Boolean(asked.Rows)
	}
	return nil
}

// ofDocument is what is said of documents alone.
func ofDocument(req *policy.Request, one attributes) types.Value {
	of := req.Document
	if of == nil {
		of = &policy.Document{} // any
	}
	switch one {
	case atSource:
		return types.String(of.Source)
	case atKind:
		return types.String(of.Kind)
	case atFileLabels:
		return setOf(of.Labels)
	}
	return nil
}

// ofConnection is what is said of a connection alone.
func ofConnection(req *policy.Request, one attributes) types.Value {
	to := req.Connection
	if to == nil {
		to = &policy.Connection{}
	}
	switch one {
	case atHost:
		return types.String(req.Resource)
	case atPort:
		return types.Long(to.Port)
	case atKind:
		return types.String(to.Kind)
	case atMethod:
		return types.String(strings.ToUpper(to.Method)) // many servers take "post" for POST
	case atPath:
		return types.String(to.Path)
	}
	return nil
}

func setOf(words []string) types.Set {
	out := make([]types.Value, len(words))
	for i, w := range words {
		out[i] = types.String(w)
	}
	return types.NewSet(out...)
}

func spend(s *policy.Spend) types.Value {
	out := types.RecordMap{"cents": types.Long(cents(s.Cost))}
	if s.Limit > 0 {
		out["limit"] = types.Long(cents(s.Limit))
	}
	return types.NewRecord(out)
}

func budgets(b *policy.Budgets) types.Value {
	out := types.RecordMap{"used": types.Long(b.Used), "exhausted": types.Boolean(b.Exhausted), "session": types.Long(b.Session)}
	if b.Tightest != "" {
		out["tightest"] = types.String(b.Tightest)
	}
	return types.NewRecord(out)
}

// chain says in whose name it is, and who acts.
func chain(req *policy.Request) []types.Value {
	out := []types.Value{types.String(string(req.Principal.Kind) + ":" + req.Principal.ID)}
	if req.Acting && req.Agent != "" {
		out = append(out, types.String("agent:"+string(req.Agent)))
	}
	for _, id := range req.Subagents {
		out = append(out, types.String("subagent:"+id))
	}
	return out
}

// behind names all who stand behind it.
func behind(req *policy.Request) []types.Value {
	own := types.String(string(req.Principal.Kind) + ":" + req.Principal.ID)
	out := []types.Value{own}
	if !req.Acting {
		return out
	}
	for _, p := range req.Behind {
		out = append(out, types.String(string(p.Kind)+":"+p.ID))
		if maker, ok := p.MadeBy(); ok {
			out = append(out, types.String(string(maker.Kind)+":"+maker.ID))
		}
	}
	return out
}

// cents rounds micro-cents up.
func cents(micro int64) int64 {
	const microPerCent = 1_000_000
	return (micro + microPerCent - 1) / microPerCent
}
