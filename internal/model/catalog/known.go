package catalog

import (
	"slices"
	"strings"
)

// limits of a model, in tokens; 0: unknown.
type limits struct{ context, output int }

// knownLimits are those that OpenAI, Anthropic and Google publish for their models
// (platform.openai.com/docs/models, platform.claude.com/docs/en/about-claude/models, ai.google.dev/gemini-api/docs/models),
// for the name itself and its snapshots ("gpt-4o-2024-08-06", "claude-haiku-4-5-20251001"). Of other models
// it depends on how a server was started, so that they are the operator's to say.
func knownLimits(upstream string) limits {
	switch undated(upstream) {
	case "gpt-4o", "gpt-4o-mini":
		return limits{128_000, 16_384}
	case "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano":
		return limits{1_047_576, 32_768}
	case "o1", "o3", "o3-mini", "o4-mini":
		return limits{200_000, 100_000}
	case "gpt-5", "gpt-5-mini", "gpt-5-nano":
		return limits{400_000, 128_000}
	}
	switch {
	case family(upstream, "claude-opus-4-0", "claude-opus-4-1", "claude-opus-4-20250514"):
		return limits{200_000, 32_000}
	case family(upstream, "claude-opus-4", "claude-sonnet-4", "claude-haiku-4", "claude-3-7-sonnet"):
		return limits{200_000, 64_000}
	case family(upstream, "gemini-2.5-pro", "gemini-2.5-flash", "gemini-3-pro", "gemini-3-flash", "gemini-flash-latest"):
		return limits{1_048_576, 65_536}
	}
	return limits{}
}

// family reports whether a model is one of some, or a version or snapshot of it.
func family(name string, of ...string) bool {
	return slices.ContainsFunc(of, func(f string) bool { return name == f || strings.HasPrefix(name, f+"-") })
}

// undated cuts a trailing "-2024-08-06" off.
func undated(name string) string {
	const form = "-dddd-dd-dd"
	at := len(name) - len(form)
	if at <= 0 {
		return name
	}
	for i := range len(form) {
		digit := name[at+i] >= '0' && name[at+i] <= '9'
		if form[i] == 'd' && !digit || form[i] == '-' && name[at+i] != '-' {
			return name
		}
	}
	return strings.TrimSuffix(name, name[at:])
}
