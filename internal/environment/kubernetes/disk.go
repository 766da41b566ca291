package kubernetes

import (
	"context"
	"time"

	"github.com/stead-dev/stead/internal/environment"
)

const (
	// diskPause is the least time between two measurements of a pod's workspace.
	diskPause = 500 * time.Millisecond
	// measureTime is the longest that one may take: the guest walks through all files.
	measureTime = time.Minute
)

// watchDisk has the guest measure the workspace, which is in its pod, again and again. What grows above a limit, or while the
// disk of the pod's node is nearly full, has all its processes killed: a kubelet would evict the pod, and what came after the
// last checkpoint would be lost with it.
func (e *Environment) watchDisk(ctx context.Context) {
	var before *environment.Occupied // nil: not measured, or what was made since then is not the next command's doing
	timer := time.NewTimer(0)        // measured before a command has changed it
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.client.Done():
			return
		case <-timer.C:
		}
		begin := time.Now()
		within, cancel := context.WithTimeout(ctx, measureTime)
		now, err := e.client.Measure(within, e.limits.MostFiles())
		cancel()
		timer.Reset(max(diskPause, e.limits.Rest(time.Since(begin), now)))
		if err != nil {
			continue // it is measured again
		}
		if why := e.limits.Outgrown(now, before); why != "" {
			e.client.Interrupt(ctx, why)
			before = nil
			continue
		}
		before = &now
	}
}
