// Command recall measures what memory finds, through the real store and service: of long conversations
// with questions, which share of the turns that hold the answer is among the first 5, 10 and 20 hits.
//
// Shape: a folder of files in the format of LoCoMo (one conversation each: sessions of turns with ids,
// questions with the ids of their evidence) → one table by category, plain BM25 beside ours. The last
// line is "all R@5=0.000 R@10=0.000 R@20=0.000", of the full method without a model. With -embeddings there is a table
// more, of the same searches with vectors of a model: "sim", which knows words and their letters alone, or one behind
// an address of the OpenAI API (-embeddings http://HOST/v1 -model NAME, with the key in $EMBEDDINGS_API_KEY).
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
)

func main() {
	dir := flag.String("locomo", "", "folder of conversation files")
	entries := flag.Int("entries", 0, "measure latency with so many entries instead")
	var by provider
	flag.StringVar(&by.address, "embeddings", "", "compare vectors as well: sim, or the base URL of an OpenAI API")
	flag.StringVar(&by.model, "model", "", "model that makes the vectors")
	flag.IntVar(&by.dimensions, "dimensions", 0, "of the vectors; 0: the model's own")
	database := flag.String("database", "sqlite", "with -entries: sqlite, or postgres (a server of its own, as it ships)")
	scopes := flag.Int("scopes", 1, "with -entries: users whose entries they are; each search is in the scope of one")
	flag.Parse()
	var err error
	if *entries > 0 {
		err = latency(context.Background(), os.Stdout, workload{*entries, *scopes, *database == "postgres", by})
	} else {
		err = quality(context.Background(), *dir, by)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "recall:", err)
		os.Exit(1)
	}
}

// node is a memory service over a database of its own.
type node struct {
	*memory.Service
	stop    func() error
	size    func(context.Context) (int64, error) // of its database, bytes
	dir     string
	vectors *memory.Embedding // nil: words alone
}

func open(ctx context.Context, by provider, onPostgres bool) (*node, error) {
	dir, err := os.MkdirTemp("", "stead-recall-")
	if err != nil {
		return nil, err
	}
	n := &node{dir: dir}
	s, err := n.database(ctx, onPostgres)
	if err == nil {
		n.vectors, err = by.embedding(s)
	}
	if err != nil {
		n.close()
		return nil, err
	}
	n.Service = memory.NewService(memory.Config{Documents: s, Store: s, Policy: policy.AllowLocal{}, Now: time.Now, Embedding: n.vectors})
	return n, nil
}

func (n *node) close() {
	if n.stop != nil {
		n.stop()
	}
	os.RemoveAll(n.dir)
}

func quality(ctx context.Context, dir string, by provider) error {
	conversations, err := load(dir)
	if err != nil {
		return err
	}
	plain, ours, hybrid := tally{}, tally{}, tally{}
	began := time.Now()
	if err := measure(ctx, conversations, provider{}, ours, plain); err != nil {
		return err
	}
	took := time.Since(began)
	if by.address != "" {
		if err := measure(ctx, conversations, by, hybrid, tally{}); err != nil {
			return err
		}
	}
	fmt.Printf("%d conversations, %d questions, %s in all\n\n", len(conversations), ours["all"].questions, took.Round(time.Millisecond))
	fmt.Println("Mean share of evidence turns in the first k. Method: stemmed BM25 of each turn with its speaker,\n" +
		"caption and date; of its neighbours, those that ask first; of its whole session; turns that only\n" +
		"ask count less, the person asked about more (docs/memory.md). No model, no embeddings.")
	fmt.Println()
	plain.print("plain BM25")
	ours.print("recall")
	if by.address != "" {
		fmt.Printf("\nThe same, and the vectors of %s (speaker, text and caption of each turn, and the question): what\nis nearer to the question than most turns are counts up to a share of what its words can.\n\n", by)
		hybrid.print("hybrid")
	}
	if err := shown(ctx, conversations); err != nil {
		return err
	}
	fmt.Println()
	fmt.Println("all " + ours.line("all"))
	return nil
}

// measure asks every question of every conversation.
func measure(ctx context.Context, conversations []conversation, by provider, ours, plain tally) error {
	n, err := open(ctx, by, false)
	if err != nil {
		return err
	}
	defer n.close()
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
		}
	}
	return nil
}

// keep stores a conversation, and says in which store and which turn each entry is.
func (n *node) keep(ctx context.Context, c conversation) (id string, turnOf map[string]string, err error) {
	me := stead.LocalPrincipal()
	store, err := n.CreateStore(ctx, me, memory.StoreFields{Name: filepath.Base(c.file)}, "")
	if err != nil {
		return "", nil, err
	}
	turnOf = map[string]string{}
	for from := 0; from < len(c.turns); from += memory.MaxChanges {
		batch := c.turns[from:min(from+memory.MaxChanges, len(c.turns))]
		in := make([]memory.New, len(batch))
		for i, t := range batch {
			in[i].Content = memory.Content{Kind: memory.KindItem, Text: t.text, Caption: t.caption, Confidence: 1, Importance: 0.5,
				Source: memory.Source{Session: t.session, Item: t.id, Index: t.index, Author: t.speaker, At: t.at.UnixMilli()}}
		}
		made, err := n.Add(ctx, me, store.ID, in, "")
		if err != nil {
			return "", nil, err
		}
		for _, e := range made {
			turnOf[e.ID] = e.Source.Item
		}
	}
	return store.ID, turnOf, nil
}

// remember stores a conversation and returns the search in it, which gives turns' ids.
func (n *node) remember(ctx context.Context, c conversation) (func(string) ([]string, error), error) {
	me := stead.LocalPrincipal()
	store, turnOf, err := n.keep(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := n.embedAll(ctx); err != nil {
		return nil, err
	}
	return func(question string) ([]string, error) {
		found, err := n.Search(ctx, me, store, memory.Search{Query: question, Limit: deepest})
		if n.vectors != nil && err == nil && found.Method != memory.MethodHybrid {
			err = fmt.Errorf("no vectors were compared: %s", found.Why)
		}
		ids := make([]string, len(found.Hits))
		for i, h := range found.Hits {
			ids[i] = turnOf[h.ID]
		}
		return ids, err
	}, nil
}
