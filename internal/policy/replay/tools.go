package replay

import (
	"cmp"
	"encoding/json"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/session"
)

// tools asks about tool calls: when they were held, refused or made, as they were then. A call that somebody changed is asked about as it was asked for, and
// as it was made.
func (r *reader) tools(e stead.Event) (bool, error) {
	switch e.Kind {
	case session.KindToolHeld:
		p, err := session.Decode[session.ToolHeld](e)
		r.tool(r.view.CallByID(p.CallID), policy.Approval, &p.Decision)
		return true, err
	case session.KindToolCalled:
		p, err := session.Decode[session.ToolCalled](e)
		c := r.view.CallByID(p.CallID)
		if c == nil || err != nil {
			return true, err
		}
		if c.Attempts == 0 && (c.Decided == nil || !c.Decided.Allow) { // else it is an attempt more of what was decided before
			r.tool(c, policy.Allowed, &p.Decision)
		}
		r.within(c)
		return true, nil
	case session.KindToolRequired:
		p, err := session.Decode[session.ToolRequired](e)
		r.tool(r.view.CallByID(p.CallID), policy.Allowed, &p.Decision)
		return true, err
	case session.KindToolReturned:
		p, err := session.Decode[session.ToolReturned](e)
		if p.Decision != nil {
			r.tool(r.view.CallByID(p.CallID), policy.Denied, p.Decision)
		}
		return true, err
	case session.KindModelReplied:
		p, err := session.Decode[session.ModelReplied](e)
		r.redactions(p.Items...)
		if t := r.view.Turn; t == nil || t.Model == nil || t.Model.Seq != p.Call {
			return true, err
		}
		for _, it := range p.Items {
			r.function(it, p.Spent())
		}
		return true, err
	case session.KindToolRequested:
		p, err := session.Decode[session.ToolRequested](e)
		r.redactions(p.Asks())
		r.function(p.Asks(), 0)
		return true, err
	case session.KindSubagentCreated:
		p, err := session.Decode[session.SubagentCreated](e)
		r.tool(r.view.CallByID(p.CallID), policy.Allowed, &p.Decision)
		return true, err
	case session.KindSubagentInput:
		p, err := session.Decode[session.SubagentInput](e)
		if sub := r.view.Subagent(e.Thread); sub != nil {
			r.sent(r.view.At(sub.Parent), p.CallID)
		}
		return true, err
	}
	return false, nil
}

// tool asks about a call of the turn, of which that was decided.
func (r *reader) tool(c *session.Call, then policy.Outcome, decided *policy.Decision) {
	if c != nil {
		req := r.view.ToolRequest(c)
		req.Before = decided
		r.askCall(c.CallID, req, then, given(r.view, c))
	}
}

// askCall asks about a call as far as its arguments are known.
func (r *reader) askCall(id string, req policy.Request, then policy.Outcome, given approvals) {
	if r.redacted(id, req.Arguments) {
		r.gap(req.Effect, noArguments)
		return
	}
	r.ask(req, then, given)
}

// given are the approvals that a call has.
func given(v *session.View, c *session.Call) approvals {
	return approvals{c.Approved, v.StandBehind(c), c.Lapsed}
}

// sent asks about a task that an agent gave to a subagent which it had made before.
func (r *reader) sent(parent *session.View, callID string) {
	if parent == nil {
		return
	}
	if c := parent.CallByID(callID); c != nil && c.Tool.Subagent != nil && c.Tool.Subagent.Action == session.SendSubagent {
		r.askCall(c.CallID, parent.ToolRequest(c), policy.Allowed, given(parent, c))
	}
}

// function asks about a function of the application. Journals of before policies were asked about those have no decision: it was asked for.
func (r *reader) function(it session.ReplyItem, cost int64) {
	req, ok := r.view.FunctionRequest(it, cost)
	if !ok {
		return
	}
	then := policy.Allowed
	switch {
	case it.Tool == nil:
	case it.Tool.Reject != "":
		then = policy.Denied
	case it.Tool.Decision != nil && it.Tool.Decision.Needs != nil:
		then = policy.Approval
	}
	if it.Tool != nil {
		req.Before = it.Tool.Decision
	}
	r.askCall(it.CallID, req, then, approvals{})
}

// within asks about what a call of one of the runtime's own tools does on its way, as far as its arguments say it. What was held has a
// question of its own.
func (r *reader) within(c *session.Call) {
	effect, of := r.reaches(c)
	if effect == "" {
		return
	}
	refused, held := r.came(c.CallID)
	for _, id := range of {
		then := policy.Allowed
		switch {
		case held:
			continue
		case strings.Contains(refused, string(effect)+" is not allowed"):
			then = policy.Denied
		}
		r.ask(r.view.Request(effect, id), then, r.granted(session.WithinCall(c.CallID), effect, id))
	}
}

// reaches says which stores a call of one of the runtime's tools reads or writes.
func (r *reader) reaches(c *session.Call) (effect policy.Effect, of []string) {
	for _, t := range r.view.Created.Agent.Spec.Tools {
		if !t.Served() || t.ServerLabel != c.Tool.Server {
			continue
		}
		switch t.Type {
		case agent.ToolMemory:
			return r.stores(t, c)
		case agent.ToolFileSearch:
			r.gap(policy.VectorStoreFileRead, "which documents of sources a search looked at is in no journal")
			return policy.VectorStoreRead, t.VectorStoreIDs
		case agent.ToolSemantic:
			r.gap(policy.SemanticQuery, "what a query comes to in a semantic model is in no journal")
		case agent.ToolMCP:
			if len(r.view.Created.VaultIDs) > 0 || t.Transport != nil {
				r.gap(policy.CredentialUse, noCredentials)
			}
		}
		return "", nil
	}
	return "", nil
}

// noCredentials is why uses of credentials are not asked about.
const noCredentials = "which credentials were used stands in the audit log alone"

// stores are the memory stores of a call.
func (r *reader) stores(t agent.Tool, c *session.Call) (effect policy.Effect, of []string) {
	r.gap(policy.MemoryEntryRead, "which entries a tool looked at is in no journal; those that were recalled are asked about")
	effect = policy.MemoryRead
	if c.Tool.Name != "memory_search" {
		effect = policy.MemoryWrite
		r.gap(policy.MemoryEntryWrite, noEntries)
	}
	if r.redacted(c.CallID, c.Args()) && len(t.MemoryStores) > 1 {
		r.gap(effect, noArguments)
		return "", nil
	}
	var args struct {
		Store string `json:"memory_store_id"`
	}
	_ = json.Unmarshal(c.Args(), &args) // what can't be read names none
	for _, s := range t.MemoryStores {
		if cmp.Or(args.Store, s.ID) == s.ID && (effect == policy.MemoryRead || s.Access == agent.MemoryReadWrite) {
			of = append(of, s.ID)
		}
	}
	return effect, of
}

const noEntries = "which entries were written is in no journal"

// came is how a call that was made ended: what it said when it failed, and whether it waits for answers about its effects.
func (r *reader) came(callID string) (refused string, held bool) {
	for _, e := range r.events[r.at+1:] {
		switch e.Kind {
		case session.KindToolReturned:
			if p, err := session.Decode[session.ToolReturned](e); err == nil && p.CallID == callID {
				return p.Error, false
			}
		case session.KindToolLost:
			if p, err := session.Decode[session.ToolLost](e); err == nil && p.CallID == callID {
				return "", p.Held
			}
		}
	}
	return "", false
}

// granted are the approvals of an effect within a step.
func (r *reader) granted(within string, effect policy.Effect, of string) approvals {
	for _, g := range r.view.Grants(within) {
		if g.Effect == effect && g.Resource == of && g.Refusal == "" {
			return approvals{g.By, g.Behind, g.Lapsed}
		}
	}
	return approvals{}
}

// memories asks about what is recalled before turns, and remembered behind them.
func (r *reader) memories(e stead.Event) (bool, error) {
	switch e.Kind {
	case session.KindMemoryCalled:
		p, err := session.Decode[session.MemoryCalled](e)
		for _, s := range p.Stores {
			key := session.EffectKey{Effect: policy.MemoryRead, Of: s.Store, Purpose: session.PurposeRecall}
			r.ask(r.view.Request(key.Effect, key.Of), s.Decision.Outcome(), r.answered(key))
		}
		return true, err
	case session.KindMemoryRecalled:
		p, err := session.Decode[session.MemoryRecalled](e)
		r.recalled(p.Entries)
		return true, err
	case session.KindMemoryKeeping:
		p, err := session.Decode[session.MemoryKeepingStarted](e)
		key := session.EffectKey{Effect: policy.MemoryWrite, Of: p.Store, Purpose: session.PurposeFound}
		if p.Items {
			key.Purpose = session.PurposeItems
		}
		r.ask(r.view.Request(key.Effect, key.Of), p.Decision.Outcome(), r.answered(key))
		r.gap(policy.MemoryEntryWrite, noEntries)
		return true, err
	case session.KindMemoryMounted:
		const why = "that of stores which are files of an environment is in no journal"
		r.gap(policy.MemoryRead, why)
		r.gap(policy.MemoryWrite, why)
		return true, nil
	}
	return false, nil
}

// recalled asks about the entries that were recalled, once for those that are alike.
func (r *reader) recalled(entries []session.Recalled) {
	seen := map[string]bool{}
	for _, en := range entries {
		alike := en.Store + "\x00" + en.Kind + "\x00" + en.ScopeType + "\x00" + en.ScopeID + "\x00" + strings.Join(en.Labels, "\x00")
		if seen[alike] {
			continue
		}
		seen[alike] = true
		req := r.view.Request(policy.MemoryEntryRead, en.Store)
		req.Entry = &policy.Entry{Kind: en.Kind, ScopeType: en.ScopeType, ScopeID: en.ScopeID, Labels: en.Labels}
		r.ask(req, policy.Allowed, r.granted(session.WithinRecall, policy.MemoryEntryRead, en.Store))
	}
}
