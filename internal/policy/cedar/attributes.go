package cedar

import (
	"math/bits"
	"strings"
	"sync"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/stead-dev/stead/internal/policy"
)

// attributes are those of the context, as a set.
type attributes uint64

// The attributes of the context of any action: see the schema.
const (
	atProject attributes = 1 << iota
	atChain
	atSession
	atLabels
	atNow
	atHour
	atWeekday
	atSpend
	atServer
	atTool
	atClass
	atArguments
	atNumbers
	atText
	atModel
	atKind
	atScope
	atScopeID
	atOwn
	atEntryLabels
	atDestination
	atHost
	atPort
	atMethod
	atPath
	atMetrics
	atEntities
	atDimensions
	atRows
	atSource
	atFileLabels
	atBehind
	atOrigin
	atDepth
	atBudgets
	atEnd

	attributeCount = iota - 1

	atAll    = atEnd - 1
	atLooked = atArguments | atNumbers | atText // a tool call's arguments
)

// attributeNames are their names, in the order of the constants.
func attributeNames() []string {
	return []string{"project", "chain", "session", "labels", "now", "hour", "weekday", "spend", "server", "tool", "class", "arguments", "numbers", "text",
		"model", "kind", "scope", "scope_id", "own", "entry_labels", "destination", "host", "port", "method", "path", "metrics", "entities", "dimensions", "rows", "source", "file_labels", "behind", "origin", "depth", "budgets"}
}

// attributeName is the name of one, by the place of its bit, and named is the one of a name. They never change.
var attributeName, named = func() (names []types.String, back map[string]attributes) {
	back = map[string]attributes{}
	for i, name := range attributeNames() {
		names, back[name] = append(names, types.String(name)), 1<<i
	}
	return names, back
}()

// name is that of one attribute.
func (a attributes) name() types.String { return attributeName[bits.TrailingZeros64(uint64(a))] }

// next parts one attribute from the others.
func (a attributes) next() (one, others attributes) {
	others = a & (a - 1)
	return a ^ others, others
}

// attributesOf are those of the context of an effect, as the schema has them.
var attributesOf = sync.OnceValue(func() map[policy.Effect]attributes {
	out := map[policy.Effect]attributes{}
	known, err := published()
	if err != nil {
		return out // and no policy can be loaded
	}
	for uid, a := range known.Actions {
		if a.AppliesTo == nil {
			continue
		}
		for name := range a.AppliesTo.Context {
			out[policy.Effect(uid.ID)] |= named[string(name)]
		}
	}
	return out
})

// attributesRead are those of the context that a policy, as Cedar writes it, may look at. Where it does more with the context than to
// name an attribute of it, they are all.
func attributesRead(text string) attributes {
	for strings.HasPrefix(text, "@") { // annotations, a line each
		_, text, _ = strings.Cut(text, "\n")
	}
	const variable = "context"
	var read attributes
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			i += len(quoted(text[i:])) - 1
		case strings.HasPrefix(text[i:], variable):
			one, ok := named[attributeBehind(text[i+len(variable):])]
			if !ok {
				return atAll
			}
			read |= one
			i += len(variable) - 1
		}
	}
	return read
}

// attributeBehind is the attribute that a text begins to read; "": that can't be told.
func attributeBehind(text string) string {
	for _, way := range []string{".", " has "} {
		if rest, ok := strings.CutPrefix(text, way); ok {
			if strings.HasPrefix(rest, `"`) {
				return strings.Trim(quoted(rest), `"`)
			}
			end := strings.IndexFunc(rest, func(r rune) bool {
				return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
			})
			if end < 0 {
				end = len(rest)
			}
			return rest[:end]
		}
	}
	if rest, ok := strings.CutPrefix(text, "["); ok && strings.HasPrefix(rest, `"`) {
		return strings.Trim(quoted(rest), `"`)
	}
	return ""
}

// quoted is the literal that a text begins with.
func quoted(text string) string {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return text[:i+1]
		}
	}
	return text
}
