package main

import (
	"context"
	"path/filepath"

	"github.com/jackc/pgx/v5"

	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/sqlite"
	"github.com/stead-dev/stead/proof/rig"
)

// store is what both databases are.
type store interface {
	document.Store
	memory.Store
}

// database opens one of the node's own.
func (n *node) database(ctx context.Context, onPostgres bool) (store, error) {
	if !onPostgres {
		s, err := sqlite.Open(ctx, filepath.Join(n.dir, "stead.db"), sqlite.Options{})
		if err != nil {
			return nil, err
		}
		n.stop = s.Close
		n.size = func(ctx context.Context) (int64, error) {
			if _, err := s.Purge(ctx); err != nil { // what is in the log is in the database too
				return 0, err
			}
			return size(n.dir)
		}
		return s, nil
	}
	server, err := rig.NewPostgres(n.dir)
	if err != nil {
		return nil, err
	}
	address := server.URL("postgres")
	s, err := postgres.Open(ctx, address, postgres.Options{})
	if err != nil {
		server.Kill()
		return nil, err
	}
	n.stop = func() error {
		defer server.Kill() // its data goes with it
		return s.Close()
	}
	n.size = func(ctx context.Context) (int64, error) {
		c, err := pgx.Connect(ctx, address)
		if err != nil {
			return 0, err
		}
		defer c.Close(ctx)
		bytes := int64(0)
		return bytes, c.QueryRow(ctx, `SELECT pg_database_size(current_database())`).Scan(&bytes)
	}
	return s, nil
}
