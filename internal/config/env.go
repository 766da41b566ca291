package config

import (
	"fmt"
	"slices"
)

// SimModel is what agents ask for to get the simulator.
const SimModel = "sim"

// found is a provider that a key variable makes, which people have set already for other programs.
type found struct {
	env, name, api string // api "": it is named when it is found, so that nobody wonders why a key does nothing
	base, baseEnv  string
	model          string   // what "default" means when no other key comes before
	aliases        []string // models that programs ask for without the provider's name
}

// known are the keys in their order: the first one that is set decides what "default" means.
func known() []found {
	return []found{
		{env: "OPENAI_API_KEY", name: "openai", api: APIResponses, base: "https://api.openai.com/v1", baseEnv: "OPENAI_BASE_URL", model: DefaultOpenAIModel,
			aliases: []string{"gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o", "gpt-4o-mini"}},
		{env: "ANTHROPIC_API_KEY", name: "anthropic", api: APIAnthropic, base: DefaultAnthropicURL, baseEnv: "ANTHROPIC_BASE_URL", model: DefaultAnthropicModel,
			aliases: []string{"claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5"}},
		{env: "GEMINI_API_KEY", name: "gemini", api: APIGemini, base: DefaultGeminiURL, model: DefaultGeminiModel,
			aliases: []string{"gemini-2.5-pro", "gemini-2.5-flash", "gemini-flash-latest"}},
		{env: "GOOGLE_API_KEY", name: "gemini", api: APIGemini, base: DefaultGeminiURL, model: DefaultGeminiModel,
			aliases: []string{"gemini-2.5-pro", "gemini-2.5-flash", "gemini-flash-latest"}},
		{env: "MISTRAL_API_KEY", name: "mistral"},
	}
}

// What "default" means when nothing but a key says what to use. Google's name follows its newest model.
const (
	DefaultOpenAIModel    = "gpt-5-mini"
	DefaultAnthropicModel = "claude-sonnet-4-6"
	DefaultGeminiModel    = "gemini-flash-latest"
)

// fromEnvironment makes providers of the keys that are set, and of none nothing: the simulator then
// serves. Beside real providers it stays there under its name: examples and tests ask for it.
func (c *Config) fromEnvironment(env func(string) (string, bool)) {
	for _, k := range known() {
		key, ok := env(k.env)
		if !ok || key == "" || slices.ContainsFunc(c.Providers, func(p Provider) bool { return p.Name == k.name }) {
			continue
		}
		if k.api == "" {
			c.Notes = append(c.Notes, fmt.Sprintf("%s is set, but the provider %s is not supported yet.", k.env, k.name))
			continue
		}
		if v, ok := env(k.baseEnv); ok && v != "" {
			k.base = v
		}
		c.use(k, key)
	}
	c.cloudsFromEnvironment(env)
	if len(c.Providers) > 0 {
		c.Providers = append(c.Providers, Provider{Name: SimModel, API: APISim})
		c.Models = append(c.Models, Model{Name: SimModel, Routes: []Route{{Provider: SimModel, Model: SimModel}}})
	}
}

// use adds the provider, and the names of its models that programs ask for without "openai/".
func (c *Config) use(k found, key string) {
	c.add(Provider{Name: k.name, API: k.api, BaseURL: k.base, APIKey: key}, k.model)
	for _, m := range k.aliases {
		c.Models = append(c.Models, Model{Name: m, Routes: []Route{{Provider: k.name, Model: m}}})
	}
}
