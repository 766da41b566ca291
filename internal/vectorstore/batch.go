package vectorstore

import (
	"context"
	"encoding/json"

	"github.com/stead-dev/stead"
	"github.com/stead-dev/stead/internal/document"
	"github.com/stead-dev/stead/internal/policy"
)

// batchKind are documents of batches: their store is the tag.
const batchKind document.Kind = "vector store file batch"

// Batch is a number of files that were attached together.
type Batch struct {
	ID, Store string
	CreatedAt int64 // Unix milliseconds
	Status    Status
	Files     Counts
}

type storedBatch struct {
	Cancelled bool `json:"cancelled,omitempty"`
}

func batchKey(project stead.ProjectID, id string) document.Key {
	return document.Key{Project: project, Kind: batchKind, ID: id}
}

// CreateBatch attaches files together. With a key, the same request again gives the same batch.
func (s *Service) CreateBatch(ctx context.Context, p stead.Principal, store string, files []Attachment, key, digest string) (Batch, error) {
	d, err := s.open(ctx, p, policy.VectorStoreWrite, store)
	if err != nil {
		return Batch{}, err
	}
	if len(files) == 0 || len(files) > MaxBatch {
		return Batch{}, stead.Invalid("file_ids", "a batch has 1 to %d files, not %d", MaxBatch, len(files))
	}
	wanted, err := s.wanted(ctx, p, files)
	if err != nil {
		return Batch{}, err
	}
	data, err := json.Marshal(storedBatch{})
	if err != nil {
		return Batch{}, stead.Wrap(stead.KindInternal, err, "encode a batch")
	}
	now := s.now()
	made, err := s.cfg.Documents.CreateDocument(ctx, document.Document{
		Key: batchKey(p.Project, document.NewID(BatchPrefix)), CreatedAt: now, UpdatedAt: now, Tag: store, Data: data,
	}, key, digest)
	if err != nil {
		return Batch{}, err
	}
	for i := range wanted {
		wanted[i].batch = made.ID
	}
	if _, err := s.attach(ctx, p.Project, store, wanted); err != nil {
		return Batch{}, err
	}
	s.touch(ctx, d)
	return s.batchOf(ctx, made)
}

// batch reads one of a store.
func (s *Service) batch(ctx context.Context, project stead.ProjectID, store, id string) (document.Document, error) {
	d, err := s.cfg.Documents.GetDocument(ctx, batchKey(project, id))
	if err == nil && d.Tag != store {
		err = d.NotFound()
	}
	return d, err
}

func (s *Service) batchOf(ctx context.Context, d document.Document) (Batch, error) {
	var data storedBatch
	if err := json.Unmarshal(d.Data, &data); err != nil {
		return Batch{}, stead.Wrap(stead.KindInternal, err, "read batch %s", d.ID)
	}
	b := Batch{ID: d.ID, Store: d.Tag, CreatedAt: d.CreatedAt, Status: Completed}
	var waiting []File
	err := s.tables.With(ctx, filesOf(d.Project, d.Tag), func(t *table) {
		for _, f := range t.files {
			if f.Batch == d.ID {
				b.Files.add(f.Status)
				if f.Status == InProgress {
					waiting = append(waiting, f)
				}
			}
		}
	})
	switch {
	case data.Cancelled:
		b.Status = Cancelled
	case b.Files.InProgress > 0:
		b.Status = InProgress
		s.heal(ctx, d.Project, d.Tag, waiting[0])
	case b.Files.Failed > 0 && b.Files.Failed == b.Files.Total():
		b.Status = Failed
	}
	return b, err
}

// GetBatch returns a batch of a store.
func (s *Service) GetBatch(ctx context.Context, p stead.Principal, store, id string) (Batch, error) {
	if _, err := s.open(ctx, p, policy.VectorStoreRead, store); err != nil {
		return Batch{}, err
	}
	d, err := s.batch(ctx, p.Project, store, id)
	if err != nil {
		return Batch{}, err
	}
	return s.batchOf(ctx, d)
}

// CancelBatch stops the work on what of a batch is still in progress. A batch that has ended stays as it is.
func (s *Service) CancelBatch(ctx context.Context, p stead.Principal, store, id string) (Batch, error) {
	if _, err := s.open(ctx, p, policy.VectorStoreWrite, store); err != nil {
		return Batch{}, err
	}
	d, err := s.batch(ctx, p.Project, store, id)
	if err != nil {
		return Batch{}, err
	}
	b, err := s.batchOf(ctx, d)
	if err != nil || b.Status != InProgress {
		return b, err
	}
	if d.Data, err = json.Marshal(storedBatch{Cancelled: true}); err != nil {
		return Batch{}, stead.Wrap(stead.KindInternal, err, "encode a batch")
	}
	d.Version++
	if d, err = s.cfg.Documents.UpdateDocument(ctx, d); err != nil {
		return Batch{}, err
	}
	if err := s.cancelFiles(ctx, d); err != nil {
		return Batch{}, err
	}
	return s.batchOf(ctx, d)
}

func (s *Service) cancelFiles(ctx context.Context, d document.Document) error {
	place := filesOf(d.Project, d.Tag)
	var waiting []string
	if err := s.tables.With(ctx, place, func(t *table) {
		for id, f := range t.files {
			if f.Batch == d.ID && f.Status == InProgress {
				waiting = append(waiting, id)
			}
		}
	}); err != nil {
		return err
	}
	for _, id := range waiting {
		f, err := s.change(ctx, place, id, func(f *File) {
			if f.Batch == d.ID && f.Status == InProgress {
				f.Status = Cancelled
			}
		})
		if err == nil && f.Status == Cancelled {
			err = s.forget(ctx, passagesOf(d.Project, d.Tag), f.Attachment)
		}
		if gone(err) != nil {
			return err
		}
	}
	return nil
}

// dropBatches deletes those of a store.
func (s *Service) dropBatches(ctx context.Context, store document.Key) error {
	for {
		docs, err := s.cfg.Documents.ListDocuments(ctx, document.Query{Project: store.Project, Kind: batchKind, Tag: store.ID, Limit: stead.MaxPageSize})
		if err != nil || len(docs) == 0 {
			return err
		}
		for _, d := range docs {
			if err := gone(s.cfg.Documents.DeleteDocument(ctx, d.Key, 0)); err != nil {
				return err
			}
		}
	}
}
