package guardrail_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/guardrail"
)

// FuzzRedact: whatever the text, what is redacted holds nothing more to redact of what has check digits, and arguments stay JSON.
func FuzzRedact(f *testing.F) {
	for _, seed := range []string{"ada@example.com", "+49 30 901820", "4111 1111-1111 1111", "DE89 3704 0044 0532 0130 00", "078-05-1120", "1.2.3.4", "fe80::1ff:fe23", "://a:bcd@", "-----BEGIN PRIVATE KEY-----", "sk-aaaaaaaaaaaaaaaaaaaaaaaa"} {
		f.Add(seed)
	}
	set, err := guardrail.Compile([]guardrail.Rule{redact(guardrail.Kinds()...), {Name: "s", On: guardrail.Points(), Action: guardrail.Redact, Check: guardrail.Check{Secrets: true}}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	g := guardrail.New(nil, nil)
	g.Replace(set)
	f.Fuzz(func(t *testing.T, text string) {
		of := g.Of(guardrail.Subject{})
		once, v := of.Text(t.Context(), guardrail.Input, "", text)
		if (once == text) != (len(v.Findings) == 0) {
			t.Errorf("%q became %q, with %v", text, once, v.Findings)
		}
		if !strings.Contains(once, "[redacted ") && once != text {
			t.Errorf("%q became %q", text, once)
		}
		raw, err := json.Marshal(map[string]any{text: []any{text, 1.5, nil, true}})
		if err != nil {
			t.Fatal(err)
		}
		if left, _ := of.Arguments(t.Context(), "t", raw); !json.Valid(left) {
			t.Errorf("%s became %s", raw, left)
		}
	})
}
