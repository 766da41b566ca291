package tooltest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

// Names of the tools that every test server has.
const (
	Count           = "count"            // records an effect; no annotations
	CountIdempotent = "count_idempotent" // the same, with idempotentHint
	Read            = "read"             // records a call and changes nothing, with readOnlyHint
	Slow            = "slow"             // records an effect, then waits for Server.Release or to be cancelled
	Fail            = "fail"             // answers isError
	Big             = "big"              // answers with {"bytes": n} bytes of text
	Image           = "image"            // answers with text and a PNG
	Progress        = "progress"         // says "step 1", "step 2", "step 3", then waits for Server.Release
	Structured      = "structured"       // answers with structured content only
	Crash           = "crash"            // records an effect, then cuts every TCP connection
	OddName         = "odd.name/v1"      // a name that the model APIs refuse
)

const anyObject = `{"type":"object"}`

// addTools gives the tools to an MCP server.
func (s *Server) addTools(to *sdk.Server) {
	s.add(to, Count, nil, s.count)
	s.add(to, CountIdempotent, &sdk.ToolAnnotations{IdempotentHint: true}, s.count)
	s.add(to, Read, &sdk.ToolAnnotations{ReadOnlyHint: true}, s.read)
	s.add(to, Slow, nil, s.slow)
	s.add(to, Fail, nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		r := text("the disk is on fire")
		r.IsError = true
		return r, nil
	})
	s.add(to, Big, nil, big)
	s.add(to, Image, nil, picture)
	s.add(to, Progress, nil, s.progress)
	s.add(to, Structured, nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return &sdk.CallToolResult{StructuredContent: map[string]any{"answer": 42}}, nil
	})
	s.add(to, Crash, nil, s.crash)
	s.add(to, OddName, nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return text("odd"), nil
	})
}

func (s *Server) add(to *sdk.Server, name string, hints *sdk.ToolAnnotations, h sdk.ToolHandler) {
	to.AddTool(&sdk.Tool{
		Name: name, Description: "Test tool " + name, Annotations: hints, InputSchema: json.RawMessage(anyObject),
	}, h)
}

func text(s string) *sdk.CallToolResult {
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: s}}}
}

// record writes the call down. changes says whether it is one that has an effect.
func (s *Server) record(r *sdk.CallToolRequest, changes bool) (first bool, err error) {
	key, _ := r.Params.Meta["stead.dev/idempotency-key"].(string)
	session, _ := r.Params.Meta["stead.dev/session"].(string)
	one := Record{Tool: r.Params.Name, Key: key, Session: session, Arguments: r.Params.Arguments, Meta: r.Params.Meta}
	if !changes {
		one.Key = "" // a read has no effect to look for
		return false, nil
	}
	return s.Journal.Append(one, s.dedupe)
}

func (s *Server) count(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	first, err := s.record(r, true)
	if err != nil {
		return nil, err
	}
	if !first {
		return text("counted before"), nil
	}
	return text("counted"), nil
}

func (s *Server) read(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	return text(fmt.Sprintf("%d calls", len(s.Journal.Calls()))), nil
}

func (s *Server) slow(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	if _, err := s.record(r, true); err != nil {
		return nil, err
	}
	s.signal(s.started)
	select {
	case <-s.release:
		return text("done at last"), nil
	case <-ctx.Done():
		s.signal(s.cancelled)
		return nil, ctx.Err()
	}
}

func (s *Server) crash(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	if _, err := s.record(r, true); err != nil {
		return nil, err
	}
	s.Cut()
	return nil, fmt.Errorf("the connection is cut; this answer goes nowhere")
}

func big(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	var in struct{ Bytes int }
	if err := json.Unmarshal(r.Params.Arguments, &in); err != nil {
		return nil, err
	}
	return text(strings.Repeat("0123456789abcdef", in.Bytes/16+1)[:in.Bytes]), nil
}

func picture(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		return nil, err
	}
	r := text("a picture")
	r.Content = append(r.Content, &sdk.ImageContent{MIMEType: "image/png", Data: b.Bytes()})
	return r, nil
}

func (s *Server) progress(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	for i := 1; i <= 3; i++ {
		err := r.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{
			ProgressToken: r.Params.GetProgressToken(), Message: fmt.Sprintf("step %d", i), Progress: float64(i), Total: 3,
		})
		if err != nil {
			return nil, err
		}
	}
	select {
	case <-s.release:
		return text("all steps done"), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
