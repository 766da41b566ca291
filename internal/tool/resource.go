package tool

import (
	"context"
	"time"

	"github.com/stead-dev/stead"
)

// Resource is something that a tool server of the configuration has to be read, besides its tools.
type Resource struct {
	URI      string
	MIMEType string    // "": it does not say
	Modified time.Time // zero: it does not say
	Size     int64     // bytes; 0: it does not say
	Audience []string  // whom its server means it for: "user", "assistant"; none: it does not say
}

// ResourcePart is what a resource says, or a part of it: a text, or bytes.
type ResourcePart struct {
	URI      string // that of the resource, or of a part of it
	MIMEType string
	Text     string
	Blob     []byte // nil: it is a text
}

// Resources reads what tool servers of the configuration have to be read.
//
// Errors: KindUnavailable when a server can't be reached now; KindInvalid when the project has no such server, or it has no resources;
// KindForbidden when it is told who asks, which nobody does here; KindTooLarge. Of a single resource: KindNotFound when it is
// gone, KindTooLarge, KindInvalid when its answer is none, KindUnavailable otherwise.
type Resources interface {
	// Serves reports whether a project has a server of that label.
	Serves(project stead.ProjectID, label string) bool
	// Resources lists all there are. Templates are none.
	Resources(ctx context.Context, project stead.ProjectID, label string) ([]Resource, error)
	ReadResource(ctx context.Context, project stead.ProjectID, label, uri string) ([]ResourcePart, error)
}

// Limits of the listing of a server's resources.
const (
	MaxServerResources = 100_000
	// MaxResourceURIBytes is the longest URI of a resource: one that is longer is left out.
	MaxResourceURIBytes = 2048
)
