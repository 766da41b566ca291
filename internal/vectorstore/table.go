package vectorstore

import (
	"encoding/json"
	"strings"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/memory"
	"github.com/stead-dev/stead/internal/memory/recall"
	"github.com/stead-dev/stead/internal/passage"
)

// Status is how far a file of a store is.
type Status string

// The states of a file.
const (
	InProgress Status = "in_progress"
	Completed  Status = "completed"
	Failed     Status = "failed"
	Cancelled  Status = "cancelled"
	removed    Status = "removed" // its passages are being forgotten, and then it is
)

// Failure says why a file has failed.
type Failure struct {
	Code    string `json:"code"` // "server_error", "unsupported_file", "invalid_file"
	Message string `json:"message"`
}

// File is a file of a store: what its record holds.
type File struct {
	ID         string         `json:"-"`
	CreatedAt  int64          `json:"created_at"` // when it was attached, Unix milliseconds
	Filename   string         `json:"filename"`
	Status     Status         `json:"status"`
	Failure    *Failure       `json:"failure,omitempty"`
	Bytes      int64          `json:"bytes,omitempty"` // of its passages
	Attributes map[string]any `json:"attributes,omitempty"`
	Plan       passage.Plan   `json:"plan"`
	Charset    string         `json:"charset,omitempty"` // that it was read in; "": UTF-8, or what says its own
	Batch      string         `json:"batch,omitempty"`
	Attachment string         `json:"attachment"`         // that its passages belong to
	Stale      []string       `json:"stale,omitempty"`    // attachments whose passages are yet to be forgotten
	Attempts   int            `json:"attempts,omitempty"` // to read it that have begun, and not ended
	Origin     *Origin        `json:"origin,omitempty"`
	Next       string         `json:"next,omitempty"` // attachment that a newer version of a document is being written as
	version    int64          // of the record
}

// table is what a node knows of the files of one store.
type table struct{ files map[string]File }

func newTable() *table { return &table{map[string]File{}} }

// Len implements memory.Shelf.
func (t *table) Len() int { return len(t.files) }

// Apply implements memory.Shelf.
func (t *table) Apply(r memory.Record) error {
	if r.Data == nil {
		delete(t.files, r.ID)
		return nil
	}
	f, err := fileOf(r)
	if err == nil {
		t.files[r.ID] = f
	}
	return err
}

func fileOf(r memory.Record) (File, error) {
	f := File{ID: r.ID, version: r.Version}
	if err := json.Unmarshal(r.Data, &f); err != nil {
		return f, stead.Wrap(stead.KindInternal, err, "read file %s of a vector store", r.ID)
	}
	return f, nil
}

// index finds the passages of one store.
type index struct{ *recall.Index[origin] }

// origin is what a passage belongs to.
type origin struct{ file, attachment string }

func newIndex() *index { return &index{recall.New(func(o origin) string { return o.attachment })} }

// storedPassage is the data of a passage's record.
type storedPassage struct {
	File       string `json:"file"`
	Attachment string `json:"attachment"`
	passage.Passage
}

// Apply implements memory.Shelf.
func (x *index) Apply(r memory.Record) error {
	if r.Data == nil {
		x.Remove(r.ID)
		return nil
	}
	p, err := passageOf(r)
	if err != nil {
		return err
	}
	const indifferent = 0.5 // importance that changes nothing
	x.Put(recall.Entry[origin]{ID: r.ID, Text: p.Text, Caption: p.Heading, Importance: indifferent, Facets: origin{p.File, p.Attachment}})
	return nil
}

func passageOf(r memory.Record) (storedPassage, error) {
	var p storedPassage
	if err := json.Unmarshal(r.Data, &p); err != nil {
		return p, stead.Wrap(stead.KindInternal, err, "read passage %s", r.ID)
	}
	return p, nil
}

// EmbeddedText is what of a record is embedded: of a passage its text below its headings, of a file nothing, and of an
// entry of a memory store what package memory says.
func EmbeddedText(p memory.Place, data []byte) (string, []string, error) {
	switch {
	case strings.HasSuffix(p.Store, filesSuffix):
		return "", nil, nil
	case strings.HasSuffix(p.Store, passagesSuffix):
		cut, err := passageOf(memory.Record{Data: data})
		return strings.TrimSpace(cut.Heading + "\n" + cut.Text), nil, err
	}
	return memory.EmbeddedText(data)
}
