package session

import (
	"slices"
	"strings"

	"github.com/stead-dev/stead"
)

// A turn promises that the workspace is stored when it ends. When that can't be kept, after
// stead.MaxEnvironmentAttempts tries, everybody hears of it: watchers by an event of the environment
// with its error, whoever asks for the environment by the same error, and the agent by a notice. The
// next checkpoint takes it back.

// CodeCheckpoint is the code of EnvironmentError while the workspace is not stored.
const CodeCheckpoint = "checkpoint_failed"

// CodeEnded is the code of EnvironmentError while an environment is away that ended by itself, where it is known why.
const CodeEnded = "environment_ended"

// Unstored says that the workspace could not be stored, and has not been since.
type Unstored struct {
	Seq   stead.Seq        `json:"seq"` // of the event that says so
	Why   string           `json:"why"` // as the action's failure said
	Error EnvironmentError `json:"error"`
	// Declined: it was to be approved, and was not.
	Declined bool `json:"declined,omitempty"`
}

// unstored keeps why the workspace is not stored. Between turns the same failure is not said again.
func (v *View) unstored(ev stead.Event, why EnvironmentError) {
	e := v.Environment
	if e.Unstored != nil && v.Turn == nil {
		return
	}
	e.Unstored = &Unstored{Seq: ev.Seq, Why: strings.TrimSuffix(why.Message, "."), Error: why}
	e.Unstored.Error.Code, e.Unstored.Error.Message = CodeCheckpoint, "The workspace could not be stored: "+why.Message
}

// Problem is what is wrong with the environment at present; nil: nothing is.
func (e *EnvironmentView) Problem() *EnvironmentError {
	if e.Error == nil && e.Unstored != nil {
		return &e.Unstored.Error
	}
	return e.Error
}

// unstored tells the agent that its work is not stored, and that it is again. A failure that was mended
// before the agent heard of it is not told at all.
func (c *Context) unstored(e stead.Event, v *View) {
	if v.Environment == nil {
		return
	}
	now := v.Environment.Unstored
	switch {
	case now != nil && now.Seq == e.Seq:
		c.takeBack(c.Unstored)
		c.Unstored = now.Seq
		if now.Declined {
			c.notice(e.Seq, "what your workspace holds was not stored, since that needed an approval: "+now.Why+". Your files are still there, on the one machine that has them: "+
				"none of your new outputs is an artifact, copies of the session have none of it, and where your environment is opened on another machine it is gone. Nobody is asked again before you change something.")
			return
		}
		c.notice(e.Seq, "the workspace could not be stored, although it was tried as often as is allowed ("+now.Why+"). Nothing is lost as long as your environment lives, and it is tried again; if it is reset or copied before that, what was done since the last checkpoint is missing.")
	case now == nil && c.Unstored > 0:
		told := !c.takeBack(c.Unstored)
		c.Unstored = 0
		if told && e.Kind != KindEnvironmentConnected { // a reset says it itself
			c.notice(e.Seq, "the workspace is stored again.")
		}
	}
}

// takeBack removes a notice that the model has not seen; false when it has.
func (c *Context) takeBack(seq stead.Seq) bool {
	n := len(c.Held)
	c.Held = slices.DeleteFunc(c.Held, func(en *Entry) bool { return en.Seq == seq })
	return len(c.Held) < n
}

// notice has the model told something by its runtime, with the next call.
func (c *Context) notice(seq stead.Seq, text string) {
	item := stead.Item{Type: stead.ItemMessage, Role: stead.RoleUser, Content: stead.TextContent(stead.ContentInputText, stead.NoticePrefix+text)}
	c.Held = append(c.Held, &Entry{Seq: seq, Item: item, Notice: true})
}
