package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/stead-dev/stead/internal/client"
)

// lineWidth is how much of a call's arguments or result a line shows; sessions show has it all.
const lineWidth = 160

// transcript writes a session's events for people as they come: text word by word, calls and their
// results a line each. The zero value with a writer is ready.
type transcript struct {
	w      io.Writer
	prefix string // before each line
	user   bool   // show the user's messages too
	dim    bool   // w is a terminal that shows what commands print less bright

	open     string            // id of the item whose text is being written; "" for none
	fresh    bool              // a command's output is at the start of a line
	printing string            // id of the command that was shown last
	place    string            // status of the environment
	streamed map[string]bool   // items whose text was written as deltas
	calls    map[string]string // calls that were announced, with their commands
	names    map[string]string // of subagents, by their ids and those of their turns
}

// newTranscript writes to the output of the command line.
func (a *app) newTranscript() transcript {
	_, plain := a.env("NO_COLOR")
	return transcript{w: a.out, dim: a.terminal && !plain}
}

// Event writes what there is to say of one event. It reports whether it wrote anything.
func (t *transcript) Event(e client.Event) bool {
	if shown, theirs := t.subagent(e); theirs {
		return shown
	}
	switch e.Type {
	case client.EventTextDelta, client.EventRefusalDelta:
		t.text(e.ItemID, e.Delta)
	case client.EventItemAdded:
		return t.added(e.Item)
	case client.EventItemDone:
		return t.done(e.Item)
	case client.EventCommandDelta:
		t.commandOutput(e.ItemID, e.Delta)
	case client.EventTurnFailed:
		t.endLine()
		if e.Turn != nil && e.Turn.Error != nil {
			t.line("✗ the turn failed: " + e.Turn.Error.Message + " (" + e.Turn.Error.Code + ")")
		}
	case client.EventTurnCancelled:
		t.endLine()
		t.line("✗ cancelled")
	default:
		return strings.HasPrefix(e.Type, client.EventEnvironment) && t.environment(e)
	}
	return true
}

// text writes a piece of a message. Lines after the first keep the prefix.
func (t *transcript) text(item, delta string) {
	if t.open != item {
		t.endLine()
		fmt.Fprint(t.w, t.prefix)
		t.open = item
	}
	if t.streamed == nil {
		t.streamed = map[string]bool{}
	}
	t.streamed[item] = true
	if t.prefix != "" {
		delta = strings.ReplaceAll(delta, "\n", "\n"+t.prefix)
	}
	fmt.Fprint(t.w, delta)
}

func (t *transcript) added(it *client.Item) bool {
	if it == nil {
		return false
	}
	switch it.Type {
	case "message":
		if !t.user || it.Role != "user" {
			return false
		}
		t.endLine()
		t.line("> " + strings.ReplaceAll(it.Text(), "\n", "\n"+t.prefix+"> "))
	case "mcp_call", "function_call":
		t.call(it)
	case typeCommand:
		t.command(it)
	case "function_call_output":
		t.endLine()
		t.line("← " + oneLine(it.Text(), lineWidth))
	default:
		return false
	}
	return true
}

func (t *transcript) call(it *client.Item) {
	if _, shown := t.calls[it.ID]; shown {
		return
	}
	if t.calls == nil {
		t.calls = map[string]string{}
	}
	t.calls[it.ID] = ""
	t.endLine()
	t.line("→ " + callName(it) + " " + oneLine(string(it.Arguments), lineWidth))
}

func (t *transcript) done(it *client.Item) bool {
	if it == nil {
		return false
	}
	switch it.Type {
	case "message":
		if t.streamed[it.ID] {
			t.endLine()
		} else {
			t.text(it.ID, it.Text())
			t.endLine()
		}
		if it.Status == "incomplete" {
			t.line("… cut off")
		}
	case "mcp_call":
		t.call(it)
		t.endLine()
		if it.Status == statusRuns {
			return true // it waits, or has not returned yet
		}
		t.line("← " + callName(it) + ": " + oneLine(it.Text(), lineWidth))
	case typeCommand:
		t.commandDone(it)
	case "function_call":
		t.call(it)
	default:
		return false
	}
	return true
}

func (t *transcript) line(s string) { fmt.Fprintf(t.w, "%s%s\n", t.prefix, s) }

// endLine closes what is being written. Output of a command may have ended its line itself.
func (t *transcript) endLine() {
	if t.open != "" && !t.fresh {
		fmt.Fprintln(t.w)
	}
	t.open, t.fresh = "", false
}

// lineStart reports whether no line is half written: a spinner would wipe it out.
func (t *transcript) lineStart() bool { return t.open == "" || t.fresh }

func callName(it *client.Item) string {
	if it.ServerLabel != "" {
		return it.ServerLabel + "/" + it.Name
	}
	return it.Name
}

// writeItem writes a finished item whole.
func writeItem(w io.Writer, it *client.Item) {
	t := &transcript{w: w, user: true}
	if it.Type == "message" && it.Role == "user" || it.Type == "function_call_output" {
		t.added(it)
		return
	}
	t.done(it)
}

// describe says in words what waits.
func describe(a client.Action) string {
	switch a.Type {
	case client.ActionApproval:
		text := fmt.Sprintf("%s %s needs approval", a.Tool(), oneLine(a.Args(), lineWidth))
		if why := a.Why(); why != "" {
			text += ": " + why
		}
		return text
	case client.ActionRequest, client.ActionEffect:
		text := approvedOf(a.Request.Message) + " needs approval"
		if why := a.Why(); why != "" {
			text += ": " + why
		}
		return text
	case client.ActionOutcome:
		return fmt.Sprintf("%s %s was called, and nobody knows whether it happened", a.Tool(), oneLine(a.Args(), lineWidth))
	case client.ActionBudget, client.ActionConsent:
		return a.Request.Message
	case client.ActionFunction:
		return fmt.Sprintf("%s %s must be run by the application", a.Tool(), oneLine(a.Args(), lineWidth))
	case client.ActionConnect:
		return "its environment is on a machine of yours, where no executor runs"
	}
	return a.Type
}

// approvedOf is what "Approve …?" asks about.
func approvedOf(message string) string {
	what, _, _ := strings.Cut(strings.TrimPrefix(message, "Approve "), "? ")
	return strings.TrimSuffix(what, "?")
}

// answerCommand is what a person types to answer, "" where only a program can; for ActionConnect see
// connectCommand.
func answerCommand(session string, a client.Action) string {
	switch a.Type {
	case client.ActionApproval, client.ActionEffect, client.ActionBudget, client.ActionRequest:
		return "stead approvals approve " + a.RequestID
	case client.ActionConsent:
		if a.Link() == "" { // it is somebody else's session
			return "its user opens the link that their session shows"
		}
		return "open " + a.Link()
	case client.ActionOutcome:
		return "stead approvals answer " + a.RequestID + " --happened RESULT | --not-happened | --give-up"
	case client.ActionFunction:
		return "stead approvals answer " + session + "/" + a.CallID + " --result RESULT"
	}
	return ""
}

// connectCommand makes the machine on which it is typed the environment of a session that was asked
// for by its id.
func connectCommand(s client.Session) string {
	return "stead executor --remote '" + s.Environment.RemoteURL + "'"
}
