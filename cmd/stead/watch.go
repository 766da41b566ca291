package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
)

// watchEvery is how often the agent files are looked at. Polling needs no dependency, works on
// every file system, and a few stats a second cost nothing.
const watchEvery = 300 * time.Millisecond

// stamp tells versions of a file apart.
type stamp struct {
	modified time.Time
	size     int64
}

// watchAgents applies the files of a directory, then each again when it is saved, until ctx ends.
// A file that can't be applied is said once and tried again when it changes.
func (a *app) watchAgents(ctx context.Context, c *client.Client, dir string) {
	seen := map[string]stamp{} // path → version that was looked at
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	missing := false
	for {
		paths, err := agentPaths(dir)
		if err != nil && !missing {
			a.report(err)
		}
		missing = err != nil
		for _, p := range paths {
			info, err := os.Stat(p)
			if err != nil {
				continue // removed meanwhile
			}
			now := stamp{info.ModTime(), info.Size()}
			if seen[p] == now {
				continue
			}
			seen[p] = now
			a.reload(ctx, c, p)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (a *app) reload(ctx context.Context, c *client.Client, path string) {
	files, err := agentFiles(path)
	var results []applied
	if err == nil {
		results, err = apply(ctx, c, files)
	}
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		hint := ""
		if e, ok := errors.AsType[*stead.Error](err); ok && e.Hint != "" {
			hint = " " + e.Hint
		}
		fmt.Fprintf(a.out, "agents: %v.%s\n", err, hint)
	}
	for _, r := range results {
		fmt.Fprintf(a.out, "agents: %s %s (%s)\n", r.Name, r.Action, r.Agent)
	}
}
