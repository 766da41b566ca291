package memory

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory/recall"
)

const (
	// QueryTimeout is how long a search waits for the vector of its query; then words alone are looked for.
	QueryTimeout = 2 * time.Second
	// MaxEmbeddedBytes is how much of a text is embedded: no tokenizer makes more than a token of a byte, and models
	// take 8,192.
	MaxEmbeddedBytes = 8000
	// MaxBatchTexts and MaxBatchBytes bound the texts of one call, which a crash may have paid for in vain.
	MaxBatchTexts = 128
	MaxBatchBytes = 256 << 10
	// queriesKept is how many vectors of queries are kept, so that one that goes to several stores is paid once.
	queriesKept = 256
)

// Embedder turns texts into vectors, by the model that the node is configured with.
type Embedder interface {
	// Space names the model with its dimensions: vectors of two spaces do not compare. An error: there is no such model now.
	Space() (string, error)
	// Embed returns a vector for each text, all of one length, in the name of somebody. labels are of what the texts
	// come from. KindForbidden when policies refuse it, KindInvalid when the model refuses the texts.
	Embed(ctx context.Context, by stead.Principal, labels []string, texts []string) ([][]float32, error)
}

// EmbeddingConfig is what an Embedding stands on.
type EmbeddingConfig struct {
	Store    Store
	Embedder Embedder
	// Text is what of a record is embedded, and the labels that it has; "": nothing is.
	Text func(p Place, data []byte) (text string, labels []string, err error)
	Log  *slog.Logger
	Now  func() time.Time
}

// Embedding makes the vectors of records and of queries. A nil one makes none. It is safe for concurrent use.
type Embedding struct {
	cfg  EmbeddingConfig
	wake chan struct{} // there may be something to do

	mu      sync.Mutex
	queries map[string][]byte // packed vectors, by who asks and what
	order   []string          // of queries, the oldest first
}

// NewEmbedding makes one. Nothing is embedded until Run runs, here or on another node.
func NewEmbedding(c EmbeddingConfig) *Embedding {
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return &Embedding{cfg: c, wake: make(chan struct{}, 1), queries: map[string][]byte{}}
}

// Waking is a store that tells e of what is written to it, so that it is embedded soon. Without an Embedding it is s.
func (e *Embedding) Waking(s Store) Store {
	if e == nil {
		return s
	}
	return waking{s, e}
}

type waking struct {
	Store
	e *Embedding
}

// WriteMemories implements Store.
func (w waking) WriteMemories(ctx context.Context, p Place, changes []Change) ([]Record, error) {
	out, err := w.Store.WriteMemories(ctx, p, changes)
	if err == nil {
		select {
		case w.e.wake <- struct{}{}:
		default:
		}
	}
	return out, err
}

// space is the one in use; "" where nothing is embedded.
func (e *Embedding) space() string {
	if e == nil {
		return ""
	}
	space, err := e.cfg.Embedder.Space()
	if err != nil {
		return ""
	}
	return space
}

// How a search found what it did.
const (
	MethodLexical = "lexical" // by words
	MethodHybrid  = "hybrid"  // by words and vectors
)

// Query is the vector of a query, packed. Without one, why says why; both are empty where nothing is embedded.
func (e *Embedding) Query(ctx context.Context, by stead.Principal, text string) (packed []byte, why string) {
	if e == nil {
		return nil, ""
	}
	space, err := e.cfg.Embedder.Space()
	if err != nil {
		return nil, err.Error()
	}
	key := string(digestText(fmt.Sprintf("%q %q %q %q %s", by.Project, by.Kind, by.ID, space, text)))
	e.mu.Lock()
	packed = e.queries[key]
	e.mu.Unlock()
	if packed != nil {
		return packed, ""
	}
	within, cancel := context.WithTimeout(ctx, QueryTimeout)
	defer cancel()
	got, err := e.cfg.Embedder.Embed(within, by, nil, []string{cutText(text)})
	switch {
	case err != nil && within.Err() != nil && ctx.Err() == nil:
		return nil, "the embedding model did not answer in time"
	case err != nil:
		return nil, err.Error()
	}
	if packed = recall.Pack(got[0]); packed == nil {
		return nil, "the embedding model has no vector for the query"
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.queries[key] == nil {
		e.order = append(e.order, key)
	}
	e.queries[key] = packed
	if len(e.order) > queriesKept {
		delete(e.queries, e.order[0])
		e.order = slices.Delete(e.order, 0, 1)
	}
	return packed, ""
}

// cutText is the part of a text that is embedded.
func cutText(text string) string {
	if len(text) <= MaxEmbeddedBytes {
		return text
	}
	return strings.ToValidUTF8(text[:MaxEmbeddedBytes], "")
}

const digestBytes = 16

func digestText(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:digestBytes]
}

// EmbeddedText is what of an entry is embedded: who said it, what it says and what its picture shows. Records of
// which it can't be told are none of package memory's.
func EmbeddedText(data []byte) (string, []string, error) {
	e, err := entryOf(Record{Data: data})
	if err != nil || e.Redacted {
		return "", nil, err
	}
	text := e.Text
	if e.Source.Author != "" {
		text = e.Source.Author + ": " + text
	}
	if e.Caption != "" {
		text += " [" + e.Caption + "]"
	}
	return text, e.Labels, nil
}
