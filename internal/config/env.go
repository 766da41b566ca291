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

// fromEnvironment makes providers of the keys that are set, and of none the simulator.
// The simulator is always there beside them: examples and tests ask for it by name.
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
		base := k.baseURL
		if k.name == "openai" {
			if v, ok := env("OPENAI_BASE_URL"); ok && v != "" {
				base = v
			}
		}
		c.Providers = append(c.Providers, Provider{Name: k.name, API: k.api, BaseURL: base, APIKey: key})
	}
	c.Providers = append(c.Providers, Provider{Name: SimModel, API: APISim})
}
