package main

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/environment"
	"github.com/stead-dev/stead/internal/environment/executor"
	"github.com/stead-dev/stead/internal/server"
)

// hubs holds the hub of each script that runs.
var hubs sync.Map // *testscript.TestScript → *executor.Hub

// hub serves executors for the script and sets a variable to the remote URL of env_1: hub VAR
func hub(ts *testscript.TestScript, _ bool, args []string) {
	token, digest := executor.NewToken()
	named := ""
	if len(args) > 1 {
		named = args[1]
	}
	h := executor.NewHub(executor.HubConfig{Lookup: func(_ context.Context, id, _ string) (executor.Registration, error) {
		if id != "env_1" {
			return executor.Registration{}, stead.NotFound("environment", id)
		}
		return executor.Registration{Digest: digest, Workspace: named}, nil
	}})
	srv := httptest.NewServer(server.New(server.Config{Executors: h}))
	hubs.Store(ts, h)
	ts.Defer(func() {
		hubs.Delete(ts)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ts.Check(h.Close(ctx))
		srv.Close()
	})
	ts.Setenv(args[0], executor.RemoteURL(srv.URL, "env_1", token))
}

// inside runs a shell script in env_1 and wants its output, with \n for line ends: inside 'SCRIPT' 'OUTPUT'
func inside(ts *testscript.TestScript, _ bool, args []string) {
	found, _ := hubs.Load(ts)
	h := found.(*executor.Hub)
	poll(ts, "the executor to connect", func() bool { return h.Connected("env_1") })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	env, err := h.Provider().Open(ctx, environment.Spec{ID: "env_1"})
	ts.Check(err)
	var b strings.Builder
	_, err = env.Exec(ctx, environment.Command{Args: []string{"sh", "-c", args[0]}}, func(c environment.Chunk) { b.Write(c.Data) })
	ts.Check(errors.Join(err, env.Close(ctx)))
	if got := strings.ReplaceAll(strings.TrimSpace(b.String()), "\n", `\n`); got != args[1] {
		ts.Fatalf("%s printed %q, want %q", args[0], got, args[1])
	}
}
