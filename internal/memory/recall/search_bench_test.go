package recall

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// go test -bench Search ./internal/memory/recall -args -entries 1000000
var benchEntries = flag.Int("entries", 100_000, "of the index that BenchmarkSearch searches")

// BenchmarkSearch searches made-up conversations of two, whose words are as frequent as a language's (Zipf's law), and says the
// median and the 99th percentile beside the mean.
func BenchmarkSearch(b *testing.B) {
	words := newWords(rand.New(rand.NewPCG(1, 2)), 30_000)
	x := New(itself)
	for i := range *benchEntries {
		x.Put(Entry[string]{ID: fmt.Sprint(i), Text: words.text(25), Author: []string{"Ada", "Ben"}[i%2], Session: fmt.Sprint("s", i/20), Place: int64(i),
			At: 1_700_000_000_000 + int64(i)*60_000, Importance: 0.5, Facets: "open"})
	}
	var times []time.Duration
	for b.Loop() {
		q := Query[string]{Text: "When did Ada " + words.text(6), Now: day0().UnixMilli(), Limit: 10, Spread: true, See: func(string) bool { return true }}
		began := time.Now()
		x.Search(q)
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds())/1000, "p99-ms")
}

// zipf draws words, the n-th most frequent one some n times as rarely as the first.
type zipf struct {
	rng   *rand.Rand
	words []string
	upTo  []float64 // sums of frequencies
}

func newWords(rng *rand.Rand, n int) *zipf {
	z := &zipf{rng: rng}
	sum := 0.0
	for i := range n {
		var w strings.Builder
		for range 2 + rng.IntN(3) {
			w.WriteByte("bcdfghklmnprstvz"[rng.IntN(16)])
			w.WriteByte("aeiou"[rng.IntN(5)])
		}
		sum += 1 / math.Pow(float64(i+10), 1)
		z.words, z.upTo = append(z.words, w.String()), append(z.upTo, sum)
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
