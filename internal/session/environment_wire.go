package session

import (
	"encoding/json"
	"strings"

	"github.com/stead-dev/stead"
)

// CommandItem is a command that runs in the session's environment.
type CommandItem struct {
	ID         string           `json:"id"`
	Type       string           `json:"type"` // "command_execution"
	Command    string           `json:"command"`
	Cwd        *string          `json:"cwd"`
	DurationMS *int64           `json:"duration_ms"`
	ExitCode   *int             `json:"exit_code"`
	Output     *string          `json:"output"`
	Status     stead.ItemStatus `json:"status"`
	TurnID     string           `json:"turn_id"`
}

// ItemID implements Item.
func (i *CommandItem) ItemID() string { return i.ID }

// EnvironmentState is the wire's state of an environment, in events.
type EnvironmentState struct {
	ID     string            `json:"id"`
	Error  *EnvironmentError `json:"error"`
	Status string            `json:"status"`
	Type   string            `json:"type"`
}

type environmentEvent struct {
	eventHead
	Environment EnvironmentState `json:"environment"`
	SessionID   stead.SessionID  `json:"session_id"`
	TurnID      *string          `json:"turn_id"`
}

type resetEvent struct {
	eventHead
	EnvironmentID string          `json:"environment_id"`
	ResetCount    int             `json:"reset_count"`
	SessionID     stead.SessionID `json:"session_id"`
	TurnID        *string         `json:"turn_id"`
	Kept          bool            `json:"files_kept"` // ours
	Why           string          `json:"reason"`     // ours
	Commands      []string        `json:"commands"`   // ours: what may be missing
}

// Affected are the commands whose work may be missing, or unfinished.
func (r *Reset) Affected() []string {
	return append(append([]string{}, r.Commands...), r.Background...)
}

type commandDelta struct {
	eventHead
	place
	Delta string `json:"delta"`
}

// Command is what a call looks like as a command: the shell's own text, else the tool and what it is
// about.
func (c *Call) Command() string {
	var args struct {
		Command string `json:"command"`
		Path    string `json:"path"`
		Patch   string `json:"patch"`
	}
	_ = json.Unmarshal(c.Args(), &args) // arguments that do not fit were refused before
	name := c.Tool.Name
	if name == "" {
		name = c.Name
	}
	switch {
	case args.Command != "":
		return args.Command
	case args.Patch != "":
		return name + " <<'EOF'\n" + strings.TrimSuffix(args.Patch, "\n") + "\nEOF"
	case args.Path != "":
		return name + " " + args.Path
	}
	return name + " " + string(c.Args())
}

// title names a call for a person.
func (c *Call) title() string {
	if c.Type == stead.ItemCommandExecution {
		return "the command " + Shorten(c.Command(), maxCommandRunes)
	}
	if s := c.Tool.Subagent; s != nil {
		return "the call of " + string(s.Action)
	}
	if c.Function() {
		return "the call of the application's function " + c.Name
	}
	return "the call of " + c.Tool.Name + " on " + c.Tool.Server
}

// commandItem makes the item of a call that runs in the environment.
func commandItem(s stead.SessionID, turn string, c *Call, texts Texts) *CommandItem {
	item := &CommandItem{ID: callItemID(s, c), Type: "command_execution", Command: c.Command(), Status: c.Status, TurnID: turn, ExitCode: c.Exit}
	var args struct {
		Cwd string `json:"cwd"`
	}
	_ = json.Unmarshal(c.Args(), &args)
	if args.Cwd != "" {
		item.Cwd = &args.Cwd
	}
	if c.State != CallDone {
		return item
	}
	if c.Took > 0 || c.Exit != nil {
		item.DurationMS = &c.Took
	}
	output := c.Error
	for _, part := range c.Output {
		if part.Type == stead.ContentInputText {
			output += texts(part.Text)
		}
	}
	item.Output = &output
	return item
}

// EnvironmentState is the environment as events show it.
func (v *View) EnvironmentState() EnvironmentState {
	e := v.Environment
	return EnvironmentState{ID: EnvironmentID(v.Key.Session), Error: e.Problem(), Status: e.Status, Type: e.Setup.Type}
}

// environment shows what an event did to the environment: a new status, or that something is wrong with
// it, or no longer.
func (p *Projector) environment(out []body, e stead.Event, before glance) []body {
	v := p.view
	if v.Environment == nil {
		return out
	}
	var turn *string
	if v.Turn != nil {
		id := p.turnID(v.Turn)
		turn = &id
	}
	if refused := v.Environment.refusedBy(e.Seq); len(refused) > 0 {
		out = append(out, &refusedEvent{eventHead{Type: "agent.session.environment.files_refused"}, EnvironmentID(v.Key.Session), refused, v.Key.Session, turn})
	}
	if v.Environment.Resets > before.resets {
		if c, err := Decode[EnvironmentConnected](e); err == nil && c.Reset != nil {
			out = append(out, &resetEvent{
				eventHead: eventHead{Type: "agent.session.environment.reset"}, EnvironmentID: EnvironmentID(v.Key.Session),
				ResetCount: c.Reset.Count, SessionID: v.Key.Session, TurnID: turn,
				Kept: c.Reset.Kept, Why: c.Reset.Why, Commands: c.Reset.Affected(),
			})
		}
	}
	if v.Environment.Status == before.environment && v.Environment.Problem() == before.problem {
		return out
	}
	kind := "agent.session.environment." + v.Environment.Status
	return append(out, &environmentEvent{eventHead{Type: kind}, v.EnvironmentState(), v.Key.Session, turn})
}

// output shows what a command printed.
func (p *Projector) output(out []body, e stead.Event) ([]body, error) {
	ev, err := Decode[ToolStreamed](e)
	if err != nil {
		return out, err
	}
	c := p.view.CallByID(ev.CallID)
	if c == nil || c.State == CallDone || ev.Text == "" {
		return out, nil
	}
	at := p.place(p.view.Turn, callItemID(p.view.Key.Session, c), c.Output0)
	return append(out, &commandDelta{eventHead{Type: "agent.output.command_execution_output.delta"}, at, ev.Text}), nil
}
