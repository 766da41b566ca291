package main

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/erasure"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
)

// unshow takes what is forgotten out of the journals of sessions that were shown it.
func unshow(run func() *runner.Runner) memory.Unshow {
	return func(ctx context.Context, u memory.Unshowing) (time.Duration, error) {
		key := stead.SessionKey{Project: u.Project, Session: u.Session}
		return run().Unshow(ctx, key, runner.Unshowing{Eraser: u.By, Since: stead.Seq(u.Since), Names: memoryNames(u.Refs), Wait: u.Wait})
	}
}

// unshown does so for an erasure, and says what was taken out by now.
func unshown(ctx context.Context, run *runner.Runner, memories *memory.Service, ask erasure.Unshowing) (erasure.Unshown, error) {
	out := erasure.Unshown{Left: map[string]int{}}
	caused, err := memories.UnshowFor(ctx, memory.Unshowable{By: ask.By, Cause: ask.Erasure, Most: ask.Most, Awaited: ask.Awaited})
	if err != nil {
		return out, err
	}
	for why, n := range caused.Left {
		out.Left[reason(why)] = n
	}
	if len(out.Left) > 0 {
		return out, nil
	}
	for _, u := range caused.Shown {
		items, err := run.Unshown(ctx, stead.SessionKey{Project: u.Project, Session: u.Session}, memoryNames(u.Refs))
		if err == nil && ask.Answers {
			var said []session.Redaction
			var later time.Duration
			if said, later, err = run.RedactSaid(ctx, ask.By, u.Session, stead.Seq(u.Since)); later > 0 {
				out.Left[string(memory.WhyYoung)]++
			}
			items = append(items, said...)
		}
		switch kind := stead.KindOf(err); {
		case kind == stead.KindConflict:
			out.Left[string(memory.WhyInUse)]++
		case kind == stead.KindForbidden:
			out.Left[erasure.Kept]++
		case err != nil && kind != stead.KindNotFound:
			return out, err
		}
		out.Items = append(out.Items, items...)
	}
	return out, nil
}

// reason is why something is left, as erasures have it.
func reason(why memory.Why) string {
	if why == memory.WhyKept {
		return erasure.Kept
	}
	return string(why)
}
