package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
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
	for _, around := range []int{0, 1, 2} {
		share, tokens, questions := 0.0, 0, 0
		for i, c := range conversations {
			for _, q := range c.questions {
				found, err := n.Search(ctx, stead.LocalPrincipal(), stores[i], memory.Search{Query: q.text, Limit: shownHits, Tokens: shownTokens, Around: around})
				if err != nil {
					return err
				}
				var turns []string
				for _, h := range found.Hits {
					turns, tokens = append(turns, h.Source.Item), tokens+h.Tokens()
					for _, e := range h.Around {
						turns, tokens = append(turns, e.Source.Item), tokens+e.Tokens()
					}
				}
				hits := 0
				for _, e := range q.evidence {
					if slices.Contains(turns, e) {
						hits++
					}
				}
				share += float64(hits) / float64(len(q.evidence))
				questions++
			}
		}
		fmt.Printf("context %d  all  n=%d  shown=%.3f  tokens=%d\n", around, questions, share/float64(questions), tokens/questions)
	}
	return nil
}
