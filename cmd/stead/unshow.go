package main

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/erasure"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/runner"
)

// unshow takes what is forgotten out of the journals of sessions that were shown it.
func unshow(run func() *runner.Runner) memory.Unshow {
	return func(ctx context.Context, u memory.Unshowing) (time.Duration, error) {
		key := stead.SessionKey{Project: u.Project, Session: u.Session}
		return run().Unshow(ctx, key, stead.Seq(u.Since), memoryNames(u.Refs))
	}
}

// unshown does so for an erasure, and says what was taken out by now.
func unshown(ctx context.Context, run *runner.Runner, memories *memory.Service, project stead.ProjectID, id string, most int) (erasure.Unshown, error) {
	out := erasure.Unshown{Left: map[string]int{}}
	caused, err := memories.UnshowFor(ctx, project, id, most)
	if err != nil {
		return out, err
	}
	for why, n := range caused.Left {
		out.Left[string(why)] = n
	}
	if len(out.Left) > 0 {
		return out, nil
	}
	for _, u := range caused.Shown {
		items, err := run.Unshown(ctx, stead.SessionKey{Project: project, Session: u.Session}, memoryNames(u.Refs))
		if err != nil && stead.KindOf(err) != stead.KindNotFound {
			return out, err
		}
		out.Items = append(out.Items, items...)
	}
	return out, nil
}
