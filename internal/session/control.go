package session

import (
	"cmp"
	"slices"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
)

// ControlAction is what is done to many sessions at once.
type ControlAction string

// The actions: each leaves a session as it is that is so already.
const (
	ControlPause  ControlAction = "pause"  // what is in flight finishes, nothing more starts
	ControlResume ControlAction = "resume" // undoes pause
	ControlCancel ControlAction = "cancel" // ends the running turn
)

// ControlActions lists them.
func ControlActions() []string {
	return []string{string(ControlPause), string(ControlResume), string(ControlCancel)}
}

// Limits of a control.
const (
	// MaxControlled sessions are looked at in one request; what is beyond is the next one's, from Last on.
	MaxControlled = 10_000
	// MaxControlFailures are named in an answer; more are counted.
	MaxControlFailures = 100
)

// Filter selects sessions of a project. Empty fields select all.
type Filter struct {
	Agent    stead.AgentID
	Status   string
	User     string // id of the principal whom the session serves
	Metadata map[string]string
	Model    string            // as the session's agent asks for it
	Tool     string            // the label of a server that its agent has, a function's name, or a built-in tool's
	Labels   map[string]string // each of these it has, maybe beside others
}

// Folds reports whether only what is folded of a journal says which sessions fit: the store knows the other fields.
func (r Filter) Folds() bool {
	return r.User != "" || r.Model != "" || r.Tool != "" || len(r.Labels) > 0
}

// ControlRequest says what becomes of the sessions that fit.
type ControlRequest struct {
	Action ControlAction
	Filter
	After stead.SessionID // go on after this one: Last of the request before
	Dry   bool            // only say what would be done
}

// Fits reports whether a session serves the user, and has the model, the tool and the labels that are asked for.
func (r Filter) Fits(v *View) bool {
	spec := &v.Created.Agent.Spec
	if r.User != "" && v.Created.Principal.ID != r.User {
		return false
	}
	if r.Model != "" && r.Model != spec.Model || r.Tool != "" && !slices.ContainsFunc(spec.Tools, func(t agent.Tool) bool { return r.Tool == cmp.Or(t.ServerLabel, t.Name, t.Type) }) {
		return false
	}
	if len(r.Labels) == 0 {
		return true
	}
	labels := v.Labels()
	for key, value := range r.Labels {
		if !labels.Has(key, value) {
			return false
		}
	}
	return true
}

// Needs reports whether the action changes a session.
func (r ControlRequest) Needs(v *View) bool {
	switch r.Action {
	case ControlPause:
		return !v.Paused && v.Failed == nil
	case ControlResume:
		return v.Paused
	case ControlCancel:
		return v.Turn != nil && !v.Turn.Cancelling
	}
	return false
}

// Controlled says what became of them.
type Controlled struct {
	Matched  int // fit the filters
	Changed  int // were changed; of a dry run: would be
	Failed   int // could not be
	Failures []ControlFailure
	Last     stead.SessionID // that was looked at; "": there was none
	More     bool            // sessions behind Last were not looked at
}

// ControlFailure is a session that could not be changed, and why. MaxControlFailures of them are named.
type ControlFailure struct {
	Session stead.SessionID
	Err     error
}
