package session

import "github.com/stead-dev/stead"

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

// ControlRequest selects sessions of a project, and says what becomes of them. Empty fields select all.
type ControlRequest struct {
	Action   ControlAction
	Agent    stead.AgentID
	Status   string
	User     string // id of the principal who made the session
	Metadata map[string]string
	After    stead.SessionID // go on after this one: Last of the request before
	Dry      bool            // only say what would be done
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
