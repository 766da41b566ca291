package guardrail_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/guardrail"
)

// token has a form that GitHub gives tokens; it is nobody's.
var token = "ghp_" + strings.Repeat("a1B2", 9)

const privateKey = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabcd\n-----END RSA PRIVATE KEY-----\n"

func builtins(t *testing.T, more ...guardrail.Rule) *guardrail.Checks {
	t.Helper()
	r, ok := guardrail.Builtin(guardrail.BuiltinSecrets)
	if !ok {
		t.Fatal("there is none")
	}
	set, err := guardrail.Compile(append(more, r), nil)
	if err != nil {
		t.Fatal(err)
	}
	g := guardrail.New(nil, nil)
	g.Replace(set)
	return g.Of(guardrail.Subject{})
}

func TestSecretsInWhatToolsReturnAreMasked(t *testing.T) {
	c := builtins(t)
	text := `{"token":"` + token + `","n":1}` + "\n" + privateKey + "postgres://app:hunter22@db/x and AKIA" + strings.Repeat("B7", 8)
	content, v := c.Content(t.Context(), guardrail.ToolResult, "box/run", stead.TextContent(stead.ContentInputText, text))
	want := `{"token":"[redacted github_token]","n":1}` + "\n[redacted private_key]\npostgres[redacted url_password]db/x and [redacted aws_key]"
	if got := content[0].Text.Inline; got != want || v.Blocked != nil || len(v.Findings) != 1 {
		t.Errorf("%q, %+v", got, v)
	}
	if said, v := c.Text(t.Context(), guardrail.Input, "", token); said != token || len(v.Findings) > 0 {
		t.Errorf("what a caller says became %q", said)
	}
}

// What only looks like one stays as it is, letter by letter.
func TestWhatIsNoSecretStaysWhole(t *testing.T) {
	image := make([]byte, 40_000)
	for i := range image {
		image[i] = byte(i*i*31 + i>>3)
	}
	for what, text := range map[string]string{
		"a hash": "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "a UUID": "0190f1d2-7c3e-7abc-8def-0123456789ab",
		"a picture": "data:image/png;base64," + base64.StdEncoding.EncodeToString(image), "of URLs": base64.URLEncoding.EncodeToString(image),
		"a commit": "commit 1b74c5b8d0a4f1e2c3d4e5f60718293a4b5c6d7e\nAuthor: Ada <ada@example.com>", "an address": "https://user@example.com:8443/a?b=c://d",
		"words": "the risk-assessment-of-everything-we-do, task-aaaaaaaaaaaaaaaaaaaaaaaa", "a public key": "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
	} {
		if got := guardrail.MaskSecrets(text); got != text {
			t.Errorf("%s became %.200q", what, got)
		}
	}
}

func TestALineIsShownWhenItHasEnded(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "half a li": 0, "one\ntwo": 4, "50%\r60%": 4, "one\n" + privateKey: 4 + len(privateKey), "one\n" + privateKey[:60]: 4, "one\nx " + privateKey[:len(privateKey)-1]: 4,
		privateKey + "more\nand": len(privateKey) + 5,
	} {
		if got := guardrail.WholeLines([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if !builtins(t).Lines("x") {
		t.Error("secrets need more than lines")
	}
	if builtins(t, guardrail.Rule{Name: "mine", On: guardrail.Points(), Action: guardrail.Block, Check: guardrail.Check{Patterns: []string{"x"}}}).Lines("x") {
		t.Error("a rule that blocks is content with lines")
	}
}

func TestTheOperatorsRulesStandInFront(t *testing.T) {
	if builtins(t).Own() != nil {
		t.Error("what comes with Stead is somebody's own")
	}
	own := builtins(t, guardrail.Rule{Name: "mine", On: []guardrail.Point{guardrail.ToolResult}, Action: guardrail.Block, Check: guardrail.Check{Secrets: true}})
	if _, v := own.Text(t.Context(), guardrail.ToolResult, "x", token); v.Blocked == nil || v.Blocked.Guardrail != "mine" {
		t.Errorf("%+v", v)
	}
	if own.Own() == nil {
		t.Error("the operator's rule is gone")
	}
}
