// Package config reads stead.yaml and the environment into one checked value.
//
// Shape: the file's keys are the fields below, one to one:
//
//	listen, data, database
//	auth        {mode, root_key, issuers, browser_origins}
//	identity    {trust_domain, issuer, algorithm, key_days, exchange_audiences, environments}
//	tls         {certificate, key, client_ca, client_auth}
//	client_certificates {allow: [{spiffe_id, subject, kind, id, project, role, bound}], deny: [{serial, spiffe_id, subject}]}
//	providers   [{name, api, base_url, api_key, headers, entra, dialect, region, access_key, secret_key, session_token}]
//	capacity    [{name, provider, models, tokens_per_minute, requests_per_minute, concurrent, …}]
//	commitments [{name, provider, pool, start, period, periods, usd, tokens, shortfall_usd_per_million}]
//	models      [{name, routes: [{provider, model, region, tier, weight, priority, when, price, hedge, version, …}], context_window, max_output_tokens, price, hedge,
//	              base, adapter, deployment, owner, purpose, lifecycle, successor, projects, agents}]
//	mcp_servers [{label, url, headers, command, args, env, effects, untrusted, auth, audience, projects}]
//	private_tool_servers
//	environments {driver, isolation, image, idle_seconds, expire_after_seconds, gvisor, docker, kubernetes, egress}
//	databases   [{name, driver, dsn, sql: {projects}, sources: {projects, samples, permissions: {roles, others}}, uploads: {projects, tables}, hidden}]
//	prices      [{version, valid_from, entries: [{provider, model, tier, input, cached_input, cache_write, output, reasoning}],
//	            tools: [{name, call}], environments: {hour, gigabyte_month, egress_gigabyte}}]
//	settlement  {rest, rules: [{name, match, shares: [{party, basis_points, unit, microcents_per_unit}]}]}
//	budgets     [{name, scope, of, period, limit: {usd, tokens, calls, seconds}, on_limit}]
//	approvals   {webhooks: [{name, url, secret, projects, headers, ca}]}
//	policies    {directory, inline, default}
//	sources     {directories: [{name, path, projects, permissions: {users, groups, others}}], repositories: [{name, path, url, token, projects}]}
//	builtin_guardrails  [secrets]; left out: all of them
//	guardrails  [{name, on, check: {pii, secrets, patterns, length, json_schema, judge}, action, scope, approval, reason}]
//	memory      {embeddings: {model, dimensions}}
//	oauth       {clients: [{issuer, client_id, client_secret, scopes, servers, audiences, projects}]}
//	semantic    {databases: [{name, driver, dsn, uploads: {projects, tables}}], models: [{file, projects}]}
//	seal_key, public_url
//	seal_kms    [{name, api, region, base_url, key, mount, namespace, access_key, secret_key, session_token, token, ca_file}]
//	limits      {drain_seconds, tool_seconds, model_idle_seconds, model_call_seconds}
//
// Precedence: a flag, then its environment variable (STEAD_LISTEN, STEAD_DATA,
// STEAD_DATABASE_URL), then the file, then the default. "${VAR}" in a value of the file is read
// from the environment, "${file:PATH}" from a file of its own, without the line break at its end;
// "${vault:VAULT/CREDENTIAL}" as a provider's api_key names a credential that is opened for each call;
// "${VAR:-text}" gives text where VAR is unset or empty. Expansion happens after parsing,
// so that a value can never become syntax.
//
// Units and limits: windows and outputs in tokens; prices in US dollars per million tokens; a file
// has at most MaxFileBytes, MaxProviders providers, MaxModels models and MaxServers tool servers.
//
// Errors: KindInvalid with a sentence that names the file and the line, the key, and what would be
// accepted. Nothing is guessed and no key is ignored: a misspelt limit that silently does not hold
// is worse than a server that does not start.
package config

import (
	"cmp"
	"net"
	"strings"
	"time"

	"github.com/stead-dev/stead"
)

// Defaults of what the file may leave out.
const (
	DefaultListen = "127.0.0.1:8787"
	DefaultData   = "./.stead"
	// DefaultDrain is how long a server that was told to stop waits for calls in flight.
	DefaultDrain = 25 * time.Second
)

// Limits of a configuration.
const (
	MaxFileBytes = 1 << 20
	MaxProviders = 64
	MaxModels    = 1024
	MaxServers   = 256
	// MaxLimit bounds each of Limits: nothing waits for ever.
	MaxLimit = 24 * time.Hour
)

// Environment variables that set what flags set.
const (
	EnvListen   = "STEAD_LISTEN"
	EnvData     = "STEAD_DATA"
	EnvDatabase = "STEAD_DATABASE_URL"
	EnvSealKey  = "STEAD_SEAL_KEY"
)

// Config is everything that a node is started with.
type Config struct {
	Listen   string `yaml:"listen"`
	Data     string `yaml:"data"`     // directory: SQLite and blobs
	Database string `yaml:"database"` // postgres://…; "" for SQLite
	Auth     Auth   `yaml:"auth"`
	TLS      TLS    `yaml:"tls"`
	// ClientCertificates says who comes with which TLS client certificate.
	ClientCertificates ClientCertificates `yaml:"client_certificates"`
	Identity           Identity           `yaml:"identity"`
	Providers          []Provider         `yaml:"providers"`
	Models             []Model            `yaml:"models"`
	Servers            []Server           `yaml:"mcp_servers"`
	// PrivateToolServers are names and networks (CIDR) that are not public, in which agents may name tool servers. It counts
	// with authentication; without, there is one user, whose machine it is.
	PrivateToolServers []string `yaml:"private_tool_servers"`
	Limits             Limits   `yaml:"limits"`
	// Residency keeps projects in regions.
	Residency []Residency `yaml:"residency"`
	// Capacity are pools of reserved throughput.
	Capacity []Pool `yaml:"capacity"`
	// Environments are the computers of agents.
	Environments Environments `yaml:"environments"`
	// SealKey seals what is confidential; "": the key in the data directory. Nodes that share a
	// database share it.
	SealKey string `yaml:"seal_key"`
	// SealKMS are the key management services that have wrapped keys in SealKey.
	SealKMS []SealKMS `yaml:"seal_kms"`
	// PublicURL is the address at which others reach this server; "": where it listens.
	PublicURL string `yaml:"public_url"`
	// OAuth is how this server is known where users of tool servers give their consent.
	OAuth OAuth `yaml:"oauth"`
	// Prices are the editions of the price book.
	Prices []Prices `yaml:"prices"`
	// Settlement says who gets which share of what was used.
	Settlement Settlement `yaml:"settlement"`
	// Commitments are what was promised to providers.
	Commitments []Commitment `yaml:"commitments"`
	// Budgets limit what model calls may use.
	Budgets []Budget `yaml:"budgets"`
	// Policies decide behind what roles allow.
	Policies Policies `yaml:"policies"`
	// Audit says where audit logs are sent to.
	Audit Audit `yaml:"audit"`
	// Approvals says who is told of requests for approval.
	Approvals Approvals `yaml:"approvals"`
	// Retention says how long projects keep things.
	Retention []Retention `yaml:"retention"`
	// Sources is what sources of vector stores may read.
	Sources Sources `yaml:"sources"`
	// Guardrails check what goes to and comes from agents, in this order.
	Guardrails []Guardrail `yaml:"guardrails"`
	// BuiltinGuardrails are those that come with Stead; left out: all of them, and [] is none.
	BuiltinGuardrails []string `yaml:"builtin_guardrails"`
	// Memory says what memories and passages are found by.
	Memory Memory `yaml:"memory"`
	// Databases are SQL databases that are read.
	Databases []Database `yaml:"databases"`
	// Semantic are models of what data means.
	Semantic Semantic `yaml:"semantic"`

	// Sections are the keys of the file that have a value, be it an empty list.
	Sections []string `yaml:"-"`
	// Notes are sentences for the person who starts the server: what was found and is not used.
	Notes []string `yaml:"-"`
}

// Provider is an upstream that runs models.
type Provider struct {
	Name    string            `yaml:"name"`
	API     string            `yaml:"api"` // one of those below
	BaseURL string            `yaml:"base_url"`
	APIKey  string            `yaml:"api_key"` // see KeyInVault
	Region  string            `yaml:"region"`  // of its routes, see Residency; api bedrock calls it
	Headers map[string]string `yaml:"headers"`

	// Of api azure: credentials in place of api_key, and APIResponses (also when empty) or APIChat.
	Entra   *Entra `yaml:"entra"`
	Dialect string `yaml:"dialect"`

	// Of api bedrock: requests are signed for Region with an access key, unless there is an api_key.
	AccessKey    string `yaml:"access_key"`
	SecretKey    string `yaml:"secret_key"`
	SessionToken string `yaml:"session_token"`
}

// The dialects of a Provider.
const (
	APIResponses = "responses"
	APIChat      = "chat"
	APISim       = "sim"
	APIAnthropic = "anthropic"
	APIGemini    = "gemini"
)

// The addresses of those that have one of their own; base_url may be left out.
const (
	DefaultAnthropicURL = "https://api.anthropic.com/v1"
	DefaultGeminiURL    = "https://generativelanguage.googleapis.com/v1beta"
)

// Server is a tool server of the operator, which agents name by its label. It is reached by URL
// (streamable HTTP) or started as a command (stdio).
type Server struct {
	Label   string            `yaml:"label"`
	URL     string            `yaml:"url"`
	Headers map[string]string `yaml:"headers"`
	Command string            `yaml:"command"`
	Args    []string          `yaml:"args"`
	Env     map[string]string `yaml:"env"`
	Effects map[string]string `yaml:"effects"` // tool name → "pure", "idempotent" or "unknown"
	// Untrusted: strangers may write what it says of its tools; a session whose model is told of them is labelled so.
	Untrusted bool `yaml:"untrusted"`
	// Auth says which token of the agent's requests carry: AuthWorkload or AuthOnBehalfOf; "": none. Audience is whom they are
	// for; "": the URL.
	Auth     string   `yaml:"auth"`
	Audience string   `yaml:"audience"`
	Projects []string `yaml:"projects"` // that have it; none: all
}

// Limits are the few that an operator may set; every other one is a constant of package stead.
type Limits struct {
	DrainSeconds     int `yaml:"drain_seconds"`      // waits for calls in flight at a stop; 0: DefaultDrain
	ToolSeconds      int `yaml:"tool_seconds"`       // longest tool call; 0: stead.ToolTimeout
	ModelIdleSeconds int `yaml:"model_idle_seconds"` // longest silence of a model; 0: stead.ModelIdleTimeout
	ModelCallSeconds int `yaml:"model_call_seconds"` // longest call of a model on one route; 0: stead.ModelCallTimeout
	// RequestsPerMinute are how many requests a node takes of whoever sends them.
	RequestsPerMinute Pace `yaml:"requests_per_minute"`
}

// Pace is how many requests a minute each key, each user or service, and each project may send to a node; 0: as many as they like.
type Pace struct {
	Key       int `yaml:"key"`
	Principal int `yaml:"principal"`
	Project   int `yaml:"project"`
}

// MaxPace bounds each of Pace.
const MaxPace = 10_000_000

// Drain is how long to wait for calls in flight when the server stops.
func (c *Config) Drain() time.Duration {
	if c.Limits.DrainSeconds == 0 {
		return DefaultDrain
	}
	return time.Duration(c.Limits.DrainSeconds) * time.Second
}

// ToolTimeout is the longest wall time of one tool call, 0 for the default.
func (c *Config) ToolTimeout() time.Duration {
	return time.Duration(c.Limits.ToolSeconds) * time.Second
}

// ModelIdleTimeout is the longest silence of a model, 0 for the default.
func (c *Config) ModelIdleTimeout() time.Duration {
	return time.Duration(c.Limits.ModelIdleSeconds) * time.Second
}

// ModelCallTimeout is the longest that a call of a model takes on one route.
func (c *Config) ModelCallTimeout() time.Duration {
	return cmp.Or(time.Duration(c.Limits.ModelCallSeconds)*time.Second, stead.ModelCallTimeout)
}

// Dialect names the database in words.
func (c *Config) Dialect() string {
	if c.Database != "" {
		return "postgres"
	}
	return "sqlite"
}

// Loopback reports whether an address can be reached from this machine alone. A host name other
// than localhost is not: what it resolves to may change under the server.
func Loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// invalid makes an error about a key of the file.
func invalid(param, hint, format string, args ...any) error {
	e := stead.Invalid(param, format, args...)
	e.Hint = hint
	return e
}
