package sensitive

import (
	"strings"
	"testing"
)

// A glance misses nothing that is found, wherever it stands.
func TestAGlanceMissesNoSecret(t *testing.T) {
	found := map[string]bool{}
	for _, secret := range []string{
		"-----BEGIN EC PRIVATE KEY-----\nabc", "AKIAABCDEFGHIJKLMNOP", "ASIAABCDEFGHIJKLMNOP", "ghp_" + strings.Repeat("a", 36), "gho_" + strings.Repeat("a", 36), "ghu_" + strings.Repeat("a", 36), "ghs_" + strings.Repeat("a", 36),
		"ghr_" + strings.Repeat("a", 36), "github_pat_" + strings.Repeat("a", 30), "glpat-" + strings.Repeat("a", 20), "xoxb-" + strings.Repeat("1", 12), "xoxp-" + strings.Repeat("1", 12), "AIza" + strings.Repeat("a", 35),
		"sk_live_" + strings.Repeat("a", 20), "rk_live_" + strings.Repeat("a", 20), "npm_" + strings.Repeat("a", 36), "sk-" + strings.Repeat("a", 24), "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "https://ada:hunter22@example.com/x",
		`https:\/\/ada:hunter22@example.com\/x`, `https:\\\/\\\/ada:hunter22@example.com`,
	} {
		for _, text := range []string{secret, "it is " + secret + " I think", "a-_AJ/" + strings.Repeat("x:/ ", 99) + "\n" + secret} {
			all := Find(text, Secrets())
			if len(all) != 1 || !MayHoldSecrets(text) {
				t.Errorf("%.60q: found %v, and a glance says %v", text, all, MayHoldSecrets(text))
				continue
			}
			found[all[0].Kind] = true
		}
	}
	for _, k := range Secrets() {
		if !found[k.Name] {
			t.Errorf("no example of %s", k.Name)
		}
	}
	for _, f := range forms() {
		for _, begin := range f.begins {
			if begin != "xox" && !MayHoldSecrets(begin) {
				t.Errorf("%q begins a %s, and a glance passes over it", begin, f.name)
			}
		}
	}
	if MayHoldSecrets("- a well-known word_or_two in A Just world: https://example.com/a//b J.") {
		t.Error("a glance sees what is none")
	}
}

func FuzzAGlance(f *testing.F) {
	f.Add("xoxb-1234567890", "ghp_")
	f.Add(`a:\\\/\/b:cdef`, "@x")
	f.Fuzz(func(t *testing.T, a, b string) {
		if text := a + b; !MayHoldSecrets(text) && len(Find(text, Secrets())) > 0 {
			t.Errorf("%q", text)
		}
	})
}
