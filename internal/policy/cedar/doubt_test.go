package cedar_test

import (
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/identity"
	"github.com/stead-dev/stead/internal/policy/cedar"
)

// A name that nothing has is told of, with its policy and what would be one; what may be there is not.
func TestNamesThatNothingHas(t *testing.T) {
	for head, want := range map[string]string{
		`principal, action == Action::"tool.call", resource == Tool::"refund"`:                        "named with its server",
		`principal, action == Action::"tool.call", resource == Tool::"shop/*"`:                        `context.tool like`,
		`principal in Role::"admin", action == Action::"model.call", resource`:                        "owner, operator",
		`principal, action == Action::"model.call", resource == Model::"gpt-*"`:                       `context.model like`,
		`principal, action == Action::"network.connect", resource == Host::"https://api.example.com"`: "a name in small letters",
		`principal, action == Action::"network.connect", resource == Host::"API.example.com"`:         "a name in small letters",
		`principal, action == Action::"tool.call", resource == Tool::"shop/refund"`:                   "",
		`principal in Role::"developer", action == Action::"model.call", resource == Model::"gpt-5"`:  "",
		`principal, action == Action::"network.connect", resource == Host::"api.example.com"`:         "",
		`principal == User::"Tool", action == Action::"tool.call", resource in Server::"shop"`:        "",
	} {
		set, err := cedar.Load([]cedar.Source{{Name: "p.cedar", Text: []byte("\n@id(\"a\") forbid(" + head + ");")}}, cedar.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := set.Doubts(identity.Roles())
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.HasPrefix(got[0].String(), "p.cedar:2: policy a: ") || !strings.Contains(got[0].String(), want)) {
			t.Errorf("%s: %v, want %q", head, got, want)
		}
	}
}
