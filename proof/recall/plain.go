package main

import (
	"math"
	"regexp"
	"slices"
	"strings"
)

// plain is BM25 as textbooks have it, over the turns' texts alone: the words as they are written, in
// lower case, k1 = 1.2, b = 0.75.
type plain struct {
	ids     []string
	words   []map[string]int
	length  []float64
	average float64
	having  map[string]int // in how many turns a word is
}

var plainWord = regexp.MustCompile(`[a-z0-9]+`)

func wordsOf(text string) []string {
	return plainWord.FindAllString(strings.ReplaceAll(strings.ToLower(text), "'s", ""), -1)
}

func newPlain(turns []turn) *plain {
	p := &plain{having: map[string]int{}}
	for _, t := range turns {
		counted := map[string]int{}
		all := wordsOf(t.text)
		for _, w := range all {
			if counted[w]++; counted[w] == 1 {
				p.having[w]++
			}
		}
		p.ids = append(p.ids, t.id)
		p.words = append(p.words, counted)
		p.length = append(p.length, float64(len(all)))
		p.average += float64(len(all)) / float64(len(turns))
	}
	return p
}

func (p *plain) search(query string, limit int) []string {
	const k1, b = 1.2, 0.75
	asked := wordsOf(query)
	slices.Sort(asked)
	asked = slices.Compact(asked)
	scores := make([]float64, len(p.ids))
	order := make([]int, len(p.ids))
	for i := range p.ids {
		order[i] = i
		for _, w := range asked {
			if n := float64(p.words[i][w]); n > 0 {
				df := float64(p.having[w])
				idf := math.Log(1 + (float64(len(p.ids))-df+0.5)/(df+0.5))
				scores[i] += idf * n * (k1 + 1) / (n + k1*(1-b+b*p.length[i]/p.average))
			}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return 0
	})
	out := make([]string, 0, limit)
	for _, i := range order[:min(limit, len(order))] {
		out = append(out, p.ids[i])
	}
	return out
}
