package server

import (
	"context"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/param"
)

// A response with store: false has its tools run by whom its call is passed on to. What only this server
// knows, or must not be told there, is refused before anybody is asked: it would fail far away, in words
// about something else, or not fail and be in the wrong hands.

// keepHint is what helps whoever wants this server to run the tools.
const keepHint = "Leave out store: false: then this server runs the tool itself."

// handedOn checks the tools of a response that is not kept. What can't be read as a tool is left to
// whoever reads the request.
func (s *server) handedOn(ctx context.Context, p stead.Principal, req request) error {
	raw, has := req.Raw("tools")
	var tools []json.RawMessage
	if !has || json.Unmarshal(raw, &tools) != nil {
		return nil
	}
	for i, raw := range tools {
		var o members
		if json.Unmarshal(raw, &o) != nil {
			continue
		}
		at, err := param.Index("tools", i), error(nil)
		switch textOf(o["type"]) {
		case agent.ToolFileSearch:
			err = s.foreignStores(ctx, p, at, o)
		case agent.ToolMCP:
			err = foreignServer(at, o)
		case agent.ToolSemantic, agent.ToolSQL:
			what := map[string]string{agent.ToolSemantic: "semantic models", agent.ToolSQL: "databases"}[textOf(o["type"])]
			e := stead.Invalid(at+".type", "%s.type: %s are this server's, and the model's provider, which would run the tools of a response with store: false, can't know them", at, what)
			e.Hint, err = keepHint, e
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// foreignStores refuses searches of vector stores that are kept here: no upstream can have them.
func (s *server) foreignStores(ctx context.Context, p stead.Principal, at string, o members) error {
	var ids []string
	if s.Vectors == nil || json.Unmarshal(o["vector_store_ids"], &ids) != nil {
		return nil
	}
	for j, id := range ids {
		switch _, err := s.Vectors.GetStore(ctx, p, id); {
		case stead.KindOf(err) == stead.KindNotFound, stead.KindOf(err) == stead.KindInvalid: // perhaps one of the upstream's
		case err != nil:
			return err
		default:
			path := param.Index(at+".vector_store_ids", j)
			e := stead.Invalid(path, "%s: vector store %.80q is kept here, and the model's provider, which would search for a response with store: false, can't know it", path, id)
			e.Hint = keepHint
			return e
		}
	}
	return nil
}

// foreignServer refuses tool servers that the provider can't reach, for it knows no label of the operator's,
// and ones whose secrets it would be given: which provider that is, a client does not know.
func foreignServer(at string, o members) error {
	for _, name := range []string{"authorization", "headers"} {
		if v := o[name]; v != nil && string(v) != "null" && string(v) != "{}" {
			path := at + "." + name
			e := stead.Invalid(path, "%s is not passed on to the model's provider, which would call the tool server for a response with store: false", path)
			e.Hint = `Leave out store: false and let the operator name the server under "mcp_servers" in stead.yaml, which holds its secrets.`
			return e
		}
	}
	for _, name := range []string{"server_url", "connector_id"} {
		if textOf(o[name]) != "" {
			return nil
		}
	}
	path := at + ".server_label"
	e := stead.Invalid(path, "%s: tool server %.80q is known here alone, and not to the model's provider, which would call it for a response with store: false", path, textOf(o["server_label"]))
	e.Hint = keepHint
	return e
}
