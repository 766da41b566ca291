package schema

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/jsonschema-go/jsonschema"
)

// maxExplainSteps bounds the search for what to tell the model; what was found by then is told.
const maxExplainSteps = 20_000

// explain lists what is wrong with v: at most MaxProblems, in a stable order. It may find nothing
// (a rare keyword is at fault); then the library's own sentence has to do.
func (s *Schema) explain(v *value) []string {
	e := explainer{schema: s, steps: maxExplainSteps}
	problems := e.check(s.root, v, "")
	if more := len(problems) - MaxProblems; more > 0 {
		problems = append(problems[:MaxProblems], fmt.Sprintf("and %d more problems", more))
	}
	return problems
}

type explainer struct {
	schema *Schema
	steps  int
}

// check returns the problems of v under at. path is "" for the arguments themselves.
func (e *explainer) check(at *jsonschema.Schema, v *value, path string) []string {
	if e.steps--; e.steps < 0 {
		return nil
	}
	if problem := checkType(at, v, path); problem != "" {
		return []string{problem} // nothing else about it is worth saying
	}
	problems := checkScalar(at, v, path)
	if target := e.schema.refs[at]; target != nil {
		problems = append(problems, e.check(target, v, path)...)
	}
	for _, one := range at.AllOf {
		problems = append(problems, e.check(one, v, path)...)
	}
	problems = append(problems, e.checkChoice(at.AnyOf, v, path)...)
	problems = append(problems, e.checkChoice(at.OneOf, v, path)...)
	if at.If != nil {
		next := at.Then
		if len(e.check(at.If, v, path)) > 0 {
			next = at.Else
		}
		if next != nil {
			problems = append(problems, e.check(next, v, path)...)
		}
	}
	problems = append(problems, e.checkItems(at, v, path)...)
	return append(problems, e.checkFields(at, v, path)...)
}

// checkChoice explains an anyOf or oneOf that nothing fits. The alternative with the fewest
// problems is most likely the one that was meant.
func (e *explainer) checkChoice(alternatives []*jsonschema.Schema, v *value, path string) []string {
	var best []string
	kinds := []string{}
	for _, one := range alternatives {
		problems := e.check(one, v, path)
		if len(problems) == 0 {
			return nil
		}
		kinds = append(kinds, typeOf(one))
		right := checkType(one, v, path) == ""
		if right && (best == nil || len(problems) < len(best)) {
			best = problems
		}
	}
	if len(alternatives) == 0 || best != nil {
		return best
	}
	slices.Sort(kinds)
	return []string{expected(path, "one of: "+strings.Join(slices.Compact(kinds), ", "), v)}
}

func (e *explainer) checkItems(at *jsonschema.Schema, v *value, path string) []string {
	var problems []string
	if v.items == nil {
		return nil
	}
	prefix := at.PrefixItems
	if at.ItemsArray != nil {
		prefix = at.ItemsArray
	}
	rest := at.Items
	if at.ItemsArray != nil {
		rest = at.AdditionalItems
	}
	for i, item := range v.items {
		one := rest
		if i < len(prefix) {
			one = prefix[i]
		}
		if one != nil {
			problems = append(problems, e.check(one, item, path+"["+strconv.Itoa(i)+"]")...)
		}
		if len(problems) > MaxProblems {
			break
		}
	}
	if at.MinItems != nil && len(v.items) < *at.MinItems {
		problems = append(problems, place(path)+fmt.Sprintf("expected at least %d items, got %d", *at.MinItems, len(v.items)))
	}
	if at.MaxItems != nil && len(v.items) > *at.MaxItems {
		problems = append(problems, place(path)+fmt.Sprintf("expected at most %d items, got %d", *at.MaxItems, len(v.items)))
	}
	return problems
}

func (e *explainer) checkFields(at *jsonschema.Schema, v *value, path string) []string {
	if v.fields == nil {
		return nil
	}
	var problems []string
	for _, name := range at.Required {
		if v.fields[name] == nil {
			problems = append(problems, place(join(path, name))+"required, but missing"+wanted(at.Properties[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.fields)) {
		one := at.Properties[name]
		if one == nil {
			one = at.AdditionalProperties
			if one == nil || matchesAny(at.PatternProperties, name) {
				continue
			}
			if refusesAll(one) {
				problems = append(problems, place(join(path, name))+"not a known property"+known(at.Properties))
				continue
			}
		}
		problems = append(problems, e.check(one, v.fields[name], join(path, name))...)
	}
	return problems
}

// checkType is "" when at says nothing about the type of v, or what it says is so.
func checkType(at *jsonschema.Schema, v *value, path string) string {
	types := at.Types
	if at.Type != "" {
		types = []string{at.Type}
	}
	got := jsonType(v.plain)
	if types == nil || slices.Contains(types, got) || got == "integer" && slices.Contains(types, "number") {
		return ""
	}
	return expected(path, strings.Join(articles(types), " or "), v)
}

func checkScalar(at *jsonschema.Schema, v *value, path string) []string {
	var problems []string
	say := func(want string) { problems = append(problems, expected(path, want, v)) }
	if at.Const != nil && !reflect.DeepEqual(*at.Const, v.plain) {
		say(quote(*at.Const))
	}
	if at.Enum != nil && !slices.ContainsFunc(at.Enum, func(one any) bool { return reflect.DeepEqual(one, v.plain) }) {
		say("one of " + quoteList(at.Enum))
	}
	switch plain := v.plain.(type) {
	case string:
		n := utf8.RuneCountInString(plain)
		if at.MinLength != nil && n < *at.MinLength {
			say(fmt.Sprintf("at least %d characters", *at.MinLength))
		}
		if at.MaxLength != nil && n > *at.MaxLength {
			say(fmt.Sprintf("at most %d characters", *at.MaxLength))
		}
		if at.Pattern != "" {
			if re, err := regexp.Compile(at.Pattern); err == nil && !re.MatchString(plain) {
				say("a string that matches " + at.Pattern)
			}
		}
	case float64:
		if at.Minimum != nil && plain < *at.Minimum {
			say("at least " + number(*at.Minimum))
		}
		if at.Maximum != nil && plain > *at.Maximum {
			say("at most " + number(*at.Maximum))
		}
		if at.ExclusiveMinimum != nil && plain <= *at.ExclusiveMinimum {
			say("more than " + number(*at.ExclusiveMinimum))
		}
		if at.ExclusiveMaximum != nil && plain >= *at.ExclusiveMaximum {
			say("less than " + number(*at.ExclusiveMaximum))
		}
	}
	return problems
}

func refusesAll(s *jsonschema.Schema) bool {
	return s.Not != nil && reflect.ValueOf(*s.Not).IsZero()
}

func matchesAny(patterns map[string]*jsonschema.Schema, name string) bool {
	for pattern := range patterns {
		if re, err := regexp.Compile(pattern); err == nil && re.MatchString(name) {
			return true
		}
	}
	return false
}
