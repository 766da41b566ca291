package gvisor

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stead-dev/stead/internal/environment"
)

// TestRoom: what commands leave behind is killed for the next one, which says so. What runs is not: others are refused
// until it has ended.
func TestRoom(t *testing.T) {
	s := spec(t)
	s.Limits.Processes = 40
	b := start(t, open(t, Config{}), s)
	const fill = `i=0; while [ $i -lt 60 ]; do sleep 1000 >/dev/null 2>&1 & i=$((i+1)); done 2>/dev/null`
	pipeline := func() (string, environment.Exit, error) {
		var out strings.Builder
		exit, err := b.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", "echo alive | cat"}}, func(c environment.Chunk) { out.Write(c.Data) })
		return out.String(), exit, err
	}
	kept := make(chan environment.Exit, 1)
	begun := make(chan struct{})
	end, stop := context.WithCancel(t.Context())
	go func() {
		// Of its processes one has lost its parents, and one has left the session.
		exit, _ := b.Exec(end, environment.Command{Args: []string{"sh", "-c", `(sleep 1001 >/dev/null 2>&1 &); setsid sleep 1002 >/dev/null 2>&1 & echo begun; wait`}},
			func(environment.Chunk) { close(begun) })
		kept <- exit
	}()
	<-begun

	_, _ = b.Exec(t.Context(), environment.Command{Args: []string{"sh", "-c", fill}}, func(environment.Chunk) {})
	out, exit, err := pipeline()
	if notice := string(b.room.Cleared(environment.ClearedRest).Data); err != nil || exit.Code != 0 || out != notice+"alive\n" {
		t.Errorf("after what was left behind: %q, %+v, %v", out, exit, err)
	}
	if out, exit, err := pipeline(); err != nil || exit.Code != 0 || out != "alive\n" {
		t.Fatalf("and once more: %q, %+v, %v; the environment: %q, %s", out, exit, err, b.WhyEnded(), b.process.stderr)
	}
	all := run(t, b, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
	if !strings.Contains(all, "sleep 1001") || !strings.Contains(all, "sleep 1002") || strings.Contains(all, "sleep 1000 ") {
		t.Errorf("there are %s", all)
	}
	stop()
	if exit := <-kept; exit.Reason != environment.ReasonCancelled {
		t.Errorf("the command that ran ended with %+v", exit)
	}

	full := make(chan struct{})
	end, stop = context.WithCancel(t.Context())
	go func() {
		exit, _ := b.Exec(end, environment.Command{Args: []string{"sh", "-c", strings.Replace(fill, "60", "36", 1) + "; echo full; wait"}},
			func(environment.Chunk) { close(full) })
		kept <- exit
	}()
	<-full
	_, _, err = pipeline()
	if _, ok := errors.AsType[*environment.NotStartedError](err); !ok || !strings.Contains(err.Error(), "processes") {
		t.Errorf("while a command uses all up: %v", err)
	}
	stop()
	<-kept
	if out, exit, err := pipeline(); err != nil || exit.Code != 0 || !strings.HasSuffix(out, "alive\n") {
		t.Errorf("after it: %q, %+v, %v", out, exit, err)
	}
}
