package main

import (
	"context"
	"slices"
	"time"

	"github.com/stead-dev/stead/internal/erasure"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/memory"
)

// openPurges keeps what is owed of taking deleted bytes out of the database's files.
func (n *node) openPurges(store database) *erasure.Purges {
	return erasure.NewPurges(store, func(ctx context.Context) (string, error) {
		how, err := journal.Purger(store).Purge(ctx)
		return string(how), err
	}, time.Now, n.log)
}

// forgetting is memories whose bytes go, too, soon after they are forgotten.
type forgetting struct {
	memory.Store
	purges *erasure.Purges
}

// WriteMemories implements memory.Store.
func (f forgetting) WriteMemories(ctx context.Context, p memory.Place, changes []memory.Change) (out []memory.Record, err error) {
	forgets := func(c memory.Change) bool { return c.Data == nil || c.Redact || len(c.Drop) > 0 }
	if !slices.ContainsFunc(changes, forgets) {
		return f.Store.WriteMemories(ctx, p, changes)
	}
	err = f.purges.Deleting(ctx, func() (err error) {
		out, err = f.Store.WriteMemories(ctx, p, changes)
		return err
	})
	return out, err
}

// DropMemories implements memory.Store.
func (f forgetting) DropMemories(ctx context.Context, p memory.Place) error {
	return f.purges.Deleting(ctx, func() error { return f.Store.DropMemories(ctx, p) })
}
