package server

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/agent"
	"github.com/stead-dev/stead/internal/param"
	"github.com/stead-dev/stead/internal/responses"
	"github.com/stead-dev/stead/internal/session"
	"github.com/stead-dev/stead/internal/vectorstore"
)

// The file_search tool of responses: its calls are those of a tool server in the session, and searches of
// files here.

// searchOptions checks what a file_search tool says of its searches; nil where there are no vector stores.
func searchOptions(stores bool) func(param.Object) error {
	if !stores {
		return nil
	}
	return func(o param.Object) error {
		if _, err := vectorstore.ReadOptions(o); err != nil {
			return err
		}
		return vectorstore.Known(o)
	}
}

// searchable checks that the vector stores of a response's tools are there and may be read, as far as that
// can be said now.
func (s *server) searchable(ctx context.Context, p stead.Principal, tools []responses.Tool) error {
	for i, t := range tools {
		for j, id := range t.VectorStoreIDs {
			if _, err := s.Vectors.GetStore(ctx, p, id); err != nil {
				if e, ok := errors.AsType[*stead.Error](err); ok && e.Kind == stead.KindNotFound {
					at := *e
					at.Param = param.Index(param.Index("tools", i)+".vector_store_ids", j)
					return &at
				}
				return err
			}
		}
	}
	return nil
}

// fileSearch writes a call of the tool as a search. What it asked for and found is in the JSON of the call's
// arguments and output (tool.FileSearch).
func fileSearch(it *session.MCPCallItem, results bool) *responses.FileSearch {
	out := &responses.FileSearch{ID: it.ID, Type: agent.ToolFileSearch + "_call", Status: it.Status, Queries: []string{}}
	var asked struct {
		Queries []string `json:"queries"`
	}
	if json.Unmarshal(it.Arguments, &asked) == nil && asked.Queries != nil {
		out.Queries = asked.Queries
	}
	var found struct {
		Results []searchResult `json:"results"`
	}
	if text := serverCall(it).Output; results && text != nil && json.Unmarshal([]byte(*text), &found) == nil && found.Results != nil {
		out.Results, _ = json.Marshal(found.Results) // JSON that was read can be written
	}
	return out
}

// searchResult is a result as the tool gave it, without the mark by which models cite it.
type searchResult struct {
	FileID     json.RawMessage `json:"file_id"`
	Filename   json.RawMessage `json:"filename"`
	Score      json.RawMessage `json:"score"`
	Attributes json.RawMessage `json:"attributes"`
	Text       json.RawMessage `json:"text"`
	Source     json.RawMessage `json:"source,omitempty"`
	Passage    json.RawMessage `json:"passage,omitempty"`
}
