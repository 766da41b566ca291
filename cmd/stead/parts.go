package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/config"
	"github.com/stead-dev/stead/internal/egress"
	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/anthropic"
	"github.com/stead-dev/stead/internal/model/azure"
	"github.com/stead-dev/stead/internal/model/bedrock"
	"github.com/stead-dev/stead/internal/model/gemini"
	"github.com/stead-dev/stead/internal/model/openai"
	"github.com/stead-dev/stead/internal/model/sim"
	"github.com/stead-dev/stead/internal/model/upstream"
	"github.com/stead-dev/stead/internal/tool"
	"github.com/stead-dev/stead/internal/tool/mcp"
	"github.com/stead-dev/stead/internal/tool/schema"
)

// provider makes one of the configuration; no call of it takes longer than limit.
// keys finds those that are in vaults.
func provider(p config.Provider, limit time.Duration, keys keyring) (model.Model, error) {
	hc := upstream.HTTPClient(limit)
	var key upstream.KeySource
	if at, ok := p.KeyInVault(); ok {
		p.APIKey, key = "", keys.of(at)
	}
	switch p.API {
	case config.APISim:
		return sim.New(sim.Options{}), nil
	case config.APIAnthropic:
		return anthropic.New(anthropic.Config{Name: p.Name, HTTPClient: hc, BaseURL: p.BaseURL, APIKey: p.APIKey, Key: key, Headers: p.Headers})
	case config.APIAzure:
		return azureProvider(p, hc, key)
	case config.APIBedrock:
		return bedrock.New(bedrock.Config{Name: p.Name, HTTPClient: hc, Region: p.Region, BaseURL: p.BaseURL, APIKey: p.APIKey, Key: key, Headers: p.Headers,
			AccessKey: p.AccessKey, SecretKey: p.SecretKey, SessionToken: p.SessionToken})
	case config.APIGemini:
		return gemini.New(gemini.Config{Name: p.Name, HTTPClient: hc, BaseURL: p.BaseURL, APIKey: p.APIKey, Key: key, Headers: p.Headers})
	}
	return openai.New(openai.Config{Name: p.Name, HTTPClient: hc, API: p.API, BaseURL: p.BaseURL, APIKey: p.APIKey, Key: key, Headers: p.Headers})
}

func azureProvider(p config.Provider, hc *http.Client, key upstream.KeySource) (model.Model, error) {
	c := azure.Config{Name: p.Name, HTTPClient: hc, API: p.Dialect, BaseURL: p.BaseURL, APIKey: p.APIKey, Key: key, Headers: p.Headers}
	if e := p.Entra; e != nil {
		c.Entra = &azure.Entra{Tenant: e.Tenant, ClientID: e.ClientID, ClientSecret: e.ClientSecret, Authority: e.Authority, Scope: e.Scope}
	}
	return azure.New(c)
}

// toolServers are the operator's tool servers.
func toolServers(cfg *config.Config) []mcp.Configured {
	var out []mcp.Configured
	for _, s := range cfg.Servers {
		c := mcp.Configured{Label: s.Label, URL: s.URL, Headers: s.Headers, Command: s.Command, Args: s.Args, Env: s.Env, Projects: projectIDs(s.Projects), Identified: s.Auth != "", Untrusted: s.Untrusted}
		for name, class := range s.Effects {
			if c.Effects == nil {
				c.Effects = map[string]tool.Effect{}
			}
			c.Effects[name] = tool.Effect(class)
		}
		out = append(out, c)
	}
	return out
}

// toolGuard keeps agents of others from naming tool servers within the operator's network.
func toolGuard(cfg *config.Config) (mcp.Guard, error) {
	if cfg.Auth.Mode == config.AuthNone {
		return nil, nil
	}
	g, err := egress.NewGuard(cfg.PrivateToolServers, nil)
	if err != nil {
		e := stead.Wrap(stead.KindInvalid, err, "private_tool_servers can't be used: %s", oneLine(err.Error(), 200))
		e.Param, e.Hint = "private_tool_servers", "Write names, such as tools.corp.example, or networks, such as 10.1.0.0/16."
		return nil, e
	}
	return g, nil
}

// checkSchema says whether a JSON Schema can be used for a tool.
func checkSchema(raw json.RawMessage) error {
	_, err := schema.Compile(raw)
	return err
}

// checkArguments says whether a model's arguments fit a tool's schema; schemas are compiled once.
func checkArguments() func(schema, arguments []byte) error {
	cache := schema.NewCache()
	return func(raw, arguments []byte) error {
		s, err := cache.Compile(raw)
		if err != nil {
			return err
		}
		return s.Check(arguments)
	}
}
