package sensitive_test

import (
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/sensitive"
)

// Each byte is of one thing: of two that overlap the earlier counts, and of two that begin together the longer. What each
// kind finds is in the tests of package guardrail.
func TestWhatOverlapsIsOneThing(t *testing.T) {
	at := func(kind string, from, to int) sensitive.Found {
		return sensitive.Found{Span: sensitive.Span{From: from, To: to}, Kind: kind}
	}
	const text = "0123456789"
	for _, tc := range []struct {
		name string
		all  []sensitive.Found
		want string
	}{
		{"nothing", nil, "0123456789"},
		{"one", []sensitive.Found{at("a", 2, 4)}, "01<a>456789"},
		{"side by side, in any order", []sensitive.Found{at("b", 4, 6), at("a", 2, 4)}, "01<a><b>6789"},
		{"the earlier", []sensitive.Found{at("b", 3, 9), at("a", 2, 4)}, "01<a>456789"},
		{"the longer", []sensitive.Found{at("a", 2, 4), at("b", 2, 6)}, "01<b>6789"},
		{"within another", []sensitive.Found{at("a", 4, 5), at("b", 2, 6), at("c", 6, 7)}, "01<b><c>789"},
		{"all of it", []sensitive.Found{at("a", 0, 10)}, "<a>"},
	} {
		if got := sensitive.Replace(text, sensitive.Apart(tc.all), func(kind string) string { return "<" + kind + ">" }); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestSecretsAndNumbersAreFoundTogether(t *testing.T) {
	kinds := append(sensitive.Secrets(), sensitive.Personal()...)
	const text = "ada@example.com pays with 4111 1111 1111 1111, key AKIAIOSFODNN7EXAMPLE"
	want := "<email> pays with <credit_card>, key <aws_key>"
	if got := sensitive.Replace(text, sensitive.Find(text, kinds), func(kind string) string { return "<" + kind + ">" }); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// Nothing parts a key from the password in front of it: of the key the rest is one too.
func TestTheRestOfASecretIsOne(t *testing.T) {
	const text = "login bob password hunter22-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nand more"
	want := "login bob password <secret><private_key>\nand more"
	if got := sensitive.Replace(text, sensitive.FindSecrets(text), func(kind string) string { return "<" + kind + ">" }); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What tools return is often JSON in a text, where the letter of an escape stands right before a secret.
func TestAnEscapeBeginsNoWord(t *testing.T) {
	token := "ghp_" + strings.Repeat("a1B2", 9)
	for text, want := range map[string]string{
		"token\n" + token:                      "token\n<github_token>",
		`{"a":"token\n` + token + `"}`:         `{"a":"token\n<github_token>"}`,
		`{"a":"one\r\n` + token + `\t` + token: `{"a":"one\r\n<github_token>\t<github_token>`,
		`it is \u0022` + token + `\u0022`:      `it is \u0022<github_token>\u0022`,
		`{\"a\":\"one\\n` + token + `\"}`:      `{\"a\":\"one\\n<github_token>\"}`,
		`-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n`: `-----END CERTIFICATE-----\n<private_key>\n`,
		`x-----BEGIN PRIVATE KEY-----` + "\nMIIE\n-----END PRIVATE KEY-----":                        `x<private_key>`,
		`"https:\/\/bob:hunter22@db.example\/x"`:                                                    `"https<url_password>db.example\/x"`,
		// No escapes, and so no border.
		"seen" + token: "seen" + token, "a_" + token: "a_" + token, `https:\/ /bob:hunter22@db`: `https:\/ /bob:hunter22@db`,
	} {
		if got := sensitive.Replace(text, sensitive.FindSecrets(text), func(kind string) string { return "<" + kind + ">" }); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}
