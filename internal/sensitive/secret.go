package sensitive

import (
	"regexp"
	"strings"
	"sync"
)

// Secrets are found by the form that those who give them out chose so that they can be found. Those that are the node's
// own, or in its vaults, are taken out of what others say in any case: see package redact. A password that is only a word
// has no form.
//
// Sources: the documentation of each of those that give them out; RFC 7468 (private keys), RFC 7519 (tokens), RFC 3986,
// 3.2.1 (passwords in addresses).

// form is how a kind of secret is written: what it begins with, and how it goes on from there. Texts are looked through for
// the beginnings, which is quick, and the rest is read where one is.
type form struct {
	name   string
	begins []string
	whole  *regexp.Regexp // from the beginning on
}

// forms are compiled when they are first needed.
var forms = sync.OnceValue(func() []form {
	f := func(name, whole string, begins ...string) form {
		return form{name: name, begins: begins, whole: regexp.MustCompile(`\A(?:` + whole + `)`)}
	}
	return []form{
		f("private_key", `-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?s:.*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|.*)`, "-----BEGIN "),
		f("aws_key", `[A-Z]{4}[A-Z0-9]{16}\b`, "AKIA", "ASIA"),
		f("github_token", `gh[a-z]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255}`, "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
		f("gitlab_token", `glpat-[A-Za-z0-9_-]{20,}`, "glpat-"),
		f("slack_token", `xox[abeoprs]-[A-Za-z0-9-]{10,}`, "xox"),
		f("google_key", `AIza[A-Za-z0-9_-]{35}`, "AIza"),
		f("stripe_key", `[rs]k_live_[A-Za-z0-9]{16,}`, "sk_live_", "rk_live_"),
		f("npm_token", `npm_[A-Za-z0-9]{36}\b`, "npm_"),
		f("api_key", `sk-[A-Za-z0-9_-]{20,}`, "sk-"), // of OpenAI, Anthropic and others after them
		f("jwt", `eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`, "eyJ"),
	}
})

// Secrets are the kinds of secrets that have a form.
func Secrets() []Kind {
	var out []Kind
	for _, f := range forms() {
		out = append(out, Kind{f.name, f.find})
	}
	return append(out, Kind{"url_password", urlPasswords})
}

// Bytes of a name with its password in an address, and of the password alone.
const (
	maxUserInfo = 512
	minPassword = 3
	maxEscapes  = 3 // backslashes in front of a slash of "://": JSON in JSON
)

// urlPasswords finds "://name:password@", also where slashes are escaped (":\/\/"), as PHP writes JSON.
func urlPasswords(text string) (out []Span) {
	for at := 0; ; {
		n := strings.IndexByte(text[at:], ':')
		if n < 0 {
			return out
		}
		at += n
		begin := schemeEnd(text[at:])
		if begin == 0 {
			at++
			continue
		}
		rest := text[at+begin:]
		rest = rest[:min(len(rest), maxUserInfo)]
		end := strings.IndexAny(rest, "@/ \t\r\n\"'")
		if colon := strings.IndexByte(rest[:max(end, 0)], ':'); colon >= 0 && rest[end] == '@' && end-colon > minPassword {
			out = append(out, Span{at, at + begin + end + 1})
		}
		at += begin
	}
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

func (f form) find(text string) (out []Span) {
	for _, begin := range f.begins {
		for at := 0; ; {
			n := strings.Index(text[at:], begin)
			if n < 0 {
				break
			}
			at += n
			s := f.whole.FindStringIndex(text[at:])
			if s == nil || wordly(begin[0]) && !border(text, at) {
				at += len(begin)
				continue
			}
			out = append(out, Span{at, at + s[1]})
			at += s[1]
		}
	}
	return out
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
