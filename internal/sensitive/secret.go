package sensitive

import (
	"regexp"
	"strings"
	"sync"
)

// Secrets are found by the form that those who give them out chose so that they can be found, and where a name in front says that a value is
// one (named.go). Those that are the node's own, or in its vaults, are taken out of what others say in any case: see package redact. A
// password that is only a word has no form.
//
// Sources: the documentation of each of those that give them out, and the rules of github.com/gitleaks/gitleaks where that says nothing of
// lengths; RFC 7468 (private keys), RFC 7519 (tokens), RFC 3986, 3.2.1 (passwords in addresses).

// form is how a kind of secret is written: what it begins with, and how it goes on from there. Texts are looked through for
// the beginnings, which is quick, and the rest is read where one is.
type form struct {
	name   string
	begins []string
	whole  *regexp.Regexp // from the beginning on
}

// forms are compiled when they are first needed. Every beginning has a rare byte (glance.go).
var forms = sync.OnceValue(func() []form {
	f := func(name, whole string, begins ...string) form {
		return form{name: name, begins: begins, whole: regexp.MustCompile(`\A(?:` + whole + `)`)}
	}
	return []form{
		f("private_key", `-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?s:.*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|.*)`, "-----BEGIN "),
		f("aws_key", `[A-Z]{4}[A-Z0-9]{16}\b`, "AKIA", "ASIA"),
		f("github_token", `gh[a-z]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}`, "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
		f("gitlab_token", `gl[a-z]{2,5}-[A-Za-z0-9_-]{20,}`, "glpat-", "glrt-", "gldt-", "glptt-", "glcbt-"),
		f("slack_token", `xox[a-z]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}`, "xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-"),
		f("google_key", `AIza[A-Za-z0-9_-]{35}`, "AIza"),
		f("google_token", `ya29\.[A-Za-z0-9_.-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}`, "ya29.", "GOCSPX-"),
		f("stripe_key", `[rs]k_live_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,}`, "sk_live_", "rk_live_", "whsec_"),
		f("npm_token", `npm_[A-Za-z0-9]{36}\b`, "npm_"),
		f("api_key", `sk-[A-Za-z0-9_-]{20,}`, "sk-"), // of OpenAI, Anthropic and others after them
		f("jwt", `eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`, "eyJ"),
		f("vault_token", `hv[sbr]\.[A-Za-z0-9_-]{20,}`, "hvs.", "hvb.", "hvr."), // of HashiCorp
		f("huggingface_token", `hf_[A-Za-z0-9]{30,}|api_org_[A-Za-z0-9]{34}`, "hf_", "api_org_"),
		f("sendgrid_key", `SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{32,}`, "SG."),
		f("digitalocean_token", `do[opr]_v1_[a-f0-9]{64}`, "dop_v1_", "doo_v1_", "dor_v1_"),
		f("pypi_token", `pypi-Ag[A-Za-z0-9_-]{32,}`, "pypi-"),
		f("slack_webhook", `hooks\.slack\.com(?:\\*/(?:services|workflows|triggers))\\*/[A-Za-z0-9_]{6,}\\*/[A-Za-z0-9_]{6,}\\*/[A-Za-z0-9_]{12,}(?:\\*/[A-Za-z0-9_]{12,})?`, "hooks.slack.com"),
		f("discord_webhook", `discord(?:app)?\.com\\*/api(?:\\*/v[0-9]{1,2})?\\*/webhooks\\*/[0-9]{15,22}\\*/[A-Za-z0-9_-]{50,}`, "discord.com", "discordapp.com"),
		f("atlassian_token", `AT(?:ATT|CTT|BB)[A-Za-z0-9_=-]{24,}`, "ATATT", "ATCTT", "ATBB"),
		f("linear_key", `lin_(?:api|oauth)_[A-Za-z0-9]{32,}`, "lin_api_", "lin_oauth_"),
		f("twilio_key", `SK[0-9a-f]{32}\b`, "SK"),
		f("shopify_token", `shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}`, "shpat_", "shpca_", "shppa_", "shpss_"),
		f("docker_token", `dckr_[po]at_[A-Za-z0-9_-]{20,}`, "dckr_pat_", "dckr_oat_"),
		f("grafana_token", `glsa_[A-Za-z0-9]{32}_[a-fA-F0-9]{8}|glc_eyJ[A-Za-z0-9+/=]{32,}`, "glsa_", "glc_"),
		f("model_key", `(?:gsk_|xai-|pplx-|r8_)[A-Za-z0-9]{32,}`, "gsk_", "xai-", "pplx-", "r8_"), // of Groq, xAI, Perplexity, Replicate
	}
})

// telegramToken is the token whose colon stands at a place: "123456789:AA…", the id of a bot, and 35 characters.
func telegramToken(text string, at int) (Span, bool) {
	const minID, maxID, long = 8, 10, 35
	if !strings.HasPrefix(text[at:], ":AA") {
		return Span{}, false
	}
	s := Span{at, at + 1}
	for s.From > 0 && at-s.From <= maxID && digit(text[s.From-1]) {
		s.From--
	}
	for s.To < len(text) && s.To-at-1 <= long && (wordly(text[s.To]) || text[s.To] == '-') {
		s.To++
	}
	ids := at - s.From
	return s, ids >= minID && ids <= maxID && s.To-at-1 == long && (border(text, s.From) || strings.HasSuffix(text[:s.From], "/bot"))
}

// Bytes of a name with its password in an address, and of the password alone.
const (
	maxUserInfo = 512
	minPassword = 3
	maxEscapes  = 3 // backslashes in front of a slash of "://": JSON in JSON
)

// urlPassword is the "://name:password@" whose first colon stands at a place, also where slashes are escaped (":\/\/"), as PHP writes JSON.
func urlPassword(text string, at int) (Span, bool) {
	begin := schemeEnd(text[at:])
	if begin == 0 {
		return Span{}, false
	}
	rest := text[at+begin:]
	rest = rest[:min(len(rest), maxUserInfo)]
	end := strings.IndexAny(rest, "@/ \t\r\n\"'")
	colon := strings.IndexByte(rest[:max(end, 0)], ':')
	return Span{at, at + begin + end + 1}, colon >= 0 && rest[end] == '@' && end-colon > minPassword
}

// schemeEnd is how long the "://" is that a text begins with; 0: it begins otherwise.
func schemeEnd(text string) int {
	at := len(":")
	for range "//" {
		for n := 0; n < maxEscapes && at < len(text) && text[at] == '\\'; n++ {
			at++
		}
		if at == len(text) || text[at] != '/' {
			return 0
		}
		at++
	}
	return at
}

// at is the secret of the form that begins at a place.
func (f *form) at(text string, at int) (Span, bool) {
	if wordly(text[at]) && !border(text, at) {
		return Span{}, false
	}
	s := f.whole.FindStringIndex(text[at:])
	if s == nil {
		return Span{}, false
	}
	return Span{at, at + s[1]}, true
}

// border reports whether no word of ASCII reaches into the place. What tools return is often JSON in a text: an escape before the place (\n, \t, \u0022) is none.
func border(text string, at int) bool {
	if at == 0 || !wordly(text[at-1]) {
		return true
	}
	if at >= 2 && text[at-2] == '\\' && strings.IndexByte("nrtbf", text[at-1]) >= 0 {
		return true
	}
	const unicode = len(`\u0000`)
	return at >= unicode && text[at-unicode:at-unicode+2] == `\u`
}
