// Command stead runs the Stead server and speaks to running ones.
//
// Shape: main → root command → one file a subcommand; node.go is the only place of the project
// that knows every package and puts them together.
//
//	dev, serve          a node: stores, models, tools, runner, HTTP door
//	run                 one session from the terminal; starts a node when none answers
//	sessions, environments, approvals, agents    calls of the API of a running server
//	executor            this machine as a session's environment
//	doctor, version     this machine, this binary
//
// Units and limits: exit code 0 for done, exitFailed, exitUsage and exitWaiting else.
//
// Errors: one sentence and, where there is one, a hint, on standard error. With -o json the error
// is an object there instead.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/stead-dev/stead/internal/environment/guest"
	"github.com/stead-dev/stead/internal/environment/landlock"
	"github.com/stead-dev/stead/internal/environment/ns"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitWaiting = 3 // the session waits for an answer that nobody here can give
)

// gcPercent lets the heap grow to three times of what lives before it is collected, unless GOGC says
// otherwise: a node's heap is small, and what it allocates a step is short-lived. It takes an eighth
// off the CPU of a step.
const gcPercent = 200

func main() {
	if os.Args[0] == ns.Argv0 {
		ns.Main()
	}
	if os.Args[0] == landlock.Argv0 {
		landlock.Main()
	}
	if filepath.Base(os.Args[0]) == guest.Argv0 { // of a container's file system: the engine gives the whole path
		os.Exit(guest.Main(os.Args[1:]))
	}
	os.Exit(Main())
}

// Main runs the command line of this process and returns its exit code.
func Main() int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once: the first one has unregistered the handler.
	context.AfterFunc(ctx, stop)
	a := &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.LookupEnv,
		terminal: isTerminal(os.Stdout), asks: isTerminal(os.Stdin),
	}
	return a.main(ctx, os.Args[1:])
}

// app is what the subcommands share.
type app struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) (string, bool)
	terminal bool // out is one: progress may be drawn
	asks     bool // somebody can be asked

	server  string // --server
	project string // --project: that the root key or a token acts in; "": its own
	output  string // -o: "text" or "json"

	cert, key, ca string // --cert, --key, --ca: files, see tlsOf
}

// isTerminal reports whether a file is a character device that is not the null device.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
