package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stead-dev/stead/internal/config"
)

// keyed is a provider that notes the keys that it is sent, in whatever header, quotes them, and refuses all calls.
type keyed struct {
	mu   sync.Mutex
	seen []string // API and key
}

func (k *keyed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("X-Api-Key") + r.Header.Get("X-Goog-Api-Key") + r.Header.Get("Api-Key") + strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	k.mu.Lock()
	k.seen = append(k.seen, strings.Split(r.URL.Path, "/")[1]+" "+key)
	k.mu.Unlock()
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, `{"error":{"message":"your key is %s","type":"invalid_request_error"}}`, key)
}

func (k *keyed) last() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.seen) == 0 {
		return ""
	}
	return k.seen[len(k.seen)-1]
}

// A provider's key in a vault is opened for each call: a rotation counts at once, what was deleted is not sent, and a
// provider elsewhere never gets it.
func TestAProvidersKeyInAVault(t *testing.T) {
	provider := &keyed{}
	upstream := httptest.NewServer(provider)
	t.Cleanup(upstream.Close)
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	v := &vaulted{t: t, said: &syncBuffer{}}
	start := func(vault, credential, elsewhere string) {
		text := "limits: {drain_seconds: 1}\nproviders:\n"
		for _, api := range []string{"responses", "chat", "anthropic", "gemini", "azure", "bedrock"} {
			text += fmt.Sprintf("  - {name: %s, api: %s, base_url: %s/%s, api_key: '${vault:%s/%s}', region: '%s'}\n", api, api, upstream.URL, api, vault, credential, map[bool]string{true: "eu"}[api == "bedrock"])
		}
		text += fmt.Sprintf("  - {name: elsewhere, api: chat, base_url: %s/elsewhere, api_key: '${vault:%s/%s}'}\n", upstream.URL, vault, elsewhere)
		file := filepath.Join(dir, "stead.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		v.n = openAt(t, file, data, v.said)
	}
	start("vault_none", "cred_none", "cred_none")
	vault := v.post("/v1/vaults", `{}`)
	credential := v.post("/v1/vaults/"+vault+"/credentials", `{"name":"c","auth":{"type":"environment_variable","secret_name":"PROVIDER_KEY","secret_value":"`+firstToken+`","networking":{"type":"limited","allowed_hosts":["localhost","api.example"]}}}`)
	elsewhere := v.post("/v1/vaults/"+vault+"/credentials", `{"name":"c","auth":{"type":"environment_variable","secret_name":"OTHER_KEY","secret_value":"`+firstToken+`","networking":{"type":"limited","allowed_hosts":["api.example"]}}}`)
	v.n.stop()
	upstream.URL = strings.Replace(upstream.URL, "127.0.0.1", "localhost", 1) // a credential goes to names
	start(vault, credential, elsewhere)

	call := func(provider string) string {
		t.Helper()
		res, got := ask(t, v.n, "POST", "/v1/responses", `{"model":"`+provider+`/m","input":"hi","store":false}`)
		_, _ = v.said.Write([]byte(got)) // a buffer takes everything
		if res.StatusCode/100 == 2 {
			t.Errorf("%s: %d %s", provider, res.StatusCode, got)
		}
		return got
	}
	for _, api := range []string{"responses", "chat", "anthropic", "gemini", "azure", "bedrock"} {
		if call(api); provider.last() != api+" "+firstToken {
			t.Errorf("%s was sent %q", api, provider.last())
		}
	}
	before := len(provider.seen)
	call("elsewhere")
	if len(provider.seen) != before {
		t.Errorf("a credential for another host was sent: %q", provider.last())
	}
	v.post("/v1/vaults/"+vault+"/credentials/"+credential, `{"auth":{"type":"environment_variable","secret_value":"`+secondToken+`"}}`)
	if call("chat"); provider.last() != "chat "+secondToken {
		t.Errorf("after a rotation it was sent %q", provider.last())
	}
	records := v.used()
	if len(records) != 7 || slices.ContainsFunc(records, func(r auditRecord) bool {
		return r.Decision != "allow" || r.Resource != vault+"/"+credential || !strings.HasPrefix(r.Detail, "to localhost:")
	}) {
		t.Errorf("audited %+v", records)
	}
	ask(t, v.n, "DELETE", "/v1/vaults/"+vault+"/credentials/"+credential, "")
	before = len(provider.seen)
	if got := call("chat"); len(provider.seen) != before || !strings.Contains(got, "look at the provider's key") {
		t.Errorf("after it was deleted: %s, and %d calls", got, len(provider.seen)-before)
	}
	v.nowhere("", map[string]string{"first": firstToken, "second": secondToken})
}

func TestAKeyIsAVaultsWholeOrNot(t *testing.T) {
	for key, good := range map[string]bool{
		"${vault:vault_1/cred_1}": true, "${vault:p/vault_1/cred_1}": true,
		"${vault:cred_1}": false, "${vault:/cred_1}": false, "${vault:a/b/c/d}": false, "${vault:vault_1/cred_1}x": false, "${vault:a/b}${vault:c/d}": false,
	} {
		file := filepath.Join(t.TempDir(), "stead.yaml")
		if err := os.WriteFile(file, []byte("providers: [{name: x, api: chat, base_url: 'http://127.0.0.1:1', api_key: '"+key+"'}]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := config.Load(config.Flags{Data: t.TempDir(), File: file}, func(string) (string, bool) { return "", false })
		if (err == nil) != good {
			t.Errorf("%s: %v", key, err)
		}
	}
	// Elsewhere it would be a secret that is none.
	file := filepath.Join(t.TempDir(), "stead.yaml")
	if err := os.WriteFile(file, []byte("mcp_servers: [{label: x, url: 'https://x.example', headers: {A: '${vault:vault_1/cred_1}'}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.Load(config.Flags{Data: t.TempDir(), File: file}, func(string) (string, bool) { return "", false }); err == nil {
		t.Error("a header of a tool server is taken for a vault's, and would be sent as it stands")
	}
}
