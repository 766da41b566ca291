package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/remember"
	"github.com/stead-dev/stead/internal/session"
)

// What an agent is shown of a conversation by recall as it is made: so many hits within so many tokens.
const (
	shownHits   = 8
	shownTokens = 1000
)

// shown measures which share of the evidence an agent is shown, with nothing around the hits and with what stands there.
func shown(ctx context.Context, conversations []conversation) error {
	n, err := open(ctx, provider{}, false)
	if err != nil {
		return err
	}
	defer n.close()
	fmt.Printf("\nMean share of evidence turns among %d hits, and of the entries before and after each, within %d tokens.\n\n", shownHits, shownTokens)
	stores := make([]string, len(conversations))
	for i, c := range conversations {
		if stores[i], _, err = n.keep(ctx, c); err != nil {
			return fmt.Errorf("%s: %w", c.file, err)
		}
	}
	for _, mode := range []string{agent.RecallAlways, agent.RecallBudgeted} {
		for _, around := range []int{0, 1, 2} {
			if err := n.show(ctx, conversations, stores, mode, around); err != nil {
				return err
			}
		}
	}
	for i, c := range conversations {
		if err := n.learn(ctx, stores[i], c); err != nil {
			return err
		}
	}
	fmt.Print("\nThe same, where a fact was learned from each turn that says it in nearly the same words: it counts as its turn.\n\n")
	for _, mode := range []string{agent.RecallAlways, agent.RecallBudgeted} {
		if err := n.show(ctx, conversations, stores, mode, 0); err != nil {
			return err
		}
	}
	return nil
}

// show measures one way to recall.
func (n *node) show(ctx context.Context, conversations []conversation, stores []string, mode string, around int) error {
	share, tokens, hits, questions := 0.0, 0, 0, 0
	for i, c := range conversations {
		for _, q := range c.questions {
			found, err := n.recall(ctx, stores[i], q.text, agent.Recall{Mode: mode, TokenBudget: shownTokens, MaxResults: shownHits, Context: around})
			if err != nil {
				return err
			}
			var turns []string
			for _, e := range found.Entries {
				turns, tokens = append(turns, e.Item), tokens+memory.Tokens(e.Text, e.Author)
				if e.ContextOf == "" {
					hits++
				}
			}
			share += q.share(turns)
			questions++
		}
	}
	fmt.Printf("%-8s  context %d  all  n=%d  shown=%.3f  tokens=%d  hits=%.1f\n", mode, around, questions, share/float64(questions), tokens/questions, float64(hits)/float64(questions))
	return nil
}

// learn adds a fact for each turn.
func (n *node) learn(ctx context.Context, store string, c conversation) error {
	for part := range slices.Chunk(c.turns, memory.MaxChanges) {
		in := make([]memory.New, len(part))
		for i, t := range part {
			in[i].Content = memory.Content{Kind: memory.KindFact, Text: t.speaker + " said: " + t.text + " " + t.caption, Confidence: 1, Importance: 0.5,
				Source: memory.Source{Session: t.session, Item: t.id, Index: t.index, At: t.at.UnixMilli()}}
		}
		if _, err := n.Add(ctx, stead.LocalPrincipal(), store, in, ""); err != nil {
			return err
		}
	}
	return nil
}

// recall is what a session is shown of one store when it is asked something.
func (n *node) recall(ctx context.Context, store, text string, how agent.Recall) (session.MemoryRecalled, error) {
	me := stead.LocalPrincipal()
	return remember.New(n.Service).Recall(ctx, session.RecallAsk{
		Key: stead.SessionKey{Project: me.Project}, Principal: me, Alone: true, Stores: []string{store}, Query: text, Recall: how,
	})
}

// share is how much of the evidence is among turns.
func (q *question) share(turns []string) float64 {
	found := 0
	for _, e := range q.evidence {
		if slices.Contains(turns, e) {
			found++
		}
	}
	return float64(found) / float64(len(q.evidence))
}
