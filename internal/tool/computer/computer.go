// Package computer is what an agent can do in its environment: run commands, and look at and change
// files.
//
// Shape:
//
//	shell {command, cwd, timeout_ms, stdin, background}   exit code and output, or a process's id
//	process {id, action, input}                           what a background process printed; write to it; end it
//	read_file {path, offset, limit}    write_file {path, content}    list_files {path}
//	apply_patch {patch}                the patch format that models know: see package patch
//
// Delivery: a background process lives as long as its environment is resident. What it prints is kept
// in a buffer of MaxBufferBytes, the newest; reading takes it out.
//
// Effects: reading files is pure; writing a whole file and listing are repeatable; everything else is
// unknown, unless the agent's configuration says otherwise.
//
// Errors: what goes wrong inside is a result that the model can act on. An error of Call means that
// the environment is gone: then it is not known how far a command came, unless it was not started.
package computer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/tool"
)

// Limits of what a model is given.
const (
	// MaxOutputBytes is how much of a command's output the model gets: head and tail are kept.
	MaxOutputBytes = 64 << 10
	// MaxBufferBytes is how much a background process may have printed and nobody read.
	MaxBufferBytes = 256 << 10
	// MaxProcesses is the most background processes of one session.
	MaxProcesses = 32
	// MaxReadBytes is the largest file that read_file reads, and MaxReadLines the most lines it returns.
	MaxReadBytes = 8 << 20
	MaxReadLines = 2000
	// MaxListed is the most files that list_files returns.
	MaxListed = 500
)

// Find returns a session's environment while it is open.
type Find func(stead.SessionKey) (environment.Environment, error)

// Began is told that a command goes on in the background of a session's environment; what it returns is
// called when that has ended.
type Began func(key stead.SessionKey, command string) (ended func())

// Tools makes the tools.
func Tools(find Find, began Began) []tool.Tool {
	procs := newProcesses(began)
	return []tool.Tool{
		&callable{find: find, spec: shellSpec, run: func(ctx context.Context, w work) (tool.Result, error) { return w.shell(ctx, procs) }},
		&callable{find: find, spec: processSpec, run: func(ctx context.Context, w work) (tool.Result, error) { return w.process(ctx, procs) }},
		&callable{find: find, spec: readSpec, run: func(ctx context.Context, w work) (tool.Result, error) { return w.read(ctx) }},
		&callable{find: find, spec: writeSpec, run: func(ctx context.Context, w work) (tool.Result, error) { return w.write(ctx) }},
		&callable{find: find, spec: listSpec, run: func(ctx context.Context, w work) (tool.Result, error) { return w.list(ctx) }},
		&callable{find: find, spec: patchSpec, run: func(ctx context.Context, w work) (tool.Result, error) { return w.patch(ctx) }},
	}
}

// callable is one tool.
type callable struct {
	find Find
	spec tool.Spec
	run  func(context.Context, work) (tool.Result, error)
}

// work is one call with its environment.
type work struct {
	tool.Call
	env environment.Environment
}

// Spec implements tool.Tool.
func (c *callable) Spec() tool.Spec { return c.spec }

// Call implements tool.Tool.
func (c *callable) Call(ctx context.Context, call tool.Call) (tool.Result, error) {
	env, err := c.find(call.Session)
	if err != nil {
		return tool.Result{}, &tool.NotSentError{Err: err}
	}
	return c.run(ctx, work{call, env})
}

// arguments decodes a call's arguments. They were checked against the schema, so that what is wrong
// here is what a schema can't say.
func arguments[T any](raw json.RawMessage) (T, error) {
	var a T
	if err := json.Unmarshal(raw, &a); err != nil {
		return a, fmt.Errorf("the arguments can't be read: %w", err)
	}
	return a, nil
}

func said(text string) tool.Result {
	return tool.Result{Content: stead.TextContent(stead.ContentInputText, text)}
}

// failed tells the model what is wrong with what it asked for.
func failed(err error) (tool.Result, error) {
	text := err.Error()
	if e, ok := errors.AsType[*stead.Error](err); ok {
		text = e.Message
		if e.Hint != "" {
			text += " " + e.Hint
		}
	}
	return tool.Result{IsError: true, Content: stead.TextContent(stead.ContentInputText, text)}, nil
}

// settled sorts the errors of an environment: those that the model can act on are results; that the
// environment is gone is not.
func settled(err error) (tool.Result, error) {
	if started, ok := errors.AsType[*environment.NotStartedError](err); ok {
		if gone(started.Err) {
			return tool.Result{}, &tool.NotSentError{Err: err}
		}
		return failed(started.Err)
	}
	if gone(err) {
		return tool.Result{}, err
	}
	return failed(err)
}

func gone(err error) bool {
	if e, ok := errors.AsType[*stead.Error](err); ok && e.Code == stead.CodeStorageFull {
		return false // the agent can remove something
	}
	switch stead.KindOf(err) {
	case stead.KindUnavailable, stead.KindInternal:
		return true
	}
	return false
}

func object(properties string, required ...string) json.RawMessage {
	quoted := make([]string, len(required))
	for i, r := range required {
		quoted[i] = `"` + r + `"`
	}
	return json.RawMessage(`{"type":"object","properties":{` + properties + `},"required":[` + strings.Join(quoted, ",") + `],"additionalProperties":false}`)
}
