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
		"destinations":      {policy.VaultWrite, `{"name":"c","auth":{"type":"environment_variable","secret_name":"T","secret_value":"` + secret + `","networking":{"type":"limited","allowed_hosts":["evil.example.com"]}}}`, `"networking":{"allowed_hosts":["evil.example.com"],"type":"limited"},"secret_name":"T","secret_value":"•••"`},
		"an endpoint":       {policy.VaultWrite, `{"auth":{"type":"mcp_oauth","access_token":"` + secret + `","refresh":{"token_endpoint":"https://evil.example/t?` + secret + `","client_id":"me","refresh_token":"` + secret + `","token_endpoint_auth":{"type":"client_secret_post","client_secret":"` + secret + `"}}}}`, `"refresh":{"client_id":"me","refresh_token":"•••","token_endpoint":"https://evil.example/t?•••","token_endpoint_auth":{"client_secret":"•••","type":"client_secret_post"}}`},
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
		short, whole, ok := view(c.effect, []byte(c.body))
		got := string(short)
		if strings.Contains(string(whole), "hush") || ok == strings.Contains(c.want, "nothing is shown") {
			t.Errorf("%s: all of it, %v: %s", name, ok, whole)
		}
		if !strings.Contains(got, c.want) || strings.Contains(got, "hush") || len(got) > MaxViewBytes {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// TestAllOfItIsShown: whoever answers can see to the end what would be done.
func TestAllOfItIsShown(t *testing.T) {
	body := `{"instructions":"` + strings.Repeat("a", 20_000) + `THE END","list":[` + strings.Repeat("1,", 5000) + `77]}`
	short, whole, ok := view(policy.AgentWrite, []byte(body))
	q := Question{View: short, Whole: whole}
	if all := string(q.Shown(true)); !ok || !strings.Contains(all, "THE END") || !strings.Contains(all, ",77]") || strings.Contains(string(q.Shown(false)), "THE END") {
		t.Errorf("shown are %d bytes, %v", len(all), ok)
	}
	if _, _, ok := view(policy.AgentWrite, []byte(`"`+strings.Repeat("a", maxShownBytes)+`"`)); ok {
		t.Error("what is not shown can be asked about")
	}
}

// TestAQueryIsShownWithoutSecrets: by their names and forms, also in an address within.
func TestAQueryIsShownWithoutSecrets(t *testing.T) {
	token := "ghp_" + strings.Repeat("a1B2", 9)
	for query, want := range map[string]string{
		"":                             "",
		"?":                            "?",
		"?of=lamps&page=2&&x;y=1":      "?of=lamps&page=2&&x;y=1",
		"?q=a%20key%3F&keyword=b&to=%": "?q=a%20key%3F&keyword=b&to=%",
		"?api_key=hush&a=1;Access-Token=hush&key=":                                         "?api_key=•••&a=1;Access-Token=•••&key=",
		"?X-Amz-Credential=hush&X-Amz-Date=20260101&X-Amz-Signature=hush&sig=hush&sv=2024": "?X-Amz-Credential=•••&X-Amz-Date=20260101&X-Amz-Signature=•••&sig=•••&sv=2024",
		"?%61pi%5Fkey=hush&auth[token]=hush":                                               "?%61pi%5Fkey=•••&auth[token]=•••",
		"?q=" + token + "&" + token + "&" + token + "=1":                                   "?q=•••&•••&•••",
		"?to=https://x/?a=1%26key=hush":                                                    "?to=•••",
		"?to=https%3A%2F%2Fx%2F%3Fu%3Dhttps%253A%252F%252Fy%252F%253Fkey%253Dhush":         "?to=•••",
		"?db=postgres%3A%2F%2Fbob%3Ahush%40db%2Fx":                                         "?db=•••",
		"a path and query of 9000 bytes, SHA-256 00":                                       "a path and query of 9000 bytes, SHA-256 00",
	} {
		if got := shownQuery(query); got != want {
			t.Errorf("%s is shown as %s, want %s", query, got, want)
		}
	}
}
