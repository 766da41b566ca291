package recollect

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
)

// maxDays is the longest life of a memory that a model gives it.
const maxDays = 3650

// validity is the schema of what memory_add says beside the content.
const validity = `,"valid_from":{"type":"string","description":"Since when it is true: a day (2026-11-26) or a time (RFC 3339)."},"valid_until":{"type":"string","description":"From when on it is not true any more."},` +
	`"labels":{"type":"array","items":{"type":"string"},"description":"Names to find it by."},"metadata":{"type":"object","additionalProperties":{"type":"string"}},` +
	`"ttl_days":{"type":"integer","minimum":1,"maximum":3650,"description":"Forget it after so many days. Left out: keep it."}`

// filters is the schema of what narrows a search.
func (k *kit) filters() string {
	scope := `{"type":"string","enum":` + k.scopeNames() + `,"description":"Only what is for them."}`
	if k.over.AllScopes {
		scope = `{"type":"string","description":"Only what is for them: user:ID, agent:ID, team:ID or project; user and agent are those of this conversation."}`
	}
	return `"kind":{"type":"string","enum":["fact","preference","episode","procedure","passage","item"],"description":"item: what was said in conversations"},"scope":` + scope +
		`,"label":{"type":"string"},"metadata":{"type":"object","additionalProperties":{"type":"string"}},` +
		`"since":{"type":"string","description":"Only what was said or happened since this day (2026-11-26) or time (RFC 3339)."},"until":{"type":"string","description":"Only what was said or happened before it."},` +
		`"as_of":{"type":"string","description":"What was true then, seen from then."}`
}

// scopeNames are the scopes that a session has, as a list of JSON.
func (k *kit) scopeNames() string {
	names := []string{memory.ScopeUser, memory.ScopeAgent, memory.ScopeProject}
	for _, t := range k.over.Teams {
		names = append(names, memory.ScopeTeam+":"+t)
	}
	list, _ := json.Marshal(names) // texts
	return string(list)
}

// scopes is the schema of the argument that says whose a memory is.
func (k *kit) scopes() string {
	usual := k.over.Scope
	if usual == "" {
		usual = "the user, where one is served, else the project"
	}
	told, _ := json.Marshal("Whom it is for: only the user of this conversation, this agent with whomever it works, or everybody. Left out: " + usual + ".")
	return `{"type":"string","enum":` + k.scopeNames() + `,"description":` + string(told) + `}`
}

// filter reads what narrows a search, and as of when it is made.
func (k *kit) filter(r request) (f memory.Filter, asOf int64, err error) {
	if f.Metadata = r.Metadata; r.Kind != "" {
		f.Kinds = []memory.Kind{r.Kind}
	}
	if r.Label != "" {
		f.Labels = []string{r.Label}
	}
	if r.Scope != "" {
		scope, err := k.searchedScope(r)
		if err != nil {
			return f, 0, err
		}
		f.Scopes = []memory.Scope{scope}
	}
	if err := times(at{"since", r.Since, &f.From}, at{"until", r.Until, &f.Until}, at{"as_of", r.AsOf, &asOf}); err != nil {
		return f, 0, err
	}
	return f, asOf, f.Check(func(field string) string {
		if field == "from" {
			return "since"
		}
		return strings.TrimSuffix(field, "s")
	})
}

// searchedScope is the scope that a search names. One that this session does not have is refused, and not searched in vain.
func (k *kit) searchedScope(r request) (memory.Scope, error) {
	scope, err := memory.SessionScope(r.Scope, r.serves, r.agent, k.over.Teams)
	switch {
	case err != nil && k.over.AllScopes:
		kind, id, _ := strings.Cut(r.Scope, ":")
		return memory.Scope{Type: kind, ID: id}, nil // the filter's check says what is wrong with it
	case err == nil && !k.over.AllScopes && !r.alone && scope == (memory.Scope{Type: memory.ScopeUser, ID: r.serves.ID}):
		return scope, stead.Invalid("scope", "scope can't be user here: others told the agent something too, so that memories of %s are not for this session", r.serves.ID)
	}
	return scope, err
}

// at is an argument that is a time.
type at struct {
	name, said string
	to         *int64 // Unix milliseconds
}

// times reads days of UTC and times.
func times(all ...at) error {
	for _, a := range all {
		if a.said == "" {
			continue
		}
		t, err := time.Parse(time.DateOnly, a.said)
		if err != nil {
			t, err = time.Parse(time.RFC3339, a.said)
		}
		if err != nil || t.UnixMilli() <= 0 {
			return stead.Invalid(a.name, "%s must be a day such as 2026-11-26, or a time such as 2026-11-26T08:00:00Z, after 1970; not %.40q", a.name, a.said)
		}
		*a.to = t.UnixMilli()
	}
	return nil
}

// life is how long a memory is kept; 0: for ever.
func (r *request) life() (time.Duration, error) {
	if r.Days < 0 || r.Days > maxDays {
		return 0, stead.Invalid("ttl_days", "ttl_days must be from 1 to %d", maxDays)
	}
	return time.Duration(r.Days) * 24 * time.Hour, nil
}
