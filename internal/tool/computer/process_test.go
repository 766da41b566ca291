package computer

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/tool"
)

// ending is an environment whose commands print a line and end as it says. A kill comes through.
type ending struct {
	environment.Environment
	exit environment.Exit
	err  error
	wait bool // until the command is killed
}

func (e *ending) Exec(ctx context.Context, _ environment.Command, out func(environment.Chunk)) (environment.Exit, error) {
	out(environment.Chunk{Stream: environment.Stdout, Data: []byte("working")})
	if e.wait {
		<-ctx.Done()
	}
	return e.exit, e.err
}

func (e *ending) Done() <-chan struct{} { return nil }

// call calls a tool and returns its text.
func call(t *testing.T, tools []tool.Tool, name string, args any) string {
	t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range tools {
		if c.Spec().Name != name {
			continue
		}
		r, err := c.Call(context.Background(), tool.Call{Arguments: raw, Session: stead.SessionKey{Project: "p", Session: "s"}})
		if err != nil {
			t.Fatal(err)
		}
		return r.Content[0].Text.Inline
	}
	t.Fatalf("there is no tool %s", name)
	return ""
}

func TestABackgroundProcessSaysWhyItEnded(t *testing.T) {
	killed := func(r environment.Reason) *ending {
		return &ending{exit: environment.Exit{Code: -1, Reason: r}}
	}
	stopped := killed(environment.ReasonCancelled)
	stopped.wait = true
	for name, tc := range map[string]struct {
		env    *ending
		args   map[string]any
		action string
		want   string
	}{
		"by itself":      {&ending{exit: environment.Exit{Code: 3}}, nil, "read", "[it ended with exit code 3]"},
		"for memory":     {killed(environment.ReasonMemory), nil, "read", "[it was killed: the environment's memory limit was reached]"},
		"for disk":       {killed(environment.ReasonDisk), nil, "read", "[it was killed: the workspace's disk limit was reached]"},
		"for processes":  {killed(environment.ReasonProcesses), nil, "read", "[it was killed: the environment's limit of processes was used up, and this was ended so that another command could run]"},
		"for its time":   {killed(environment.ReasonTimeout), map[string]any{"timeout_ms": 5}, "read", "[it was killed after timeout_ms = 5]"},
		"for the time":   {killed(environment.ReasonTimeout), nil, "read", "[it was killed: it ran for 24h0m0s, which is the limit]"},
		"for a lifetime": {killed(environment.ReasonExpired), nil, "read", "[it was killed: the environment's lifetime is over]"},
		"by the agent":   {stopped, nil, "kill", "[it was killed, as you asked]"},
		"by an error":    {&ending{err: io.ErrUnexpectedEOF}, nil, "read", "[it ended: unexpected EOF]"},
	} {
		t.Run(name, func(t *testing.T) {
			var begun, over int
			ended := make(chan struct{})
			tools := Tools(func(stead.SessionKey) (environment.Environment, error) { return tc.env, nil }, func(_ stead.SessionKey, command string) func() {
				begun++
				return func() { over++; close(ended) }
			})
			args := map[string]any{"command": "work", "background": true}
			for k, v := range tc.args {
				args[k] = v
			}
			text := call(t, tools, "shell", args)
			if tc.action == "kill" {
				if !strings.Contains(text, "[it is running]") {
					t.Errorf("before it is killed: %q", text)
				}
				text = call(t, tools, "process", map[string]any{"id": "p1", "action": "kill", "wait_ms": 20000})
			}
			if !strings.HasSuffix(text, tc.want) {
				t.Errorf("%q, want %q", text, tc.want)
			}
			<-ended
			if begun != 1 || over != 1 {
				t.Errorf("it was said to begin %d times and to end %d times", begun, over)
			}
		})
	}
}
