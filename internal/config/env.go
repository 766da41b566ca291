package config

import "fmt"

// SimModel is what agents ask for to get the simulator.
const SimModel = "sim"

// known are the key variables that people have set already for other programs. Those without an
// API are named when they are found, so that nobody wonders why a key does nothing.
func known() []struct{ env, name, api, baseURL string } {
	return []struct{ env, name, api, baseURL string }{
		{"OPENAI_API_KEY", "openai", APIResponses, "https://api.openai.com/v1"},
		{"ANTHROPIC_API_KEY", "anthropic", "", ""},
		{"GEMINI_API_KEY", "gemini", "", ""},
		{"GOOGLE_API_KEY", "gemini", "", ""},
		{"MISTRAL_API_KEY", "mistral", "", ""},
		{"AZURE_OPENAI_API_KEY", "azure", "", ""},
	}
}

// DefaultOpenAIModel is what "default" means when nothing but OPENAI_API_KEY says what to use.
const DefaultOpenAIModel = "gpt-5-mini"

// fromEnvironment makes providers of the keys that are set, and of none nothing: the simulator then
// serves. Beside real providers it stays there under its name: examples and tests ask for it.
func (c *Config) fromEnvironment(env func(string) (string, bool)) {
	for _, k := range known() {
		key, ok := env(k.env)
		if !ok || key == "" {
			continue
		}
		if k.api == "" {
			c.Notes = append(c.Notes, fmt.Sprintf("%s is set, but the provider %s is not supported yet.", k.env, k.name))
			continue
		}
		c.useOpenAI(k.name, k.api, k.baseURL, key, env)
	}
	if len(c.Providers) > 0 {
		c.Providers = append(c.Providers, Provider{Name: SimModel, API: APISim})
		c.Models = append(c.Models, Model{Name: SimModel, Routes: []Route{{Provider: SimModel, Model: SimModel}}})
	}
}

// useOpenAI adds the provider, and the names of its models that programs ask for without "openai/".
func (c *Config) useOpenAI(name, api, base, key string, env func(string) (string, bool)) {
	if v, ok := env("OPENAI_BASE_URL"); ok && v != "" {
		base = v
	}
	c.Providers = append(c.Providers, Provider{Name: name, API: api, BaseURL: base, APIKey: key})
	c.Models = append(c.Models, Model{Name: "default", Routes: []Route{{Provider: name, Model: DefaultOpenAIModel}}})
	for _, m := range []string{"gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "gpt-4o", "gpt-4o-mini"} {
		c.Models = append(c.Models, Model{Name: m, Routes: []Route{{Provider: name, Model: m}}})
	}
}
