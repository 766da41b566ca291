package egress

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestMaskerIsBlindToCuts: however a stream is cut, the result is that of the whole.
func TestMaskerIsBlindToCuts(t *testing.T) {
	known := []spelling{{"abcabcabcd", "<long>"}, {"abcabd", "<mid>"}, {"bcab", "<in>"}, {"abc", "<short>"}}
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var text strings.Builder
		for range r.IntN(30) {
			text.WriteString([]string{"abcabcabcd", "abcabd", "abc", "a", "b", "c", "d", "bcab", "x"}[r.IntN(9)])
		}
		whole := maskText(text.String(), known)
		var out bytes.Buffer
		m := &masker{w: &out, known: known}
		for rest := text.String(); rest != ""; {
			n := 1 + r.IntN(len(rest))
			if _, err := m.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			if len(m.held) >= len("abcabcabcd") {
				t.Fatalf("%q: holds back %q", text.String(), m.held)
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if out.String() != whole {
			t.Fatalf("%q: %q in pieces, %q whole", text.String(), out.String(), whole)
		}
		for _, s := range known {
			if strings.Contains(whole, s.secret) {
				t.Fatalf("%q: %q still holds %q", text.String(), whole, s.secret)
			}
		}
	}
}

func TestMaskerKeepsLengths(t *testing.T) {
	var out bytes.Buffer
	m := &masker{w: &out, known: []spelling{{"secret-value", "placeholder"}}, keep: true}
	for _, s := range []string{"a sec", "ret-va", "lue b", " secret-valu"} {
		if _, err := m.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "a ************ b secret-valu" {
		t.Errorf("%q", got)
	}
}

// TestSecretsAreFewAndNewest: rotation does not grow the list, and the newest stay.
func TestSecretsAreFewAndNewest(t *testing.T) {
	s := newSecrets(nil, time.Now)
	for i := range 100 {
		s.sent("placeholder", strings.Repeat(string(rune('a'+i%26)), 10)+string(rune('0'+i/26)))
	}
	if n := len(s.known()); n > MaxKeptSecrets*12 {
		t.Errorf("%d spellings are kept", n)
	}
	if got := maskText("vvvvvvvvvv3", s.known()); got != "placeholder" {
		t.Errorf("the newest is not masked: %q", got)
	}
}
