package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/audit"
	"github.com/stead-dev/stead/internal/blob"
	"github.com/stead-dev/stead/internal/journal"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/postgres"
	"github.com/stead-dev/stead/internal/runner"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/sqlite"
)

// shutdownTimeout is how long a core may take to stop.
const shutdownTimeout = 10 * time.Second

// database is what both stores are.
type database interface {
	journal.Full
	agent.Store
	audit.Store
}

// core is the product without its doors: a store, the runner, a model and a tool that answer at once.
type core struct {
	store  database
	runner *runner.Runner
	model  *instant
	sign   func(context.Context) error // ends the audit log
}

// auditLevel is which decisions are recorded; a server records all of them by default.
var auditLevel = audit.LevelAll

// openCore puts a core together on SQLite under dir, or on a PostgreSQL database.
func openCore(dir, url string, m *instant) (*core, error) {
	ctx := context.Background()
	var store database
	var err error
	if url != "" {
		store, err = postgres.Open(ctx, url, postgres.Options{})
	} else {
		store, err = sqlite.Open(ctx, filepath.Join(dir, "stead.db"), sqlite.Options{})
	}
	if err != nil {
		return nil, err
	}
	blobs, err := blob.OpenDir(filepath.Join(dir, "blobs"))
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	signer, err := audit.NewSigner(make([]byte, audit.SeedBytes))
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	gate := audit.NewAuthorizer(policy.AllowLocal{}, audit.NewLog(store), auditLevel, time.Now, log)
	r := runner.New(runner.Config{
		Store: store, Agents: store, Blobs: blobs, Models: m, Tools: instantTool{}, Policy: gate, Audit: gate.Draft,
		Node: stead.NodeID("node_" + uuid.NewString()), Log: log,
		CheckArguments: func(_, _ []byte) error { return nil },
	})
	if err := r.Start(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	sign := audit.NewService(audit.Config{Store: store, Policy: gate, Signer: signer, Now: time.Now, Log: log}).Start()
	return &core{store, r, m, sign}, nil
}

func (c *core) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	return errors.Join(c.runner.Shutdown(ctx), c.sign(ctx), c.store.Close())
}

// begin makes a session whose turn starts at once.
func (c *core) begin(ctx context.Context, tools ...agent.Tool) (stead.SessionID, error) {
	s, err := c.runner.Create(ctx, stead.LocalPrincipal(), session.CreateRequest{
		Override: func(s *agent.Spec) error {
			s.Model = "bench"
			s.Tools = tools
			return nil
		},
		Input: []session.InputMessage{{Content: stead.TextContent(stead.ContentInputText, "go")}},
	})
	return s.ID, err
}

// stepTool is the tool that the runtime executes; askTool one that the application would.
func stepTool() agent.Tool { return agent.Tool{Type: agent.ToolMCP, ServerLabel: "bench"} }

func askTool() agent.Tool {
	return agent.Tool{Type: agent.ToolFunction, Name: "ask", Parameters: json.RawMessage(`{"type":"object"}`)}
}

// whole runs one session's turn and returns when it has its answer.
func (c *core) whole(ctx context.Context) error {
	id, err := c.begin(ctx, stepTool())
	if err != nil {
		return err
	}
	select {
	case <-c.model.turn(string(id)):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("session %s has no answer: %w", id, ctx.Err())
	}
}

// round runs n sessions at once, each for a turn, and returns the time that all of them took.
func (c *core) round(n int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), roundTimeout)
	defer cancel()
	start := time.Now()
	errs := make(chan error, n)
	for range n {
		go func() { errs <- c.whole(ctx) }()
	}
	var err error
	for range n {
		err = errors.Join(err, <-errs)
	}
	return time.Since(start), err
}

// roundTimeout ends a round that hangs.
const roundTimeout = 2 * time.Minute

// settled waits until the runner holds no session any more.
func (c *core) settled(timeout time.Duration) error {
	for deadline := time.Now().Add(timeout); c.runner.Holding() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%d sessions are still held after %s", c.runner.Holding(), timeout)
		}
	}
	return nil
}
