package main

import (
	"fmt"
	"strings"

	"github.com/stead-dev/stead/internal/client"
)

// How what comes out of an environment looks: lines below its command, dimmed at a terminal.
const (
	outputIndent = "  "
	dimOn        = "\x1b[2m"
	dimOff       = "\x1b[0m"
)

// typeCommand is the type of the items that run in an environment.
const typeCommand = "command_execution"

// command announces a command once: its text as it is, more lines indented.
func (t *transcript) command(it *client.Item) {
	if _, shown := t.calls[it.ID]; shown {
		return
	}
	if t.calls == nil {
		t.calls = map[string]string{}
	}
	t.calls[it.ID] = it.Command
	t.endLine()
	t.line("$ " + strings.ReplaceAll(printable(it.Command), "\n", "\n"+t.prefix+outputIndent))
	t.printing = it.ID
}

// commandOutput writes a piece of what a command prints. Where commands run at once, each piece says
// whose it is.
func (t *transcript) commandOutput(id, text string) {
	text = printable(text)
	if text == "" {
		return
	}
	if t.open != id {
		t.endLine()
		if t.printing != id {
			t.line("$ " + oneLine(printable(t.calls[id]), lineWidth) + " …")
		}
		t.open, t.printing, t.fresh = id, id, true
	}
	if t.streamed == nil {
		t.streamed = map[string]bool{}
	}
	t.streamed[id] = true
	for part := range strings.Lines(text) {
		if t.fresh {
			fmt.Fprint(t.w, t.prefix+outputIndent)
		}
		line, ended := strings.CutSuffix(part, "\n")
		fmt.Fprint(t.w, t.dimmed(line))
		if ended {
			fmt.Fprintln(t.w)
		}
		t.fresh = ended
	}
}

// commandDone says how a command ended. What has no exit code, such as reading a file, shows the
// beginning of what it brought, as every other call.
func (t *transcript) commandDone(it *client.Item) {
	t.command(it)
	if it.Status == statusRuns {
		return // it waits, or has not returned yet
	}
	if it.ExitCode == nil {
		t.endLine()
		t.line("← " + oneLine(printable(it.Text()), lineWidth))
		return
	}
	if !t.streamed[it.ID] {
		t.commandOutput(it.ID, it.Text())
	}
	t.endLine()
	took := ""
	if it.DurationMS != nil {
		took = fmt.Sprintf(", %.1f s", float64(*it.DurationMS)/1000)
	}
	t.line(fmt.Sprintf("← exit code %d%s", *it.ExitCode, took))
}

func (t *transcript) dimmed(s string) string {
	if !t.dim || s == "" {
		return s
	}
	return dimOn + s + dimOff
}

// environment writes a line for what a person wants to know of an environment's life. That a hosted
// one is ready and runs is seen by its commands.
func (t *transcript) environment(e client.Event) bool {
	if e.Type == client.EventReset {
		t.note(resetLine(e))
		return true
	}
	for _, f := range e.Files {
		t.note("the file was refused: " + oneLine(printable(f.Path+": "+f.Reason), lineWidth))
	}
	if e.Environment == nil {
		return len(e.Files) > 0
	}
	before := t.place
	t.place = e.Environment.Status
	hosted := e.Environment.Type == client.EnvironmentHosted
	switch {
	case t.place == client.EnvironmentFailed && e.Environment.Error != nil:
		t.note("failed: " + oneLine(printable(e.Environment.Error.Message), lineWidth))
	case t.place == client.EnvironmentFailed:
		t.note("failed")
	case e.Environment.Error != nil:
		t.note(oneLine(printable(e.Environment.Error.Message), lineWidth))
	case t.place == client.EnvironmentPending && hosted:
		t.note("preparing")
	case t.place == client.EnvironmentConnected && !hosted:
		t.note("its executor has connected")
	case t.place == client.EnvironmentDisconnected && !hosted:
		t.note("its executor has left")
	case t.place == client.EnvironmentDisconnected:
		t.note("it ended; what was stored last is kept")
	case t.place == client.EnvironmentSuspended:
		t.note("suspended, its files are kept")
	case t.place == client.EnvironmentExpired:
		t.note("expired, its files were deleted")
	case t.place == client.EnvironmentConnected && (before == client.EnvironmentSuspended || before == client.EnvironmentDisconnected):
		t.note("running again")
	default:
		return false
	}
	return true
}

func (t *transcript) note(s string) {
	t.endLine()
	t.line("· environment: " + s)
}

// resetLine says what a reset took and what may be missing.
func resetLine(e client.Event) string {
	s := "started anew"
	if e.Reason != "" {
		s += " (" + oneLine(printable(e.Reason), lineWidth) + ")"
	}
	if e.FilesKept {
		return s + "; its files are all there, background processes are gone"
	}
	s += " with the files of its last checkpoint"
	if len(e.Commands) > 0 {
		s += "; what these did since may be missing: " + oneLine(printable(strings.Join(e.Commands, "; ")), 2*lineWidth)
	}
	return s
}
