// Package remember is what a session remembers by itself: what is recalled before a turn. It joins
// the sessions' contract and that of memory.
//
// Shape:
//
//	RecallAsk {who, agent, stores, query, budget} ──▶ memory.Search in each store ──▶ Recalled entries, best first
//
// A session is shown entries of its user's scope, its agent's, those of the teams that its agent has, and the
// project's; never those of another user or agent, whatever the store holds. Entries of different stores are
// ranked by their places, since scores of different stores do not compare.
//
// Units and limits: agent.MaxRecallTokens and agent.MaxRecallResults; a token is four bytes, as everywhere
// in memory. Times are Unix milliseconds.
//
// Errors: those of package memory. A store that is gone, or that the user may not read, is left out.
package remember

import (
	"cmp"
	"context"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/recall"
	"github.com/stead-dev/stead/internal/session"
)

// minShare is how well an entry must fit a message to be worth tokens of a budget, as recall.Hit.Share.
const minShare = 0.12

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
	var out session.MemoryRecalled
	var all []session.Recalled
	by := acting(ask.Principal, ask.Key)
	scopes := memory.SessionScopes(ask.Principal.ID, ask.Agent, ask.Teams)
	stores := r.memory.In(memory.For{Principal: ask.Principal, Agent: ask.Agent, Session: ask.Key, Labels: ask.Labels, Scopes: scopes})
	q := memory.Search{Query: ask.Query, Limit: memory.MaxHits, Explain: true, Filter: memory.Filter{Scopes: scopes}}
	if !ask.Own {
		q.Filter.NotSession = string(ask.Key.Session) // the model sees all of this session
	}
	for _, store := range ask.Stores {
		found, err := stores.Search(ctx, by, store, q)
		switch stead.KindOf(err) {
		case "":
		case stead.KindNotFound, stead.KindForbidden:
			continue
		default:
			return out, err
		}
		out.Method, out.Why = found.Method, found.Why
		all = append(all, fitting(store, found.Hits, ask)...)
	}
	slices.SortStableFunc(all, func(a, b session.Recalled) int { return cmp.Compare(b.Score, a.Score) })
	out.Entries, out.LeftOut = within(all, ask.Recall)
	return out, nil
}

// fitting are the hits of a store that are worth showing, each with the rank that it has in its store as its score.
func fitting(store string, hits []memory.Hit, ask session.RecallAsk) []session.Recalled {
	var out []session.Recalled
	for _, h := range hits {
		if ask.Recall.Mode == agent.RecallBudgeted && h.Share < minShare {
			continue
		}
		r := recalled(store, h)
		if ask.Shown[r.Name()] {
			continue
		}
		r.Score = 1 / float64(len(out)+1)
		out = append(out, r)
	}
	return out
}

func recalled(store string, h memory.Hit) session.Recalled {
	out := session.Recalled{
		ID: h.ID, Store: store, Version: h.Version, Kind: string(h.Kind), Text: h.Text, ScopeType: h.Scope.Type, ScopeID: h.Scope.ID,
		Session: h.Source.Session, Item: h.Source.Item, Author: h.Source.Author, At: cmp.Or(h.Source.At, h.CreatedAt), Labels: h.Labels,
		Explain: parts(h.Parts),
	}
	if h.Caption != "" {
		out.Text += " [" + h.Caption + "]"
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

// within fills the budget from the best down. An entry that is larger than what is left makes room for smaller ones.
func within(all []session.Recalled, r agent.Recall) (kept []session.Recalled, leftOut int) {
	left := r.TokenBudget
	for _, e := range all {
		n := memory.Tokens(e.Text, e.Author)
		if len(kept) == r.MaxResults || n > left {
			leftOut++
			continue
		}
		left -= n
		kept = append(kept, e)
	}
	return kept, leftOut
}
