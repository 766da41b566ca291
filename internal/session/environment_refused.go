package session

import (
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
)

// A file that somebody gives is taken before anybody knows whether it can be in the workspace: the agent
// may have made a directory of that name meanwhile. What can't be is given up when it is put there, in
// the event of the action that did it, and told: to the agent, to whoever watches, and to who asks for
// the environment.

// RefusedUpload is a file that was given up.
type RefusedUpload struct {
	environment.Refused
	Seq stead.Seq `json:"seq"` // of the event that says so
	At  int64     `json:"at"`  // Unix milliseconds
}

// refuse keeps the latest: as many as one action can bring.
func (e *EnvironmentView) refuse(ev stead.Event, files []environment.Refused) {
	for _, f := range files {
		e.Refused = append(e.Refused, RefusedUpload{f, ev.Seq, ev.At})
	}
	e.Refused = e.Refused[max(0, len(e.Refused)-MaxUploads):]
}

// refusedBy is what an event that was just folded has refused.
func (e *EnvironmentView) refusedBy(event stead.Seq) (files []environment.Refused) {
	for _, f := range e.Refused {
		if f.Seq == event {
			files = append(files, f.Refused)
		}
	}
	return files
}

// Blocks is the waiting file that can't be in one workspace with a file at a path, since one of the two
// is where the other needs a directory; "": there is none.
func (e *EnvironmentView) Blocks(path string) string {
	for _, u := range e.Uploads {
		if strings.HasPrefix(u.Path, path+"/") || strings.HasPrefix(path, u.Path+"/") {
			return u.Path
		}
	}
	return ""
}

// refused tells the agent which files it was given in vain.
func (c *Context) refused(e stead.Event, v *View) {
	if v.Environment == nil {
		return
	}
	files := v.Environment.refusedBy(e.Seq)
	if len(files) == 0 {
		return
	}
	text := "these files were given to you and could not be put into your workspace, where they are missing now:"
	for _, f := range files {
		text += "\n- " + f.Path + ": " + f.Reason
	}
	c.notice(e.Seq, text)
}

// refusedEvent is ours: the contract takes files that can be put, alone.
type refusedEvent struct {
	eventHead
	EnvironmentID string                `json:"environment_id"`
	Files         []environment.Refused `json:"files"`
	SessionID     stead.SessionID       `json:"session_id"`
	TurnID        *string               `json:"turn_id"`
}
