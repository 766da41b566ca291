// Package remember is what a session remembers by itself: what is recalled before a turn. It joins
// the sessions' contract and that of memory.
//
// Shape:
//
//	RecallAsk {who, agent, stores, query, budget} ──▶ memory.SearchMany, over all stores ──▶ Recalled entries, best first
//
// A session is shown entries of its user's scope, its agent's, those of the teams that its agent has, and the
// project's; never those of another user or agent, whatever the store holds. With each hit comes what stands around it
// in its conversation, of the same.
//
// Units and limits: agent.MaxRecallTokens and agent.MaxRecallResults; a token is four bytes, as everywhere
// in memory. Times are Unix milliseconds.
//
// Errors: those of package memory. A store that is gone, or that the user may not read, is left out.
package remember

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/recall"
	"github.com/stead-dev/stead/internal/session"
)

// minFit is how well an entry must fit a message to be worth tokens of a budget, as recall.Hit.Fit.
const minFit = 0.2

// Remember implements what sessions remember. It is safe for concurrent use.
type Remember struct {
	memory  *memory.Service
	mounted mounts
}

// New makes one.
func New(m *memory.Service) *Remember { return &Remember{memory: m} }

// acting is the agent in the name of whom the session belongs to: it may do what that one may.
func acting(p stead.Principal, key stead.SessionKey) stead.Principal {
	p.Project, p.Kind, p.ID = key.Project, stead.PrincipalAgent, string(key.Session)
	return p
}

// Recall finds what bears on a query.
func (r *Remember) Recall(ctx context.Context, ask session.RecallAsk) (session.MemoryRecalled, error) {
	scopes := memory.SessionScopes(memory.UserOf(ask.Principal, ask.Alone), ask.Agent, ask.Teams)
	stores := r.memory.In(memory.For{Principal: ask.Principal, Behind: ask.Behind, Shared: !ask.Alone, Agent: ask.Agent, Session: ask.Key, Labels: ask.Labels, Scopes: scopes, At: ask.At})
	spans := ask.Spans()
	shown := func(e *memory.Entry) (out []memory.Part) {
		for _, s := range (session.Recalled{Store: e.Store, ID: e.ID, Version: e.Version}).Of(spans) {
			if s.To == 0 {
				return []memory.Part{memory.Whole}
			}
			out = append(out, memory.Part(s))
		}
		return out
	}
	q := memory.Many{
		Stores: ask.Stores, Lenient: true, Shown: shown,
		Search: memory.Search{
			Query: ask.Query, Limit: ask.Recall.MaxResults, Tokens: ask.Recall.TokenBudget, Around: ask.Recall.Context, Explain: true,
			Filter: memory.Filter{Scopes: scopes},
		},
		Worth: func(h *memory.Hit) bool {
			return (ask.Recall.Mode != agent.RecallBudgeted || h.Fit >= minFit) && !slices.Contains(shown(&h.Entry), memory.Whole)
		},
	}
	if !ask.Own {
		q.Filter.NotSession = string(ask.Key.Session) // the model sees all of this session
	}
	found, err := stores.SearchMany(ctx, acting(ask.Principal, ask.Key), q)
	if err != nil {
		return session.MemoryRecalled{}, err
	}
	if err := stores.Show(ctx, found.Refs()); err != nil {
		return session.MemoryRecalled{}, err
	}
	out := session.MemoryRecalled{Method: found.Method, Why: found.Why, LeftOut: found.LeftOut + found.More}
	if len(found.Gone) > 0 {
		out.Without = fmt.Sprintf("Memory stores that are not there, or not for this session: %s.", strings.Join(found.Gone, ", "))
	}
	for _, h := range found.Hits {
		out.Entries = append(out.Entries, told(h)...)
	}
	return out, nil
}

// told is a hit between what stands around it, in the order of the conversation.
func told(h memory.Hit) []session.Recalled {
	own := recalled(&h.Entry, h.Part)
	own.Score, own.Explain = 1/float64(h.Rank), parts(h.Parts)
	var before, after []session.Recalled
	for _, n := range h.Around {
		r := recalled(&n.Entry, n.Part)
		r.ContextOf, r.Place = own.ID, n.Place
		if n.Place < 0 {
			before = append(before, r)
		} else {
			after = append(after, r)
		}
	}
	return slices.Concat(before, []session.Recalled{own}, after)
}

func recalled(e *memory.Entry, part memory.Part) session.Recalled {
	out := session.Recalled{
		ID: e.ID, Store: e.Store, Version: e.Version, Kind: string(e.Kind), Text: e.Text, ScopeType: e.Scope.Type, ScopeID: e.Scope.ID,
		Session: e.Source.Session, Item: e.Source.Item, Author: e.Source.Author, At: cmp.Or(e.Source.At, e.CreatedAt), Labels: e.Labels,
	}
	if e.Caption != "" {
		out.Text += " [" + e.Caption + "]"
	}
	if part != memory.Whole {
		out.Excerpt, out.From, out.To = true, part.From, part.To
	}
	return out
}

func parts(p *recall.Parts) *session.RecallParts {
	if p == nil {
		return nil
	}
	out := session.RecallParts(*p)
	return &out
}
