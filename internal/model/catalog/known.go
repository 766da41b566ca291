package catalog

import "strings"

// limits of a model, in tokens; 0: unknown.
type limits struct{ context, output int }

// knownLimits are those that OpenAI publishes for its models (platform.openai.com/docs/models), for
// the name itself and its dated snapshots ("gpt-4o-2024-08-06"). Other vendors' windows depend on
// how a server was started, so they are the operator's to say.
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
	return limits{}
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
