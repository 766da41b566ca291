package computer

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/tool"
)

var shellSpec = tool.Spec{
	Name: "shell",
	Description: "Runs a command with /bin/sh in your environment, in " + environment.WorkspaceDir + " unless cwd says otherwise, and returns its exit code and output. " +
		"Several calls run in parallel. With background, the command goes on running and you get an id for the tool process. " +
		"Files outside of " + environment.WorkspaceDir + " do not last.",
	Parameters: object(`"command":{"type":"string","description":"Shell text"},`+
		`"cwd":{"type":"string","description":"Absolute directory"},`+
		`"timeout_ms":{"type":"integer","minimum":1,"maximum":86400000,"description":"The command is killed after so long; two minutes by default"},`+
		`"stdin":{"type":"string","description":"What the command reads"},`+
		`"background":{"type":"boolean"}`, "command"),
	Effect: tool.Unknown,
}

type shellArgs struct {
	Command    string `json:"command"`
	Cwd        string `json:"cwd"`
	TimeoutMS  int64  `json:"timeout_ms"`
	Stdin      string `json:"stdin"`
	Background bool   `json:"background"`
}

func (a shellArgs) toCommand() environment.Command {
	c := environment.Command{Args: []string{"/bin/sh", "-c", a.Command}, Dir: a.Cwd, Timeout: time.Duration(a.TimeoutMS) * time.Millisecond, OutputBytes: MaxOutputBytes}
	if a.Stdin != "" {
		c.Stdin = strings.NewReader(a.Stdin)
	}
	return c
}

func (w work) shell(ctx context.Context, procs *processes) (tool.Result, error) {
	args, err := arguments[shellArgs](w.Arguments)
	if err != nil {
		return failed(err)
	}
	if args.Background {
		return procs.start(w, args)
	}
	var out strings.Builder
	exit, err := w.env.Exec(ctx, args.toCommand(), func(c environment.Chunk) {
		out.Write(c.Data)
		if w.Output != nil {
			w.Output(string(c.Data))
		}
	})
	if err != nil {
		return settled(err)
	}
	if exit.Reason == environment.ReasonCancelled {
		return tool.Result{}, ctx.Err() // the call was given up
	}
	text := strings.ToValidUTF8(out.String(), "\uFFFD")
	if why := reason(exit, args); why != "" {
		text += "\n[" + why + "]\n"
	}
	r := said(text)
	r.Exit = &exit.Code
	return r, nil
}

// reason says in words what ended a command that did not end by itself.
func reason(exit environment.Exit, args shellArgs) string {
	switch exit.Reason {
	case "":
		return ""
	case environment.ReasonTimeout:
		if args.TimeoutMS > 0 {
			return fmt.Sprintf("killed after timeout_ms = %d", args.TimeoutMS)
		}
		return "killed: it ran longer than the default limit; give timeout_ms, or run it in the background"
	case environment.ReasonMemory:
		return "killed: the environment's memory limit was reached"
	case environment.ReasonDisk:
		return "killed: the workspace's disk limit was reached"
	case environment.ReasonNodeDisk:
		return "killed: the disk of the machine that the environment is on is nearly full; remove what is not needed before you write more"
	case environment.ReasonNodeFiles:
		return "killed: the disk of the machine that the environment is on has no room for more files (inodes); remove files that are not needed before you make more"
	case environment.ReasonFiles:
		return "killed: the workspace has more files and directories than its limit allows; remove what is not needed"
	case environment.ReasonProcesses:
		return "killed: the environment's limit of processes was used up, and this was ended so that another command could run"
	case environment.ReasonExpired:
		return "killed: the environment's lifetime is over"
	}
	return "killed: " + string(exit.Reason)
}

var processSpec = tool.Spec{
	Name: "process",
	Description: "Looks after a background process that shell started: read returns what it printed since the last read, and whether it still runs; " +
		"write sends input to it and then reads; kill ends it. Background processes end when your environment is suspended.",
	Parameters: object(`"id":{"type":"string"},"action":{"type":"string","enum":["read","write","kill"]},`+
		`"input":{"type":"string"},`+
		`"wait_ms":{"type":"integer","minimum":0,"maximum":60000,"description":"How long to wait for output or the end; 1000 by default"}`, "id", "action"),
	Effect: tool.Unknown,
}

type processArgs struct {
	ID     string `json:"id"`
	Action string `json:"action"`
	Input  string `json:"input"`
	WaitMS *int64 `json:"wait_ms"`
}

// defaultWait is how long the tool process waits for output.
const defaultWait = time.Second

func (w work) process(ctx context.Context, procs *processes) (tool.Result, error) {
	args, err := arguments[processArgs](w.Arguments)
	if err != nil {
		return failed(err)
	}
	p := procs.find(w, args.ID)
	if p == nil {
		return failed(stead.Invalid("id", "there is no background process %.40q: processes end when the environment is suspended or reset", args.ID))
	}
	switch args.Action {
	case "write":
		if err := p.write(ctx, args.Input); err != nil {
			return failed(err)
		}
	case "kill":
		p.kill()
	}
	wait := defaultWait
	if args.WaitMS != nil {
		wait = time.Duration(*args.WaitMS) * time.Millisecond
	}
	return said(p.read(ctx, wait)), nil
}

// write hands input to the process. A process that reads nothing holds it up: the input then stays
// in its pipe.
func (p *proc) write(ctx context.Context, input string) error {
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(p.stdin, input)
		sent <- err
	}()
	select {
	case err := <-sent:
		if err != nil {
			return stead.Invalid("id", "process %s has ended: it takes no input", p.id)
		}
		return nil
	case <-time.After(writePatience):
		return stead.Invalid("input", "process %s does not read its input at present: it gets it when it does", p.id)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// writePatience is how long a process may take to read its input.
const writePatience = 2 * time.Second
