package server

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/responses"
)

// everywhere are query parameters that any call may have, since they change nothing that is not there: what the SDKs add by
// themselves, what asks for more in an answer, and the pages of a list that is always whole.
func everywhere() []string {
	return []string{"include", "include_obfuscation", "api-version", "beta", "after", "limit", "order"}
}

// asks refuses a query parameter that the route does not have: a filter whose name is mistaken would filter nothing, and
// its answer would look like that of another question. "metadata[key]" and "include[]" are of the names before the bracket.
func (rt route) asks(r *http.Request) error {
	if r.URL.RawQuery == "" || rt.path == "" {
		return nil
	}
	var known []string
	for _, name := range rt.query {
		known = append(known, wireName(name))
	}
	for _, name := range slices.Sorted(maps.Keys(r.URL.Query())) {
		plain, _, _ := strings.Cut(name, "[")
		if plain == "include" {
			for _, value := range r.URL.Query()[name] {
				if err := responses.CheckInclude(plain, value); err != nil {
					return err
				}
			}
		}
		if slices.Contains(known, plain) || slices.Contains(everywhere(), plain) {
			continue
		}
		e := stead.Invalid(plain, "%.80q is no query parameter of %s %s", name, r.Method, rt.path)
		if e.Hint = "It has none."; len(known) > 0 {
			e.Hint = "It has " + strings.Join(known, ", ") + "."
		}
		return e
	}
	return nil
}

// wireName is the name in the URL of a parameter of the document; two parameters that mean different things have one.
func wireName(parameter string) string {
	switch parameter {
	case "resume":
		return "after"
	case "vault_status":
		return "status"
	case "session_model", "session_tool", "session_labels":
		return strings.TrimPrefix(parameter, "session_")
	}
	if of, memories := strings.CutPrefix(parameter, "memory_"); memories {
		return of
	}
	return parameter
}
