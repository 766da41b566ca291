package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stead-dev/stead"
)

func environ(pairs ...string) func(string) (string, bool) {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(k string) (string, bool) { v, ok := m[k]; return v, ok }
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "stead.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestLoadFile(t *testing.T) {
	file := write(t, `
listen: 127.0.0.1:9999   # ${NOT_READ} in a comment is no variable
data: /var/lib/stead
database: ${STEAD_DB:-}
auth: {mode: none}
providers:
  - {name: openai, api: responses, base_url: https://api.openai.com/v1, api_key: "${KEY}"}
  - {name: local, api: chat, base_url: "http://127.0.0.1:${PORT:-11434}/v1"}
models:
  - name: default
    routes: [{provider: local, model: qwen3}]
    context_window: 32768
    max_output_tokens: 4096
    price: {input: 0.25, cached_input: 0.025, output: 2}
mcp_servers:
  - {label: files, command: npx, args: [server, /srv], env: {HOME: /tmp}, effects: {read_file: pure}}
  - {label: crm, url: "https://crm.example/mcp", headers: {Authorization: "Bearer ${KEY}"}}
environments:
  egress: {limits: {up_bytes: 1073741824, down_bytes: 2, bytes_per_second: 3, connections: 4, per_minute: 5}}
limits: {drain_seconds: 7, tool_seconds: 60}
`)
	got, err := Load(Flags{File: file}, environ("KEY", "a: b # c"))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Listen: "127.0.0.1:9999", Data: "/var/lib/stead", Auth: Auth{Mode: AuthNone},
		Providers: []Provider{
			{Name: "openai", API: APIResponses, BaseURL: "https://api.openai.com/v1", APIKey: "a: b # c"},
			{Name: "local", API: APIChat, BaseURL: "http://127.0.0.1:11434/v1"},
		},
		Models: []Model{{
			Name: "default", Routes: []Route{{Provider: "local", Model: "qwen3"}},
			ContextWindow: 32768, MaxOutputTokens: 4096, Price: &Price{Input: 0.25, CachedInput: new(0.025), Output: 2},
		}},
		Servers: []Server{
			{Label: "files", Command: "npx", Args: []string{"server", "/srv"}, Env: map[string]string{"HOME": "/tmp"}, Effects: map[string]string{"read_file": "pure"}},
			{Label: "crm", URL: "https://crm.example/mcp", Headers: map[string]string{"Authorization": "Bearer a: b # c"}},
		},
		Environments: Environments{Isolation: IsolationAuto, Egress: Egress{
			Limits: EgressLimits{UpBytes: 1 << 30, DownBytes: 2, BytesPerSecond: 3, Connections: 4, PerMinute: 5},
		}},
		Limits: Limits{DrainSeconds: 7, ToolSeconds: 60},

		Sections: []string{"listen", "data", "database", "auth", "providers", "models", "mcp_servers", "environments", "limits"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
	if got := MicroCents(0.25); got != 25_000_000 {
		t.Errorf("MicroCents(0.25) = %d, want 25 cents", got)
	}
}

func TestPrecedence(t *testing.T) {
	file := write(t, "listen: 127.0.0.1:1\ndata: file\n")
	c, err := Load(Flags{File: file, Listen: "127.0.0.1:3"}, environ(EnvListen, "127.0.0.1:2", EnvData, "env", EnvDatabase, "postgres://h/db"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:3" || c.Data != "env" || c.Database != "postgres://h/db" {
		t.Errorf("listen %s, data %s, database %s: want the flag, the environment, the environment", c.Listen, c.Data, c.Database)
	}
	c, err = Load(Flags{}, environ())
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != DefaultListen || c.Data != DefaultData || c.Dialect() != "sqlite" || c.Drain() != DefaultDrain {
		t.Errorf("defaults: %+v", c)
	}
}

func TestEnvironmentProviders(t *testing.T) {
	c, err := Load(Flags{}, environ("OPENAI_API_KEY", "sk", "ANTHROPIC_API_KEY", "a", "GOOGLE_API_KEY", "g", "MISTRAL_API_KEY", "m"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Provider{{Name: "openai", API: APIResponses, BaseURL: "https://api.openai.com/v1", APIKey: "sk"},
		{Name: "anthropic", API: APIAnthropic, BaseURL: DefaultAnthropicURL, APIKey: "a"},
		{Name: "gemini", API: APIGemini, BaseURL: DefaultGeminiURL, APIKey: "g"}, {Name: SimModel, API: APISim}}
	if diff := cmp.Diff(want, c.Providers); diff != "" {
		t.Errorf("providers (-want +got):\n%s", diff)
	}
	if len(c.Models) == 0 || c.Models[0].Name != "default" || !cmp.Equal(c.Models[0].Routes[0], Route{Provider: "openai", Model: DefaultOpenAIModel}) {
		t.Errorf("models %v: default is not OpenAI's", c.Models)
	}
	one, err := Load(Flags{}, environ("GEMINI_API_KEY", "g", "GOOGLE_API_KEY", "other", "ANTHROPIC_API_KEY", ""))
	if err != nil || len(one.Providers) != 2 || one.Providers[0].APIKey != "g" || !cmp.Equal(one.Models[0].Routes[0], Route{Provider: "gemini", Model: DefaultGeminiModel}) {
		t.Errorf("%+v, %v: want gemini alone, by its own key, as the default", one.Providers, err)
	}
	bare, err := Load(Flags{}, environ())
	if err != nil || len(bare.Providers) != 0 {
		t.Errorf("providers %v, %v without keys: want none, so that only the simulator serves", bare.Providers, err)
	}
	if len(c.Notes) != 1 || !strings.Contains(c.Notes[0], "MISTRAL_API_KEY") || !strings.Contains(c.Notes[0], "not supported yet") {
		t.Errorf("notes %q do not name the key that is not used", c.Notes)
	}
}

func TestErrors(t *testing.T) {
	tests := []struct{ name, yaml, want string }{
		{"unknown key", "listen: 127.0.0.1:1\n\nlissten: x\n", "line 3, column 1: unknown field \"lissten\""},
		{"unknown nested key", "providers:\n  - name: a\n    api: chat\n    url: http://h/\n", "line 4, column 5: unknown field \"url\""},
		{"unset variable", "data: x\ndatabase: ${NOPE}\n", "line 2: the environment variable NOPE is not set"},
		{"open variable", "data: ${NOPE\n", `line 1: "${" has no closing "}"`},
		{"wrong type", "limits: {drain_seconds: soon}\n", "line 1, column 25: this must be a number, not text"},
		{"syntax", "listen: [\n", "line 1"},
		{"public without auth", "listen: 0.0.0.0:80\n", "loopback addresses only, not 0.0.0.0:80"},
		{"every interface", "listen: :80\n", "loopback addresses only"},
		{"host name", "listen: example.com:80\n", "loopback addresses only"},
		{"a key for a day", "public_url: https://a.example\nidentity: {trust_domain: a.example, key_days: 1}\n", "identity.key_days is 1: it must be between 2 and 365"},
		{"a wrapped key of no KMS", "seal_key: \"kms:x:AAAA\"\n", "seal_key names the KMS \"x\""},
		{"a wrapped key that is none", "seal_key: \"kms:x\"\n", "a wrapped key that is none"},
		{"a KMS in the clear", "seal_kms: [{name: x, api: vault, key: k, token: t, base_url: \"http://vault.example\"}]\n", "seal_kms[0].base_url must be an https:// address"},
		{"a KMS without a token", "seal_kms: [{name: x, api: vault, key: k, base_url: \"https://vault.example\"}]\n", "seal_kms[0] needs base_url and token"},
		{"a KMS with half a key", "seal_kms: [{name: x, api: aws, key: k, region: eu-west-1, access_key: a}]\n", "seal_kms[0] needs an access key"},
		{"a KMS without a region", "seal_kms: [{name: x, api: aws, key: k, access_key: a, secret_key: b}]\n", "seal_kms[0] needs a region"},
		{"two of a name", "seal_kms: [{name: x, api: aws, key: k, region: r, access_key: a, secret_key: b}, {name: x, api: aws, key: k, region: r, access_key: a, secret_key: b}]\n", "the name x is there twice"},
		{"another KMS", "seal_kms: [{name: x, api: gcp, key: k}]\n", "seal_kms[0].api is \"gcp\""},
		{"half of TLS", "tls: {certificate: a.pem}\n", "tls has one of certificate and key"},
		{"clients' certificates in the clear", "auth: {mode: keys}\ntls: {client_ca: c.pem}\n", "needs the server to have a certificate"},
		{"clients' certificates for everybody", "tls: {certificate: a.pem, key: a.key, client_ca: c.pem}\n", "auth mode none lets everybody in"},
		{"client_auth of nobody", "auth: {mode: keys}\ntls: {certificate: a.pem, key: a.key, client_auth: required}\n", "tls.client_auth needs tls.client_ca"},
		{"client_auth", "auth: {mode: keys}\ntls: {certificate: a.pem, key: a.key, client_ca: c.pem, client_auth: want}\n", "tls.client_auth is \"want\""},
		{"rules without authorities", "client_certificates: {allow: [{spiffe_id: \"spiffe://a/b\", project: p, role: agent}]}\n", "client_certificates.allow needs tls.client_ca"},
		{"a rule with two names", "auth: {mode: keys}\ntls: {certificate: a.pem, key: a.key, client_ca: c.pem}\nclient_certificates: {allow: [{spiffe_id: \"spiffe://a/b\", subject: CN=x, project: p, role: agent}]}\n", "allow[0] needs one of spiffe_id and subject"},
		{"a rule of no project", "auth: {mode: keys}\ntls: {certificate: a.pem, key: a.key, client_ca: c.pem}\nclient_certificates: {allow: [{subject: CN=x, role: agent}]}\n", "allow[0].project must be the name"},
		{"a rule of the server's own project", "auth: {mode: keys}\ntls: {certificate: a.pem, key: a.key, client_ca: c.pem}\nclient_certificates: {allow: [{subject: CN=x, role: agent, project: \"stead:keys\"}]}\n", "allow[0].project must be the name"},
		{"a rule without a role", "auth: {mode: keys}\ntls: {certificate: a.pem, key: a.key, client_ca: c.pem}\nclient_certificates: {allow: [{subject: CN=x, project: p}]}\n", "allow[0] has no role"},
		{"an executor with a role", "auth: {mode: keys}\ntls: {certificate: a.pem, key: a.key, client_ca: c.pem}\nclient_certificates: {allow: [{subject: CN=x, project: p, kind: executor, role: owner}]}\n", "which has no role"},
		{"a rule of a node", "auth: {mode: keys}\ntls: {certificate: a.pem, key: a.key, client_ca: c.pem}\nclient_certificates: {allow: [{subject: CN=x, project: p, kind: node, role: owner}]}\n", "allow[0].kind is \"node\""},
		{"a rule for the root key", "auth: {mode: keys}\ntls: {certificate: a.pem, key: a.key, client_ca: c.pem}\nclient_certificates: {allow: [{subject: CN=x, project: p, role: owner, id: root}]}\n", "the operator's own key"},
		{"a rule twice", "auth: {mode: keys}\ntls: {certificate: a.pem, key: a.key, client_ca: c.pem}\nclient_certificates: {allow: [{subject: CN=x, project: p, role: agent}, {subject: CN=x, project: q, role: agent}]}\n", "is there twice"},
		{"a denial of everything", "auth: {mode: keys}\ntls: {certificate: a.pem, key: a.key, client_ca: c.pem}\nclient_certificates: {deny: [{}]}\n", "deny[0] needs one of"},
		{"a denial of no number", "auth: {mode: keys}\ntls: {certificate: a.pem, key: a.key, client_ca: c.pem}\nclient_certificates: {deny: [{serial: \"0x12\"}]}\n", "deny[0].serial must be"},
		{"oidc of nobody", "auth: {mode: oidc}\n", "auth mode oidc needs an issuer"},
		{"issuers of keys", "auth: {mode: keys, issuers: [{url: \"https://a\"}]}\n", "auth.issuers are for auth mode oidc"},
		{"an identity of no domain", "identity: {issuer: \"https://a\"}\n", "identity has no trust_domain"},
		{"an identity in a URL's words", "identity: {trust_domain: \"https://acme.example\", issuer: \"https://a\"}\n", "is no trust domain"},
		{"an identity that nobody can check", "identity: {trust_domain: acme.example}\n", "identity.issuer must be an https://"},
		{"an identity that never signs", "identity: {trust_domain: a, issuer: \"https://a\", algorithm: none}\n", "identity.algorithm is \"none\""},
		{"a token for everybody", "identity: {trust_domain: a, issuer: \"https://a\", environments: {variable: T, hosts: [a]}}\n", "its token would be good everywhere"},
		{"a tool server that asks nobody", "mcp_servers: [{label: a, url: \"https://a\", auth: workload}]\n", "needs agents to have an identity"},
		{"a tool server of two tokens", "identity: {trust_domain: a, issuer: \"https://a\"}\nmcp_servers: [{label: a, url: \"https://a\", auth: workload, headers: {authorization: x}}]\n", "has the header Authorization and auth as well"},
		{"a command that is told who asks", "identity: {trust_domain: a, issuer: \"https://a\"}\nmcp_servers: [{label: a, command: a, auth: workload}]\n", "belongs to a url"},
		{"pages of a server for everybody", "auth: {browser_origins: [\"https://app.example\"]}\n", "called by no page"},
		{"pages of every origin", "auth: {mode: keys, browser_origins: [\"https://*.example\"]}\n", "auth.browser_origins[0] is no origin"},
		{"a page instead of its origin", "auth: {mode: keys, browser_origins: [\"https://app.example/\"]}\n", "auth.browser_origins[0] is no origin"},
		{"an issuer in the clear", "auth: {mode: oidc, issuers: [{url: \"http://login.example.com\"}]}\n", "auth.issuers[0].url must be an https:// address"},
		{"an issuer for everybody", "auth: {mode: oidc, issuers: [{url: \"https://a\", project: p, roles: [{role: agent}]}]}\n", "without audiences"},
		{"an issuer without project", "auth: {mode: oidc, issuers: [{url: \"https://a\", audiences: [b], roles: [{role: agent}]}]}\n", "needs one of project and project_claim"},
		{"an issuer without roles", "auth: {mode: oidc, issuers: [{url: \"https://a\", audiences: [b], project: p}]}\n", "has 0 roles"},
		{"a claim of any value", "auth: {mode: oidc, issuers: [{url: \"https://a\", audiences: [b], project: p, roles: [{role: agent, claim: c}]}]}\n", "roles[0] has one of claim and value"},
		{"issuers taken for each other", "auth: {mode: oidc, issuers: [{url: \"https://a\", audiences: [b], project: p, roles: [{role: agent}]}, {url: \"https://b\", audiences: [b], project: p, roles: [{role: agent}]}]}\n", "could name two people alike"},
		{"a short root key", "auth: {mode: keys, root_key: short}\n", "auth.root_key has 5 characters: it must have at least 32"},
		{"a root key for nobody", "auth: {root_key: 0123456789012345678901234567890123456789}\n", "auth.root_key is for auth mode keys"},
		{"auth misspelt", "auth: {mode: nonne}\n", `"nonne" is unknown`},
		{"database", "database: mysql://u:secret@h/db\n", "not a postgres:// URL"},
		{"api", "providers: [{name: a, api: soap, base_url: \"http://h\"}]\n", `providers[0].api is "soap"`},
		{"twice", "providers: [{name: a, api: sim}, {name: a, api: sim}]\n", "twice"},
		{"base url", "providers: [{name: a, api: chat}]\n", "providers[0].base_url must be"},
		{"no provider", "models: [{name: m, routes: [{provider: p, model: x}]}]\n", `no provider is named "p"`},
		{"routes", "models: [{name: m}]\n", "has no route"},
		{"server", "mcp_servers: [{label: a}]\n", "needs either url or command"},
		{"effect", "mcp_servers: [{label: a, command: b, effects: {t: maybe}}]\n", `"maybe"`},
		{"limit", "limits: {tool_seconds: -1}\n", "limits.tool_seconds is -1"},
		{"pace", "limits: {requests_per_minute: {key: -1}}\n", "limits.requests_per_minute.key is -1"},
		{"workspaces that vanish overnight", "environments: {expire_after_seconds: 60}\n", "environments.expire_after_seconds is 60: it must be 0, or between 7200 and"},
		{"a limit of the way out in another unit", "environments: {egress: {limits: {sent_gib: 1}}}\n", `unknown field "sent_gib"`},
		{"a weight", "providers: [{name: p, api: sim}]\nmodels: [{name: m, routes: [{provider: p, model: x, weight: -1}]}]\n", "models[0].routes[0].weight is -1: it must be between 0 and"},
		{"a lifecycle", "providers: [{name: p, api: sim}]\nmodels: [{name: m, lifecycle: old, routes: [{provider: p, model: x}]}]\n", `models[0].lifecycle is "old"`},
		{"a successor of a model that goes on", "providers: [{name: p, api: sim}]\nmodels: [{name: m, successor: n, routes: [{provider: p, model: x}]}]\n", "is not deprecated has no successor"},
		{"a deprecated model without a successor", "providers: [{name: p, api: sim}]\nmodels: [{name: m, lifecycle: deprecated, routes: [{provider: p, model: x}]}]\n", "is deprecated and names no successor"},
		{"a successor that is not there", "providers: [{name: p, api: sim}]\nmodels: [{name: m, lifecycle: deprecated, successor: n, routes: [{provider: p, model: x}]}]\n", `the successor of m is "n", which is not configured`},
		{"a long purpose", "providers: [{name: p, api: sim}]\nmodels: [{name: m, purpose: " + strings.Repeat("x", MaxWords+1) + ", routes: [{provider: p, model: x}]}]\n", "models[0].purpose has 513 bytes, the limit is 512"},
		{"nobody allowed by name", "providers: [{name: p, api: sim}]\nmodels: [{name: m, projects: [''], routes: [{provider: p, model: x}]}]\n", "models[0].projects has an empty name"},
		{"kinds of call", "providers: [{name: p, api: sim}]\nmodels: [{name: m, routes: [{provider: p, model: x, when: {calls: all}}]}]\n", `models[0].routes[0].when.calls is "all"`},
		{"a region that nobody is in", "providers: [{name: p, api: sim, region: eu}]\nresidency: [{labels: {data: eu}, regions: [ue]}]\n", `no provider and no route is in the region "ue"`},
		{"a rule about nobody", "residency: [{regions: [eu]}]\n", "residency[0] names no project and no labels"},
		{"a hedge's time", "providers: [{name: p, api: sim}]\nmodels: [{name: m, hedge: {after_ms: -1}, routes: [{provider: p, model: x}]}]\n", "models[0].hedge.after_ms is -1: it must be between 0 and 600000"},
		{"a project of no region", "residency: [{project: x}]\n", "the project x has no region"},
		{"a pool of nobody", "capacity: [{name: a, provider: p, concurrent: 1}]\n", `capacity[0]: no provider is named "p"`},
		{"a pool without a limit", "providers: [{name: p, api: sim}]\ncapacity: [{name: a, provider: p}]\n", "the pool a limits nothing"},
		{"two pools of one model", "providers: [{name: p, api: sim}]\ncapacity: [{name: a, provider: p, models: [m], concurrent: 1}, {name: b, provider: p, models: [m], concurrent: 1}]\n", "the pool a has m of p already"},
		{"a pool's numbers", "providers: [{name: p, api: sim}]\ncapacity: [{name: a, provider: p, concurrent: 1, wait_seconds: 4000}]\n", "capacity[0].wait_seconds is 4000: it must be between 0 and 3600"},
		{"a commitment to nobody", "commitments: [{name: c, provider: p, start: 2026-01-01, period: year, usd: 1}]\n", `no provider is named "p"`},
		{"a commitment for no pool", "commitments: [{name: c, pool: p, start: 2026-01-01, period: year, usd: 1}]\n", `no pool is named "p"`},
		{"a commitment's start", "providers: [{name: p, api: sim}]\ncommitments: [{name: c, provider: p, start: 2026-01-31, period: year, usd: 1}]\n", `starts at "2026-01-31"`},
		{"a commitment's period", "providers: [{name: p, api: sim}]\ncommitments: [{name: c, provider: p, start: 2026-01-01, period: week, usd: 1}]\n", `the period "week"`},
		{"a commitment of both", "providers: [{name: p, api: sim}]\ncommitments: [{name: c, provider: p, start: 2026-01-01, period: year, usd: 1, tokens: 1}]\n", "is of money or of tokens"},
		{"a budget that waits wrongly", "budgets: [{name: b, scope: user, limit: {calls: 1}, on_limit: ask}]\n", `on_limit "ask"`},
		{"a project's weight", "providers: [{name: p, api: sim}]\ncapacity: [{name: a, provider: p, concurrent: 1, weights: {x: 0}}]\n", "the weight of project x is 0"},
		{"two documents", "data: a\n---\ndata: b\n", "2 documents"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Load(Flags{File: write(t, tt.yaml)}, environ())
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q does not say %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q tells a secret", err)
			}
			if stead.KindOf(err) != stead.KindInvalid {
				t.Errorf("kind %s, want invalid", stead.KindOf(err))
			}
			var e *stead.Error
			if !errors.As(err, &e) || e.Hint == "" {
				t.Errorf("error %q has no hint", err)
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	_, err := Load(Flags{File: filepath.Join(t.TempDir(), "none.yaml")}, environ())
	var e *stead.Error
	if !errors.As(err, &e) || e.Hint == "" || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v lacks a hint or its cause", err)
	}
}

func TestExpand(t *testing.T) {
	env := environ("A", "1", "E", "")
	for in, want := range map[string]string{
		"x": "x", "${A}": "1", "a${A}b${A}": "a1b1", "${B:-2}": "2", "${A:-2}": "1", "${E}": "", "${E:-d}": "d", "$${A}": "${A}", "$A": "$A",
	} {
		got, err := expand(in, env)
		if err != nil || got != want {
			t.Errorf("expand(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestASecretInAFile(t *testing.T) {
	file := write(t, "sk-secret\n")
	if got, err := expand("key ${file:"+file+"}", environ()); got != "key sk-secret" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := expand("${file:"+file+"x:-none}", environ()); got != "none" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := expand("${file:"+file+"x}", environ()); err == nil || !strings.Contains(err.Error(), file+"x is not there") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(file, make([]byte, maxSecretBytes+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := expand("${file:"+file+"}", environ()); err == nil || !strings.Contains(err.Error(), "larger than the limit of 65536 bytes") {
		t.Errorf("%v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("listen: 127.0.0.1:1\nproviders: [{name: a, api: sim}]\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &Config{}
		if err := c.parse(data, environ("A", "1")); err == nil {
			_ = c.check()
		}
	})
}

// Whose a tool server or a client of an authorization server is, the file says; two clients of one issuer have projects of their own.
func TestServersAndClientsOfProjects(t *testing.T) {
	const client = `{issuer: "https://login.example", client_id: x, servers: ["https://a.example"], projects: [%s]}`
	for text, wrong := range map[string]string{
		`mcp_servers: [{label: a, url: "https://a.example", projects: [one]}]`:                                                       "",
		`mcp_servers: [{label: a, url: "https://a.example", projects: [""]}]`:                                                        "mcp_servers[0].projects",
		`oauth: {clients: [` + fmt.Sprintf(client, `""`) + `]}`:                                                                      "oauth.clients[0].projects",
		`oauth: {clients: [` + fmt.Sprintf(client, "one") + `, ` + fmt.Sprintf(client, "two, three") + `]}`:                          "",
		`oauth: {clients: [` + fmt.Sprintf(client, "one") + `, ` + fmt.Sprintf(client, "two, one") + `]}`:                            "oauth.clients[1].issuer",
		`oauth: {clients: [` + fmt.Sprintf(client, "one") + `, ` + fmt.Sprintf(client, "") + `]}`:                                    "oauth.clients[1].issuer",
		`oauth: {clients: [{issuer: "https://login.example", client_id: x}]}`:                                                        "oauth.clients[0].servers",
		`oauth: {clients: [{issuer: "https://login.example", client_id: x, servers: [a.example]}]}`:                                  "oauth.clients[0].servers[0]",
		`oauth: {clients: [{issuer: "https://login.example", client_id: x, servers: ["https://a.example", "http://b.example"]}]}`:    "oauth.clients[0].servers[1]",
		`oauth: {clients: [{issuer: "https://login.example", client_id: x, servers: ["https://a.example/mcp"], audiences: [""]}]}`:   "oauth.clients[0].audiences",
		`oauth: {clients: [{issuer: "https://login.example", client_id: x, servers: ["http://127.0.0.1:1/mcp"], audiences: [api]}]}`: "",
	} {
		file := filepath.Join(t.TempDir(), "stead.yaml")
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(Flags{File: file}, func(string) (string, bool) { return "", false })
		e, _ := errors.AsType[*stead.Error](err)
		if (err == nil) != (wrong == "") || e != nil && e.Param != wrong {
			t.Errorf("%s: %v", text, err)
		}
	}
}
