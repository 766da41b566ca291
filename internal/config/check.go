package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// check refuses what would fail later, or silently not happen.
func (c *Config) check() error {
	for _, step := range []func() error{c.checkDoor, c.checkDatabase, c.checkProviders, c.checkModels, c.checkIdentity, c.checkOAuth, c.checkServers, c.checkEnvironments, c.checkResidency, c.checkCapacity, c.checkCommitments, c.checkBudgets, c.checkPolicies, c.checkGuardrails, c.checkMemory, c.checkSemantic, c.checkAudit, c.checkApprovals, c.checkRetention, c.checkPrices, c.checkSettlement} {
		if err := step(); err != nil {
			return err
		}
	}
	for key, n := range map[string]int{
		"drain_seconds": c.Limits.DrainSeconds, "tool_seconds": c.Limits.ToolSeconds, "model_idle_seconds": c.Limits.ModelIdleSeconds,
		"model_call_seconds": c.Limits.ModelCallSeconds,
	} {
		if most := int(MaxLimit.Seconds()); n < 0 || n > most {
			return invalid("limits."+key, "It counts whole seconds; 0 is the default.", "limits.%s is %d: it must be between 0 and %d", key, n, most)
		}
	}
	pace := c.Limits.RequestsPerMinute
	for key, n := range map[string]int{"key": pace.Key, "principal": pace.Principal, "project": pace.Project} {
		if n < 0 || n > MaxPace {
			return invalid("limits.requests_per_minute."+key, "0 is no limit.", "limits.requests_per_minute.%s is %d: it must be between 0 and %d", key, n, MaxPace)
		}
	}
	return c.checkSources()
}

func (c *Config) checkDoor() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return invalid("listen", "Write it as HOST:PORT, for example 127.0.0.1:8787.", "listen %q is not an address", c.Listen)
	}
	if err := c.checkTLS(); err != nil {
		return err
	}
	if err := c.checkClientCertificates(); err != nil {
		return err
	}
	return c.checkAuth()
}

func (c *Config) checkDatabase() error {
	if c.Database == "" {
		return nil
	}
	u, err := url.Parse(c.Database)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		// The value may hold a password: it is not repeated.
		return invalid("database", "Write postgres://USER:PASSWORD@HOST:PORT/NAME, or leave it empty for SQLite in the data directory.",
			"database is not a postgres:// URL")
	}
	return nil
}

func (c *Config) checkProviders() error {
	if len(c.Providers) > MaxProviders {
		return invalid("providers", "Remove some.", "%d providers are more than the limit of %d", len(c.Providers), MaxProviders)
	}
	seen := map[string]bool{} // names
	for i, p := range c.Providers {
		at := fmt.Sprintf("providers[%d]", i)
		switch {
		case p.Name == "" || strings.ContainsAny(p.Name, "/ "):
			return invalid(at+".name", "Write name: openai, for example; models are then asked for as openai/MODEL.", "%s.name is %q: it must be a word without spaces and slashes", at, p.Name)
		case seen[p.Name]:
			return invalid(at+".name", "Give each its own name.", "%s: the provider %s is there twice", at, p.Name)
		}
		if err := p.checkKey(at); err != nil {
			return err
		}
		if err := p.checkCloud(at); err != nil {
			return err
		}
		switch {
		case p.API == APISim:
			if p.BaseURL != "" || p.APIKey != "" {
				return invalid(at, "Remove base_url and api_key.", "%s: the simulator calls nobody", at)
			}
		case p.API == APIAzure || p.API == APIBedrock: // checked above
		case p.API == APIAnthropic && p.BaseURL == "":
			c.Providers[i].BaseURL = DefaultAnthropicURL
		case p.API == APIGemini && p.BaseURL == "":
			c.Providers[i].BaseURL = DefaultGeminiURL
		case p.API == APIResponses || p.API == APIChat || p.API == APIAnthropic || p.API == APIGemini:
			if err := checkURL(at+".base_url", p.BaseURL); err != nil {
				return err
			}
		default:
			return invalid(at+".api", "The APIs are responses, chat, anthropic, gemini, azure, bedrock and sim.", "%s.api is %q, which is not supported", at, p.API)
		}
		seen[p.Name] = true
	}
	return nil
}

func (c *Config) checkServers() error {
	if len(c.Servers) > MaxServers {
		return invalid("mcp_servers", "Remove some.", "%d tool servers are more than the limit of %d", len(c.Servers), MaxServers)
	}
	seen := map[string]bool{} // labels
	for i, s := range c.Servers {
		at := fmt.Sprintf("mcp_servers[%d]", i)
		switch {
		case s.Label == "":
			return invalid(at+".label", "Write label: NAME, which agents ask for.", "%s has no label", at)
		case seen[s.Label]:
			return invalid(at+".label", "Give each its own label.", "%s: the label %s is there twice", at, s.Label)
		case (s.URL == "") == (s.Command == ""):
			return invalid(at, "A server is reached by its url or started by its command.", "%s needs either url or command", at)
		case s.Command == "" && (len(s.Args) > 0 || len(s.Env) > 0):
			return invalid(at, "Remove them, or write command instead of url.", "%s: args and env belong to a command", at)
		case s.Command != "" && len(s.Headers) > 0:
			return invalid(at, "Remove them; what a command must know goes into env.", "%s: headers belong to a url", at)
		}
		if err := c.checkServerAuth(at, s); err != nil {
			return err
		}
		if err := checkAllowed(at, "projects", s.Projects); err != nil {
			return err
		}
		if s.URL != "" {
			if err := checkURL(at+".url", s.URL); err != nil {
				return err
			}
		}
		for name, class := range s.Effects {
			if class != "pure" && class != "idempotent" && class != "unknown" {
				return invalid(at+".effects", "The classes are pure, idempotent and unknown.", "%s: the effect of %s is %q, which is no class", at, name, class)
			}
		}
		seen[s.Label] = true
	}
	return nil
}

func checkURL(param, value string) error {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return invalid(param, "Write it whole, for example http://127.0.0.1:11434/v1.", "%s must be an http:// or https:// address", param)
	}
	return nil
}
