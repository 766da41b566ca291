package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
)

// PutAgent implements agent.Store.
func (s *Store) PutAgent(ctx context.Context, project stead.ProjectID, a agent.Agent, key, digest string) (agent.Agent, error) {
	spec, err := json.Marshal(a.Spec)
	if err != nil {
		return agent.Agent{}, stead.Wrap(stead.KindInternal, err, "encode agent %s", a.ID)
	}
	var replayed stead.AgentID
	err = s.do(ctx, &op{bytes: len(spec), write: func(g *group) (err error) {
		replayed, err = g.putAgent(project, a, string(spec), key, digest)
		return err
	}})
	switch {
	case err != nil:
		return agent.Agent{}, err
	case replayed != "":
		return s.GetAgent(ctx, project, replayed, 1) // what this very creation stored
	}
	return a, nil
}

// putAgent returns the id of the agent that the key made before, if it did.
func (g *group) putAgent(project stead.ProjectID, a agent.Agent, spec, key, digest string) (stead.AgentID, error) {
	conn := g.c.conn
	ctx := context.Background()
	if key != "" {
		var id stead.AgentID
		var had string
		err := conn.QueryRowContext(ctx, `SELECT agent, digest FROM agent_key WHERE project = ? AND key = ?`, string(project), key).Scan(&id, &had)
		switch {
		case err == nil && had != digest:
			return "", stead.Errorf(stead.KindConflict, "the idempotency key was used for another request")
		case err == nil:
			return id, nil
		case !errors.Is(err, sql.ErrNoRows):
			return "", failed(err, "read idempotency key")
		}
	}
	var newest int
	if err := conn.QueryRowContext(ctx, `SELECT ifnull(max(version), 0) FROM agent WHERE project = ? AND agent = ?`, string(project), string(a.ID)).Scan(&newest); err != nil {
		return "", failed(err, "read agent")
	}
	if a.Version != newest+1 {
		return "", stead.Errorf(stead.KindConflict, "agent %s is at version %d, so version %d can't be stored", a.ID, newest, a.Version)
	}
	if err := g.execText(ctx, "store agent", `INSERT INTO agent (project, agent, version, created_at, updated_at, spec) VALUES (?, ?, ?, ?, ?, ?)`,
		string(project), string(a.ID), a.Version, a.CreatedAt, a.UpdatedAt, spec); err != nil {
		return "", err
	}
	if key == "" {
		return "", nil
	}
	return "", g.execText(ctx, "store idempotency key", `INSERT INTO agent_key (project, key, digest, agent) VALUES (?, ?, ?, ?)`,
		string(project), key, digest, string(a.ID))
}

// execText is exec for statements that are too rare to be prepared.
func (g *group) execText(ctx context.Context, what, text string, args ...any) error {
	if err := g.begin(); err != nil {
		return err
	}
	if _, err := g.c.conn.ExecContext(ctx, text, args...); err != nil {
		return failed(err, what)
	}
	return nil
}

// GetAgent implements agent.Store.
func (s *Store) GetAgent(ctx context.Context, project stead.ProjectID, id stead.AgentID, version int) (agent.Agent, error) {
	a := agent.Agent{ID: id}
	var row *sql.Row
	if version == 0 {
		row = s.read.newestAgent.QueryRowContext(ctx, string(project), string(id))
	} else {
		row = s.read.agent.QueryRowContext(ctx, string(project), string(id), version)
	}
	var spec []byte
	err := row.Scan(&a.Version, &a.CreatedAt, &a.UpdatedAt, &spec)
	if errors.Is(err, sql.ErrNoRows) {
		return agent.Agent{}, stead.NotFound("agent", string(id))
	}
	if err != nil {
		return agent.Agent{}, translate(err, "read agent "+string(id))
	}
	return decodeAgent(a, spec)
}

func decodeAgent(a agent.Agent, spec []byte) (agent.Agent, error) {
	if err := json.Unmarshal(spec, &a.Spec); err != nil {
		return agent.Agent{}, stead.Wrap(stead.KindInternal, err, "read agent %s", a.ID)
	}
	return a, nil
}

// ListAgents implements agent.Store.
func (s *Store) ListAgents(ctx context.Context, project stead.ProjectID, after stead.AgentID, desc bool, limit int) ([]agent.Agent, error) {
	text := `SELECT agent, version, created_at, updated_at, spec FROM agent a WHERE project = ?1
		AND version = (SELECT max(version) FROM agent b WHERE b.project = a.project AND b.agent = a.agent)`
	switch {
	case desc && after != "":
		text += ` AND agent < ?2 ORDER BY agent DESC`
	case desc:
		text += ` AND ?2 = '' ORDER BY agent DESC`
	default:
		text += ` AND agent > ?2 ORDER BY agent`
	}
	if limit <= 0 || limit > stead.MaxPageSize+1 {
		limit = stead.MaxPageSize + 1
	}
	rows, err := s.readers.QueryContext(ctx, text+` LIMIT ?3`, string(project), string(after), limit)
	if err != nil {
		return nil, translate(err, "list agents")
	}
	defer rows.Close()
	var out []agent.Agent
	for rows.Next() {
		var a agent.Agent
		var spec []byte
		if err := rows.Scan(&a.ID, &a.Version, &a.CreatedAt, &a.UpdatedAt, &spec); err != nil {
			return nil, translate(err, "list agents")
		}
		if a, err = decodeAgent(a, spec); err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, translate(rows.Err(), "list agents")
}

// DeleteAgent implements agent.Store.
func (s *Store) DeleteAgent(ctx context.Context, project stead.ProjectID, id stead.AgentID) error {
	return s.do(ctx, &op{write: func(g *group) error {
		ctx := context.Background()
		var n int
		if err := g.c.conn.QueryRowContext(ctx, `SELECT count(*) FROM agent WHERE project = ? AND agent = ?`, string(project), string(id)).Scan(&n); err != nil {
			return failed(err, "read agent")
		}
		if n == 0 {
			return stead.NotFound("agent", string(id))
		}
		if err := g.execText(ctx, "delete agent", `DELETE FROM agent WHERE project = ? AND agent = ?`, string(project), string(id)); err != nil {
			return err
		}
		return g.execText(ctx, "delete agent", `DELETE FROM agent_key WHERE project = ? AND agent = ?`, string(project), string(id))
	}})
}
