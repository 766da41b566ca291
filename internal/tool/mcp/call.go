package mcp

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
)

// Keys of a call's _meta. They win over the agent's own metadata. Who asks, and for whom, is told to the operator's servers
// alone: those that an agent names may be anybody's, and a user's id is none of their business.
const (
	MetaIdempotencyKey = "stead.dev/idempotency-key"
	MetaSession        = "stead.dev/session"
	MetaTurn           = "stead.dev/turn"
	MetaProject        = "stead.dev/project"
	MetaAgent          = "stead.dev/agent"
	MetaPrincipal      = "stead.dev/principal" // {kind, id} of whoever the session serves
	MetaBehind         = "stead.dev/behind"    // [{kind, id}] of others who told the agent something; not there: nobody did
)

// drainGrace is how long the rest of a reply's stream may be read after the reply itself, so that
// its TCP connection can be used again.
const drainGrace = time.Second

// remote is one tool of one server. It outlives connections.
type remote struct {
	manager  *Manager
	target   target
	spec     tool.Spec
	metadata map[string]any
}

// Spec implements tool.Tool.
func (r *remote) Spec() tool.Spec { return r.spec }

// Call implements tool.Tool.
func (r *remote) Call(ctx context.Context, c tool.Call) (tool.Result, error) {
	arguments, err := object(c.Arguments)
	if err != nil {
		return tool.Result{}, &tool.NotSentError{Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, r.manager.config.CallTimeout)
	defer cancel()
	l, err := r.manager.connected(ctx, r.target)
	if err != nil {
		return tool.Result{}, &tool.NotSentError{Err: r.target.unavailable(err)}
	}
	defer r.manager.release(l)
	return r.send(ctx, l, c, arguments)
}

func (r *remote) send(ctx context.Context, l *link, c tool.Call, arguments json.RawMessage) (tool.Result, error) {
	params := &sdk.CallToolParams{Name: r.spec.Name, Arguments: arguments, Meta: r.meta(c)}
	if c.Progress != nil {
		token, forget := l.expect(c.Progress)
		defer forget()
		params.SetProgressToken(token)
	}
	bounded, cancel := l.bound(ctx)
	f := &flight{}
	reply, err := l.session.CallTool(f.attach(bounded), params)
	sent := f.sent.Load()
	if denied := f.denied.last(); err != nil && denied != nil {
		cancel()
		r.manager.drop(l, err)
		return tool.Result{}, &tool.NotSentError{Err: denied}
	}
	if err == nil {
		time.AfterFunc(drainGrace, cancel)
		l.hear()
		return convert(reply), nil
	}
	cause := context.Cause(bounded)
	cancel()
	if !sent {
		if cause == nil {
			r.manager.drop(l, err) // whoever answers there next knows nothing of this session
		}
		return tool.Result{}, &tool.NotSentError{Err: r.target.unavailable(errors.Join(err, cause))}
	}
	return r.failed(l, f, err, cause)
}

// failed tells an answer that is an error from an outcome that is missing.
func (r *remote) failed(l *link, f *flight, err, cause error) (tool.Result, error) {
	if cause == nil && f.forgotten() {
		// The server has forgotten the session; the SDK would go on with it if the body was JSON-RPC.
		r.manager.drop(l, err)
	}
	if rpc := answer(err); cause == nil && rpc != nil && !f.refused() {
		l.hear()
		text := fmt.Sprintf("The tool server refused the call (error %d): %s", rpc.Code, rpc.Message)
		return tool.Result{Content: clipped(text), IsError: true}, nil
	}
	if cause == nil && unreadable(err) {
		return tool.Result{Content: clipped("The tool answered, but its answer can't be read: " + err.Error()), IsError: true}, nil
	}
	if cause != nil {
		err = errors.Join(cause, err)
	}
	return tool.Result{}, stead.Wrap(stead.KindUnavailable, bare(err), "the tool server %s did not answer the call of %s, which it may have received", quoted(r.target.label), quoted(r.spec.Name))
}

// bound ends ctx with the link too.
func (l *link) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.calls, func() { cancel(context.Cause(l.calls)) })
	return ctx, func() { stop(); cancel(nil) }
}

func (r *remote) meta(c tool.Call) sdk.Meta {
	meta := sdk.Meta{}
	maps.Copy(meta, r.metadata)
	meta[MetaIdempotencyKey] = c.Key
	meta[MetaSession] = string(c.Session.Session)
	if c.Turn != "" {
		meta[MetaTurn] = c.Turn
	}
	for _, name := range []string{MetaProject, MetaAgent, MetaPrincipal, MetaBehind} {
		delete(meta, name) // nobody but us says them
	}
	if !r.target.operators {
		return meta
	}
	meta[MetaProject] = string(c.Session.Project)
	meta[MetaPrincipal] = told(c.Principal)
	if others := c.Principal.Beside(c.Behind); len(others) > 0 {
		meta[MetaBehind] = behind(others)
	}
	if c.Agent != "" {
		meta[MetaAgent] = string(c.Agent)
	}
	return meta
}

func told(p stead.Principal) map[string]string {
	return map[string]string{"kind": string(p.Kind), "id": p.ID}
}

// maxBehind is how many others are told; anybody stands for more.
const maxBehind = 100

func behind(others []stead.Principal) (out []map[string]string) {
	for _, p := range others[:min(len(others), maxBehind)] {
		out = append(out, told(p))
	}
	if len(others) > maxBehind {
		out = append(out, map[string]string{"kind": "anybody", "id": "anybody"})
	}
	return out
}

// answer returns the JSON-RPC error that the server answered with, nil for errors of the SDK.
func answer(err error) *jsonrpc.Error {
	const firstOwn, lastOwn = -32005, -32003 // rejected, server closing, client closing
	rpc, ok := errors.AsType[*jsonrpc.Error](err)
	if !ok || errors.Is(err, sdk.ErrConnectionClosed) || firstOwn <= rpc.Code && rpc.Code <= lastOwn {
		return nil
	}
	return rpc
}

// unreadable recognizes an answer that came, as JSON-RPC, with a result that is none.
func unreadable(err error) bool {
	_, wrongType := errors.AsType[*json.UnmarshalTypeError](err)
	_, wrongBase64 := errors.AsType[base64.CorruptInputError](err)
	return wrongType || wrongBase64
}

// object returns arguments as a JSON object; none at all are {}.
func object(arguments json.RawMessage) (json.RawMessage, error) {
	arguments = bytes.TrimSpace(arguments)
	if len(arguments) == 0 || bytes.Equal(arguments, []byte(`""`)) || bytes.Equal(arguments, []byte("null")) {
		return json.RawMessage("{}"), nil
	}
	if arguments[0] != '{' || !json.Valid(arguments) {
		return nil, stead.Invalid("arguments", "the arguments of a tool must be a JSON object")
	}
	return arguments, nil
}
