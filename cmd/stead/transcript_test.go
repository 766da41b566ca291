package main

import (
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/client"
)

func item(kind, id, command, status string) *client.Item {
	return &client.Item{Type: kind, ID: id, Command: command, Status: status}
}

func TestCommandsThatRunAtOnce(t *testing.T) {
	var out strings.Builder
	tr := &transcript{w: &out}
	delta := func(id, text string) {
		tr.Event(client.Event{Type: client.EventCommandDelta, ItemID: id, Delta: text})
	}
	tr.Event(client.Event{Type: client.EventItemAdded, Item: item(typeCommand, "a", "make a", statusRuns)})
	delta("a", "compiling ")
	tr.Event(client.Event{Type: client.EventItemAdded, Item: item(typeCommand, "b", "make b", statusRuns)})
	delta("b", "b\n")
	delta("a", "a\nlinking")
	if tr.lineStart() {
		t.Error("a line is half written, and a spinner may wipe it out")
	}
	code, took := 0, int64(1234)
	done := item(typeCommand, "a", "make a", "completed")
	done.ExitCode, done.DurationMS = &code, &took
	tr.Event(client.Event{Type: client.EventItemDone, Item: done})
	want := "$ make a\n  compiling \n$ make b\n  b\n$ make a …\n  a\n  linking\n← exit code 0, 1.2 s\n"
	if out.String() != want {
		t.Errorf("written:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestEnvironmentLines(t *testing.T) {
	status := func(kind, s string) client.Event {
		return client.Event{Type: client.EventEnvironment + s, Environment: &client.Environment{Type: kind, Status: s}}
	}
	tests := []struct {
		name   string
		events []client.Event
		want   string
	}{
		{"a hosted one that starts", []client.Event{status(client.EnvironmentHosted, client.EnvironmentPending), status(client.EnvironmentHosted, client.EnvironmentReady), status(client.EnvironmentHosted, client.EnvironmentConnected)},
			"· environment: preparing\n"},
		{"it is suspended and comes back", []client.Event{status(client.EnvironmentHosted, client.EnvironmentSuspended), status(client.EnvironmentHosted, client.EnvironmentConnected)},
			"· environment: suspended, its files are kept\n· environment: running again\n"},
		{"it is not used any more", []client.Event{status(client.EnvironmentHosted, client.EnvironmentSuspended), status(client.EnvironmentHosted, client.EnvironmentExpired)},
			"· environment: suspended, its files are kept\n· environment: expired, its files were deleted\n"},
		{"a machine of the user's", []client.Event{status(client.EnvironmentSelfHosted, client.EnvironmentPending), status(client.EnvironmentSelfHosted, client.EnvironmentConnected), status(client.EnvironmentSelfHosted, client.EnvironmentDisconnected)},
			"· environment: its executor has connected\n· environment: its executor has left\n"},
		{"a reset that lost something", []client.Event{{Type: client.EventReset, Reason: "the node stopped", Commands: []string{"make", "touch \x1b[2Jx"}}},
			"· environment: started anew (the node stopped) with the files of its last checkpoint; what these did since may be missing: make; touch [2Jx\n"},
		{"a file that can't be in the workspace", []client.Event{{Type: client.EventRefused, Files: []client.RefusedFile{{Path: "/workspace/a", Reason: "it is a directory"}}}},
			"· environment: the file was refused: /workspace/a: it is a directory\n"},
		{"a reset that lost processes alone", []client.Event{{Type: client.EventReset, FilesKept: true}},
			"· environment: started anew; its files are all there, background processes are gone\n"},
	}
	for _, tt := range tests {
		var out strings.Builder
		tr := &transcript{w: &out}
		for _, e := range tt.events {
			tr.Event(e)
		}
		if out.String() != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, out.String(), tt.want)
		}
	}
}

func TestOutputIsDimmedAtATerminal(t *testing.T) {
	var out strings.Builder
	tr := &transcript{w: &out, dim: true}
	tr.command(item(typeCommand, "a", "ls", statusRuns))
	tr.commandOutput("a", "x\n\ny")
	if want := "$ ls\n  " + dimOn + "x" + dimOff + "\n  \n  " + dimOn + "y" + dimOff; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestPrintable(t *testing.T) {
	tests := []struct{ in, want string }{
		{"plain ünïcode\t\n", "plain ünïcode\t\n"},
		{"a\r\nb\rc", "a\nb\nc"},
		{"\x1b]0;title\a\x1b[31mred\x1b[0m", "]0;title[31mred[0m"},
		{"\u009b2J\u202eevil\x7f\x00", "2Jevil"},
	}
	for _, tt := range tests {
		if got := printable(tt.in); got != tt.want {
			t.Errorf("printable(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestByteSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 16 << 20: "16.0 MiB", 5 << 40: "5.0 TiB", 5 << 50: "5120.0 TiB"} {
		if got := byteSize(n); got != want {
			t.Errorf("byteSize(%d) = %s, want %s", n, got, want)
		}
	}
}
