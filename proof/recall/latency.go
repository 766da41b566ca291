package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

const (
	latencySearches = 500
	latencyWrites   = 200 // one by one
	latencySession  = 20  // entries of a conversation
	vocabularySize  = 30_000
	entryWords      = 25
)

// workload is what is measured.
type workload struct {
	entries, scopes int
	onPostgres      bool
	by              provider
}

// latency fills one store with made-up entries, whose words are as frequent as those of a language
// (Zipf's law), and measures writing, the first search, searching, and sizes.
func latency(ctx context.Context, w io.Writer, l workload) error {
	entries, by := l.entries, l.by
	n, err := open(ctx, by, l.onPostgres)
	if err != nil {
		return err
	}
	defer n.close()
	me := stead.LocalPrincipal()
	store, err := n.CreateStore(ctx, me, memory.StoreFields{Name: "latency"}, "")
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	words := newZipf(rng)
	began := time.Now()
	for from := 0; from < entries; from += memory.MaxChanges {
		in := make([]memory.New, min(memory.MaxChanges, entries-from))
		for i := range in {
			k := from + i
			in[i].Content = memory.Content{Scope: l.scope(k / latencySession), Kind: memory.KindItem, Text: words.text(entryWords), Confidence: 1, Importance: 0.5, Source: memory.Source{
				Session: fmt.Sprintf("s%d", k/latencySession), Index: int64(k), Author: []string{"Ada", "Ben"}[k%2], At: 1_700_000_000_000 + int64(k)*60_000}}
		}
		if _, err := n.Add(ctx, me, store.ID, in, ""); err != nil {
			return err
		}
	}
	wrote := time.Since(began)
	written, err := n.size(ctx)
	if err != nil {
		return err
	}
	began = time.Now()
	if err := n.embedAll(ctx); err != nil {
		return err
	}
	embedded := time.Since(began)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began = time.Now()
	find := func() error {
		_, err := n.Search(ctx, me, store.ID, l.search("When did Ada "+words.text(6), rng))
		return err
	}
	if err := find(); err != nil {
		return err
	}
	first := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)
	times := make([]time.Duration, latencySearches)
	for i := range times {
		began = time.Now()
		if err := find(); err != nil {
			return err
		}
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	single := make([]time.Duration, latencyWrites)
	for i := range single {
		one := memory.New{Content: memory.Content{Text: words.text(entryWords), Confidence: 1, Importance: 0.5}}
		began = time.Now()
		if _, err := n.Add(ctx, me, store.ID, []memory.New{one}, ""); err != nil {
			return err
		}
		single[i] = time.Since(began)
	}
	slices.Sort(single)
	disk, err := n.size(ctx)
	if err != nil {
		return err
	}
	database := "SQLite"
	if l.onPostgres {
		database = "PostgreSQL"
	}
	fmt.Fprintf(w, "%d entries of %d scopes in one store, %s: written %.0f/s in batches of %d; first search (index built) %s; search p50 %s p99 %s; one written p50 %s p99 %s; index %d bytes/entry in memory, database %d bytes/entry\n",
		entries, l.scopes, database, float64(entries)/wrote.Seconds(), memory.MaxChanges, first.Round(time.Millisecond), times[len(times)/2].Round(10*time.Microsecond),
		times[len(times)*99/100].Round(10*time.Microsecond),
		single[len(single)/2].Round(10*time.Microsecond), single[len(single)*99/100].Round(10*time.Microsecond), int64(after.HeapAlloc-before.HeapAlloc)/int64(entries), disk/int64(entries))
	if by.address != "" {
		fmt.Fprintf(w, "  with vectors of %s: %.0f/s embedded and stored behind the writes; they are %d bytes/entry of the database\n", by, float64(entries)/embedded.Seconds(), (disk-written)/int64(entries))
	}
	return nil
}

// scope is whose a conversation is.
func (l workload) scope(conversation int) memory.Scope {
	if l.scopes <= 1 {
		return memory.Scope{}
	}
	return memory.Scope{Type: memory.ScopeUser, ID: fmt.Sprintf("user%d", conversation%l.scopes)}
}

// search asks in one scope.
func (l workload) search(query string, rng *rand.Rand) memory.Search {
	q := memory.Search{Query: query, Limit: 10}
	if l.scopes > 1 {
		q.Filter.Scopes = []memory.Scope{l.scope(rng.IntN(l.scopes))}
	}
	return q
}

func size(dir string) (int64, error) {
	total := int64(0)
	err := filepath.Walk(dir, func(_ string, i os.FileInfo, err error) error {
		if err == nil && !i.IsDir() {
			total += i.Size()
		}
		return err
	})
	return total, err
}

// zipf draws words: the n-th most frequent one n times as rarely as the first.
type zipf struct {
	rng   *rand.Rand
	words []string
	upTo  []float64 // sums of frequencies
}

func newZipf(rng *rand.Rand) *zipf {
	z := &zipf{rng: rng}
	sum := 0.0
	for i := range vocabularySize {
		var b strings.Builder
		for range 2 + rng.IntN(3) {
			b.WriteByte("bcdfghklmnprstvz"[rng.IntN(16)])
			b.WriteByte("aeiou"[rng.IntN(5)])
		}
		sum += 1 / math.Pow(float64(i+10), 1)
		z.words, z.upTo = append(z.words, b.String()), append(z.upTo, sum)
	}
	return z
}

func (z *zipf) text(n int) string {
	out := make([]string, n)
	for i := range out {
		at, _ := slices.BinarySearch(z.upTo, z.rng.Float64()*z.upTo[len(z.upTo)-1])
		out[i] = z.words[min(at, len(z.words)-1)]
	}
	return strings.Join(out, " ") + "."
}
