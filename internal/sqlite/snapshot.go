package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"github.com/stead-dev/stead"
)

// LoadSnapshot implements journal.Snapshots.
func (s *Store) LoadSnapshot(ctx context.Context, key stead.SessionKey) (stead.Seq, []byte, error) {
	var seq stead.Seq
	var data []byte
	err := s.read.snapshot.QueryRowContext(ctx, string(key.Project), string(key.Session)).Scan(&seq, &data)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, nil
	}
	if err != nil {
		return 0, nil, translate(err, "load snapshot of "+key.String())
	}
	if len(data) == 0 { // Rewrite took it
		return 0, nil, nil
	}
	return seq, data, nil
}

// SaveSnapshot implements journal.Snapshots. It rides in the next group commit.
func (s *Store) SaveSnapshot(ctx context.Context, key stead.SessionKey, seq stead.Seq, data []byte) error {
	return s.do(ctx, &op{bytes: len(data), write: func(g *group) error {
		h, err := g.head(key)
		if err != nil {
			return err
		}
		if h == nil {
			return stead.NotFound("session", string(key.Session))
		}
		_, err = g.exec("save snapshot of "+key.String(), g.c.st.saveSnapshot, h.id, int64(seq), data)
		return err
	}})
}
