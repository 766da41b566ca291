package effect

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// What the product sends in a call's _meta.
const (
	metaKey     = "stead.dev/idempotency-key"
	metaSession = "stead.dev/session"
)

// idleSessionTimeout drops the MCP sessions of clients that were killed.
const idleSessionTimeout = 2 * time.Minute

// Tool is a tool of a proof's server. Call says which call this is and what its effect does.
type Tool struct {
	Tool *mcp.Tool
	Call func(meta map[string]any, args json.RawMessage) (c Call, apply func() (string, error), err error)
}

// Serve runs a tool server over streamable HTTP at /mcp, and the ledger's control beside it, until
// the process ends. It prints its base address as the first line, for whoever started it.
func Serve(name, listen string, l *Ledger, tools []Tool) error {
	server := mcp.NewServer(&mcp.Implementation{Name: name, Version: "1"}, nil)
	for _, t := range tools {
		server.AddTool(t.Tool, l.handler(t))
	}
	mux := http.NewServeMux()
	mux.Handle("/mcp", mcp.NewStreamableHTTPHandler(
		func(*http.Request) *mcp.Server { return server },
		&mcp.StreamableHTTPOptions{SessionTimeout: idleSessionTimeout}))
	l.Control(mux)
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", ln.Addr())
	return http.Serve(ln, mux)
}

func (l *Ledger) handler(t Tool) mcp.ToolHandler {
	return func(_ context.Context, req *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		meta := map[string]any(req.Params.Meta)
		c, apply, err := t.Call(meta, req.Params.Arguments)
		if err != nil {
			return failed(err), nil
		}
		c.Tool, c.Args = t.Tool.Name, req.Params.Arguments
		c.Key, _ = meta[metaKey].(string)
		c.Session, _ = meta[metaSession].(string)
		result, err := l.Do(c, apply)
		if err != nil {
			return failed(err), nil
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: result}}}, nil
	}
}

func failed(err error) *mcp.CallToolResult {
	return &mcp.CallToolResult{IsError: true, Content: []mcp.Content{&mcp.TextContent{Text: err.Error()}}}
}
