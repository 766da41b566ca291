package main

import (
	"fmt"
	"slices"
)

// deepest is the largest k.
const deepest = 20

func depths() [3]int { return [3]int{5, 10, deepest} }

// tally sums up shares of evidence by category, and under "all".
type tally map[string]*sum

type sum struct {
	questions int
	share     [3]float64
}

func categories() []string {
	return []string{"multi-hop", "temporal", "open-domain", "single-hop", "adversarial"}
}

// count adds a question with the turns that were found for it.
func (t tally) count(q question, found []string) {
	name := fmt.Sprintf("category %d", q.category)
	if all := categories(); q.category >= 1 && q.category <= len(all) {
		name = all[q.category-1]
	}
	for _, group := range []string{name, "all"} {
		s := t[group]
		if s == nil {
			s = &sum{}
			t[group] = s
		}
		s.questions++
		for i, k := range depths() {
			hits := 0
			for _, e := range q.evidence {
				if slices.Contains(found[:min(k, len(found))], e) {
					hits++
				}
			}
			s.share[i] += float64(hits) / float64(len(q.evidence))
		}
	}
}

func (t tally) line(group string) string {
	s := t[group]
	n := float64(max(1, s.questions))
	return fmt.Sprintf("R@5=%.3f R@10=%.3f R@20=%.3f", s.share[0]/n, s.share[1]/n, s.share[2]/n)
}

func (t tally) print(method string) {
	for _, group := range append(categories(), "all") {
		if s := t[group]; s != nil {
			fmt.Printf("%-10s  %-11s  n=%-4d  %s\n", method, group, s.questions, t.line(group))
		}
	}
	fmt.Println()
}
