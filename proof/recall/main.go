// Command recall measures what memory finds, through the real store and service: of long conversations
// with questions, which share of the turns that hold the answer is among the first 5, 10 and 20 hits.
//
// Shape: a folder of files in the format of LoCoMo (one conversation each: sessions of turns with ids,
// questions with the ids of their evidence) → one table by category, plain BM25 beside ours. The last
// line is "all R@5=0.000 R@10=0.000 R@20=0.000", of the full method without a model.
//
// Every turn of a conversation becomes an entry of kind item in one memory store, with nothing but what
// the turn says: text, speaker, session, time, the caption of its picture. The question is the query.
// With -entries it measures latency, rate and size instead, on made-up entries.
//
// Errors: whatever keeps a figure from being measured ends the run.
//
// Source: A. Maharana et al., "Evaluating Very Long-Term Conversational Memory of LLM Agents" (ACL
// 2024); the share of evidence is counted as there. Its data is CC BY-NC 4.0 and no part of this.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/sqlite"
)

func main() {
	dir := flag.String("locomo", "", "folder of conversation files")
	entries := flag.Int("entries", 0, "measure latency with so many entries instead")
	flag.Parse()
	var err error
	if *entries > 0 {
		err = latency(context.Background(), os.Stdout, *entries)
	} else {
		err = quality(context.Background(), *dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "recall:", err)
		os.Exit(1)
	}
}

// node is a memory service over a database of its own.
type node struct {
	*memory.Service
	store *sqlite.Store
	dir   string
}

func open(ctx context.Context) (*node, error) {
	dir, err := os.MkdirTemp("", "stead-recall-")
	if err != nil {
		return nil, err
	}
	s, err := sqlite.Open(ctx, filepath.Join(dir, "stead.db"), sqlite.Options{})
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return &node{memory.NewService(memory.Config{Documents: s, Store: s, Policy: policy.AllowLocal{}, Now: time.Now}), s, dir}, nil
}

func (n *node) close() {
	n.store.Close()
	os.RemoveAll(n.dir)
}

func quality(ctx context.Context, dir string) error {
	conversations, err := load(dir)
	if err != nil {
		return err
	}
	n, err := open(ctx)
	if err != nil {
		return err
	}
	defer n.close()
	plain, ours := tally{}, tally{}
	began := time.Now()
	questions := 0
	for _, c := range conversations {
		find, err := n.remember(ctx, c)
		if err != nil {
			return fmt.Errorf("%s: %w", c.file, err)
		}
		words := newPlain(c.turns)
		for _, q := range c.questions {
			plain.count(q, words.search(q.text, deepest))
			found, err := find(q.text)
			if err != nil {
				return fmt.Errorf("%s: %q: %w", c.file, q.text, err)
			}
			ours.count(q, found)
			questions++
		}
	}
	fmt.Printf("%d conversations, %d questions, %s in all\n\n", len(conversations), questions, time.Since(began).Round(time.Millisecond))
	fmt.Println("Mean share of evidence turns in the first k. Method: stemmed BM25 of each turn with its speaker,\n" +
		"caption and date; of its neighbours, those that ask first; of its whole session; turns that only\n" +
		"ask count less, the person asked about more (docs/memory.md). No model, no embeddings.")
	fmt.Println()
	plain.print("plain BM25")
	ours.print("recall")
	fmt.Println()
	fmt.Println("all " + ours.line("all"))
	return nil
}

// remember stores a conversation and returns the search in it, which gives turns' ids.
func (n *node) remember(ctx context.Context, c conversation) (func(string) ([]string, error), error) {
	me := stead.LocalPrincipal()
	store, err := n.CreateStore(ctx, me, memory.StoreFields{Name: filepath.Base(c.file)}, "")
	if err != nil {
		return nil, err
	}
	turnOf := map[string]string{}
	for from := 0; from < len(c.turns); from += memory.MaxChanges {
		batch := c.turns[from:min(from+memory.MaxChanges, len(c.turns))]
		in := make([]memory.New, len(batch))
		for i, t := range batch {
			in[i].Content = memory.Content{Kind: memory.KindItem, Text: t.text, Caption: t.caption, Confidence: 1, Importance: 0.5,
				Source: memory.Source{Session: t.session, Item: t.id, Index: t.index, Author: t.speaker, At: t.at.UnixMilli()}}
		}
		made, err := n.Add(ctx, me, store.ID, in, "")
		if err != nil {
			return nil, err
		}
		for _, e := range made {
			turnOf[e.ID] = e.Source.Item
		}
	}
	return func(question string) ([]string, error) {
		hits, err := n.Search(ctx, me, store.ID, memory.Search{Query: question, Limit: deepest})
		ids := make([]string, len(hits))
		for i, h := range hits {
			ids[i] = turnOf[h.ID]
		}
		return ids, err
	}, nil
}
