package guardrail_test

import (
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/guardrail"
)

// BenchmarkCheck asks every check that asks nobody else about texts in which it finds nothing: what nearly all texts cost.
func BenchmarkCheck(b *testing.B) {
	sentence := "On 2026-11-26 at 14:30:05 order #4711 of 1,299.00 EUR went to Ada Lovelace (room 12-B); see https://example.com/orders/4711?x=1. "
	for name, check := range map[string]guardrail.Check{
		"pii": {PII: guardrail.Kinds()}, "secrets": {Secrets: true}, "length": {Length: &guardrail.Length{Max: 1 << 20}},
		"pattern": {Patterns: []string{`(?i)ignore (?:all )?previous instructions`}},
	} {
		set, err := guardrail.Compile([]guardrail.Rule{{Name: "r", On: guardrail.Points(), Action: guardrail.Block, Check: check}}, nil)
		if err != nil {
			b.Fatal(err)
		}
		g := guardrail.New(nil, nil)
		g.Replace(set)
		for size, n := range map[string]int{"1KB": 8, "100KB": 800} {
			text := strings.Repeat(sentence, n)
			b.Run(name+"/"+size, func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					if _, v := g.Of(guardrail.Subject{}).Text(b.Context(), guardrail.Input, "", text); v.Blocked != nil {
						b.Fatal(v.Blocked)
					}
				}
			})
		}
	}
}
