package approval

import (
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/policy"
)

func TestWhatIsShown(t *testing.T) {
	const secret = "hush-hush-0123"
	long := strings.Repeat("é", 3000)
	for name, c := range map[string]struct {
		effect policy.Effect
		body   string
		want   string // contained
	}{
		"credential":        {policy.VaultWrite, `{"name":"c","auth":{"type":"static_bearer","token":"` + secret + `","mcp_server_url":"https://x.example/a?k=` + secret + `"},"metadata":{"a":"` + secret + `"},"n":[{"x":"` + secret + `"}]}`, `"mcp_server_url":"https://x.example/a?•••"`},
		"its number":        {policy.VaultWrite, `{"auth":{"pin":123456,"secret_value":"` + secret + `"}}`, `"pin":"•••"`},
		"key":               {policy.KeyWrite, `{"role":"owner","secret":"` + secret + `"}`, `"role":"owner"`},
		"agent":             {policy.AgentWrite, `{"model":"m","tools":[{"type":"mcp","headers":{"Authorization":"` + secret + `"},"authorization":"` + secret + `"}],"max_tokens":5}`, `"max_tokens":5`},
		"variables":         {policy.TemplateWrite, `{"env":{"A":"` + secret + `"},"variables":[{"name":"B","value":"` + secret + `"}],"api_key":"` + secret + `"}`, `"env"`},
		"form of a secret":  {policy.SessionWrite, `{"input":"use sk-hush-hush-0123456789abcdef now"}`, `use ••• now`},
		"a list with names": {policy.AgentWrite, `[{"password":["` + secret + `"]}]`, `[{"password":["•••"]}]`},
		"long":              {policy.AgentWrite, `{"instructions":"` + long + `"}`, `(6000 bytes)`},
		"wide":              {policy.AgentWrite, `[` + strings.Repeat(`"x",`, 5000) + `"y"]`, `… and 4969 more`},
		"too much":          {policy.AgentWrite, `{"a":[` + strings.Repeat(`["`+long+`"],`, 60) + `1]}`, `bytes, of which nothing is shown`},
		"no JSON":           {policy.AgentWrite, "\xff" + secret, `15 bytes, of which nothing is shown`},
		"nothing":           {policy.AgentWrite, ``, `null`},
	} {
		got := string(view(c.effect, []byte(c.body)))
		if !strings.Contains(got, c.want) || strings.Contains(got, "hush") || len(got) > MaxViewBytes {
			t.Errorf("%s: %s", name, got)
		}
	}
}
