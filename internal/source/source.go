// Package source keeps vector stores up to date with what lies elsewhere: directories, repositories, web pages, resources of MCP servers, tables of databases.
//
// Shape: a source belongs to a vector store; what a Reader finds there becomes documents of that store.
//
//	Source {spec, state} ── due ──▶ Reader.Walk ──▶ each document: path, stamp ── same stamp ─▶ unchanged, not read
//	                                                     │ read, digest ── same digest ─▶ unchanged
//	                                                     └▶ converted, cut, put in place of the version before (package vectorstore)
//	                                what was not met any more goes
//
// Units and limits: times are Unix milliseconds, sizes bytes; the constants below have their units.
//
// Delivery: one node synchronises a source at a time, under a lease that it renews. A node that dies leaves the source due; whoever
// goes on reads nothing again that was done, and writes nothing twice. A document that can't be read for now keeps its version;
// one that is gone, or may not be read any more, goes. When the source as a whole can't be read, nothing is removed; when it refuses to be read
// (Refused), what is there is nobody's until it was read again.
//
// Errors: KindNotFound; KindInvalid with the field; KindTooLarge; KindConflict for a key that was used for something else; KindForbidden
// by policy; KindUnavailable.
package source

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/passage"
	"github.com/stead-dev/stead/internal/policy"
	"github.com/stead-dev/stead/internal/vectorstore"
)

const (
	// Prefix begins a source's id.
	Prefix = "src_"
	// MaxSources is the most sources of a vector store.
	MaxSources = 32
	// MaxDocuments is the most documents of a source.
	MaxDocuments = vectorstore.MaxFiles
	// MaxDocumentBytes is the largest document.
	MaxDocumentBytes = vectorstore.MaxDocumentBytes
	// MaxDepth is how many directories may lie inside of each other.
	MaxDepth = 64
	// MaxEntries is how many names are looked at in a synchronisation, those that patterns leave out included.
	MaxEntries = 500_000
	// MaxPathBytes is the longest path of a document.
	MaxPathBytes = 1024
	// MaxPatterns bounds the lists of patterns, and MaxPatternBytes each of them.
	MaxPatterns     = 64
	MaxPatternBytes = 256
	// MaxRules is the most rules of access, MaxReaders the most names in a list of one, MaxLabels the most labels.
	MaxRules   = 64
	MaxReaders = 256
	MaxLabels  = 16
	// MaxLabelRunes is the longest label.
	MaxLabelRunes = 64
	// MaxAttributes of a source: its documents have two of their own.
	MaxAttributes = vectorstore.MaxAttributes - 2
	// MaxFailures is how many documents that failed are named.
	MaxFailures = 100
	// MinInterval and MaxInterval bound the time between two synchronisations, in seconds.
	MinInterval = 60
	MaxInterval = 30 * 24 * 3600
)

const kind document.Kind = "vector store source"

// The types of sources.
const (
	Directory = "directory"
	Git       = "git"
	Web       = "web"
	MCP       = "mcp"
	SQL       = "sql"
)

// Spec says what a source is.
type Spec struct {
	Name       string         `json:"name,omitempty"`
	Type       string         `json:"type"`
	Directory  string         `json:"directory,omitempty"`  // of type directory: a name of the configuration
	Repository string         `json:"repository,omitempty"` // of type git: a name of the configuration
	Branch     string         `json:"branch,omitempty"`     // of type git; "": the repository's own
	Server     string         `json:"server,omitempty"`     // of type mcp: the label of a tool server of the configuration
	Database   string         `json:"database,omitempty"`   // of type sql: a name of the configuration
	Site       string         `json:"site,omitempty"`       // of type web: a name of the configuration
	URLs       []string       `json:"urls,omitempty"`       // of type web, without Site: start pages
	Sitemap    string         `json:"sitemap,omitempty"`    // of type web: its URL
	Path       string         `json:"path,omitempty"`       // of types directory and git: the part that is read; "": all of it
	Include    []string       `json:"include,omitempty"`    // patterns of paths; none: everything
	Exclude    []string       `json:"exclude,omitempty"`
	Interval   int64          `json:"interval,omitempty"` // seconds; 0: only when somebody asks
	Plan       passage.Plan   `json:"plan"`
	Attributes map[string]any `json:"attributes,omitempty"`
	Access     []Rule         `json:"access,omitempty"`
	// AccessDefault is who may read what no rule of access says it of: AccessAllow, "" the same, or AccessDeny.
	AccessDefault string `json:"access_default,omitempty"`
}

// The defaults of access: everybody, nobody.
const (
	AccessAllow = "allow"
	AccessDeny  = "deny"
)

// Rule says who may read documents, by their paths. Of several that match, each must let somebody, and all labels count.
type Rule struct {
	Paths  []string `json:"paths"`
	Labels []string `json:"labels,omitempty"`
	vectorstore.Readers
	Everyone bool `json:"everyone,omitempty"` // it lets everybody, where the default lets nobody
}

// says reports whether a rule says who may read, and not only what a document is labelled with.
func (r Rule) says() bool { return r.Everyone || len(r.Principals)+len(r.Roles) > 0 }

// Source is a source with what became of it.
type Source struct {
	ID, Store string
	CreatedAt int64
	Spec
	State
	Due int64 // when it is synchronised next, or, while it is, when it would be given to another node; 0: when somebody asks
}

// Counts says what a synchronisation did.
type Counts struct {
	Added, Changed, Removed, Unchanged, Failed int
	Read                                       int   // documents of which the bytes were read
	ReadBytes                                  int64 // of them
}

// Failure is a document that could not be taken in.
type Failure struct {
	Path    string `json:"path"`
	Code    string `json:"code"`
	Message string `json:"message"`
}

// State is what became of a source.
type State struct {
	Run       int64     `json:"run,omitempty"`     // number of the synchronisation that is under way, or was the last
	Holder    string    `json:"holder,omitempty"`  // who is at it; "": nobody
	Began     int64     `json:"began,omitempty"`   // the last one
	Ended     int64     `json:"ended,omitempty"`   // the last that ended, whatever came of it
	Synced    int64     `json:"synced,omitempty"`  // the last that went through
	Version   string    `json:"version,omitempty"` // of the source as a whole, where it has one
	Counts    Counts    `json:"counts"`
	Failures  []Failure `json:"failures,omitempty"` // the first MaxFailures
	Error     *Failure  `json:"error,omitempty"`    // why the last one did not go through
	InARow    int       `json:"in_a_row,omitempty"` // that did not
	Again     bool      `json:"again,omitempty"`    // somebody asked while it was under way
	Deleting  bool      `json:"deleting,omitempty"`
	Refused   bool      `json:"refused,omitempty"`   // by the source as a whole, since: its documents are nobody's
	Abandoned int       `json:"abandoned,omitempty"` // times that its node died in the one under way
}

// Reader reads sources of one type.
type Reader interface {
	// Check refuses what can't be read: KindInvalid with the field.
	Check(project stead.ProjectID, spec Spec) error
	// Walk visits what there is, and returns the version of all of it, or "". An error says that not everything was met; Refused that nothing may be.
	Walk(ctx context.Context, w Walk) (string, error)
}

// Permitter is a Reader that knows who may read what it reads. Of a source of which it says so, what it has not said yet of a document is nobody's.
type Permitter interface {
	Permits(project stead.ProjectID, spec Spec) bool
}

// Walk is one walk through a source.
type Walk struct {
	Project stead.ProjectID
	Spec    Spec
	Version string                                            // that the last walk returned, if all that it met was taken in; "": it is not known
	Had     func(path string) (o vectorstore.Origin, ok bool) // what a document was when it was taken in
	Known   func() iter.Seq2[string, vectorstore.Origin]      // all of these, by their paths
	Visit   func(Document) error                              // its errors end the walk
	Reach   func(ctx context.Context, url string) error       // whether policies let a host be asked that the source does not name; nil: they do
}

// Document is what a walk meets.
type Document struct {
	Path  string // within the source; with Err, it may be that of a directory
	URI   string
	Stamp string // while it stays the same, so does what the document says; "": that is not known without reading
	// Permits are who may read it there; nil: its source does not say. See Permitter.
	Permits *vectorstore.Permits
	// Read returns what it says. Errors as Err; ErrUnchanged: it says what it said, and Content has a new stamp at most.
	Read func(ctx context.Context) (Content, error)
	// Err is why it can't be read: KindNotFound and KindForbidden say that it is gone or not to be read, and so is what lies below it;
	// KindUnavailable that it may be later; others that it can't.
	Err error
}

// Content is what a document says.
type Content struct {
	Data    []byte
	Name    string // whose ending says what it is; "": that of the path
	Version string // "": its digest
	Stamp   string // "": as Document has it; NoStamp: there is none
}

// NoStamp is the Stamp of content that another change may leave with the same stamp.
const NoStamp = "-"

// ErrUnchanged says that a document is as it was; of a whole walk, that everything is.
var ErrUnchanged = errors.New("unchanged")

// Stores are the vector stores: *vectorstore.Service.
type Stores interface {
	Writable(ctx context.Context, p stead.Principal, store string) error
	There(ctx context.Context, project stead.ProjectID, store string) (bool, error)
	Files(ctx context.Context, project stead.ProjectID, store string) (int, error)
	Documents(ctx context.Context, project stead.ProjectID, store, source string) (map[string]vectorstore.File, error)
	PutDocuments(ctx context.Context, project stead.ProjectID, store string, puts []vectorstore.Put) ([]vectorstore.File, error)
	RemoveDocuments(ctx context.Context, project stead.ProjectID, store string, files []vectorstore.File) (int, error)
}

// Config is what a Service stands on.
type Config struct {
	Documents document.Store
	Stores    Stores
	Readers   map[string]Reader // by type
	Policy    policy.Authorizer // is asked about hosts that users name; nil: nobody is
	Log       *slog.Logger
	Now       func() time.Time
}

// Service keeps sources. It is safe for concurrent use, by several nodes too.
type Service struct {
	cfg  Config
	wake chan struct{} // there may be a source that is due
}

// NewService makes a Service. Nothing is synchronised until Run runs, here or on another node.
func NewService(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &Service{c, make(chan struct{}, 1)}
}

func (s *Service) now() int64 { return s.cfg.Now().UnixMilli() }
