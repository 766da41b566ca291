package sensitive

import (
	"slices"
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
		"glrt-" + strings.Repeat("a", 20), "xapp-1-" + strings.Repeat("A1", 9), "ya29." + strings.Repeat("a", 30), "GOCSPX-" + strings.Repeat("a", 28), "whsec_" + strings.Repeat("a", 32),
		"hvs." + strings.Repeat("a", 24), "hvb." + strings.Repeat("a", 24), "hvr." + strings.Repeat("a", 24), "hf_" + strings.Repeat("a", 34), "api_org_" + strings.Repeat("a", 34), "SG." + strings.Repeat("a", 22) + "." + strings.Repeat("b", 43),
		"dop_v1_" + strings.Repeat("a1", 32), "doo_v1_" + strings.Repeat("a1", 32), "dor_v1_" + strings.Repeat("a1", 32), "pypi-Ag" + strings.Repeat("a", 60), "hooks.slack.com/services/T00000000/B00000000/" + strings.Repeat("a", 24),
		`hooks.slack.com\/services\/T00000000\/B00000000\/` + strings.Repeat("a", 24), "discord.com/api/webhooks/1234567890123456789/" + strings.Repeat("a", 68), "discordapp.com/api/webhooks/1234567890123456789/" + strings.Repeat("a", 68),
		"ATATT3" + strings.Repeat("x", 40), "ATCTT3" + strings.Repeat("x", 40), "ATBB" + strings.Repeat("x", 32), "lin_api_" + strings.Repeat("a", 40), "lin_oauth_" + strings.Repeat("a", 64), "SK" + strings.Repeat("0f", 16),
		"shpat_" + strings.Repeat("a", 32), "dckr_pat_" + strings.Repeat("a", 27), "glsa_" + strings.Repeat("a", 32) + "_0123abcd", "glc_eyJ" + strings.Repeat("a", 40), "gsk_" + strings.Repeat("a", 52), "xai-" + strings.Repeat("a", 80),
		"pplx-" + strings.Repeat("a", 48), "r8_" + strings.Repeat("a", 37), "123456789:AA" + strings.Repeat("h", 33), `password="hunter22"`, "login bob password hunter22",
	} {
		for _, text := range []string{secret, "it is " + secret + " I think", "a-_AJ/" + strings.Repeat("x:/ ", 99) + "\n" + secret} {
			all := Find(text, Secrets())
			if quick := FindSecrets(text); len(all) == 0 || !slices.Equal(all, quick) {
				t.Errorf("%.60q: found %v, and in one pass %v", text, all, quick)
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
			if !strings.ContainsFunc(begin, func(r rune) bool { return rare[byte(r)] != 0 }) {
				t.Errorf("%q begins a %s, and has no rare byte", begin, f.name)
			}
		}
	}
	if got := FindSecrets("- a well-known word_or_two in A Just world: https://example.com/a//b J. K=1 > 2"); got != nil {
		t.Errorf("a glance sees %v", got)
	}
}

func FuzzAGlance(f *testing.F) {
	f.Add("xoxb-1234567890", "ghp_")
	f.Add("DB_PASSWORD=", "hunter22")
	f.Add(`a:\\\/\/b:cdef`, "@x")
	f.Fuzz(func(t *testing.T, a, b string) {
		if text := a + b; len(FindSecrets(text)) == 0 != (len(Find(text, Secrets())) == 0) {
			t.Errorf("%q", text)
		}
	})
}
