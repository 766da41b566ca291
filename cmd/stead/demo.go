package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/client"
	"github.com/stead-dev/stead/internal/config"
)

const (
	shopLabel = "shop"
	// demoTimeout is how long the sample session may take before the server goes on without it.
	demoTimeout = 20 * time.Second
)

// shop is the tool server of the sample agent: a real MCP server on a loopback port, so that the
// first session runs the way of every other one.
type shop struct {
	url    string
	server *http.Server
}

type orderQuery struct {
	Order string `json:"order" jsonschema:"number of the order"`
}

type refund struct {
	Order string `json:"order" jsonschema:"number of the order"`
	Cents int    `json:"cents" jsonschema:"amount in US cents"`
}

// openShop serves the shop's tools until Close.
func openShop(ctx context.Context) (*shop, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, stead.Wrap(stead.KindUnavailable, err, "the sample tool server can't listen")
	}
	s := mcp.NewServer(&mcp.Implementation{Name: shopLabel, Version: version}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "find_order", Description: "Looks an order up", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		func(_ context.Context, _ *mcp.CallToolRequest, in orderQuery) (*mcp.CallToolResult, any, error) {
			return said("order %s: 1 teapot, 19.99 USD, delivered broken", in.Order), nil, nil
		})
	mcp.AddTool(s, &mcp.Tool{Name: "refund_order", Description: "Pays an order back"},
		func(_ context.Context, _ *mcp.CallToolRequest, in refund) (*mcp.CallToolResult, any, error) {
			return said("refunded %d.%02d USD for order %s", in.Cents/100, in.Cents%100, in.Order), nil, nil
		})
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil)
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout}
	go func() { _ = srv.Serve(l) }() // ends with Close
	return &shop{url: "http://" + l.Addr().String() + "/mcp", server: srv}, nil
}

func said(format string, args ...any) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprintf(format, args...)}}}
}

// Close ends the server and its connections.
func (s *shop) Close() error { return s.server.Close() }

// addShop makes the shop one of the operator's servers, unless the operator has one of that name.
func addShop(cfg *config.Config, s *shop) {
	if !slices.ContainsFunc(cfg.Servers, func(c config.Server) bool { return c.Label == shopLabel }) {
		cfg.Servers = append(cfg.Servers, config.Server{Label: shopLabel, URL: s.url})
	}
}

// clerk is the sample agent, as the wire has it.
func clerk() []byte {
	return []byte(`{
		"name": "clerk", "model": "sim", "instructions": "You look after the orders of a small shop.",
		"tools": [{"type": "mcp", "server_label": "shop", "require_approval": {"always": {"tool_names": ["refund_order"]}}}]
	}`)
}

// order is what the sample session is asked: the model sim does as the lines say.
const order = `My teapot came broken: refund order 4711, please.
Call find_order with {"order": "4711"}
Then call refund_order with {"order": "4711", "cents": 1999}`

// receipt is what the sample session is asked besides, where agents can have a computer.
const receipt = `
Then call shell with {"command": "echo '4711 refunded: 19.99 USD' > receipt.txt; ls -l; cat receipt.txt"}`

// runDemo runs the sample session through the server's API and shows it. It returns when the agent
// has answered.
func runDemo(ctx context.Context, w io.Writer, c *client.Client, computer bool) error {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	fmt.Fprint(w, "This is a first start, so here is a sample session, run by this server through its API:\n\n")
	agent, err := c.PutAgent(ctx, "", clerk())
	if err != nil {
		return err
	}
	where, what := client.EnvironmentNone, order
	if computer {
		where, what = client.EnvironmentHosted, order+receipt
	}
	s, err := c.CreateSession(ctx, map[string]any{
		"agent_id": agent.ID, "environment": map[string]string{"type": where}, "input": []any{client.UserInput(what)},
	})
	if err != nil {
		return err
	}
	d := demonstration{client: c, session: s.ID, t: transcript{w: w, prefix: "  ", user: true}}
	if err := c.Follow(ctx, s.ID, "0", nil, func(e client.Event) error { return d.event(ctx, e) }); !errors.Is(err, errDone) {
		return err
	}
	fmt.Fprintf(w, "\nEvery line of it is in the journal: stead sessions show %s\n", s.ID)
	if computer {
		fmt.Fprintf(w, "The files of its computer are kept: stead environments files %s\n", s.ID)
	}
	return nil
}

// demonstration shows the sample session and approves its one request.
type demonstration struct {
	client   *client.Client
	session  string
	t        transcript
	approved bool
	ended    bool
}

func (d *demonstration) event(ctx context.Context, e client.Event) error {
	d.t.Event(e)
	switch e.Type {
	case client.EventTurnCompleted:
		d.ended = true
	case client.EventTurnFailed, client.EventFailed:
		return errors.New("the turn failed")
	case client.EventIdle:
		if d.ended {
			return errDone
		}
	case client.EventRequiresAction:
		return d.approve(ctx, e.Session)
	}
	return nil
}

func (d *demonstration) approve(ctx context.Context, s *client.Session) error {
	if s == nil || d.approved || len(s.RequiredActions) == 0 {
		return nil
	}
	act := s.RequiredActions[0]
	d.t.endLine()
	d.t.line("? " + describe(act) + " · the demo types: " + answerCommand(d.session, act))
	d.approved = true
	return d.client.Send(ctx, d.session, client.Decision(act.RequestID, "approve", "", act.Digest()))
}
