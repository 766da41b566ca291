// Package claude knows what Claude models take, wherever they are served: Anthropic's own wire and
// Bedrock's differ, the models behind them do not.
//
// Shape: a model's name → its version → how it thinks, how much it may write, and what it refuses. Pure
// functions.
//
// Units: tokens. A name that holds no version counts as newer than this code.
//
// Errors: *model.Error of CodeInvalid, for what a model refuses; it says what to leave out.
//
// Source: platform.claude.com/docs: about-claude/models, build-with-claude/{extended-thinking,adaptive-thinking}.
package claude

import (
	"strconv"
	"strings"

	"github.com/stead-dev/stead/internal/model"
	"github.com/stead-dev/stead/internal/model/upstream"
)

// Version is that of a model family: 4.6 is {4, 6}.
type Version struct{ major, minor int }

// AtLeast reports whether it is a version or a later one.
func (v Version) AtLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

// VersionOf reads the version in a model's name: claude-sonnet-4-5-20250929, claude-3-7-sonnet-latest.
// A name without one is newer than this code: the oldest models all have theirs.
func VersionOf(name string) Version {
	v := Version{major: -1}
	_, rest, ok := strings.Cut(name, "claude-")
	if !ok {
		return Version{major: unknownMajor}
	}
	for part := range strings.SplitSeq(rest, "-") {
		n, err := strconv.Atoi(part)
		switch {
		case err != nil && v.major < 0:
			continue // the family's name
		case err != nil || n > 99: // a date
			if v.major >= 0 {
				return v
			}
		case v.major < 0:
			v.major = n
		default:
			v.minor = n
			return v
		}
	}
	if v.major < 0 {
		return Version{major: unknownMajor}
	}
	return v
}

// The budgets of thinking, in tokens, for models that do not choose their own. The wire takes none
// below minBudget, and wants max_tokens to be larger.
const (
	minBudget     = 1024
	lowBudget     = 2048
	mediumBudget  = 8192
	highBudget    = 16384
	highestBudget = 24576
)

// What a call may write when nobody says: each family writes at least that.
const (
	maxTokensOld  = 4096  // before Claude 3.5
	maxTokens35   = 8192  // Claude 3.5
	maxTokensElse = 32000 // from Claude 3.7 on
)

// MaxTokens is what a call may write.
func MaxTokens(req model.Request, v Version) int {
	switch {
	case req.MaxOutputTokens > 0:
		return req.MaxOutputTokens
	case v.AtLeast(3, 7):
		return maxTokensElse
	case v.AtLeast(3, 5):
		return maxTokens35
	}
	return maxTokensOld
}

// Thinking is the value of the field of that name, nil for none, and of output_config.effort.
func Thinking(req model.Request, v Version, limit int) (how upstream.Fields, effort string) {
	if req.Effort == "none" || req.Effort == "" && req.ReasonSummary == "" || !v.AtLeast(3, 7) {
		return nil, ""
	}
	if v.AtLeast(4, 6) {
		how = upstream.Fields{"type": "adaptive"}
		if req.ReasonSummary != "" {
			how["display"] = "summarized"
		}
		return how, adaptiveEffort(req.Effort, v)
	}
	budget := map[string]int{"minimal": minBudget, "low": lowBudget, "": mediumBudget, "medium": mediumBudget,
		"high": highBudget}[req.Effort]
	if budget == 0 {
		budget = highestBudget
	}
	if budget >= limit {
		budget = limit / 2
	}
	if budget < minBudget {
		return nil, "" // no room to think in
	}
	return upstream.Fields{"type": "enabled", "budget_tokens": budget}, ""
}

// adaptiveEffort is the wire's word: it has low, medium, high and max, and xhigh from Claude 4.7 on.
func adaptiveEffort(effort string, v Version) string {
	switch {
	case effort == "minimal":
		return "low"
	case effort == "xhigh" && !v.AtLeast(4, 7):
		return "high"
	}
	return effort
}
