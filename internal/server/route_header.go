package server

import (
	"strings"

	"github.com/stead-dev/stead/internal/model"
)

// routeHeader says of a stateless call which route its answer came from and which others its model has, of a name that
// leads to more than one place. It is what the journal keeps of a session's turns.
//
//	X-Stead-Route: a/gpt-x (priority 0); tried b/claude-y: server_overloaded; c/m: it is for turns of sessions
//
// Of a call that failed on every route it names the last one: "failed at a/gpt-x (priority 1); tried b/claude-y: …".
const routeHeader = "X-Stead-Route"

// maxRouteHeader is how long it gets.
const maxRouteHeader = 600

// routeWords are a route as the header says it, on one line of ASCII.
func routeWords(r *model.Route) string {
	words := []string{r.Provider + "/" + r.Model + " (" + r.Why + ")"}
	for _, t := range r.Tried {
		words = append(words, "tried "+t)
	}
	text := strings.Join(append(words, r.Considered...), "; ")
	text = strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, text)
	return text[:min(len(text), maxRouteHeader)]
}
