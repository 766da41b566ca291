package mcp

import (
	"context"
	"errors"
	"fmt"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/tool"
)

// Resources are read over connections of their own: an answer that can't be read ends a connection with all calls on it, and
// the calls of agents must not end because of somebody's document. (A server that is a command so runs twice.)

var _ tool.Resources = (*Manager)(nil)

// What servers answer to resources/read of a resource that is not there: the code of the protocol, and the one that it will
// be, which of a URI that the server has just listed means nothing else.
const (
	codeResourceNotFound = -32002
	codeInvalidParams    = -32602
)

// maxMIMEBytes is how much is kept of what a server says that a resource is.
const maxMIMEBytes = 100

// readers returns a held connection for resources to a server of the configuration.
func (m *Manager) readers(ctx context.Context, project stead.ProjectID, label string) (*link, target, error) {
	to, err := m.target(tool.Server{Project: project, Label: label})
	if err != nil {
		return nil, to, err
	}
	to.identity += "\x00resources"
	ctx, cancel := context.WithTimeout(ctx, m.config.ConnectTimeout)
	defer cancel()
	l, err := m.connected(ctx, to)
	if err != nil {
		return nil, to, to.unread(err)
	}
	if r := l.session.InitializeResult(); r == nil || r.Capabilities == nil || r.Capabilities.Resources == nil {
		m.release(l)
		return nil, to, stead.Invalid("server", "the tool server %s has no resources", quoted(label))
	}
	return l, to, nil
}

// Serves implements tool.Resources.
func (m *Manager) Serves(project stead.ProjectID, label string) bool {
	s, ok := (*m.servers.Load())[label]
	return ok && s.has(project)
}

// Resources implements tool.Resources.
func (m *Manager) Resources(ctx context.Context, project stead.ProjectID, label string) ([]tool.Resource, error) {
	l, to, err := m.readers(ctx, project, label)
	if err != nil {
		return nil, err
	}
	defer m.release(l)
	tooMany := stead.Errorf(stead.KindTooLarge, "the tool server %s lists more than %d resources, or does not end", quoted(label), tool.MaxServerResources)
	var out []tool.Resource
	cursors := map[string]bool{}
	for cursor := ""; ; {
		page, err := l.resources(ctx, m.config.ConnectTimeout, cursor)
		if err != nil {
			if _, away := errors.AsType[turnedAway](err); away || l.gone.Load() {
				m.drop(l, err)
			}
			return nil, to.unread(err)
		}
		for _, r := range page.Resources {
			if r == nil || r.URI == "" || len(r.URI) > tool.MaxResourceURIBytes {
				continue
			}
			one := tool.Resource{URI: r.URI, MIMEType: clip(r.MIMEType, maxMIMEBytes), Size: r.Size}
			if r.Annotations != nil {
				for _, role := range r.Annotations.Audience {
					one.Audience = append(one.Audience, string(role))
				}
				one.Modified, _ = time.Parse(time.RFC3339Nano, r.Annotations.LastModified) // what is no time says nothing
			}
			out = append(out, one)
		}
		if page.NextCursor == "" {
			return out, nil
		}
		cursor = page.NextCursor
		if len(out) > tool.MaxServerResources || len(cursors) >= tool.MaxServerResources || cursors[cursor] {
			return nil, tooMany
		}
		cursors[cursor] = true
	}
}

// resources reads one page.
func (l *link) resources(ctx context.Context, within time.Duration, cursor string) (*sdk.ListResourcesResult, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ctx, end := l.bound(ctx)
	defer end()
	f := &flight{}
	page, err := l.session.ListResources(f.attach(ctx), &sdk.ListResourcesParams{Cursor: cursor})
	if err != nil {
		return nil, f.turned(l.unlisted(f, err))
	}
	l.hear()
	return page, nil
}

// ReadResource implements tool.Resources.
func (m *Manager) ReadResource(ctx context.Context, project stead.ProjectID, label, uri string) ([]tool.ResourcePart, error) {
	l, to, err := m.readers(ctx, project, label)
	if err != nil {
		return nil, err
	}
	defer m.release(l)
	ctx, cancel := context.WithTimeout(ctx, m.config.CallTimeout)
	defer cancel()
	ctx, end := l.bound(ctx)
	defer end()
	f := &flight{}
	reply, err := l.session.ReadResource(f.attach(ctx), &sdk.ReadResourceParams{URI: uri})
	if err != nil {
		return nil, m.unread(l, to, f, err)
	}
	l.hear()
	out := make([]tool.ResourcePart, 0, len(reply.Contents))
	for _, c := range reply.Contents {
		if c != nil {
			out = append(out, tool.ResourcePart{URI: c.URI, MIMEType: c.MIMEType, Text: c.Text, Blob: c.Blob})
		}
	}
	return out, nil
}

// unread tells why a resource can't be read.
func (m *Manager) unread(l *link, to target, f *flight, err error) error {
	rpc := answer(err)
	switch {
	case f.forgotten():
		m.drop(l, err)
	case rpc != nil && !f.refused():
		l.hear()
		if rpc.Code == codeResourceNotFound || rpc.Code == codeInvalidParams {
			return stead.Errorf(stead.KindNotFound, "the tool server %s does not have it any more", quoted(to.label))
		}
		return stead.Errorf(stead.KindUnavailable, "the tool server %s answers with error %d: %s", quoted(to.label), rpc.Code, clip(rpc.Message, maxNameBytes))
	case unreadable(err):
		return stead.Errorf(stead.KindInvalid, "what the tool server %s says of it can't be read", quoted(to.label))
	}
	return to.unread(f.turned(err))
}

// turnedAway is the error of a server that says that we may not ask.
type turnedAway struct {
	status int
	error
}

func (t turnedAway) Unwrap() error { return t.error }

// turned says so of a request, where that is why it failed.
func (f *flight) turned(err error) error {
	if s := int(f.status.Load()); refuses(s) {
		return turnedAway{s, err}
	}
	return err
}

// unread is the error of resources: KindForbidden where the server refuses them, else as unavailable has it.
func (t target) unread(err error) error {
	if away, ok := errors.AsType[turnedAway](err); ok {
		return &stead.Error{Kind: stead.KindForbidden, Code: "tool_server_refused", Message: fmt.Sprintf("the tool server %s does not let us read it (status %d)", quoted(t.label), away.status), Err: bare(err)}
	}
	return t.unavailable(err)
}
