package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
)

const agentSQL = `SELECT a.agent_id, v.version, a.created_at, v.updated_at, v.spec FROM agents a
	JOIN agent_versions v ON v.project_id = a.project_id AND v.agent_id = a.agent_id`

// PutAgent implements agent.Store.
func (s *Store) PutAgent(ctx context.Context, project stead.ProjectID, a agent.Agent, key, digest string) (agent.Agent, error) {
	if !storable(string(project)) || !storable(string(a.ID)) {
		return agent.Agent{}, stead.Invalid("id", "the agent's id is not text")
	}
	if len(key) > stead.MaxIdempotencyKeyBytes {
		return agent.Agent{}, stead.Errorf(stead.KindTooLarge, "an idempotency key of %d bytes: at most %d", len(key), stead.MaxIdempotencyKeyBytes)
	}
	spec, err := json.Marshal(a.Spec)
	if err != nil {
		return agent.Agent{}, stead.Wrap(stead.KindInternal, err, "encode agent %s", a.ID)
	}
	for range maxTries {
		var stored agent.Agent
		err = s.transaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
			stored, err = putAgent(ctx, tx, string(project), a, spec, []byte(key), []byte(digest))
			return err
		})
		if err == nil {
			return stored, nil
		}
		if !retryable(sqlState(err)) { // else another transaction came between: look again
			return agent.Agent{}, err
		}
	}
	return agent.Agent{}, err
}

func putAgent(ctx context.Context, tx pgx.Tx, project string, a agent.Agent, spec, key, digest []byte) (agent.Agent, error) {
	if len(key) > 0 {
		if id, found, err := agentOfKey(ctx, tx, project, key, digest); err != nil || found {
			if err != nil {
				return a, err
			}
			return queryAgent(ctx, tx, agentSQL+` WHERE a.project_id = $1 AND a.agent_id = $2 AND v.version = 1`, project, id)
		}
	}
	newest, createdAt := 0, a.CreatedAt
	err := tx.QueryRow(ctx, `SELECT version, created_at FROM agents WHERE project_id = $1 AND agent_id = $2 FOR UPDATE`,
		project, string(a.ID)).Scan(&newest, &createdAt)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return a, err
	}
	if a.Version != newest+1 {
		return a, stead.Errorf(stead.KindConflict, "agent %s is at version %d: version %d cannot follow", a.ID, newest, a.Version)
	}
	a.CreatedAt = createdAt
	queue := &pgx.Batch{}
	if newest == 0 {
		queue.Queue(`INSERT INTO agents (project_id, agent_id, version, created_at) VALUES ($1, $2, 1, $3)`, project, string(a.ID), a.CreatedAt)
	} else {
		queue.Queue(`UPDATE agents SET version = $3 WHERE project_id = $1 AND agent_id = $2`, project, string(a.ID), a.Version)
	}
	queue.Queue(`INSERT INTO agent_versions (project_id, agent_id, version, updated_at, spec) VALUES ($1, $2, $3, $4, $5)`,
		project, string(a.ID), a.Version, a.UpdatedAt, spec)
	if len(key) > 0 {
		queue.Queue(`INSERT INTO agent_keys (project_id, key, digest, agent_id) VALUES ($1, $2, $3, $4)`, project, key, digest, string(a.ID))
	}
	return a, tx.SendBatch(ctx, queue).Close()
}

func agentOfKey(ctx context.Context, tx pgx.Tx, project string, key, digest []byte) (id string, found bool, err error) {
	var stored []byte
	err = tx.QueryRow(ctx, `SELECT agent_id, digest FROM agent_keys WHERE project_id = $1 AND key = $2`, project, key).Scan(&id, &stored)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return "", false, nil
	case err != nil:
		return "", false, err
	case !bytes.Equal(stored, digest):
		return "", false, keyConflict()
	}
	return id, true, nil
}

// queryAgent returns the one agent that a query finds, or pgx.ErrNoRows.
func queryAgent(ctx context.Context, q interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}, sql string, args ...any) (agent.Agent, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return agent.Agent{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanAgent)
}

func scanAgent(row pgx.CollectableRow) (agent.Agent, error) {
	var a agent.Agent
	var spec []byte
	if err := row.Scan(&a.ID, &a.Version, &a.CreatedAt, &a.UpdatedAt, &spec); err != nil {
		return a, err
	}
	if err := json.Unmarshal(spec, &a.Spec); err != nil {
		return a, stead.Wrap(stead.KindInternal, err, "decode agent %s version %d", a.ID, a.Version)
	}
	return a, nil
}

// GetAgent implements agent.Store.
func (s *Store) GetAgent(ctx context.Context, project stead.ProjectID, id stead.AgentID, version int) (agent.Agent, error) {
	if !storable(string(project)) || !storable(string(id)) {
		return agent.Agent{}, stead.NotFound("agent", string(id))
	}
	var a agent.Agent
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) (err error) {
		a, err = queryAgent(ctx, c, agentSQL+` WHERE a.project_id = $1 AND a.agent_id = $2
			AND v.version = CASE WHEN $3 = 0 THEN a.version ELSE $3 END`, string(project), string(id), version)
		if errors.Is(err, pgx.ErrNoRows) {
			return stead.NotFound("agent", string(id))
		}
		return err
	})
	return a, err
}

// ListAgents implements agent.Store.
func (s *Store) ListAgents(ctx context.Context, project stead.ProjectID, after stead.AgentID, desc bool, limit int) ([]agent.Agent, error) {
	if !storable(string(project)) || !storable(string(after)) {
		return nil, nil
	}
	if limit <= 0 || limit > stead.MaxPageSize+1 {
		limit = stead.MaxPageSize + 1
	}
	order := ` AND a.agent_id > $2 ORDER BY a.agent_id LIMIT $3`
	if desc {
		order = ` AND ($2 = '' OR a.agent_id < $2) ORDER BY a.agent_id DESC LIMIT $3`
	}
	var agents []agent.Agent
	err := s.read(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		rows, err := c.Query(ctx, agentSQL+` AND v.version = a.version WHERE a.project_id = $1`+order, string(project), string(after), limit)
		if err != nil {
			return err
		}
		agents, err = pgx.CollectRows(rows, scanAgent)
		return err
	})
	return agents, err
}

// DeleteAgent implements agent.Store.
func (s *Store) DeleteAgent(ctx context.Context, project stead.ProjectID, id stead.AgentID) error {
	if !storable(string(project)) || !storable(string(id)) {
		return stead.NotFound("agent", string(id))
	}
	return s.transaction(ctx, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM agents WHERE project_id = $1 AND agent_id = $2`, string(project), string(id))
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return stead.NotFound("agent", string(id))
		}
		queue := &pgx.Batch{}
		for _, table := range []string{"agent_versions", "agent_keys"} {
			queue.Queue(`DELETE FROM `+table+` WHERE project_id = $1 AND agent_id = $2`, string(project), string(id))
		}
		return tx.SendBatch(ctx, queue).Close()
	})
}
