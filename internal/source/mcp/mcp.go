// Package mcp reads the resources of MCP servers that the operator has allowed.
//
// Shape: resources/list, all of its pages → each resource: its URI is its path; its stamp when it was modified, how large it is
// and what it is, where the server says when → resources/read.
//
// The listing is the truth: what it does not have any more is gone. Notifications that a list or a resource has changed are
// not waited for. Templates are not filled in. A text, or several, is one document; so are bytes. What a document is, its MIME
// type says, or else the ending of its URI.
//
// Units and limits: those of packages source and tool; a resource of more than MaxBytes is not asked for.
//
// Errors: those of tool.Resources.
//
// Source: Model Context Protocol 2025-11-25, resources.
package mcp

import (
	"context"
	"fmt"
	"mime"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/source"
	"github.com/stead-dev/stead/internal/tool"
)

const (
	// MaxBytes is the largest resource that is asked for, as its server tells its size: bytes come in base64, in messages of 32 MiB.
	MaxBytes = 24_000_000
	// racyTime is how long after its last change a resource's time is trusted: servers tell whole seconds.
	racyTime = 2 * time.Second
)

// Server is one that sources may name.
type Server struct {
	Label    string
	Projects []stead.ProjectID // whose sources may; none: all
}

// Reader implements source.Reader.
type Reader struct {
	servers []Server
	all     tool.Resources
	now     func() time.Time
}

// New makes a Reader.
func New(servers []Server, all tool.Resources, now func() time.Time) *Reader {
	return &Reader{servers, all, now}
}

// Check implements source.Reader.
func (r *Reader) Check(project stead.ProjectID, spec source.Spec) error {
	if spec.Path != "" {
		return stead.Invalid("path", "resources have no directories: choose them by include and exclude, which are patterns of their URIs")
	}
	for _, s := range r.servers {
		if s.Label == spec.Server && (len(s.Projects) == 0 || slices.Contains(s.Projects, project)) && r.all.Serves(project, s.Label) {
			return nil
		}
	}
	e := stead.Invalid("server", "there is no server %.80q for this project", spec.Server)
	e.Hint = "The operator names those that sources may read: sources.servers."
	return e
}

// Walk implements source.Reader.
func (r *Reader) Walk(ctx context.Context, w source.Walk) (string, error) {
	if err := r.Check(w.Project, w.Spec); err != nil {
		return "", err
	}
	listed, err := r.all.Resources(ctx, w.Project, w.Spec.Server)
	if stead.KindOf(err) == stead.KindForbidden {
		return "", source.Refused(err)
	}
	if err != nil {
		return "", err
	}
	selection := source.Select(w.Spec)
	for _, one := range listed {
		if !selection.Has(one.URI) || !forModels(one) {
			continue
		}
		if err := w.Visit(source.Document{Path: one.URI, URI: one.URI, Stamp: stampOf(one), Read: func(ctx context.Context) (source.Content, error) {
			return r.read(ctx, w, one)
		}}); err != nil {
			return "", err
		}
	}
	return "", nil
}

// forModels reports whether a resource is meant for models too: one that its server means for users alone is not put before them.
func forModels(r tool.Resource) bool {
	return len(r.Audience) == 0 || slices.Contains(r.Audience, "assistant")
}

func stampOf(r tool.Resource) string {
	if r.Modified.IsZero() {
		return ""
	}
	return fmt.Sprintf("%d-%d-%s", r.Modified.UnixNano(), r.Size, r.MIMEType)
}

func (r *Reader) read(ctx context.Context, w source.Walk, one tool.Resource) (source.Content, error) {
	if one.Size > MaxBytes {
		return source.Content{}, stead.Errorf(stead.KindTooLarge, "the resource has %d bytes, the limit is %d", one.Size, MaxBytes)
	}
	parts, err := r.all.ReadResource(ctx, w.Project, w.Spec.Server, one.URI)
	if err != nil {
		return source.Content{}, err
	}
	c, err := together(one, parts)
	if err != nil {
		return c, err
	}
	if len(c.Data) > source.MaxDocumentBytes {
		return c, stead.Errorf(stead.KindTooLarge, "the resource has %d bytes, the limit is %d", len(c.Data), source.MaxDocumentBytes)
	}
	if r.now().Sub(one.Modified) < racyTime {
		c.Stamp = source.NoStamp
	}
	return c, nil
}

// together makes one document of what a resource says.
func together(one tool.Resource, parts []tool.ResourcePart) (source.Content, error) {
	var texts []string
	for _, p := range parts {
		if p.Blob == nil {
			texts = append(texts, p.Text)
			continue
		}
		if len(parts) > 1 {
			return source.Content{}, stead.Errorf(stead.KindInvalid, "the resource has %d parts, and not all of them are texts", len(parts))
		}
		return source.Content{Data: p.Blob, Name: nameOf(one.URI, kindOf(p.MIMEType, one.MIMEType), "")}, nil
	}
	if len(parts) == 0 {
		return source.Content{}, stead.Errorf(stead.KindInvalid, "the server says nothing of the resource")
	}
	return source.Content{Data: []byte(strings.Join(texts, "\n\n")), Name: nameOf(one.URI, kindOf(parts[0].MIMEType, one.MIMEType), ".txt")}, nil
}

// kindOf is the first of MIME types that is one, without parameters.
func kindOf(types ...string) string {
	for _, t := range types {
		if kind, _, err := mime.ParseMediaType(t); err == nil {
			return kind
		}
	}
	return ""
}

// endings are what files of a MIME type are called. text/plain is not among them: servers say so of every text.
var endings = map[string]string{
	"text/markdown": ".md", "text/html": ".html", "text/csv": ".csv", "application/json": ".json", "application/pdf": ".pdf",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document":   ".docx",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":         ".xlsx",
	"application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
}

// maxNameBytes is the longest name that a document gets of its URI.
const maxNameBytes = 200

// nameOf is what a document is called, so that its ending says what it is: that of its type, of its URI, or otherwise.
func nameOf(uri, kind, otherwise string) string {
	name := uri
	if u, err := url.Parse(uri); err == nil {
		if name = path.Base(u.Path + u.Opaque); name == "." || name == "/" {
			name = u.Host
		}
	}
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == '/' {
			return -1
		}
		return r
	}, name)
	if name == "" {
		name = "resource"
	}
	if len(name) > maxNameBytes {
		name = strings.ToValidUTF8(name[len(name)-maxNameBytes:], "")
	}
	end := strings.ToLower(path.Ext(name))
	switch want, known := endings[kind]; {
	case known && end != want:
		return name + want
	case !known && end == "":
		return name + otherwise
	}
	return name
}
