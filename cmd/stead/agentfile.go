package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// What the keys of an agent file mean when they are not there: what the server makes of them.

// agentDefaults are the settings of an agent that says nothing.
func agentDefaults() map[string]any {
	return map[string]any{
		"instructions": nil,
		"tools":        nil,
		"metadata":     nil,
		"max_steps":    nil,
		"service_tier": "auto",
		"reasoning":    map[string]any{"effort": nil, "summary": nil},
		"text":         map[string]any{"format": map[string]any{"type": "text"}, "verbosity": "medium"},
		"multi_agent":  map[string]any{"enabled": false},
		"compaction":   map[string]any{"async": true},
		"experimental": map[string]any{"time_awareness": false},
	}
}

// toolDefaults are the settings of a tool that says nothing, by its type.
func toolDefaults(kind string) map[string]any {
	switch kind {
	case "mcp":
		return map[string]any{"allowed_tools": nil, "required": false, "require_approval": nil, "effects": nil, "request_metadata": nil}
	case "function":
		return map[string]any{"description": "", "async": false, "defer_loading": false}
	}
	return nil
}

// fill adds to have what it does not say, one level deep: a format or a schema is one value.
func fill(have, defaults map[string]any) {
	for k, v := range defaults {
		if have[k] == nil {
			have[k] = v
			continue
		}
		inner, isObject := have[k].(map[string]any)
		if more, ok := v.(map[string]any); ok && isObject {
			for name, value := range more {
				if inner[name] == nil {
					inner[name] = value
				}
			}
		}
	}
}

// withTools is spec with the defaults of its tools, to compare with what the server has. They are
// not sent: a list of tools replaces the one before it whole.
func withTools(spec map[string]any) map[string]any {
	list, _ := spec["tools"].([]any)
	if len(list) == 0 {
		return spec
	}
	whole := make([]any, len(list))
	for i, t := range list {
		whole[i] = t
		if tool, ok := t.(map[string]any); ok {
			copied := maps.Clone(tool)
			kind, _ := tool["type"].(string)
			fill(copied, toolDefaults(kind))
			whole[i] = copied
		}
	}
	spec = maps.Clone(spec)
	spec["tools"] = whole
	return spec
}

// checkKeys refuses a key that no agent has: the server ignores it, and a misspelt word would
// silently not happen. It drops those that `stead agents show` prints and nobody can set.
func checkKeys(path string, spec map[string]any) error {
	for _, k := range []string{"id", "object", "version", "created_at", "updated_at"} {
		delete(spec, k)
	}
	known := append(slices.Collect(maps.Keys(agentDefaults())), "name", "model")
	slices.Sort(known)
	for _, k := range slices.Sorted(maps.Keys(spec)) {
		if !slices.Contains(known, k) {
			e := stead.Invalid(k, "%s: no agent has a key %q", path, k)
			e.Hint = "The keys are " + strings.Join(known, ", ") + "."
			return e
		}
	}
	return nil
}
