// Package vectorstore keeps vector stores: collections of uploaded files that are found by what they say.
// The name is the API's; files are ranked by memory's index (package recall), with no model and no vectors.
//
// Shape: a vector store is a document of the project. What is in it are records of memory's store, in
// two places of their own, of which each node keeps what it needs in memory:
//
//	store ── files      file id → File {status, attributes, attachment}          a table
//	      └─ passages   attachment + number → passage.Passage                     an index
//
// Attach writes the file as in_progress and a job, one a store; a worker of any node (Run) takes the job for
// leaseTime, reads and cuts the file, writes its passages, and last that it is completed. An attachment is an
// id of its own: passages of one that its file does not name are found by nobody, and go.
//
// Documents of sources (package source) are files of the store as well: PutDocuments writes them, a newer version in place of the
// older one in one moment. What of them somebody may not read is not there (sees.go).
//
// Units and limits: times are Unix milliseconds; sizes of passages are estimated tokens; MaxFiles a store,
// MaxAttributes a file, MaxResults a search. A node reads one file at a time, for maxReadTime at most; a file that ended the
// process maxAttempts times has failed (attempt.go).
//
// Delivery: what was answered without an error is on stable storage, and a search sees every file that was
// said to be completed before it began. Processing survives crashes: a job whose worker died is due again,
// and doing it twice writes the same passages once. When the last store lets go of a file, or the file is
// deleted (FileRemoved), nothing of what it said is left.
//
// Errors: KindNotFound; KindInvalid with the field of the contract; KindTooLarge; KindConflict for a key that
// was used for something else, and for a store that has expired; KindForbidden by policy; KindUnavailable.
//
// Source: npm openai 7.57.0, resources/vector-stores.
package vectorstore

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/file"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/passage"
	"github.com/stead-dev/stead/internal/policy"
)

const (
	// Prefix begins a vector store's id, BatchPrefix that of a batch of files.
	Prefix      = "vs_"
	BatchPrefix = "vsfb_"
	// MaxFiles is the most files of a store.
	MaxFiles = 10_000
	// MaxBatch is the most files of one batch (Vector stores API).
	MaxBatch = 2000
	// MaxAttributes of a file, with keys and values of so many characters (Vector stores API).
	MaxAttributes     = 16
	MaxAttributeKey   = 64
	MaxAttributeValue = 512
	// MaxLifeDays is the longest expires_after.
	MaxLifeDays = 365
	// MaxResults and DefaultResults are how many passages a search returns (Vector stores API).
	MaxResults     = 50
	DefaultResults = 10
	// MaxQueries and MaxQueryBytes bound what is asked.
	MaxQueries    = 16
	MaxQueryBytes = 16 << 10
	// MaxFilters and maxFilterDepth bound a search's filters.
	MaxFilters     = 256
	maxFilterDepth = 16
	// maxIndexed is how many passages of all stores a node indexes at once, and maxTabled how many files it knows.
	maxIndexed = 200_000
	maxTabled  = 200_000
	// maxFileBytes is the largest file that is read into memory: UTF-16 takes two bytes where a token takes four.
	maxFileBytes = 40 << 20
	// maxDescriptionRunes is the longest description.
	maxDescriptionRunes = 4096
	// maxTries is how often a change is made again over a newer version.
	maxTries = 20
)

// Files are the uploaded files that stores are made of.
type Files interface {
	Get(ctx context.Context, p stead.Principal, id string) (file.File, error)
	// Open reads a file for the node itself, which was allowed to when it was attached.
	Open(ctx context.Context, project stead.ProjectID, id string) (io.ReadCloser, file.File, error)
}

// Config is what a Service stands on.
type Config struct {
	Documents document.Store
	Records   memory.Store
	Files     Files
	Policy    policy.Authorizer
	Log       *slog.Logger
	Now       func() time.Time
	// Embedding makes vectors of passages; nil: words alone are looked for.
	Embedding *memory.Embedding
	// Read makes text of a file. Its errors of KindNotImplemented, KindInvalid and KindTooLarge are for good. nil: what is text is read.
	Read func(ctx context.Context, name string, data []byte) (passage.Document, error)
	// Emptied is told of each store that is being emptied, because it is deleted or has expired. nil: nobody is told.
	Emptied func(ctx context.Context, project stead.ProjectID, store string) error
}

// Service keeps vector stores. It is safe for concurrent use.
type Service struct {
	cfg    Config
	tables *memory.Shelves[*table]
	index  *memory.Shelves[*index]
	wake   chan struct{} // there may be a job
	reads  chan struct{} // held while a file is read

	leaseTime, readTime, readGrace time.Duration // the constants, but for tests
	within                         *For          // nil: whoever asks acts for itself
}

// For says in whose name an agent acts.
type For = memory.For

// In is the service as an agent has it.
func (s *Service) In(by For) *Service {
	out := *s
	out.within = &by
	return &out
}

// NewService makes a Service. Nothing is processed until Run runs, here or on another node.
func NewService(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Read == nil {
		c.Read = func(_ context.Context, name string, data []byte) (passage.Document, error) {
			return passage.Read(name, data)
		}
	}
	c.Records = c.Embedding.Waking(c.Records)
	return &Service{
		cfg: c, wake: make(chan struct{}, 1), reads: make(chan struct{}, 1),
		leaseTime: leaseTime, readTime: maxReadTime, readGrace: readGrace,
		tables: memory.NewShelves(c.Records, c.Now, maxTabled, newTable, nil),
		index:  memory.NewShelves(c.Records, c.Now, maxIndexed, newIndex, c.Embedding),
	}
}

func (s *Service) allow(ctx context.Context, p stead.Principal, effect policy.Effect, id string) error {
	_, err := policy.Check(ctx, s.cfg.Policy, s.within.Request(p, effect, id))
	return err
}

// now is the time in Unix milliseconds.
func (s *Service) now() int64 { return s.cfg.Now().UnixMilli() }

const (
	filesSuffix    = ".files"
	passagesSuffix = ".passages"
)

// filesOf and passagesOf are the places of a store's records.
func filesOf(project stead.ProjectID, store string) memory.Place {
	return memory.Place{Project: project, Store: store + filesSuffix}
}

func passagesOf(project stead.ProjectID, store string) memory.Place {
	return memory.Place{Project: project, Store: store + passagesSuffix}
}
